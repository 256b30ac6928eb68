//! The mail about a warning of an account: that it stands, or that it is over.

use jiff::tz::TimeZone;

use super::words as w;
use super::{Block, Letter, moment};
use crate::language::{Language, Text};
use crate::plan::account::Account;
use crate::plan::warnings::{Finding, Kind, Raised};

/// Where a warning stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Now {
    /// It stands.
    Stands,
    /// It is over.
    Over,
}

/// The subject, what is said, and what is to be done, of a kind.
fn words(kind: Kind) -> (Text, Text, &'static [Text]) {
    match kind {
        Kind::Quota => (w::QUOTA_SUBJECT, w::QUOTA, &[w::DO_RETENTION, w::DO_QUOTA]),
        Kind::Schedule => (w::SCHEDULE_SUBJECT, w::SCHEDULE, &[w::DO_SERVER, w::DO_SEE]),
        Kind::Unsuccessful => (
            w::UNSUCCESSFUL_SUBJECT,
            w::UNSUCCESSFUL,
            &[w::DO_SEE, w::DO_CAUSE],
        ),
        Kind::Upgrade => (w::UPGRADE_SUBJECT, w::UPGRADE, &[w::DO_UPDATE]),
        Kind::NoBackup => (w::NO_BACKUP_SUBJECT, w::NO_BACKUP, &[w::DO_CONFIGURE]),
    }
}

/// Writes the mail.
#[must_use]
pub fn write(
    account: &Account,
    kind: Kind,
    raised: &Raised,
    now: Now,
    (zone, link): (&TimeZone, &str),
) -> Letter {
    let language = account.language;
    let (subject, happened, steps) = words(kind);
    let subject = language.fill(subject, &[&account.name]);
    let since = moment(language, raised.since, zone);
    let row = |text: Text, value: String| (language.say(text).to_owned(), value);
    let mut rows = vec![
        row(w::ACCOUNT, account.name.clone()),
        row(w::TENANT, account.tenant.clone()),
        row(w::STANDS_SINCE, since),
    ];
    rows.extend(details(language, &raised.finding, zone));
    let mut blocks = vec![Block::Heading(language.say(w::WHAT_HAPPENED))];
    let subject = match now {
        Now::Stands => {
            blocks.push(Block::Paragraph(language.say(happened).to_owned()));
            blocks.push(Block::Rows(rows));
            blocks.push(Block::Heading(language.say(w::WHAT_TO_DO)));
            // It goes to customers: no step is a command of the server.
            let steps = steps
                .iter()
                .chain([&w::DO_PASS_ON])
                .map(|step| language.say(*step).to_owned());
            blocks.push(Block::Steps(steps.collect()));
            subject
        }
        Now::Over => {
            blocks.push(Block::Paragraph(language.say(w::OVER).to_owned()));
            blocks.push(Block::Rows(rows));
            language.fill(w::OVER_SUBJECT, &[&subject])
        }
    };
    if !link.is_empty() {
        blocks.push(Block::Link(link.to_owned()));
    }
    Letter::write(language, &subject, &blocks)
}

/// What a finding is about, each in a row.
#[must_use]
pub fn details(language: Language, finding: &Finding, zone: &TimeZone) -> Vec<(String, String)> {
    let counted = |text: Text, count: u32| language.fill(text, &[&count.to_string()]);
    match finding {
        Finding::Quota(used, quota) => {
            let percent = u128::from(*used) * 100 / u128::from(*quota).max(1);
            let told = language.fill(
                w::USED_OF,
                &[
                    &language.size(*used),
                    &language.size(*quota),
                    &percent.to_string(),
                ],
            );
            vec![(language.say(w::SPACE).to_owned(), told)]
        }
        Finding::Schedule(counts) => {
            let rows = counts
                .iter()
                .map(|(name, count)| (name.clone(), counted(w::MISSED_TIMES, *count)));
            rows.collect()
        }
        Finding::Unsuccessful(counts) => {
            let rows = counts
                .iter()
                .map(|(name, count)| (name.clone(), counted(w::BAD_RUNS, *count)));
            rows.collect()
        }
        Finding::Upgrade(clients) => {
            let told = |one: &crate::plan::warnings::Client| {
                let text = language.fill(w::VERSION_OF, &[&one.version, &one.least]);
                (format!("{} {}", one.satellite, one.program), text)
            };
            clients.iter().map(told).collect()
        }
        Finding::NoBackup(since) => {
            vec![(
                language.say(w::KNOWN_SINCE).to_owned(),
                moment(language, *since, zone),
            )]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::account::{Limits, Party};
    use crate::plan::warnings::Client;

    fn raised(kind: Kind) -> Raised {
        let counts = || [("Büro <nachts>".to_owned(), 3)].into();
        let since: jiff::Timestamp = "2026-11-22T01:00:00Z".parse().unwrap();
        Raised {
            since,
            told_at: Some(since),
            told: 1,
            concerns: Vec::new(),
            finding: match kind {
                Kind::Quota => Finding::Quota(950_000_000, 1_000_000_000),
                Kind::Schedule => Finding::Schedule(counts()),
                Kind::Unsuccessful => Finding::Unsuccessful(counts()),
                Kind::Upgrade => Finding::Upgrade(vec![Client {
                    satellite: "annex".into(),
                    program: "satellite-bridge".into(),
                    version: "2.0.9".into(),
                    least: "2.0.11".into(),
                }]),
                Kind::NoBackup => Finding::NoBackup(since),
            },
        }
    }

    fn letter(kind: Kind, language: Language, now: Now) -> Letter {
        let account = Account {
            name: "4000001".into(),
            tenant: "customer".into(),
            language,
            own: Party::default(),
            reseller: None,
            limits: Limits::default(),
        };
        write(&account, kind, &raised(kind), now, (&TimeZone::UTC, ""))
    }

    #[test]
    fn each_warning_says_what_happened_and_what_to_do() {
        let letters = Kind::ALL.map(|kind| letter(kind, Language::En, Now::Stands).plain);
        insta::assert_snapshot!(letters.join("=====\n"));
    }

    #[test]
    fn nobody_is_told_a_command_who_has_no_server() {
        for kind in Kind::ALL {
            for language in Language::ALL {
                let Letter { plain, html, .. } = letter(kind, language, Now::Stands);
                assert!(!plain.contains("management-module "), "{plain}");
                assert!(!html.contains("management-module "), "{html}");
            }
        }
    }

    #[test]
    fn a_warning_that_is_over_says_so_in_each_language() {
        let subjects = Language::ALL.map(|language| letter(Kind::Quota, language, Now::Over).subject);
        let wanted = [
            "Over: Backup of 4000001: little space left",
            "Vorbei: Datensicherung von 4000001: wenig Platz",
            "Terminé : Sauvegarde de 4000001 : peu d'espace libre",
            "Risolto: Backup di 4000001: poco spazio libero",
        ];
        assert_eq!(subjects, wanted);
        for kind in Kind::ALL {
            let over = letter(kind, Language::En, Now::Over);
            assert!(
                !over.plain.contains("What to do") && !over.html.contains("<nachts>"),
                "{over:?}"
            );
        }
    }
}
