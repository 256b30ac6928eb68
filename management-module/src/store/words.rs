//! How closed sets of values are written into columns.
//!
//! **Invariant:** each value has one word and each word one value; an unknown word is a corrupt row, never a default.

use super::StoreError;
use crate::language::Language;
use crate::plan::configuration::Kind;
use crate::plan::outcome::{CopyState, RunState};

/// A value that is stored as a word.
pub(super) trait Word: Copy + Sized + 'static {
    /// What the column holds, for an error.
    const WHAT: &'static str;
    /// All values and their words.
    const WORDS: &'static [(Self, &'static str)];
    /// Whether two are the same.
    fn is(self, other: Self) -> bool;

    /// The word of a value.
    fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(value, _)| value.is(self));
        found.map_or("", |(_, word)| word)
    }

    /// The value of a word.
    fn read(word: &str) -> Result<Self, StoreError> {
        let found = Self::WORDS.iter().find(|(_, known)| *known == word);
        found
            .map(|(value, _)| *value)
            .ok_or(StoreError::Corrupt { what: Self::WHAT })
    }
}

/// Each value with its word.
macro_rules! words {
    ($type:ty, $what:literal, $($variant:ident = $word:literal),+ $(,)?) => {
        impl Word for $type {
            const WHAT: &'static str = $what;
            const WORDS: &'static [(Self, &'static str)] = &[$((Self::$variant, $word)),+];
            fn is(self, other: Self) -> bool {
                // No wildcard: a new value needs a word.
                match self { $(Self::$variant => matches!(other, Self::$variant)),+ }
            }
        }
    };
}

pub(super) use words;

words!(
    Kind,
    "kind of a configuration",
    Backup = "backup",
    Archiving = "archiving"
);
words!(Language, "language", En = "en", De = "de", Fr = "fr", It = "it");
words!(
    RunState,
    "state of a run",
    Queued = "queued",
    Deferred = "deferred",
    Running = "running",
    Succeeded = "succeeded",
    Partial = "partial",
    Failed = "failed",
    Cancelled = "cancelled",
    Missed = "missed",
);
words!(
    CopyState,
    "state of a copy",
    Pending = "pending",
    Copying = "copying",
    Done = "done",
    Failed = "failed",
    Skipped = "skipped",
);

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Word>() {
        for (value, word) in T::WORDS {
            assert_eq!(value.word(), *word);
            assert!(T::read(word).unwrap().is(*value));
            assert_eq!(T::WORDS.iter().filter(|(_, other)| other == word).count(), 1);
        }
        assert!(T::read("nonsense").is_err());
    }

    #[test]
    fn each_value_has_one_word() {
        check::<Kind>();
        check::<Language>();
        check::<RunState>();
        check::<CopyState>();
        check::<super::super::Cause>();
        check::<super::super::LeaseKind>();
        check::<super::super::RestoreOutcome>();
        check::<super::super::EventKind>();
        check::<crate::plan::warnings::Kind>();
        check::<super::super::AccountSource>();
        check::<super::super::MailState>();
        check::<super::super::Channel>();
    }
}
