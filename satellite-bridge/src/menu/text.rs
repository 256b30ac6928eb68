//! What the menu says, in four languages: tables, one for each part of the menu.
//!
//! **Invariant:** a text has all languages, or it does not compile; and every letter is one that the kernel's own
//! console font has.

pub(super) mod check;
pub(super) mod common;
pub(super) mod danger;
pub(super) mod home;
pub(super) mod network;
pub(crate) mod rescue;
pub(super) mod tools;

/// A language of the menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    German,
    French,
    Italian,
}

/// A text in all languages: English, German, French, Italian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Text(pub(super) [&'static str; 4]);

/// Makes a constant of each text, and the list of all for the tests.
macro_rules! texts {
    ($($name:ident = $english:literal | $german:literal | $french:literal | $italian:literal;)*) => {
        $(pub(crate) const $name: crate::menu::text::Text =
            crate::menu::text::Text([$english, $german, $french, $italian]);)*

        #[cfg(test)]
        pub(crate) const ALL: &[(&str, crate::menu::text::Text)] = &[$((stringify!($name), $name)),*];
    };
}
use texts;

impl Language {
    pub(crate) const ALL: [Self; 4] = [Self::English, Self::German, Self::French, Self::Italian];

    pub(crate) fn code(self) -> &'static str {
        ["en", "de", "fr", "it"][self as usize]
    }

    /// Its name in itself.
    pub(super) fn name(self) -> &'static str {
        ["English", "Deutsch", "Français", "Italiano"][self as usize]
    }

    pub(crate) fn from_code(code: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|language| language.code() == code.trim())
    }

    /// A text in this language.
    pub(crate) fn say(self, text: Text) -> &'static str {
        text.0[self as usize]
    }

    /// A text with `{}` filled in, one value after the other.
    pub(crate) fn fill(self, text: Text, values: &[&str]) -> String {
        let mut pieces = self.say(text).split("{}");
        let mut filled = pieces.next().unwrap_or_default().to_owned();
        let mut values = values.iter();
        for piece in pieces {
            filled.push_str(values.next().copied().unwrap_or_default());
            filled.push_str(piece);
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beyond ASCII, what code page 437 has of the letters of these languages.
    const FONT: &str = "ÄÖÜäöüßÇçéâêëèïîìÉôòûùàáíóúñ«»";

    fn all() -> impl Iterator<Item = (&'static str, Text)> {
        let tables = [
            check::ALL,
            common::ALL,
            danger::ALL,
            home::ALL,
            network::ALL,
            rescue::ALL,
            tools::ALL,
        ];
        tables.into_iter().flatten().copied()
    }

    #[test]
    fn a_language_is_read_back_by_its_code() {
        for language in Language::ALL {
            assert_eq!(
                Language::from_code(&format!("{}\n", language.code())),
                Some(language)
            );
        }
        assert_eq!(Language::from_code("xx"), None);
    }

    #[test]
    fn no_language_lacks_a_text_and_all_have_the_same_gaps_to_fill() {
        for (name, Text(texts)) in all() {
            let gaps = texts[0].matches("{}").count();
            for text in texts {
                assert!(!text.is_empty(), "{name} is empty in one language");
                assert_eq!(text.matches("{}").count(), gaps, "{name}: {text}");
                assert_eq!(text.trim(), text, "{name}");
            }
            let is_word = |word: &&str| word.chars().filter(char::is_ascii_alphabetic).count() > 1;
            let words = texts[0].split(' ').filter(is_word).count();
            let translated = texts[1..].iter().all(|text| *text != texts[0]);
            assert!(words < 3 || translated, "{name} is not translated");
        }
    }

    #[test]
    fn the_font_of_the_kernel_has_every_letter() {
        for (name, Text(texts)) in all() {
            for letter in texts.iter().flat_map(|text| text.chars()) {
                let known = letter == '\n' || (' '..='~').contains(&letter) || FONT.contains(letter);
                assert!(known, "{name} has `{letter}`");
            }
        }
    }

    #[test]
    fn gaps_are_filled_in_order() {
        let text = Text(["{} of {}", "", "", ""]);
        assert_eq!(Language::English.fill(text, &["1", "2"]), "1 of 2");
        assert_eq!(Language::English.fill(text, &[]), " of ");
    }
}
