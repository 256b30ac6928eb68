//! Long lists, a page at a time: narrowed by a text, then cut. All by the address, so that a page can be sent to somebody
//! and works without a script.

use maud::{Markup, html};

use super::ask::{Ask, escaped};
use super::text::common;

/// Rows on a page.
pub(super) const ROWS: usize = 50;

/// A list that is shorter than this is seen at a glance: nothing in it has to be found.
const GLANCE: usize = 10;

/// Characters of a text to look for.
const LONGEST: usize = 200;

/// The rows that the reader asked for by `find` and `page` of the address.
#[derive(Debug)]
pub(super) struct Part<T> {
    /// What is on the page.
    pub(super) rows: Vec<T>,
    /// What the names in the address end with: a page may have two lists.
    mark: &'static str,
    wanted: String,
    /// Counts from 1.
    number: usize,
    last: usize,
    found: usize,
    all: usize,
}

impl<T> Part<T> {
    /// Of `all`; `text` is what is looked through of a row.
    pub(super) fn asked(ask: &Ask, all: Vec<T>, text: impl Fn(&T) -> String) -> Self {
        Self::marked(ask, "", all, text)
    }

    /// The same for the second list of a page.
    pub(super) fn second(ask: &Ask, all: Vec<T>, text: impl Fn(&T) -> String) -> Self {
        Self::marked(ask, "-2", all, text)
    }

    fn marked(ask: &Ask, mark: &'static str, all: Vec<T>, text: impl Fn(&T) -> String) -> Self {
        let asked = |name: &str| ask.query.text(&format!("{name}{mark}"));
        let wanted: String = asked("find").chars().take(LONGEST).collect();
        let number = asked("page").parse().unwrap_or(1);
        Self {
            mark,
            ..Self::cut(all, wanted, number, text)
        }
    }

    fn cut(mut rows: Vec<T>, wanted: String, number: usize, text: impl Fn(&T) -> String) -> Self {
        let all = rows.len();
        let folded = wanted.to_lowercase();
        let words: Vec<&str> = folded.split_whitespace().collect();
        if !words.is_empty() {
            rows.retain(|row| {
                let text = text(row).to_lowercase();
                words.iter().all(|word| text.contains(word))
            });
        }
        let found = rows.len();
        let last = found.div_ceil(ROWS).max(1);
        // What was on a later page may be gone.
        let number = number.clamp(1, last);
        let rows = rows.into_iter().skip((number - 1) * ROWS).take(ROWS).collect();
        Self {
            rows,
            mark: "",
            wanted,
            number,
            last,
            found,
            all,
        }
    }

    /// The same part with more about each row.
    pub(super) fn with<U>(self, rows: Vec<U>) -> Part<U> {
        Part {
            rows,
            mark: self.mark,
            wanted: self.wanted,
            number: self.number,
            last: self.last,
            found: self.found,
            all: self.all,
        }
    }

    /// The rows, to be told more about.
    pub(super) fn take(&mut self) -> Vec<T> {
        std::mem::take(&mut self.rows)
    }

    /// There is nothing at all, whatever is looked for.
    pub(super) fn is_empty(&self) -> bool {
        self.all == 0
    }

    /// `place` with what was asked for.
    pub(super) fn place(&self, place: &str) -> String {
        self.at(place, self.number)
    }

    fn at(&self, place: &str, number: usize) -> String {
        let mark = self.mark;
        format!("{place}?find{mark}={}&page{mark}={number}", escaped(&self.wanted))
    }

    /// The field to look for something in the list at `place`.
    pub(super) fn field(&self, ask: &Ask, place: &str) -> Markup {
        let name = format!("find{}", self.mark);
        html! {
            @if self.all > GLANCE || !self.wanted.is_empty() {
                form.actions.find method="get" action=(place) role="search" {
                    label for=(name) { (ask.say(common::FIND)) }
                    input id=(name) name=(name) type="search" value=(self.wanted) maxlength=(LONGEST) autocomplete="off";
                    button { (ask.say(common::FIND_NOW)) }
                    @if !self.wanted.is_empty() { a href=(place) { (ask.say(common::SHOW_ALL)) } }
                }
            }
        }
    }

    /// Where in the list the reader is, and the ways to go on.
    pub(super) fn steps(&self, ask: &Ask, place: &str) -> Markup {
        let count = |number: usize| ask.language.number(number as u64);
        let first = (self.number - 1) * ROWS;
        html! {
            @if self.found == 0 { p { (ask.fill(common::NOTHING_FOUND, &[&self.wanted])) } }
            @else if self.last > 1 {
                nav.actions.steps aria-label=(ask.say(common::PAGES)) {
                    @if self.number > 1 {
                        a.button rel="prev" href=(self.at(place, self.number - 1)) { "← " (ask.say(common::PAGE_BEFORE)) }
                    }
                    span { (ask.fill(common::FROM_TO_OF, &[
                        &count(first + 1), &count(first + self.rows.len()), &count(self.found),
                    ])) }
                    @if self.number < self.last {
                        a.button rel="next" href=(self.at(place, self.number + 1)) { (ask.say(common::PAGE_AFTER)) " →" }
                    }
                }
            }
            @else if !self.wanted.is_empty() {
                p.soft { (ask.fill(common::FROM_TO_OF, &[&count(first + 1), &count(self.rows.len()), &count(self.found)])) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(count: usize, wanted: &str, number: usize) -> Part<usize> {
        Part::cut((0..count).collect(), wanted.to_owned(), number, |row| {
            format!("Annex {row:04} Zürich")
        })
    }

    #[test]
    fn each_row_is_on_one_page_and_a_page_that_is_not_there_is_the_last() {
        let mut seen = Vec::new();
        let last = part(120, "", 1).last;
        for number in 1..=last {
            let part = part(120, "", number);
            assert!(part.rows.len() <= ROWS);
            seen.extend(part.rows);
        }
        assert_eq!(seen, (0..120).collect::<Vec<_>>());
        assert_eq!(part(120, "", 0).number, 1);
        assert_eq!(part(120, "", 99).number, last);
        assert_eq!(part(0, "", 3).number, 1);
        assert!(part(0, "", 1).is_empty());
    }

    #[test]
    fn all_words_are_looked_for_wherever_they_stand_and_however_they_are_written() {
        assert_eq!(part(120, "zÜRICH 0007", 1).rows, [7]);
        assert_eq!(part(120, "annex", 3).rows.first(), Some(&100));
        let nothing = part(120, "Genf", 1);
        assert!(nothing.rows.is_empty() && !nothing.is_empty());
    }

    #[test]
    fn what_is_looked_for_stays_in_the_address() {
        let part = part(120, "a&b=c #d", 2);
        assert_eq!(
            part.place("/satellites"),
            "/satellites?find=a%26b%3Dc%20%23d&page=1"
        );
    }
}
