//! The status page: the first thing that a person sees.
//!
//! **Invariant:** pure.

use satellite_proto::wire::bridge::v1::{JoinState, PairingState, WorkloadState};

use super::{
    overview::{Data, Overview, Window, Workload},
    page::{self, HEIGHT, Page, Style, WIDTH, fit, pad, pieces, wrap},
    qr,
    text::{Language, Text, home as t},
};

/// Columns of the names of facts.
const LABEL: usize = 13;
/// Columns of the widest QR code beside the facts.
const LARGEST_PICTURE: usize = 41;
/// The last error may take so many lines.
const ERROR_LINES: usize = 2;

/// The page; `clock` is what is shown as time.
pub(super) fn page(language: Language, overview: &Overview, clock: &str) -> Page {
    let name = fit(&overview.name, 40);
    let head = format!("{} {name}", language.say(t::TITLE));
    let gap = WIDTH.saturating_sub(page::columns(&head) + page::columns(clock) + 2);
    let mut page = Page::new(format!("{head}{}{clock}", " ".repeat(gap)), language.say(t::FOOT));
    let mut tail = Page::default();
    if !overview.fingerprint.is_empty() {
        tail.row(LABEL, language.say(t::FINGERPRINT), &overview.fingerprint);
    }
    problems(language, overview, &mut tail);
    let room = HEIGHT.saturating_sub(2 + tail.lines.len());
    let picture = overview
        .window
        .as_ref()
        .map_or_else(Vec::new, |window| picture(overview, window));
    let left = match picture.first() {
        Some(line) => WIDTH - page::columns(line) - 2,
        None => WIDTH - 2,
    };
    let code = overview
        .window
        .as_ref()
        .map_or_else(Vec::new, |window| code_lines(language, window, left));
    // However much there is to tell, the code and the problems are seen.
    let mut lines = facts(language, overview, left);
    lines.truncate(room.saturating_sub(code.len()));
    lines.extend(code);
    let plain = (String::new(), Style::Plain);
    for index in 0..lines.len().max(picture.len()).min(room) {
        let (text, style) = lines.get(index).unwrap_or(&plain);
        match picture.get(index) {
            Some(picture) => page.line(format!(" {} {picture}", pad(text, left)), *style),
            None => page.line(format!(" {text}"), *style),
        }
    }
    page.lines.extend(tail.lines);
    page
}

fn facts(language: Language, overview: &Overview, width: usize) -> Vec<(String, Style)> {
    let mut lines = Vec::new();
    let mut row = |name: &str, value: &str| {
        let mut values = pieces(value, width - LABEL - 1, 2);
        if values.is_empty() {
            values.push(String::new());
        }
        for (index, value) in values.into_iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            lines.push((format!("{} {value}", pad(name, LABEL)), Style::Plain));
        }
    };
    row(language.say(t::NAME), &overview.name);
    if overview.addresses.is_empty() {
        row(language.say(t::ADDRESS), language.say(t::NO_ADDRESS));
    }
    for (index, address) in overview.addresses.iter().take(3).enumerate() {
        row(if index == 0 { language.say(t::ADDRESS) } else { "" }, address);
    }
    row(language.say(t::LINK), &links(language, overview));
    row(language.say(t::SERVER), &server(language, overview));
    if overview.workloads.is_empty() && overview.daemon_answers {
        row(language.say(t::WORKLOAD), language.say(t::NO_WORKLOAD));
    }
    for workload in &overview.workloads {
        row(language.say(t::WORKLOAD), &workload_line(language, workload));
    }
    let version = if overview.os_version.is_empty() {
        overview.bridge_version.clone()
    } else {
        format!("{}, {}", overview.bridge_version, overview.os_version)
    };
    row(language.say(t::VERSION), &version);
    lines
}

/// The code, on a line by itself, so that it can be read from afar and by a script.
fn code_lines(language: Language, window: &Window, width: usize) -> Vec<(String, Style)> {
    let blank = (String::new(), Style::Plain);
    let text = |text: &str| wrap(text, width).into_iter().map(|line| (line, Style::Plain));
    let left = format!("{}:{:02}", window.seconds_left / 60, window.seconds_left % 60);
    let left = language.fill(t::TIME_LEFT, &[&left, &window.tries_left.to_string()]);
    let mut lines = vec![blank.clone()];
    lines.extend(text(language.say(t::CODE_HINT)));
    lines.push(blank.clone());
    lines.push((format!("   {}", fit(&window.code, width - 3)), Style::Strong));
    lines.push(blank);
    lines.extend(text(&left));
    lines
}

fn picture(overview: &Overview, window: &Window) -> Vec<String> {
    let Some(address) = overview
        .addresses
        .first()
        .and_then(|address| address.split('/').next())
    else {
        return Vec::new();
    };
    let lines = qr::lines(&qr::pairing_address(address, overview.port, &window.code));
    let is_small = lines.iter().all(|line| page::columns(line) <= LARGEST_PICTURE);
    if is_small { lines } else { Vec::new() }
}

fn links(language: Language, overview: &Overview) -> String {
    let all: Vec<_> = overview
        .links
        .iter()
        .map(|link| {
            let state = if link.has_carrier {
                t::CONNECTED
            } else {
                t::NO_CABLE
            };
            format!("{} {}", link.name, language.say(state))
        })
        .collect();
    if all.is_empty() {
        return language.say(t::NO_CARD).to_owned();
    }
    all.join(", ")
}

fn server(language: Language, overview: &Overview) -> String {
    match overview.pairing {
        PairingState::Paired => {
            let paired = language.fill(t::PAIRED, &[&overview.server_name]);
            match overview.server_silence {
                Some(seconds) => format!("{paired}, {}", language.fill(t::HEARD, &[&ago(seconds)])),
                None if overview.daemon_answers => format!("{paired}, {}", language.say(t::NOT_HEARD)),
                None => paired,
            }
        }
        PairingState::WindowOpen => language.say(t::WINDOW_OPEN).to_owned(),
        PairingState::Candidate => language.say(t::CANDIDATE).to_owned(),
        PairingState::Unpaired => language.say(t::UNPAIRED).to_owned(),
        PairingState::Unspecified => language.say(t::UNKNOWN).to_owned(),
    }
}

fn workload_line(language: Language, workload: &Workload) -> String {
    let state = language.say(match workload.state {
        WorkloadState::Unspecified => t::UNKNOWN,
        WorkloadState::Stopped => t::STOPPED,
        WorkloadState::Starting => t::STARTING,
        WorkloadState::Healthy => t::RUNNING,
        WorkloadState::Unhealthy => t::UNHEALTHY,
        WorkloadState::Failed => t::FAILED,
        WorkloadState::Installing => t::INSTALLING,
    });
    let mut line = format!("{} {} {state}", workload.name, workload.version);
    if !workload.problem.is_empty() {
        line.push_str(": ");
        line.push_str(&workload.problem);
    }
    line
}

fn problems(language: Language, overview: &Overview, page: &mut Page) {
    if !overview.last_error.is_empty() {
        let space = WIDTH - LABEL - 3;
        for (index, line) in pieces(&overview.last_error, space, ERROR_LINES)
            .into_iter()
            .enumerate()
        {
            let name = if index == 0 {
                language.say(t::LAST_ERROR)
            } else {
                ""
            };
            page.line(format!(" {} {line}", pad(name, LABEL)), Style::Warning);
        }
    }
    if let Some((state, server)) = &overview.join {
        let text = match state {
            JoinState::Trying => language.fill(t::JOIN_TRYING, &[&fit(server, 40)]),
            JoinState::Used => language.say(t::JOIN_USED).to_owned(),
            JoinState::Expired => language.say(t::JOIN_EXPIRED).to_owned(),
            _ => language.say(t::JOIN_UNKNOWN).to_owned(),
        };
        page.styled(&text, Style::Warning);
    }
    let mut warn = |text: Text| page.styled(language.say(text), Style::Warning);
    if !overview.daemon_answers {
        warn(t::DAEMON_DOWN);
    }
    match overview.data {
        Data::Fine => {}
        Data::Full => warn(t::DATA_FULL),
        Data::ReadOnly => warn(t::DATA_READ_ONLY),
        Data::Unreadable => warn(t::DATA_UNREADABLE),
    }
    if overview.open_change {
        warn(t::OPEN_CHANGE);
    }
    if overview.pairing == PairingState::Unpaired && overview.daemon_answers {
        warn(t::HOW_TO_CONNECT);
    }
}

/// A time span in its largest unit.
fn ago(seconds: i64) -> String {
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5999 => format!("{} min", seconds / 60),
        6000..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spans_are_short() {
        for (seconds, shown) in [
            (0, "0 s"),
            (99, "99 s"),
            (120, "2 min"),
            (7200, "2 h"),
            (864_000, "10 d"),
        ] {
            assert_eq!(ago(seconds), shown);
        }
    }
}
