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

/// What was done; a line may end between the service and its method, and within a long name of a service.
fn action(words: &str) -> Markup {
    html! {
        code.words {
            @match words.split_once('/') {
                Some((service, method)) => {
                    @match service.strip_suffix("Service") {
                        Some(kind) => { (kind) wbr; "Service/" }
                        None => { (service) "/" }
                    }
                    wbr; (method)
                }
                None => { (words) }
            }
        }
    }
}
