//! What the page says, in four languages: tables, one for each part of it.
//!
//! **Invariant:** a text has all languages, or it does not compile.

pub(super) mod account;
pub(super) mod backup;
pub(super) mod common;
pub(super) mod fleet;
pub(super) mod machine;
pub(super) mod plan;
pub(super) mod warn;

/// A text in all languages: English, German, French, Italian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text(pub(super) [&'static str; 4]);

/// Makes a constant of each text, and the list of all for the tests.
macro_rules! texts {
    ($($name:ident = $english:literal | $german:literal | $french:literal | $italian:literal;)*) => {
        $(pub(in crate::web) const $name: crate::web::text::Text =
            crate::web::text::Text([$english, $german, $french, $italian]);)*

        #[cfg(test)]
        pub(in crate::web) const ALL: &[(&str, crate::web::text::Text)] = &[$((stringify!($name), $name)),*];
    };
}
use texts;

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = (&'static str, Text)> {
        let tables = [
            common::ALL,
            account::ALL,
            fleet::ALL,
            machine::ALL,
            backup::ALL,
            plan::ALL,
            warn::ALL,
        ];
        tables.into_iter().flatten().copied()
    }

    #[test]
    fn no_language_lacks_a_text_of_the_page_and_all_have_the_same_gaps() {
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
    fn no_text_of_the_page_is_there_twice() {
        let mut seen = std::collections::HashMap::new();
        for (name, Text(texts)) in all() {
            if let Some(other) = seen.insert(texts, name) {
                panic!("{name} says the same as {other}");
            }
        }
    }
}
