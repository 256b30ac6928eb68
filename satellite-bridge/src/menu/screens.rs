//! Every screen of the menu in every language, as text files beside this one: `screens/LANGUAGE/SCREEN.txt`.
//!
//! To write them anew after a change: `UPDATE_SCREENS=1 cargo test --lib screens`, then read the difference.

use std::{fs, path::PathBuf};

use satellite_proto::wire::bridge::v1::{PairingState, WorkloadState};

use super::{
    clock,
    dialog::{self, List, Word},
    home, main_menu,
    overview::{Data, Link, Overview, Window, Workload},
    page::{CUT, HEIGHT, Page, Style, WIDTH, columns},
    pager::Pager,
    settings,
    text::{Language, Text, common as c, danger as d, tools},
};
use crate::keyboard::Layout;

const CLOCK: &str = "2026-11-22 07:30 UTC";

fn overview() -> Overview {
    Overview {
        name: "satellite-3".into(),
        addresses: vec![
            "192.168.100.200/24".into(),
            "2001:db8:1234:5678:9abc:def0:1234:5678/64".into(),
        ],
        links: vec![Link {
            name: "eth0".into(),
            has_carrier: true,
        }],
        port: 7640,
        daemon_answers: true,
        pairing: PairingState::Unpaired,
        server_name: String::new(),
        server_silence: None,
        window: None,
        workloads: Vec::new(),
        bridge_version: "0.1.0".into(),
        os_version: "Debian GNU/Linux 13 (trixie)".into(),
        last_error: String::new(),
        fingerprint: "0123456789abcdef".repeat(4),
        data: Data::Fine,
        open_change: false,
    }
}

fn with_code() -> Overview {
    Overview {
        pairing: PairingState::WindowOpen,
        window: Some(Window {
            code: "ABCD-EFGH-JKMN-PQRS".into(),
            seconds_left: 598,
            tries_left: 5,
        }),
        last_error: "a wrong code was tried from 192.168.100.1".into(),
        ..overview()
    }
}

fn paired() -> Overview {
    Overview {
        pairing: PairingState::Paired,
        server_name: "pbx.example.com".into(),
        server_silence: Some(12),
        workloads: vec![
            Workload {
                name: "backup-service".into(),
                version: "1.4.0".into(),
                state: WorkloadState::Healthy,
                problem: String::new(),
            },
            Workload {
                name: "xcc".into(),
                version: "2.0.1".into(),
                state: WorkloadState::Failed,
                problem: "ended with status 1, is started again in 30 s".into(),
            },
        ],
        open_change: true,
        ..overview()
    }
}

fn broken() -> Overview {
    Overview {
        addresses: Vec::new(),
        links: vec![Link {
            name: "eth0".into(),
            has_carrier: false,
        }],
        daemon_answers: false,
        pairing: PairingState::Unspecified,
        os_version: String::new(),
        fingerprint: String::new(),
        data: Data::Unreadable,
        ..overview()
    }
}

/// Names and errors that somebody chose to do harm.
fn hostile() -> Overview {
    let evil = format!("\u{1b}[2J\u{202e}{}\r\n\u{9b}31m", "W".repeat(300));
    Overview {
        name: evil.clone(),
        addresses: vec![evil.clone(); 9],
        server_name: evil.clone(),
        last_error: evil.clone(),
        fingerprint: evil.clone(),
        bridge_version: evil.clone(),
        workloads: vec![
            Workload {
                name: evil.clone(),
                version: evil.clone(),
                state: WorkloadState::Unspecified,
                problem: evil,
            };
            4
        ],
        ..with_code()
    }
}

fn word(language: Language, title: Text, losses: &[Text], word: &'static str) -> Page {
    let losses = losses.iter().map(|text| language.say(*text).to_owned()).collect();
    Word::new(language.say(title), losses, word).page(language)
}

fn told(language: Language, title: Text, texts: &[Text]) -> Page {
    let texts: Vec<_> = texts.iter().map(|text| language.say(*text).to_owned()).collect();
    dialog::message(language, language.say(title), &texts, Style::Plain)
}

fn pins(language: Language) -> Page {
    let mut form = settings::new_pin_form(language);
    form.fields[0].value = "12345".into();
    settings::check_pins(language, &mut form);
    form.page(language)
}

fn at() -> jiff::Timestamp {
    "2026-11-22T07:30:00Z".parse().unwrap()
}

fn wrong_clock(language: Language) -> Page {
    let mut form = clock::form(language, at(), false);
    form.fields[0].value = "2026-02-30".into();
    clock::check(language, &mut form);
    form.page(language)
}

fn log(language: Language) -> Page {
    let mut pager = Pager::new(language.say(tools::LOG_BRIDGE).to_owned());
    pager.set_height(HEIGHT);
    for number in 0..60 {
        pager.push(&format!(
            "2026-11-22T07:30:{number:02}.000000Z satellite-bridge.service 6 Line {number}\n"
        ));
    }
    pager.page(language)
}

/// All screens, by name.
#[expect(clippy::too_many_lines, reason = "a list: a line or two for each screen")]
fn screens(language: Language) -> Vec<(&'static str, Page)> {
    let l = language;
    vec![
        ("home-unpaired", home::page(l, &overview(), CLOCK)),
        ("home-code", home::page(l, &with_code(), CLOCK)),
        ("home-paired", home::page(l, &paired(), CLOCK)),
        ("home-broken", home::page(l, &broken(), CLOCK)),
        (
            "home-full",
            home::page(
                l,
                &Overview {
                    data: Data::Full,
                    ..paired()
                },
                CLOCK,
            ),
        ),
        (
            "home-read-only",
            home::page(
                l,
                &Overview {
                    data: Data::ReadOnly,
                    ..with_code()
                },
                CLOCK,
            ),
        ),
        ("hostile", home::page(l, &hostile(), CLOCK)),
        ("menu", main_menu(l).page(l)),
        ("connect", connect(l)),
        ("connect-paired", told(l, c::CONNECT, &[c::ALREADY_PAIRED])),
        ("connect-no-bridge", told(l, c::CONNECT, &[c::NEEDS_DAEMON])),
        (
            "disconnect",
            word(
                l,
                c::DISCONNECT,
                &[d::DISCONNECT_WHAT, d::DISCONNECT_LOST],
                "DISCONNECT",
            ),
        ),
        ("firewall", word(l, c::FIREWALL, &[d::FIREWALL_WHAT], "RESET")),
        ("disconnect-unpaired", told(l, c::DISCONNECT, &[d::NOT_PAIRED])),
        (
            "factory-reset",
            word(l, c::FACTORY, &[d::FACTORY_WHAT, d::FACTORY_LOST], "DELETE"),
        ),
        ("factory-reset-done", told(l, c::FACTORY, &[d::FACTORY_DONE])),
        ("firewall-done", told(l, c::FIREWALL, &[d::FIREWALL_DONE])),
        ("not-changed", told(l, c::FIREWALL, &[c::NOT_CHANGED])),
        ("reboot", yes_or_no(l, c::REBOOT, d::REBOOT_ASK)),
        ("shut-down", yes_or_no(l, c::SHUT_DOWN, d::SHUT_DOWN_ASK)),
        ("going-down", told(l, c::REBOOT, &[d::GOING_DOWN])),
        ("pin", pins(l)),
        ("pin-ask", settings::pin_form(l).page(l)),
        ("language", settings::language_form(l, Layout::German).page(l)),
        ("keyboard-failed", told(l, c::LANGUAGE, &[tools::KEYBOARD_FAILED])),
        ("pin-set", told(l, c::PIN, &[tools::PIN_SET])),
        ("pin-removed", told(l, c::PIN, &[tools::PIN_REMOVED])),
        ("pin-wrong", told(l, tools::PIN_ASK, &[tools::PIN_WRONG])),
        (
            "pin-damaged",
            told(l, tools::PIN_ASK, &[tools::PIN_DAMAGED, tools::PIN_FORGOTTEN]),
        ),
        ("log", log(l)),
        ("clock", clock::form(l, at(), true).page(l)),
        ("clock-wrong", wrong_clock(l)),
        ("language-not-stored", told(l, c::LANGUAGE, &[c::NOT_STORED])),
        ("wait", dialog::working(l, l.say(c::CONNECT), c::WAIT)),
        (
            "failed",
            dialog::message(
                l,
                l.say(c::FIREWALL),
                &dialog::failure(
                    l,
                    "cannot swap the rules: `iptables-restore` ended with status 4: \u{1b}[31mtable locked",
                ),
                Style::Warning,
            ),
        ),
    ]
}

fn connect(language: Language) -> Page {
    let ways = [c::SHOW_CODE, c::CLOSE_CODE];
    let names = ways.iter().map(|way| language.say(*way).to_owned()).collect();
    List::new(language.say(c::CONNECT), names).page(language)
}

fn yes_or_no(language: Language, title: Text, question: Text) -> Page {
    let answers = [c::NO, c::YES].map(|answer| language.say(answer).to_owned());
    List::new(language.say(title), answers.to_vec())
        .intro(vec![language.say(question).to_owned()])
        .page(language)
}

fn drawn(page: &Page) -> String {
    let frame = page.frame(WIDTH, HEIGHT);
    let lines = frame.lines.iter().map(|line| line.text.trim_end());
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/menu/screens")
}

#[test]
fn every_screen_in_every_language_is_as_its_file_says() {
    let mut wrong = Vec::new();
    for language in Language::ALL {
        let directory = directory().join(language.code());
        let mut known = Vec::new();
        for (name, page) in screens(language) {
            let file = directory.join(format!("{name}.txt"));
            let text = drawn(&page);
            if std::env::var_os("UPDATE_SCREENS").is_some() {
                satellite_host::files::create_dir(&directory, 0o755).unwrap();
                satellite_host::files::write_atomic(&file, text.as_bytes(), 0o644).unwrap();
            }
            let kept = fs::read_to_string(&file).unwrap_or_default();
            if kept != text {
                wrong.push(format!("{}:\n{text}", file.display()));
            }
            known.push(format!("{name}.txt"));
        }
        for entry in fs::read_dir(&directory).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(known.contains(&name), "{name} belongs to no screen");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_is_cut_on_80_columns_and_24_lines() {
    for language in Language::ALL {
        for (name, page) in screens(language) {
            let is_hostile = name == "hostile";
            assert!(
                page.lines.len() <= HEIGHT - 2,
                "{name} in {language:?}: {} lines",
                page.lines.len()
            );
            assert!(
                columns(&page.title) <= WIDTH - 2,
                "{name} in {language:?}: {}",
                page.title
            );
            assert!(
                columns(&page.foot) < WIDTH,
                "{name} in {language:?}: {}",
                page.foot
            );
            for line in &page.lines {
                assert!(
                    columns(&line.text) <= WIDTH,
                    "{name} in {language:?}: {}",
                    line.text
                );
                assert!(
                    is_hostile || !line.text.contains(CUT),
                    "{name} in {language:?}: {}",
                    line.text
                );
            }
        }
    }
}

#[test]
fn no_screen_can_steer_the_terminal() {
    for language in Language::ALL {
        for (name, page) in screens(language) {
            let steers = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
            assert!(!drawn(&page).contains(steers), "{name} in {language:?}");
        }
    }
}
