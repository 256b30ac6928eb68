//! Single files of an archive: found by a text in their names, ticked, brought back.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use axum::http::StatusCode;
use bytes::Bytes;
use maud::{Markup, html};
use satellite_proto::wire::backup::v1::{FindMembersResponse, FoundMember, MemberType};

use super::{find, place, restore_to, targets};
use crate::app::backup::Stored;
use crate::web::ask::{Answer, Ask};
use crate::web::failure::status_of;
use crate::web::look;
use crate::web::text::{common, member};

/// Members on the page, and at most so many are ticked.
const SHOWN: u32 = 200;

/// More members than that put what follows them out of sight.
const FEW: u64 = 10;

/// Characters of a text to look for.
const LONGEST: usize = 200;

/// What a path is in a form: any bytes, as hexadecimal digits.
fn coded(path: &[u8]) -> String {
    path.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn decoded(text: &str) -> Option<Bytes> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let is_whole =
        !text.is_empty() && text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_whole
        .then(|| text.as_bytes().chunks(2).map(pair).collect::<Option<Vec<u8>>>())
        .flatten()
        .map(Bytes::from)
}

/// The members that are ticked in a form.
pub(super) fn ticked(ask: &Ask) -> Vec<Bytes> {
    let all = ask.form.all("path").take(SHOWN as usize);
    all.filter_map(decoded).collect()
}

pub(in crate::web) async fn show(ask: Ask) -> Answer {
    let stored = find(&ask).await?;
    let seen = Seen {
        text: ask.query.text("find"),
        ..Seen::default()
    };
    shown(&ask, StatusCode::OK, &stored, seen).await
}

/// The page again, when what was ticked was not brought back: with a problem, or because another word was typed.
pub(super) async fn again(
    ask: &Ask,
    status: StatusCode,
    stored: &Stored,
    ticked: &[Bytes],
    problem: Option<Markup>,
) -> Answer {
    let seen = Seen {
        text: ask.form.text("find"),
        ticked,
        is_wrong: problem.is_none(),
        problem,
    };
    shown(ask, status, stored, seen).await
}

/// What was looked for and ticked, and what is to be said about it.
#[derive(Default)]
struct Seen<'a> {
    text: &'a str,
    ticked: &'a [Bytes],
    problem: Option<Markup>,
    is_wrong: bool,
}

impl<'a> Seen<'a> {
    /// The same of the text that was really looked for.
    fn of(&self, text: &'a str) -> Self {
        Self {
            text,
            ticked: self.ticked,
            problem: None,
            is_wrong: self.is_wrong,
        }
    }
}

async fn shown(ask: &Ask, status: StatusCode, stored: &Stored, seen: Seen<'_>) -> Answer {
    let centrals = targets(ask).await?;
    let text: String = seen.text.chars().take(LONGEST).collect();
    let found = ask.web.backups().find_members(stored, &text, SHOWN).await;
    let status = found.as_ref().err().map_or(status, status_of);
    let archive = &stored.archive;
    let here = format!("{}/members", place(stored));
    let content = html! {
        h1 { (ask.say(member::FILES)) }
        p { a href=(place(stored)) { (archive.file_name) } }
        @if let Some(problem) = &seen.problem { (problem) }
        form.actions.card method="get" action=(here) role="search" {
            label for="find" { (ask.say(member::FIND)) }
            input #find name="find" type="search" value=(text) maxlength=(LONGEST) autocomplete="off";
            button.main { (ask.say(member::FIND_NOW)) }
        }
        @match &found {
            Err(error) => { (look::problem(ask, error)) }
            Ok(found) => { (list(ask, stored, &seen.of(&text), (found, &centrals))) }
        }
    };
    Ok(look::page_with(ask, status, ask.say(member::FILES), &content))
}

fn list(
    ask: &Ask,
    stored: &Stored,
    seen: &Seen<'_>,
    (found, centrals): (&FindMembersResponse, &[(String, String)]),
) -> Markup {
    let number = |count: u64| ask.language.number(count);
    let ticked: BTreeSet<&[u8]> = seen.ticked.iter().map(|path| &path[..]).collect();
    let shown = found.members.len() as u64;
    html! {
        p.soft role="status" {
            @if found.found == 0 { (ask.say(member::NOTHING)) }
            @else if shown < found.found { (ask.fill(member::SOME, &[&number(shown), &number(found.found)])) }
            @else { (ask.fill(member::COUNT, &[&number(found.found)])) }
            @if shown > FEW { " " a href="#bring-back" { (ask.say(member::BRING_BACK)) } }
        }
        @if !found.members.is_empty() {
            form method="post" action={ (place(stored)) "/restore" } {
                (look::token(ask))
                input type="hidden" name="find" value=(seen.text);
                input type="hidden" name="key" value=(uuid::Uuid::new_v4().to_string());
                div.sheet { table.stack {
                    caption.unseen { (ask.say(member::FILES)) }
                    thead { tr {
                        th scope="col" { (ask.say(common::NAME)) }
                        th scope="col" { (ask.say(member::KIND)) }
                        th.number scope="col" { (ask.say(common::SIZE)) }
                    } }
                    tbody { @for one in &found.members { (row(ask, one, ticked.contains(&one.path[..]))) } }
                } }
                section.card #bring-back {
                    h2 { (ask.say(member::BRING_BACK)) }
                    p { (ask.say(member::BELOW_TOO)) }
                    (restore_to(ask, stored, centrals, seen.is_wrong))
                }
            }
        }
    }
}

fn row(ask: &Ask, one: &FoundMember, is_ticked: bool) -> Markup {
    let kind = match one.r#type() {
        MemberType::Unspecified => common::UNKNOWN,
        MemberType::File => member::FILE,
        MemberType::Directory => member::DIRECTORY,
        MemberType::Symlink | MemberType::HardLink => member::LINK,
    };
    let name = String::from_utf8_lossy(&one.path);
    html! {
        tr {
            th scope="row" { (look::tick("path", &coded(&one.path), &html! { (name) }, is_ticked)) }
            td data-label=(ask.say(member::KIND)) { (ask.say(kind)) }
            td.number data-label=(ask.say(common::SIZE)) { (ask.language.size(one.size_bytes)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_any_bytes_comes_back_from_a_form_and_nothing_else_does() {
        let path = b"core/\xff<b>\n.wav";
        assert_eq!(decoded(&coded(path)).unwrap(), &path[..]);
        for wrong in ["", "0", "0g", "+1", "core"] {
            assert_eq!(decoded(wrong), None, "{wrong}");
        }
    }
}
