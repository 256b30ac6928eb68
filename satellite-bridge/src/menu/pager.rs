//! Reads a log on the screen: scroll, search, follow.
//!
//! **Invariant:** pure, bounded whatever the log holds, and no line of a log can steer the terminal. There is no other
//! program behind it.

use std::collections::VecDeque;

use super::{
    keys::Press,
    page::{Page, Style, clean, columns, fit},
    text::{Language, common, tools as t},
};

/// Lines that are kept; the oldest go first.
const MOST_LINES: usize = 10_000;
/// Characters of a line that are kept.
const LONGEST_LINE: usize = 2_000;
/// Characters of a search.
const LONGEST_SEARCH: usize = 60;
/// Columns that Right and Left move.
const SIDEWAYS: usize = 20;

/// What a press asks of who reads the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing.
    None,
    /// To go back.
    Leave,
}

/// A log that is being read.
#[derive(Debug, Default)]
pub(super) struct Pager {
    title: String,
    lines: VecDeque<String>,
    /// The beginning of a line whose end has not come.
    partial: String,
    top: usize,
    sideways: usize,
    height: usize,
    is_following: bool,
    /// What is being typed.
    typing: Option<String>,
    search: String,
    found_none: bool,
    /// Why no more lines come.
    end: Option<String>,
}

impl Pager {
    /// Follows at first: the newest lines are seen.
    pub(super) fn new(title: String) -> Self {
        Self {
            title,
            is_following: true,
            height: 1,
            ..Self::default()
        }
    }

    /// How many lines of the log are seen at once.
    pub(super) fn set_height(&mut self, screen: usize) {
        self.height = screen.saturating_sub(3).max(1);
        self.settle();
    }

    /// More of the log.
    pub(super) fn push(&mut self, text: &str) {
        let mut rest = text;
        while let Some((line, after)) = rest.split_once('\n') {
            self.partial.push_str(line);
            let whole = std::mem::take(&mut self.partial);
            self.add(&whole);
            rest = after;
        }
        if self.partial.len() < LONGEST_LINE * 4 {
            self.partial.push_str(rest);
        }
        self.settle();
    }

    /// No more comes; `reason` is empty if that is how it should be.
    pub(super) fn end(&mut self, reason: String) {
        if !self.partial.is_empty() {
            let whole = std::mem::take(&mut self.partial);
            self.add(&whole);
        }
        self.end = Some(reason);
        self.settle();
    }

    pub(super) fn press(&mut self, press: Press) -> Wish {
        if self.typing.is_some() {
            self.type_search(press);
            return Wish::None;
        }
        let page = self.height;
        let target = match press {
            Press::Escape | Press::Char('q' | 'Q') => return Wish::Leave,
            Press::Up | Press::Char('k') => self.top.saturating_sub(1),
            Press::Down | Press::Enter | Press::Char('j') => self.top + 1,
            Press::PageUp | Press::Char('b') => self.top.saturating_sub(page),
            Press::PageDown | Press::Char(' ') => self.top + page,
            Press::Home | Press::Char('g') => 0,
            Press::End | Press::Char('G') => usize::MAX,
            Press::Left => {
                self.sideways = self.sideways.saturating_sub(SIDEWAYS);
                return Wish::None;
            }
            Press::Right => {
                self.sideways = (self.sideways + SIDEWAYS).min(LONGEST_LINE);
                return Wish::None;
            }
            Press::Char('/' | 's') => {
                self.typing = Some(String::new());
                return Wish::None;
            }
            Press::Char('n') => return self.find(true),
            Press::Char('N' | 'p') => return self.find(false),
            Press::Char('f' | 'F') => {
                self.is_following = !self.is_following;
                self.settle();
                return Wish::None;
            }
            _ => return Wish::None,
        };
        self.top = target.min(self.last_top());
        // Whoever goes to the end follows; whoever goes up reads.
        self.is_following = self.top == self.last_top();
        Wish::None
    }

    pub(super) fn page(&self, language: Language) -> Page {
        let mut page = Page::new(
            format!("{} - {}", language.say(t::LOGS), self.title),
            language.say(t::FOOT_PAGER),
        );
        for line in self.lines.iter().skip(self.top).take(self.height) {
            let shifted: String = line.chars().skip(self.sideways).collect();
            let is_hit = !self.search.is_empty() && contains(line, &self.search);
            let style = if is_hit { Style::Strong } else { Style::Plain };
            page.line(shifted, style);
        }
        if self.lines.is_empty() && self.end.is_some() {
            page.text(language.say(t::LOG_EMPTY));
        }
        while page.lines.len() < self.height {
            page.blank();
        }
        let status = match (&self.typing, &self.end) {
            (Some(typed), _) => {
                let text = format!(" {}: {typed}", language.say(t::SEARCH));
                page.cursor = Some((page.lines.len(), columns(&text)));
                text
            }
            (None, _) if self.found_none => format!(" {}", language.fill(t::NOT_FOUND, &[&self.search])),
            (None, Some(reason)) if !reason.is_empty() => {
                format!(" {} {reason}", language.say(common::FAILED))
            }
            _ => {
                let following = if self.is_following {
                    language.say(t::FOLLOWING)
                } else {
                    language.say(t::NOT_FOLLOWING)
                };
                let last = (self.top + self.height).min(self.lines.len());
                format!(" {}/{}  {following}", last, self.lines.len())
            }
        };
        page.line(fit(&status, super::page::WIDTH), Style::Strong);
        page
    }

    fn add(&mut self, line: &str) {
        let line: String = clean(line).chars().take(LONGEST_LINE).collect();
        self.lines.push_back(line);
        if self.lines.len() > MOST_LINES {
            self.lines.pop_front();
            self.top = self.top.saturating_sub(1);
        }
    }

    fn last_top(&self) -> usize {
        self.lines.len().saturating_sub(self.height)
    }

    fn settle(&mut self) {
        if self.is_following {
            self.top = self.last_top();
        }
        self.top = self.top.min(self.last_top());
    }

    fn type_search(&mut self, press: Press) {
        let Some(typed) = &mut self.typing else { return };
        match press {
            Press::Escape => self.typing = None,
            Press::Backspace => {
                typed.pop();
            }
            Press::Char(character) if typed.chars().count() < LONGEST_SEARCH => typed.push(character),
            Press::Enter => {
                self.search = std::mem::take(typed);
                self.typing = None;
                self.find(false);
            }
            _ => {}
        }
    }

    /// Goes to the next line with the search, or the one before.
    fn find(&mut self, is_forward: bool) -> Wish {
        self.found_none = false;
        if self.search.is_empty() {
            return Wish::None;
        }
        let is_hit = |index: &usize| {
            self.lines
                .get(*index)
                .is_some_and(|line| contains(line, &self.search))
        };
        let found = if is_forward {
            (self.top + 1..self.lines.len()).find(is_hit)
        } else {
            // From the newest line that is seen upwards.
            let from = if self.is_following {
                self.lines.len()
            } else {
                self.top
            };
            (0..from).rev().find(is_hit)
        };
        match found {
            Some(index) => {
                self.is_following = false;
                self.top = index.min(self.last_top());
                // A hit near the end cannot be at the top; it is seen all the same.
            }
            None => self.found_none = true,
        }
        Wish::None
    }
}

/// Without regard to case.
fn contains(line: &str, search: &str) -> bool {
    line.to_lowercase().contains(&search.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pager(lines: usize) -> Pager {
        let mut pager = Pager::new("bridge".into());
        pager.set_height(13);
        for number in 0..lines {
            pager.push(&format!("line {number}\n"));
        }
        pager
    }

    fn seen(pager: &Pager) -> Vec<String> {
        let lines = pager.page(Language::English).lines;
        lines.into_iter().map(|line| line.text).collect()
    }

    fn type_text(pager: &mut Pager, text: &str) {
        for character in text.chars() {
            pager.press(Press::Char(character));
        }
    }

    #[test]
    fn the_newest_lines_are_followed_until_somebody_scrolls() {
        let mut pager = pager(100);
        assert!(seen(&pager).contains(&"line 99".into()));
        pager.press(Press::PageUp);
        pager.push("new\n");
        assert!(!seen(&pager).contains(&"new".into()));
        pager.press(Press::End);
        pager.push("newer\n");
        assert!(seen(&pager).contains(&"newer".into()));
        pager.press(Press::Home);
        assert_eq!(seen(&pager)[0], "line 0");
    }

    #[test]
    fn a_search_goes_up_from_the_end_and_says_if_there_is_nothing() {
        let mut pager = pager(100);
        type_text(&mut pager, "/LINE 4");
        pager.press(Press::Enter);
        assert_eq!(seen(&pager)[0], "line 49");
        pager.press(Press::Char('N'));
        assert_eq!(seen(&pager)[0], "line 48");
        pager.press(Press::Char('n'));
        assert_eq!(seen(&pager)[0], "line 49");
        type_text(&mut pager, "/nothing of that");
        pager.press(Press::Enter);
        assert!(seen(&pager).last().unwrap().contains("nothing of that"));
    }

    #[test]
    fn a_q_that_is_searched_for_does_not_leave() {
        let mut pager = pager(3);
        type_text(&mut pager, "/q");
        assert_eq!(pager.press(Press::Enter), Wish::None);
        assert_eq!(pager.press(Press::Char('q')), Wish::Leave);
    }

    #[test]
    fn pieces_make_lines_and_nothing_grows_without_bound() {
        let mut pager = pager(0);
        pager.push("a\u{1b}[2J");
        pager.push("b\nc");
        pager.end(String::new());
        assert_eq!(&seen(&pager)[..2], ["a[2Jb", "c"]);
        for _ in 0..2 * MOST_LINES {
            pager.push("x\n");
        }
        for _ in 0..1000 {
            pager.push(&"y".repeat(1000));
        }
        assert_eq!(pager.lines.len(), MOST_LINES);
        assert!(pager.partial.len() < 10 * LONGEST_LINE);
    }
}
