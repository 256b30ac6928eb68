//! The languages that people are spoken to in: command line, web page, mails.
//!
//! **Invariant:** what programs read is never translated.

use serde::{Deserialize, Serialize};

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// German.
    De,
    /// French.
    Fr,
    /// Italian.
    It,
}

impl Language {
    /// All, in the order in which texts have them.
    pub const ALL: [Self; 4] = [Self::En, Self::De, Self::Fr, Self::It];

    /// Its code (ISO 639-1).
    #[must_use]
    pub fn code(self) -> &'static str {
        ["en", "de", "fr", "it"][self as usize]
    }

    /// The language of a code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_read_back_by_its_code_and_has_the_same_one_in_files() {
        for language in Language::ALL {
            assert_eq!(Language::from_code(language.code()), Some(language));
            assert_eq!(
                serde_json::to_value(language).unwrap(),
                serde_json::json!(language.code())
            );
        }
        assert_eq!(Language::from_code("xx"), None);
    }
}
