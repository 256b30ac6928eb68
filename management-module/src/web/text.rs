//! What the page says, in four languages: tables, one for each part of it.
//!
//! **Invariant:** a text has all languages, or it does not compile.

pub(super) mod account;
pub(super) mod backup;
pub(super) mod common;
pub(super) mod fleet;
pub(super) mod machine;
pub(super) mod member;
pub(super) mod plan;
pub(super) mod rollout;
pub(super) mod warn;

pub(super) use crate::language::Text;

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = (&'static str, Text)> {
        let tables = [
            common::ALL,
            account::ALL,
            fleet::ALL,
            machine::ALL,
            member::ALL,
            backup::ALL,
            plan::ALL,
            rollout::ALL,
            warn::ALL,
        ];
        tables.into_iter().flatten().copied()
    }

    #[test]
    fn no_language_lacks_a_text_of_the_page_and_all_have_the_same_gaps() {
        for (name, text) in all() {
            let texts = text.in_all();
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
        for (name, text) in all() {
            if let Some(other) = seen.insert(text.in_all(), name) {
                panic!("{name} says the same as {other}");
            }
        }
    }
}
