//! The catalogue and the search in it.

use super::*;
use crate::language::Language;

fn german(message: &str) -> String {
    Language::De.tell(message).to_string()
}

#[test]
fn an_error_with_its_causes_is_told_in_each_language() {
    let message = "destination nas: the SFTP server nas.example:22 does not answer: Connection refused (os error 111); \
                   check name, port, network and firewall";
    let told = Language::ALL.map(|language| language.tell(message));
    assert!(told.iter().all(Said::is_whole), "{told:?}");
    assert_eq!(
        told.map(|told| told.to_string()),
        [
            message,
            "Ziel nas: der SFTP-Server nas.example:22 antwortet nicht: Verbindung abgelehnt (Systemfehler 111); prüfen Sie Name, Port, Netzwerk und Firewall",
            "destination nas\u{202f}: le serveur SFTP nas.example:22 ne répond pas\u{202f}: connexion refusée (erreur système 111)\u{202f}; vérifiez le nom, \
         le port, le réseau et le pare-feu",
            "destinazione nas: il server SFTP nas.example:22 non risponde: connessione rifiutata (errore di sistema 111); verifichi nome, porta, rete e firewall",
        ]
    );
}

#[test]
fn what_is_not_known_stays_as_it_is_and_is_marked() {
    for message in [
        "the frobnicator went sideways",
        "Büro nachts",
        "",
        "10.0.0.1",
        "a: b; c\nd: e",
    ] {
        assert_eq!(german(message), message);
    }
    let said = Language::De.tell("the archive is damaged: the frobnicator went sideways");
    assert_eq!(
        said.to_string(),
        "das Archiv ist beschädigt: the frobnicator went sideways"
    );
    let foreign: Vec<_> = said
        .pieces()
        .iter()
        .map(|piece| (piece.text.as_str(), piece.is_foreign))
        .collect();
    assert_eq!(
        foreign,
        [
            ("das Archiv ist beschädigt: ", false),
            ("the frobnicator went sideways", true)
        ]
    );
    assert!(!said.is_whole());
    assert!(
        Language::De
            .tell("the archive is damaged: Büro_nachts-2026.sar")
            .is_whole(),
        "a name is no English"
    );
    assert!(Language::En.tell("the frobnicator went sideways").is_whole());
}

#[test]
fn what_stands_in_quotation_marks_is_a_name_and_no_message() {
    assert_eq!(
        german("`the archive is damaged` cannot be read"),
        "`the archive is damaged` kann nicht gelesen werden"
    );
    assert_eq!(
        german("next: `management-module central list` shows what there is"),
        "als Nächstes: `management-module central list` zeigt, was da ist",
        "a command is typed as it is"
    );
}

#[test]
fn what_is_not_there_is_named_as_the_language_does() {
    for (message, told) in [
        ("there is no run 7", "den Lauf 7 gibt es nicht"),
        ("there is no archive x.sar", "das Archiv x.sar gibt es nicht"),
        (
            "there is no bundle of backup-service 1.2.3",
            "es gibt kein Paket von backup-service 1.2.3",
        ),
        (
            "data set `a b` is not a name: 1 to 63 of a-z, 0-9 and hyphen",
            "Datenbestand `a b` ist kein Name: 1 bis 63 aus a-z, 0-9 und Bindestrich",
        ),
    ] {
        assert_eq!(german(message), told);
    }
}

#[test]
fn a_hostile_message_takes_no_long_time_and_is_lost_nowhere() {
    let pieces = [
        "cannot ",
        ": ",
        "; ",
        "`",
        "the archive is damaged",
        " bytes are free, ",
        " is not there",
        "\n",
        "{}",
        "a",
        " ",
    ];
    let mut seed = 1_u64;
    let mut random = || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap()
    };
    let mut messages = vec![
        "a: ".repeat(50_000),
        "cannot ".repeat(50_000),
        ": ".repeat(2000),
        "; cannot x".repeat(400),
        "\n".repeat(100_000),
    ];
    messages.extend((0..200).map(|_| (0..400).map(|_| pieces[random() % pieces.len()]).collect()));
    let start = std::time::Instant::now();
    for message in &messages {
        let told = german(message);
        assert!(told.len() < message.len() * 4 + 100, "{message}");
        assert_eq!(told.contains('a'), message.contains('a'));
    }
    // Some seconds at most in a build that is not optimised: a thousandth of what trying all ways would take.
    assert!(
        start.elapsed() < std::time::Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_page_of_messages_is_told_quickly() {
    let message = "satellite branch-1: destination nas: the connection to nas.example was lost: Connection reset by peer (os error 104)";
    german(message);
    let start = std::time::Instant::now();
    for _ in 0..300 {
        german(message);
    }
    assert!(
        start.elapsed() < std::time::Duration::from_millis(300),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn each_entry_has_all_languages_with_the_same_gaps_and_is_found_again() {
    let mut faults = Vec::new();
    for row in words::ALL.iter().copied().flatten() {
        let gaps = row[0].matches("{}").count();
        for text in row {
            let mut found: Vec<usize> = template::parts(text)
                .into_iter()
                .filter_map(|part| {
                    if let template::Part::Gap(gap) = part {
                        Some(gap)
                    } else {
                        None
                    }
                })
                .collect();
            found.sort_unstable();
            if text.is_empty() || text.trim() != *text || found != (0..gaps).collect::<Vec<_>>() {
                faults.push(format!("{text:?}: gaps {found:?}, in English {gaps}"));
            }
        }
        let words = |text: &str| {
            text.split(' ')
                .filter(|word| word.chars().filter(char::is_ascii_alphabetic).count() > 1)
                .count()
        };
        if words(row[0]) > 2 && row[1..].iter().any(|text| *text == row[0]) {
            faults.push(format!("{:?} is not translated", row[0]));
        }
        if row[2]
            .split_whitespace()
            .any(|word| [":", ";", "?", "!"].contains(&word))
            && !row[2].contains('\u{202f}')
        {
            faults.push(format!("{:?} lacks a narrow space", row[2]));
        }
        let values = ["x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8"];
        let filled = |text: &'static str| {
            let parts = template::parts(text).into_iter();
            parts
                .map(|part| match part {
                    template::Part::Text(text) => text,
                    template::Part::Gap(gap) => values[gap],
                })
                .collect::<String>()
        };
        for language in [Language::De, Language::Fr, Language::It] {
            let (told, expected) = (
                language.tell(&filled(row[0])).to_string(),
                filled(row[language as usize]),
            );
            if told != expected {
                faults.push(format!("{:?} is told as {told:?} and not {expected:?}", row[0]));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
