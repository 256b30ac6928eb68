//! The mail about a run that has ended, for those to whom its configuration reports.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::words as w;
use super::{Block, Letter, moment};
use crate::language::{Language, Text};
use crate::plan::outcome::{CopyState, RunState};

/// What there is to tell of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// In which language.
    pub language: Language,
    /// The time zone of the central.
    pub zone: TimeZone,
    /// The configuration.
    pub configuration: String,
    /// The central.
    pub central: String,
    /// How it ended.
    pub state: RunState,
    /// When it was meant to be.
    pub planned_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Why it is not complete; empty if it is.
    pub reason: String,
    /// The archive's file; empty: none.
    pub archive: String,
    /// Bytes of it.
    pub bytes: u64,
    /// Things that are missing in it.
    pub left_out: u64,
    /// The destinations and what became of the copy there.
    pub copies: Vec<Copy>,
    /// Runs with errors in a row, this one with them, and when the first of them was meant to be.
    pub streak: (usize, Timestamp),
    /// When the last complete run ended; none: never.
    pub last_good: Option<Timestamp>,
    /// The configuration is there still: what was run only once has none.
    pub is_kept: bool,
    /// Where more is to be seen; empty: nowhere.
    pub link: String,
}

/// What became of the copy at a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The destination.
    pub destination: String,
    /// What became of it.
    pub state: CopyState,
    /// Bytes of it.
    pub bytes: u64,
    /// Why it is not there.
    pub error: String,
}

/// Whether somebody is told that a run ended so: of errors always, of success if that is wished, of what a person ended never.
#[must_use]
pub fn is_told(state: RunState, also_success: bool) -> bool {
    match state {
        RunState::Failed | RunState::Partial | RunState::Missed => true,
        RunState::Succeeded => also_success,
        RunState::Cancelled | RunState::Queued | RunState::Deferred | RunState::Running => false,
    }
}

/// Writes the mail.
#[must_use]
pub fn write(report: &Report) -> Letter {
    let language = report.language;
    let (subject, happened) = match report.state {
        RunState::Succeeded => (w::DONE_SUBJECT, w::DONE),
        RunState::Partial => (w::PARTIAL_SUBJECT, w::PARTIAL),
        RunState::Missed => (w::MISSED_SUBJECT, w::MISSED),
        _ => (w::FAILED_SUBJECT, w::FAILED),
    };
    let subject = language.fill(subject, &[&report.configuration, &report.central]);
    let planned = moment(language, report.planned_at, &report.zone);
    let mut blocks = vec![
        Block::Heading(language.say(w::WHAT_HAPPENED)),
        Block::Paragraph(language.fill(happened, &[&planned])),
        Block::Rows(report.facts()),
    ];
    if report.state != RunState::Succeeded {
        blocks.push(Block::Heading(language.say(w::SINCE_WHEN)));
        blocks.push(Block::Rows(report.since()));
    }
    blocks.push(Block::Heading(language.say(w::DESTINATIONS)));
    blocks.push(report.destinations());
    if report.state != RunState::Succeeded {
        blocks.push(Block::Heading(language.say(w::WHAT_TO_DO)));
        blocks.push(Block::Steps(report.steps()));
    }
    if !report.link.is_empty() {
        blocks.push(Block::Link(report.link.clone()));
    }
    Letter::write(language, &subject, &blocks)
}

/// Writes a mail that only says that mails arrive.
#[must_use]
pub fn test(language: Language, server: &str) -> Letter {
    let text = language.say(w::TEST).to_owned();
    let subject = language.fill(w::TEST_SUBJECT, &[server]);
    Letter::write(language, &subject, &[Block::Paragraph(text)])
}

impl Report {
    fn facts(&self) -> Vec<(String, String)> {
        let row = |text: Text, value: String| (self.language.say(text).to_owned(), value);
        let mut rows = vec![row(w::CENTRAL, self.central.clone())];
        if !self.reason.is_empty() {
            rows.push(row(w::REASON, self.language.tell(&self.reason).to_string()));
        }
        if !self.archive.is_empty() {
            let size = self.language.size(self.bytes);
            rows.push(row(w::ARCHIVE, format!("{}, {size}", self.archive)));
        }
        if self.left_out > 0 {
            rows.push(row(w::LEFT_OUT, self.left_out.to_string()));
        }
        rows.push(row(w::ENDED, moment(self.language, self.ended_at, &self.zone)));
        rows
    }

    fn since(&self) -> Vec<(String, String)> {
        let row = |text: Text, value: String| (self.language.say(text).to_owned(), value);
        let never = || self.language.say(w::NEVER).to_owned();
        let moment = |time| moment(self.language, time, &self.zone);
        let (count, first) = self.streak;
        vec![
            row(w::LAST_GOOD, self.last_good.map_or_else(never, moment)),
            row(w::IN_A_ROW, count.to_string()),
            row(w::FIRST_BAD, moment(first)),
        ]
    }

    fn destinations(&self) -> Block {
        let language = self.language;
        if self.copies.is_empty() {
            return Block::Paragraph(language.say(w::NO_DESTINATION).to_owned());
        }
        let told = |copy: &Copy| match copy.state {
            CopyState::Done => language.fill(w::COPY_DONE, &[&language.size(copy.bytes)]),
            CopyState::Failed => language.fill(w::COPY_FAILED, &[&language.tell(&copy.error).to_string()]),
            CopyState::Skipped => language.say(w::COPY_SKIPPED).to_owned(),
            CopyState::Pending | CopyState::Copying => language.say(w::COPY_OPEN).to_owned(),
        };
        let rows = self
            .copies
            .iter()
            .map(|copy| (copy.destination.clone(), told(copy)));
        Block::Rows(rows.collect())
    }

    /// For a person with a mail: no step is a command of the server.
    fn steps(&self) -> Vec<String> {
        let (language, name) = (self.language, format!("\"{}\"", self.configuration));
        let mut steps = vec![
            language.say(w::DO_SEE).to_owned(),
            language.say(w::DO_REASON).to_owned(),
        ];
        for copy in self.copies.iter().filter(|copy| copy.state == CopyState::Failed) {
            steps.push(language.fill(w::DO_DESTINATION, &[&copy.destination]));
        }
        steps.push(if self.is_kept {
            language.fill(w::DO_AGAIN, &[&name])
        } else {
            language.say(w::DO_ANEW).to_owned()
        });
        steps.push(language.say(w::DO_PASS_ON).to_owned());
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(language: Language) -> Report {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let copy = |name: &str, state, error: &str| Copy {
            destination: name.into(),
            state,
            bytes: 48_000_000,
            error: error.into(),
        };
        Report {
            language,
            zone: TimeZone::get("Europe/Zurich").unwrap(),
            configuration: "Büro nachts".into(),
            central: "pbx".into(),
            state: RunState::Partial,
            planned_at: time("2026-11-22T01:00:00Z"),
            ended_at: time("2026-11-22T01:07:00Z"),
            reason: "destination nas: the server does not answer".into(),
            archive: "pbx.sar".into(),
            bytes: 48_000_000,
            left_out: 0,
            copies: vec![
                copy("disk", CopyState::Done, ""),
                copy("nas", CopyState::Failed, "the server does not answer"),
            ],
            streak: (3, time("2026-11-20T01:00:00Z")),
            last_good: Some(time("2026-11-19T01:09:00Z")),
            is_kept: true,
            link: "https://pbx.example.com:7600/".into(),
        }
    }

    #[test]
    fn a_report_tells_no_command_and_leads_to_the_page_in_each_language() {
        for language in Language::ALL {
            for state in [
                RunState::Failed,
                RunState::Partial,
                RunState::Missed,
                RunState::Succeeded,
            ] {
                for is_kept in [true, false] {
                    let told = Report {
                        state,
                        is_kept,
                        ..report(language)
                    };
                    let Letter { plain, html, .. } = write(&told);
                    for text in [&plain, &html] {
                        assert!(!text.contains("management-module "), "{text}");
                        assert!(text.contains(&told.link), "{text}");
                    }
                    let again = language.fill(w::DO_AGAIN, &["\"Büro nachts\""]);
                    let is_error = state != RunState::Succeeded;
                    assert_eq!(plain.contains(&again), is_error && is_kept, "{plain}");
                    assert_eq!(plain.contains(language.say(w::DO_PASS_ON)), is_error, "{plain}");
                }
            }
        }
    }

    #[test]
    fn a_report_says_what_happened_since_when_where_and_what_to_do() {
        insta::assert_snapshot!(write(&report(Language::En)).plain);
    }

    #[test]
    fn a_report_is_in_the_language_of_its_configuration() {
        insta::assert_snapshot!(write(&report(Language::De)).plain);
        let subjects = [Language::Fr, Language::It].map(|language| write(&report(language)).subject);
        assert_eq!(
            subjects,
            [
                "Sauvegarde incomplète : Büro nachts (pbx)",
                "Backup incompleto: Büro nachts (pbx)"
            ]
        );
    }

    #[test]
    fn the_same_is_said_in_html() {
        insta::assert_snapshot!(write(&report(Language::En)).html);
    }

    #[test]
    fn errors_are_told_always_success_on_request_and_what_a_person_ended_never() {
        let told = |state| [is_told(state, false), is_told(state, true)];
        for state in [RunState::Failed, RunState::Partial, RunState::Missed] {
            assert_eq!(told(state), [true, true]);
        }
        assert_eq!(told(RunState::Succeeded), [false, true]);
        assert_eq!(told(RunState::Cancelled), [false, false]);
    }
}
