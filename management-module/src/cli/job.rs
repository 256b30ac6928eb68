//! Follows long work: a bar for a person, lines for a file, the outcome as a result.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use satellite_proto::wire::backup::v1::Archive;
use satellite_proto::wire::management::v1::JobEvent;
use tonic::{Code, Streaming};

use super::{CliError, render, texts};
use crate::language::Language;

/// How work ended that ended well.
pub(super) struct Ended {
    pub(super) archive: Option<Archive>,
    /// A part could not be done; the notices said which.
    pub(super) partly: bool,
}

/// Follows until the work ends. Ctrl-C leaves it running.
pub(super) async fn follow(mut events: Streaming<JobEvent>) -> Result<Ended, CliError> {
    let mut progress = Progress::default();
    let mut last_id = String::new();
    loop {
        let Some(event) = events.message().await? else {
            return Err(CliError::Unreachable(anyhow::anyhow!(
                "the module ended the report before the work ended; job {last_id} goes on if the module runs"
            )));
        };
        if !event.notice.is_empty() {
            progress.line(&Language::told_in().fill(texts::NOTE_LINE, &[&texts::told(&event.notice)]));
        }
        if event.ended {
            progress.finish();
            return ended(event);
        }
        last_id.clone_from(&event.job_id);
        progress.show(&event);
    }
}

fn ended(event: JobEvent) -> Result<Ended, CliError> {
    if event.error.is_empty() {
        return Ok(Ended {
            archive: event.archive,
            partly: event.partly,
        });
    }
    for line in &event.log_tail {
        render::note(&format!("  | {line}"));
    }
    let of = if event.satellite.is_empty() {
        String::new()
    } else {
        format!("{}: ", event.satellite)
    };
    let text = format!("{of}{}", event.error);
    match Code::from_i32(event.error_code) {
        Code::Unavailable | Code::DeadlineExceeded => Err(CliError::Unreachable(anyhow::Error::msg(text))),
        // A restore says so of members that lie where nothing may be written; the others were restored.
        Code::OutOfRange => Err(CliError::Partly(text)),
        _ => Err(CliError::said(text)),
    }
}

/// How often a line is printed where nobody watches.
const PACE: Duration = Duration::from_secs(5);

/// Which lines are worth printing where nobody watches: none twice, none without a word, none too soon.
#[derive(Default)]
struct Pace {
    last: Option<(Instant, String)>,
}

impl Pace {
    fn is_due(&mut self, line: &str, now: Instant) -> bool {
        let said = |(at, told): &(Instant, String)| now.duration_since(*at) < PACE || told == line;
        let due = !line.is_empty() && !self.last.as_ref().is_some_and(said);
        if due {
            self.last = Some((now, line.to_owned()));
        }
        due
    }
}

/// What a person sees meanwhile.
#[derive(Default)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    step: String,
    pace: Pace,
}

impl Progress {
    fn show(&mut self, event: &JobEvent) {
        let step = match (event.satellite.as_str(), event.step.as_str()) {
            // Nothing to tell yet: what is shown stays.
            (_, "") => return,
            ("", step) => step.to_owned(),
            (satellite, step) => format!("{satellite}: {step}"),
        };
        let step = texts::told(&step);
        self.set(&step, event.done, event.total, event.unit == "bytes");
    }

    pub(super) fn set(&mut self, step: &str, done: u64, total: u64, bytes: bool) {
        if render::is_watched() {
            return self.draw(step, done, total, bytes);
        }
        let amount = |count| {
            if bytes {
                render::size(count)
            } else {
                count.to_string()
            }
        };
        let line = match (total, done) {
            (0, 0) => step.to_owned(),
            (0, done) => format!("{step}: {}", amount(done)),
            (total, done) => format!("{step}: {}", render::of(&amount(done), &amount(total))),
        };
        if self.pace.is_due(&line, Instant::now()) {
            render::note(&line);
        }
    }

    fn draw(&mut self, step: &str, done: u64, total: u64, bytes: bool) {
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        let template = match (total, bytes) {
            (0, true) => "{spinner} {msg} {bytes} ({bytes_per_sec})",
            (0, false) => "{spinner} {msg}",
            (_, true) => "{spinner} {msg} {wide_bar} {bytes}/{total_bytes} ({bytes_per_sec}, {eta})",
            (_, false) => "{spinner} {msg} {wide_bar} {pos}/{len}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        match total {
            0 => bar.unset_length(),
            total => bar.set_length(total),
        }
        bar.set_position(done);
        if step != self.step {
            step.clone_into(&mut self.step);
            bar.set_message(step.to_owned());
        }
    }

    /// Prints a line without tearing the bar.
    pub(super) fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| render::note(text)),
            None => render::note(text),
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_a_file_are_few_and_say_something() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let mut told = Vec::new();
        for tenth in 0..200_u32 {
            let line = if tenth % 2 == 0 {
                String::new()
            } else {
                format!("step {tenth}")
            };
            if pace.is_due(&line, start + Duration::from_millis(100) * tenth) {
                told.push(tenth);
            }
        }
        assert_eq!(told, [1, 51, 101, 151]);
        assert!(
            !pace.is_due("step 151", start + PACE * 100),
            "the same line again"
        );
    }
}
