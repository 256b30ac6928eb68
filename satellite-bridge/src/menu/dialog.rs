//! Lists, questions and messages: what every part of the menu is made of.
//!
//! **Invariant:** pure; a destructive step needs a typed word, which nobody types by mistake.

use super::{
    keys::Press,
    page::{CUT, Page, Style, fit},
    text::{Language, Text, common as t},
};

/// Longest answer that is taken.
const LONGEST_WORD: usize = 40;
/// Marks of entries: what is typed to get there.
const MARKS: &str = "123456789abcdeghimoprstuvwxyz";

/// A list of which one entry is chosen.
#[derive(Debug, Clone)]
pub(super) struct List {
    title: String,
    intro: Vec<String>,
    rows: Vec<(String, String)>,
    label: usize,
    entries: Vec<String>,
    mark: usize,
}

/// What a press meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meant<T> {
    /// The same page goes on.
    Stay,
    /// The person goes back.
    Back,
    /// They chose.
    Done(T),
}

impl List {
    pub(super) fn new(title: &str, entries: Vec<String>) -> Self {
        Self {
            title: title.to_owned(),
            intro: Vec::new(),
            rows: Vec::new(),
            label: 0,
            entries,
            mark: 0,
        }
    }

    /// Puts texts of ours above the entries.
    pub(super) fn intro(mut self, texts: Vec<String>) -> Self {
        self.intro = texts;
        self
    }

    /// Puts names and values from outside above the entries; names take `label` columns.
    pub(super) fn rows(mut self, rows: Vec<(String, String)>, label: usize) -> Self {
        self.rows = rows;
        self.label = label;
        self
    }

    /// Begins with this entry marked.
    pub(super) fn at(mut self, mark: usize) -> Self {
        self.mark = mark.min(self.entries.len().saturating_sub(1));
        self
    }

    pub(super) fn press(&mut self, press: Press) -> Meant<usize> {
        let last = self.entries.len().saturating_sub(1);
        self.mark = match press {
            Press::Enter | Press::Right if !self.entries.is_empty() => return Meant::Done(self.mark),
            Press::Escape | Press::Left | Press::Char('q' | 'Q') => return Meant::Back,
            Press::Up | Press::BackTab | Press::Char('k') => self.mark.checked_sub(1).unwrap_or(last),
            Press::Down | Press::Tab | Press::Char('j') => {
                if self.mark >= last {
                    0
                } else {
                    self.mark + 1
                }
            }
            Press::Home | Press::PageUp => 0,
            Press::End | Press::PageDown => last,
            Press::Char(character) => match MARKS.find(character.to_ascii_lowercase()) {
                Some(index) if index <= last => index,
                _ => self.mark,
            },
            _ => self.mark,
        };
        Meant::Stay
    }

    pub(super) fn page(&self, language: Language) -> Page {
        let mut page = Page::new(self.title.clone(), language.say(t::FOOT_LIST));
        page.blank();
        for text in &self.intro {
            page.text(text);
        }
        for (name, value) in &self.rows {
            page.row(self.label, name, value);
        }
        if !(self.intro.is_empty() && self.rows.is_empty()) {
            page.blank();
        }
        for (index, entry) in self.entries.iter().enumerate() {
            let is_marked = index == self.mark;
            let (sign, style) = if is_marked {
                ('>', Style::Marked)
            } else {
                (' ', Style::Plain)
            };
            let key = MARKS.chars().nth(index).unwrap_or(' ');
            page.line(format!(" {sign} {key} {}", fit(entry, 72)), style);
        }
        page
    }
}

/// A question that is answered by a typed word.
#[derive(Debug, Clone)]
pub(super) struct Word {
    title: String,
    /// What will happen, and what will be lost.
    losses: Vec<String>,
    word: &'static str,
    typed: String,
}

impl Word {
    pub(super) fn new(title: &str, losses: Vec<String>, word: &'static str) -> Self {
        Self {
            title: title.to_owned(),
            losses,
            word,
            typed: String::new(),
        }
    }

    /// `Done(true)` if the word was typed, `Done(false)` if another one.
    pub(super) fn press(&mut self, press: Press) -> Meant<bool> {
        match press {
            Press::Escape => return Meant::Back,
            Press::Enter => return Meant::Done(self.typed.trim().eq_ignore_ascii_case(self.word)),
            Press::Backspace => {
                self.typed.pop();
            }
            Press::Char(character) if self.typed.chars().count() < LONGEST_WORD => self.typed.push(character),
            _ => {}
        }
        Meant::Stay
    }

    pub(super) fn page(&self, language: Language) -> Page {
        let mut page = Page::new(self.title.clone(), language.say(t::FOOT_WORD));
        page.blank();
        for text in &self.losses {
            page.styled(text, Style::Plain);
            page.blank();
        }
        page.styled(&language.fill(t::TYPE_WORD, &[self.word]), Style::Strong);
        page.blank();
        let typed = fit(&self.typed, LONGEST_WORD);
        page.line(format!(" > {typed}"), Style::Plain);
        page.cursor = Some((page.lines.len() - 1, 3 + super::page::columns(&typed)));
        page
    }
}

/// Something that a person reads and leaves by any key.
pub(super) fn message(language: Language, title: &str, texts: &[String], style: Style) -> Page {
    let mut page = Page::new(title, language.say(t::FOOT_ANY_KEY));
    page.blank();
    for text in texts {
        page.styled(&super::page::clean(text), style);
        page.blank();
    }
    page
}

/// Something that takes a while.
pub(super) fn working(language: Language, title: &str, text: Text) -> Page {
    let mut page = Page::new(title, "");
    page.blank();
    page.text(language.say(text));
    page
}

/// An error with its causes, told after what did not work.
pub(super) fn failure(language: Language, error: &str) -> Vec<String> {
    let shown: String = super::page::pieces(error, 76, 8).join(" ");
    debug_assert!(!shown.contains('\u{1b}'), "cleaned, and cut with {CUT}");
    vec![language.say(t::FAILED).to_owned(), shown]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> List {
        List::new("t", vec!["one".into(), "two".into(), "three".into()])
    }

    #[test]
    fn the_mark_goes_round_and_enter_takes_it() {
        let mut list = list();
        for (press, mark) in [
            (Press::Down, 1),
            (Press::Down, 2),
            (Press::Down, 0),
            (Press::Up, 2),
            (Press::Char('2'), 1),
            (Press::Char('9'), 1),
            (Press::End, 2),
        ] {
            assert_eq!(list.press(press), Meant::Stay);
            assert_eq!(list.mark, mark, "{press:?}");
        }
        assert_eq!(list.press(Press::Enter), Meant::Done(2));
        assert_eq!(list.press(Press::Escape), Meant::Back);
        assert_eq!(List::new("t", Vec::new()).press(Press::Enter), Meant::Stay);
    }

    #[test]
    fn only_the_word_itself_is_an_agreement() {
        for (typed, meant) in [
            ("DELETE", true),
            ("delete ", true),
            ("DELET", false),
            ("", false),
            ("yes", false),
        ] {
            let mut word = Word::new("t", Vec::new(), "DELETE");
            for character in typed.chars() {
                assert_eq!(word.press(Press::Char(character)), Meant::Stay);
            }
            assert_eq!(word.press(Press::Enter), Meant::Done(meant), "{typed}");
        }
    }

    #[test]
    fn a_very_long_answer_stays_bounded() {
        let mut word = Word::new("t", Vec::new(), "DELETE");
        for _ in 0..100_000 {
            word.press(Press::Char('x'));
        }
        assert_eq!(word.typed.len(), LONGEST_WORD);
    }
}
