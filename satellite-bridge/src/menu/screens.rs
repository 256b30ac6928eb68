//! Every screen of the menu in every language, as text files beside this one: `screens/LANGUAGE/SCREEN.txt`.
//!
//! To write them anew after a change: `UPDATE_SCREENS=1 cargo test --lib screens`, then read the difference.

use std::{fs, path::PathBuf};

use satellite_proto::wire::bridge::v1::JoinState;

use super::{
    check, clock, connect,
    dialog::{self, List, Word},
    form::Form,
    home, main_menu, network,
    overview::{Data, Overview},
    page::{CUT, HEIGHT, Page, Style, WIDTH, columns},
    pager::Pager,
    settings, support,
    text::{Language, Text, common as c, danger as d, network as n, tools},
};
use crate::keyboard::Layout;
use crate::network::{self as net, Settings};

mod fixtures;

use fixtures::{broken, by_hand, disks, findings, hostile, joining, overview, paired, tested, with_code};

const CLOCK: &str = "2026-11-22 07:30 UTC";

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

fn settings_form(language: Language, settings: &Settings) -> Form {
    let mut form = network::fields::form(language, settings, &["eth0".to_owned(), "eth1".to_owned()]);
    network::fields::check(language, &mut form);
    form
}

fn network_now(language: Language) -> Page {
    let link = net::Link {
        name: "eth0".into(),
        hardware_address: "52:54:00:12:34:56".into(),
        has_carrier: true,
        addresses: ["192.168.100.200/24", "2001:db8:1234:5678:5054:ff:fe12:3456/64"]
            .map(|address| net::Address {
                net: address.parse().unwrap(),
                is_dynamic: true,
                is_duplicate: false,
            })
            .to_vec(),
        ..net::Link::default()
    };
    let observed = net::Observed {
        host_name: "satellite-3".into(),
        links: vec![link],
        gateways: vec!["192.168.100.1".parse().unwrap(), "fe80::1".parse().unwrap()],
        dns: vec!["192.168.100.1".parse().unwrap()],
        ntp: vec!["ntp.example.com".into()],
    };
    let entries = vec![language.say(n::CHANGE).to_owned()];
    List::new(language.say(c::NETWORK), entries)
        .rows(network::now(language, &observed), network::LABEL)
        .page(language)
}

/// Every fault of the network in every language, as the form tells it.
#[test]
fn every_advice_and_fault_fits_beside_its_field() {
    use super::text::{check as k, network as n};
    for language in Language::ALL {
        for (name, text) in k::ALL.iter().chain(n::ALL) {
            let lines = super::page::wrap(language.say(*text), WIDTH - 2).len();
            assert!(lines <= 3, "{name} in {language:?} takes {lines} lines");
        }
    }
}

fn token(language: Language, typed: &str) -> Page {
    let mut form = connect::token_form(language);
    form.fields[0].value = typed.into();
    connect::check_token(language, &mut form);
    form.page(language)
}

fn support_done(language: Language) -> Page {
    let file = "support-satellite-3-20261122-073000.tar.zst";
    let text = language.fill(tools::SUPPORT_DONE, &[file, "2048"]);
    dialog::message(language, language.say(c::SUPPORT), &[text], Style::Plain)
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
        ("network", network_now(l)),
        ("network-dhcp", settings_form(l, &Settings::default()).page(l)),
        ("network-static", settings_form(l, &by_hand()).page(l)),
        ("network-findings", network::findings_list(l, &findings()).page(l)),
        ("network-you-confirm", network::count_down_page(l, 117, false)),
        ("network-server-confirms", network::count_down_page(l, 117, true)),
        ("network-keep-anyway", network::keep_anyway(l).page(l)),
        ("network-kept", told(l, c::NETWORK, &[n::KEPT])),
        ("network-taken-back", told(l, c::NETWORK, &[n::TAKEN_BACK])),
        (
            "network-probing",
            dialog::working(l, l.say(c::NETWORK), n::PROBING),
        ),
        (
            "network-applying",
            dialog::working(l, l.say(c::NETWORK), n::APPLYING),
        ),
        ("check-fine", check::page(l, &tested(true), true)),
        ("check-wrong", check::page(l, &tested(false), true)),
        ("check-begun", check::page(l, &tested(true)[..2], false)),
        ("restore", word(l, c::RESTORE, &[d::RESTORE_WHAT], "RESET")),
        ("restore-nothing", told(l, c::RESTORE, &[d::RESTORE_NOTHING])),
        (
            "restore-before",
            yes_or_no(l, c::RESTORE, d::RESTORE_NETWORK_BEFORE),
        ),
        (
            "restore-taken-back",
            told(l, c::RESTORE, &[d::RESTORE_TAKEN_BACK]),
        ),
        ("connect", connect_list(l)),
        ("connect-token", token(l, "")),
        ("connect-token-wrong", token(l, "not a token")),
        ("connect-joining", told(l, c::CONNECT, &[c::JOINING])),
        ("home-joining", home::page(l, &joining(JoinState::Trying), CLOCK)),
        ("home-token-used", home::page(l, &joining(JoinState::Used), CLOCK)),
        (
            "home-token-expired",
            home::page(l, &joining(JoinState::Expired), CLOCK),
        ),
        (
            "home-token-unknown",
            home::page(l, &joining(JoinState::Unknown), CLOCK),
        ),
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
        ("support", support::disk_list(l, &disks()).page(l)),
        (
            "support-no-disk",
            told(l, c::SUPPORT, &[tools::SUPPORT_INTRO, tools::SUPPORT_NO_DISK]),
        ),
        (
            "support-writing",
            dialog::working(l, l.say(c::SUPPORT), tools::SUPPORT_WRITING),
        ),
        ("support-done", support_done(l)),
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

fn connect_list(language: Language) -> Page {
    let ways = [c::SHOW_CODE, c::CLOSE_CODE, c::ENTER_TOKEN];
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
