//! Prints. Nothing else in this program does.
//!
//! **Invariant:** answers go to stdout, everything about how it goes to stderr, so that stdout can be piped.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Cell, ContentArrangement, Table, presets};
use prost_types::Timestamp;
use serde::Serialize;

use super::texts::{self, Text};
use super::{CliError, Output};
use crate::language::Language;

/// Several things of a kind: a row each, or a JSON array.
pub(super) fn list<T: Serialize>(
    output: Output,
    items: &[T],
    heading: &[Text],
    row: impl Fn(&T) -> Vec<String>,
) -> Result<(), CliError> {
    text(&listed(output, items, heading, row)?)
}

/// One thing: a line for each property, or a JSON object.
pub(super) fn one<T: Serialize>(
    output: Output,
    item: &T,
    properties: impl Fn(&T) -> Vec<(Text, String)>,
) -> Result<(), CliError> {
    text(&told(output, item, properties)?)
}

pub(super) fn listed<T: Serialize>(
    output: Output,
    items: &[T],
    heading: &[Text],
    row: impl Fn(&T) -> Vec<String>,
) -> Result<String, CliError> {
    if output == Output::Json {
        return json(items);
    }
    let mut table = table();
    table.set_header(heading.iter().map(|text| Cell::new(text.say().to_uppercase())));
    for item in items {
        table.add_row(row(item).into_iter().map(|text| {
            if text.is_empty() {
                texts::NONE.to_owned()
            } else {
                cell(text)
            }
        }));
    }
    Ok(finished(&mut table))
}

pub(super) fn told<T: Serialize>(
    output: Output,
    item: &T,
    properties: impl Fn(&T) -> Vec<(Text, String)>,
) -> Result<String, CliError> {
    if output == Output::Json {
        return json(item);
    }
    let mut table = table();
    for (name, value) in properties(item) {
        table.add_row([
            format!("{}:", name.say()),
            if value.is_empty() {
                texts::NONE.to_owned()
            } else {
                cell(value)
            },
        ]);
    }
    Ok(finished(&mut table))
}

/// A part and the whole.
pub(super) fn of(part: &str, whole: &str) -> String {
    Language::told_in().fill(texts::OF, &[part, whole])
}

/// A name has no blanks, or is no message; what a program said is told in the reader's language.
fn cell(text: String) -> String {
    if text.contains(' ') {
        texts::told(&text)
    } else {
        text
    }
}

/// One word as an answer: itself, or a JSON object with it under `key`.
pub(super) fn word(output: Output, key: &str, word: &str) -> Result<(), CliError> {
    match output {
        Output::Table => text(&format!("{word}\n")),
        Output::Json => text(&json(&serde_json::json!({ key: word }))?),
    }
}

/// It is done and there is nothing more to answer; `said` is for a person.
pub(super) fn done(output: Output, said: &str) -> Result<(), CliError> {
    note(said);
    match output {
        Output::Table => Ok(()),
        Output::Json => text(&json(&serde_json::json!({ "done": true }))?),
    }
}

/// Prints text to stdout. A reader that went away is no error.
pub(super) fn text(text: &str) -> Result<(), CliError> {
    bytes(text.as_bytes())
}

/// Prints bytes to stdout.
pub(super) fn bytes(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(err) if err.kind() != io::ErrorKind::BrokenPipe => Err(CliError::failed(err)),
        _ => Ok(()),
    }
}

/// Tells something about how it goes.
pub(super) fn note(text: &str) {
    let text = texts::told(text);
    let _gone = writeln!(io::stderr().lock(), "{text}");
}

pub(super) fn warning(text: &str) {
    line(texts::WARNING_LINE, text);
}

pub(super) fn error(text: &str) {
    line(texts::ERROR_LINE, text);
}

/// Tells what kind of news it is, and the news.
fn line(kind: Text, text: &str) {
    let text = Language::told_in().fill(kind, &[&texts::told(text)]);
    let _gone = writeln!(io::stderr().lock(), "{text}");
}

/// Whether a person looks at stderr.
pub(super) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// A moment in RFC 3339, whole seconds, UTC; empty if there is none.
pub(super) fn time(time: Option<&Timestamp>) -> String {
    let moment = time.and_then(|time| jiff::Timestamp::from_second(time.seconds).ok());
    moment.map(|moment| moment.to_string()).unwrap_or_default()
}

/// Bytes for a person.
pub(super) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, CliError> {
    let mut text = serde_json::to_string_pretty(value).map_err(CliError::failed)?;
    text.push('\n');
    Ok(text)
}

fn table() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn finished(table: &mut Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}
