//! The catalogue: templates with their gaps, found by a word that each has.
//!
//! **Invariant:** a template is in the index under one of its words, or is tried for every message.

use std::collections::HashMap;

use super::super::Language;

/// A template in English, German, French and Italian. `{}` is a gap; `{0}`, `{1}` in a translation are the gaps of the English
/// text by their number, where the order is another.
pub(super) type Row = [&'static str; 4];

/// One template of the catalogue.
#[derive(Debug)]
pub(super) struct Template {
    /// What stands between the gaps in English.
    pub(super) pieces: Vec<&'static str>,
    /// Characters in these but blanks: how much of a message it explains.
    pub(super) weight: usize,
    row: &'static Row,
}

/// A part of a translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Text(&'static str),
    Gap(usize),
}

impl Template {
    fn new(row: &'static Row) -> Self {
        let pieces: Vec<&str> = row[0].split("{}").collect();
        let letters = |piece: &&str| piece.chars().filter(|found| !found.is_whitespace()).count();
        Self {
            weight: pieces.iter().map(letters).sum(),
            pieces,
            row,
        }
    }

    /// How it is said.
    pub(super) fn parts(&self, language: Language) -> Vec<Part> {
        parts(self.row[language as usize])
    }

    /// What of the message is in its gaps, as places in it; none if the message is another one.
    ///
    /// The first and the last piece stand at the ends, those between are taken where they come first: if there is a way to
    /// fit them at all, this one fits.
    pub(super) fn gaps(&self, message: &str) -> Option<Vec<(usize, usize)>> {
        let (first, rest) = self.pieces.split_first()?;
        let Some((last, between)) = rest.split_last() else {
            return (message == *first).then(Vec::new);
        };
        if message.len() < first.len() + last.len() || !message.starts_with(first) || !message.ends_with(last)
        {
            return None;
        }
        let (mut at, end) = (first.len(), message.len() - last.len());
        let mut gaps = Vec::with_capacity(rest.len());
        for piece in between {
            let found = at + message.get(at..end)?.find(piece)?;
            gaps.push((at, found));
            at = found + piece.len();
        }
        message.get(at..end)?;
        gaps.push((at, end));
        Some(gaps)
    }

    /// Whether a gap stands between quotation marks, alone or with other words as in a command: what is in it is a name, never a
    /// message.
    pub(super) fn is_quoted(&self, gap: usize) -> bool {
        let so_far = self.pieces.iter().take(gap + 1);
        let marks = so_far.map(|piece| piece.matches('`').count());
        if marks.sum::<usize>() % 2 == 1 {
            return true;
        }
        let before = self.pieces.get(gap).and_then(|piece| piece.chars().next_back());
        let after = self.pieces.get(gap + 1).and_then(|piece| piece.chars().next());
        let is_mark =
            |found: Option<char>| found.is_some_and(|found| matches!(found, '`' | '"' | '“' | '”' | '\''));
        is_mark(before) && is_mark(after)
    }
}

/// A translation, taken apart at its gaps.
pub(super) fn parts(text: &'static str) -> Vec<Part> {
    let (mut parts, mut rest, mut next) = (Vec::new(), text, 0);
    while let Some((gap, width, number)) = first_gap(rest) {
        let (before, after) = rest.split_at(gap);
        if !before.is_empty() {
            parts.push(Part::Text(before));
        }
        parts.push(Part::Gap(number.unwrap_or(next)));
        next += 1;
        rest = after.get(width..).unwrap_or_default();
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    parts
}

/// Where the first gap is, how wide, and its number if it has one.
fn first_gap(text: &str) -> Option<(usize, usize, Option<usize>)> {
    text.match_indices('{')
        .find_map(|(at, _)| match text.as_bytes().get(at + 1..)? {
            [b'}', ..] => Some((at, 2, None)),
            [digit @ b'0'..=b'9', b'}', ..] => Some((at, 3, Some(usize::from(digit - b'0')))),
            _ => None,
        })
}

/// All templates, and where to find them.
#[derive(Debug)]
pub(super) struct Catalogue {
    pub(super) templates: Vec<Template>,
    by_word: HashMap<&'static str, Vec<usize>>,
    always: Vec<usize>,
}

impl Catalogue {
    pub(super) fn new(rows: impl Iterator<Item = &'static Row>) -> Self {
        let templates: Vec<Template> = rows.map(Template::new).collect();
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for word in templates.iter().flat_map(whole_words) {
            *counts.entry(word).or_default() += 1;
        }
        let mut by_word: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut always = Vec::new();
        for (at, template) in templates.iter().enumerate() {
            let rarest =
                whole_words(template).min_by_key(|word| (counts.get(word).copied(), usize::MAX - word.len()));
            match rarest {
                Some(word) => by_word.entry(word).or_default().push(at),
                None => always.push(at),
            }
        }
        Self {
            templates,
            by_word,
            always,
        }
    }

    /// Those that the message may be of, by the words in it.
    pub(super) fn candidates(&self, message: &str) -> Vec<usize> {
        let mut found = self.always.clone();
        for word in words(message) {
            found.extend(self.by_word.get(word).into_iter().flatten());
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|found: char| !found.is_alphanumeric())
        .filter(|word| !word.is_empty())
}

/// The words of a template that a gap cannot be a part of.
fn whole_words(template: &Template) -> impl Iterator<Item = &'static str> {
    let last = template.pieces.len() - 1;
    template.pieces.iter().enumerate().flat_map(move |(at, piece)| {
        let piece: &'static str = piece;
        words(piece).filter(move |word| {
            let start = word.as_ptr() as usize - piece.as_ptr() as usize;
            (at == 0 || start > 0) && (at == last || start + word.len() < piece.len())
        })
    })
}
