//! Takes a message apart: which template it is of, what is in its gaps, and where one message ends and its cause begins.
//!
//! **Invariant:** of several ways the one that explains most of it is taken, the same one each time; after so many steps what is
//! left stays English.

use std::collections::HashMap;

use super::Said;
use super::template::{Catalogue, Part};
use crate::language::Language;

/// What is joined by these is looked up one by one.
const JOINTS: [&str; 2] = [": ", "; "];

/// So many joints of one message are looked at.
const MOST_JOINTS: usize = 16;

/// So much is done for all lines of a message together, in templates tried and in pieces of [`STEP`] bytes read. Real messages
/// need some hundred.
const MOST_STEPS: usize = 20_000;

/// Bytes that are read in one step.
const STEP: usize = 16;

/// Gaps in gaps, and messages after messages.
const DEEPEST: usize = 40;

/// A place in the line that is looked at.
type Place = (usize, usize);

/// How a part of a line is said.
#[derive(Debug)]
struct Way {
    /// Characters that are known.
    known: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// As it is.
    Plain,
    Template(usize, Vec<Place>),
    /// A message, the joint after it, and what follows.
    Joined(Place, &'static str, Place),
}

/// One look through a message.
#[derive(Debug)]
pub(super) struct Search<'a> {
    catalogue: &'a Catalogue,
    language: Language,
    steps: usize,
    /// The line that is looked at.
    line: &'a str,
    /// What was found out about parts of it.
    ways: HashMap<Place, Way>,
}

impl<'a> Search<'a> {
    pub(super) fn new(catalogue: &'a Catalogue, language: Language) -> Self {
        Self {
            catalogue,
            language,
            steps: MOST_STEPS,
            line: "",
            ways: HashMap::new(),
        }
    }

    /// Says one line.
    pub(super) fn say(&mut self, line: &'a str, said: &mut Said) {
        self.line = line;
        self.ways.clear();
        self.find((0, line.len()), 0);
        self.write((0, line.len()), said);
    }

    fn text(&self, place: Place) -> &'a str {
        self.line.get(place.0..place.1).unwrap_or_default()
    }

    fn find(&mut self, place: Place, depth: usize) -> usize {
        if let Some(way) = self.ways.get(&place) {
            return way.known;
        }
        let mut best = Way {
            known: 0,
            kind: Kind::Plain,
        };
        let text = self.text(place);
        if depth < DEEPEST && !text.is_empty() {
            self.find_template(place, depth, &mut best);
            self.find_joint(place, depth, &mut best);
        }
        let known = best.known;
        self.ways.insert(place, best);
        known
    }

    fn find_template(&mut self, place: Place, depth: usize, best: &mut Way) {
        let catalogue = self.catalogue;
        let text = self.text(place);
        if !self.may_read(text) {
            return;
        }
        let mut own = 0;
        for at in catalogue.candidates(text) {
            if !self.may_read("") {
                return;
            }
            let Some(template) = catalogue.templates.get(at) else {
                continue;
            };
            let Some(gaps) = template.gaps(text) else { continue };
            let gaps: Vec<Place> = gaps
                .into_iter()
                .map(|(from, to)| (place.0 + from, place.0 + to))
                .collect();
            let mut known = template.weight;
            for (gap, inner) in gaps.iter().enumerate() {
                if !template.is_quoted(gap) {
                    known += self.find(*inner, depth + 1);
                }
            }
            // Equally good: the one that has most of it itself.
            let is_better = known > best.known || known == best.known && template.weight > own;
            if is_better {
                (own, best.known) = (template.weight, known);
                best.kind = Kind::Template(at, gaps);
            }
        }
    }

    /// Counts the work of reading that; whether some is left.
    fn may_read(&mut self, text: &str) -> bool {
        self.steps = self.steps.saturating_sub(1 + text.len() / STEP);
        self.steps > 0
    }

    fn find_joint(&mut self, place: Place, depth: usize, best: &mut Way) {
        let text = self.text(place);
        let joints = JOINTS.iter().flat_map(|joint| text.match_indices(joint));
        let mut joints: Vec<(usize, &str)> = joints.collect();
        joints.sort_unstable();
        for (at, joint) in joints.into_iter().take(MOST_JOINTS) {
            if self.steps == 0 {
                return;
            }
            let Some(joint) = JOINTS.into_iter().find(|found| *found == joint) else {
                continue;
            };
            let head = (place.0, place.0 + at);
            let tail = (place.0 + at + joint.len(), place.1);
            // The head has no joint that is taken: those before it were looked at already.
            let mut alone = Way {
                known: 0,
                kind: Kind::Plain,
            };
            self.find_template(head, depth + 1, &mut alone);
            let in_head = alone.known;
            let in_tail = self.find(tail, depth + 1);
            let are_both = in_head > 0 && in_tail > 0;
            let known = in_head + in_tail + usize::from(are_both);
            // Equally good: two messages rather than one with a name that has the other in it.
            let is_better = known > best.known || known == best.known && are_both;
            if known > 0 && is_better {
                best.known = known;
                best.kind = Kind::Joined(head, joint, tail);
                self.ways.insert(head, alone);
            }
        }
    }

    fn write(&self, place: Place, said: &mut Said) {
        let text = self.text(place);
        let kind = self.ways.get(&place).map(|way| &way.kind);
        match kind {
            None | Some(Kind::Plain) => said.push(text, is_english(text)),
            Some(Kind::Joined(head, joint, tail)) => {
                self.write(*head, said);
                said.push(self.joint(joint), false);
                self.write(*tail, said);
            }
            Some(Kind::Template(at, gaps)) => {
                let Some(template) = self.catalogue.templates.get(*at) else {
                    return;
                };
                for part in template.parts(self.language) {
                    match part {
                        Part::Text(text) => said.push(text, false),
                        Part::Gap(gap) => {
                            let inner = gaps.get(gap).copied().unwrap_or_default();
                            if template.is_quoted(gap) {
                                said.push(self.text(inner), false);
                            } else {
                                self.write(inner, said);
                            }
                        }
                    }
                }
            }
        }
    }

    fn joint(&self, joint: &'static str) -> &'static str {
        match (self.language, joint) {
            (Language::Fr, ": ") => "\u{202f}: ",
            (Language::Fr, "; ") => "\u{202f}; ",
            _ => joint,
        }
    }
}

/// Whether it reads as English: two words or more. Names, addresses, paths and numbers are the same in every language.
fn is_english(text: &str) -> bool {
    let outside = text.split(['`', '"']).step_by(2);
    let words = outside.flat_map(str::split_whitespace);
    let bare = words.map(|word| word.trim_matches(['.', ',', ':', ';', '(', ')']));
    let is_word = |word: &&str| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_lowercase());
    bare.filter(is_word).count() > 1
}
