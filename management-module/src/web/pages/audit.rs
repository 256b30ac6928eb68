//! The audit log.

use maud::{Markup, html};

use crate::web::ask::{Answer, Ask};
use crate::web::look::{self, Tone};
use crate::web::pager::Part;
use crate::web::text::common;

/// Records that are looked through.
const SHOWN: u32 = 5000;

pub(in crate::web) async fn list(ask: Ask) -> Answer {
    let records = ask.app().audit.newest(SHOWN).await?;
    let part = Part::asked(&ask, records, |record| {
        [
            record.actor.as_str(),
            &record.action,
            &record.subject,
            &record.result,
        ]
        .join(" ")
    });
    let content = html! {
        h1 { (ask.say(common::AUDIT)) }
        p.soft { (ask.fill(common::NEWEST, &[&ask.language.number(SHOWN.into())])) }
        (part.field(&ask, "/audit"))
        @if !part.rows.is_empty() { div.sheet { table.stack #records {
            thead { tr {
                th scope="col" { (ask.say(common::TIME)) }
                th scope="col" { (ask.say(common::WHO)) }
                th scope="col" { (ask.say(common::ACTION)) }
                th scope="col" { (ask.say(common::SUBJECT)) }
                th scope="col" { (ask.say(common::RESULT)) }
            } }
            tbody { @for record in &part.rows { tr {
                td data-label=(ask.say(common::TIME)) { (look::moment(&ask, Some(record.time))) }
                td data-label=(ask.say(common::WHO)) { (look::said(&ask, &record.actor)) }
                td data-label=(ask.say(common::ACTION)) { (action(&record.action)) }
                td.long data-label=(ask.say(common::SUBJECT)) { (record.subject) }
                td.long data-label=(ask.say(common::RESULT)) {
                    @if record.result == "ok" { (look::badge(Tone::Good, ask.say(common::OK))) }
                    @else { (look::badge(Tone::Bad, ask.say(common::FAILED))) " " span.small { (look::said(&ask, &record.result)) } }
                }
            } } }
        } } }
        (part.steps(&ask, "/audit"))
    };
    Ok(look::page(&ask, ask.say(common::AUDIT), &content))
}

/// What was done; a line may end between its words.
fn action(name: &str) -> Markup {
    html! { code.words { @for word in words(name) { (word) wbr; } } }
}

/// The words of what is written as `SomeService/DoThis`.
fn words(name: &str) -> Vec<&str> {
    let bytes = name.as_bytes();
    let begins = |at: &usize| {
        let (before, here) = (bytes[at - 1], bytes[*at]);
        before == b'/' || before.is_ascii_lowercase() && here.is_ascii_uppercase()
    };
    let begins: Vec<usize> = (1..bytes.len()).filter(begins).collect();
    let ends = begins.iter().copied().chain([name.len()]);
    let begins = std::iter::once(0).chain(begins.iter().copied());
    begins.zip(ends).map(|(from, to)| &name[from..to]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cut_into_its_words_and_nothing_is_lost() {
        for (name, wanted) in [
            ("RunService/RunNow", vec!["Run", "Service/", "Run", "Now"]),
            ("Push", vec!["Push"]),
            ("ÄÖ/é ACME", vec!["ÄÖ/", "é ACME"]),
            ("", vec![""]),
        ] {
            assert_eq!(words(name), wanted);
        }
    }
}
