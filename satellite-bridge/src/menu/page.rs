//! What the menu writes: lines that fit on 80 columns.
//!
//! **Invariant:** pure; text from outside loses its control characters here before it can reach the terminal.

use satellite_proto::wire::bridge::v1::{
    GetConsoleResponse, PairingState, PairingWindow, Satellite, Workload,
};

use super::text::{Key, Language};

const WIDTH: usize = 79;

/// The head of every page.
pub(super) fn header(language: Language, answer: Option<&GetConsoleResponse>) -> Vec<String> {
    let Some(answer) = answer else {
        return vec![fit(language.say(Key::DaemonDown)), String::new()];
    };
    let satellite = answer.satellite.clone().unwrap_or_default();
    let mut lines = vec![
        row(language.say(Key::Name), &satellite.name),
        row(
            language.say(Key::Addresses),
            &or_none(language, satellite.addresses.join(", ")),
        ),
        row(language.say(Key::Port), &answer.port.to_string()),
        row(language.say(Key::Server), &pairing(language, answer)),
    ];
    lines.extend(workloads(language, &satellite.workloads));
    lines.push(row(language.say(Key::Fingerprint), &satellite.fingerprint));
    lines.push(row(language.say(Key::Version), &satellite.bridge_version));
    if !answer.last_error.is_empty() {
        lines.push(row(language.say(Key::LastError), &answer.last_error));
    }
    lines.push(String::new());
    lines
}

/// More about the machine.
pub(super) fn details(language: Language, answer: &GetConsoleResponse) -> Vec<String> {
    let mut lines = header(language, Some(answer));
    let Satellite {
        os_version,
        boot_time,
        disk_free_bytes,
        disk_total_bytes,
        memory_available_bytes,
        memory_total_bytes,
        ..
    } = answer.satellite.clone().unwrap_or_default();
    let booted = boot_time.and_then(|time| jiff::Timestamp::from_second(time.seconds).ok());
    lines.extend([
        row(language.say(Key::System), &os_version),
        row(
            language.say(Key::Booted),
            &booted.map(|time| time.to_string()).unwrap_or_default(),
        ),
        row(language.say(Key::Disk), &of(disk_free_bytes, disk_total_bytes)),
        row(
            language.say(Key::Memory),
            &of(memory_available_bytes, memory_total_bytes),
        ),
        String::new(),
    ]);
    lines
}

/// The line with the code: by itself, so that it can be read from afar and by a script.
pub(super) fn code_line(window: &PairingWindow) -> String {
    format!("    {}", window.code)
}

/// What is left of a window at `now`.
pub(super) fn window_line(language: Language, window: &PairingWindow, now: i64) -> String {
    let seconds = window
        .expire_time
        .map_or(0, |time| time.seconds.saturating_sub(now))
        .max(0);
    let minutes = seconds / 60 + i64::from(seconds % 60 > 0);
    let (minutes_left, tries_left) = (language.say(Key::MinutesLeft), language.say(Key::TriesLeft));
    format!("{minutes_left}: {minutes}    {tries_left}: {}", window.tries_left)
}

/// A line of a log or a message, safe to show and cut to the screen.
pub(super) fn fit(text: &str) -> String {
    let clean = text
        .chars()
        .map(|c| if c == '\t' { ' ' } else { c })
        .filter(|c| !c.is_control());
    clean.take(WIDTH).collect()
}

fn pairing(language: Language, answer: &GetConsoleResponse) -> String {
    let key = match answer.pairing() {
        PairingState::Paired => {
            return format!("{} {}", language.say(Key::Paired), answer.server_name);
        }
        PairingState::WindowOpen => Key::WindowOpen,
        PairingState::Candidate => Key::WaitingForServer,
        PairingState::Unpaired | PairingState::Unspecified => Key::Unpaired,
    };
    language.say(key).to_owned()
}

fn workloads(language: Language, workloads: &[Workload]) -> Vec<String> {
    let name = language.say(Key::Workloads);
    if workloads.is_empty() {
        return vec![row(name, language.say(Key::None))];
    }
    let line = |workload: &Workload| {
        let state = workload
            .state()
            .as_str_name()
            .trim_start_matches("WORKLOAD_STATE_")
            .to_lowercase();
        row(
            name,
            &format!(
                "{} {} {state} {}",
                workload.name, workload.version, workload.problem
            ),
        )
    };
    workloads.iter().map(line).collect()
}

fn row(name: &str, value: &str) -> String {
    fit(&format!("{name:<14} {value}"))
}

fn or_none(language: Language, text: String) -> String {
    if text.is_empty() {
        language.say(Key::None).to_owned()
    } else {
        text
    }
}

fn of(free: u64, total: u64) -> String {
    const MIB: u64 = 1024 * 1024;
    format!("{} / {} MiB", free / MIB, total / MIB)
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    #[test]
    fn the_code_stands_on_a_line_of_its_own() {
        let window = PairingWindow {
            code: "ABCD-EFGH-JKMN-PQRS".to_owned(),
            ..PairingWindow::default()
        };
        assert_eq!(code_line(&window), "    ABCD-EFGH-JKMN-PQRS");
    }

    #[test]
    fn minutes_are_rounded_up_and_never_negative() {
        let expire_time = Some(Timestamp {
            seconds: 1000,
            nanos: 0,
        });
        let window = PairingWindow {
            expire_time,
            tries_left: 4,
            ..PairingWindow::default()
        };
        for (now, shown) in [(400, "10"), (401, "10"), (999, "1"), (1000, "0"), (2000, "0")] {
            let line = window_line(Language::English, &window, now);
            assert_eq!(line, format!("Minutes left: {shown}    Tries left: 4"));
        }
    }

    #[test]
    fn no_line_is_longer_than_the_screen_and_none_can_steer_it() {
        let evil = format!("\u{1b}[2J{}", "ä".repeat(200));
        assert_eq!(fit(&evil).chars().count(), WIDTH);
        assert!(!fit(&evil).contains('\u{1b}'));
        let satellite = Satellite {
            fingerprint: "f".repeat(64),
            name: evil,
            ..Satellite::default()
        };
        let answer = GetConsoleResponse {
            satellite: Some(satellite),
            ..GetConsoleResponse::default()
        };
        for language in Language::ALL {
            for line in details(language, &answer) {
                assert!(line.chars().count() <= WIDTH, "{line}");
            }
            let shown = header(language, Some(&answer))
                .iter()
                .any(|line| line.ends_with(&"f".repeat(64)));
            assert!(shown, "the fingerprint is cut in {language:?}");
        }
    }
}
