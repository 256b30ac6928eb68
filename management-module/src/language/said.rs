//! What programs say (errors, notices, steps), in the reader's language: a catalogue of the English templates, and the
//! search that takes a message apart by them.
//!
//! **Invariant:** what is stored, logged and sent is English; a message is translated where it is shown, and what the catalogue
//! does not have stays as it is. The work is bounded whatever the message is.

mod find;
mod template;
mod words;

use std::fmt;
use std::sync::LazyLock;

use self::find::Search;
use self::template::Catalogue;
use super::Language;

/// A line that is longer is not looked through: no message of ours is.
const LONGEST: usize = 4096;

static CATALOGUE: LazyLock<Catalogue> =
    LazyLock::new(|| Catalogue::new(words::ALL.iter().copied().flatten()));

/// A message in the language of who reads it, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    pieces: Vec<Piece>,
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its text.
    pub text: String,
    /// It stayed English for a reader of another language.
    pub is_foreign: bool,
}

impl Said {
    /// Its parts, one after the other.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Whether nothing of it stayed English.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.pieces.iter().all(|piece| !piece.is_foreign)
    }

    fn push(&mut self, text: &str, is_foreign: bool) {
        match self.pieces.last_mut() {
            Some(last) if last.is_foreign == is_foreign => last.text.push_str(text),
            _ if text.is_empty() => {}
            _ => self.pieces.push(Piece {
                text: text.to_owned(),
                is_foreign,
            }),
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| f.write_str(&piece.text))
    }
}

impl Language {
    /// What a program said in English, in this language.
    #[must_use]
    pub fn tell(self, message: &str) -> Said {
        let mut said = Said::default();
        if self == Self::En {
            said.push(message, false);
            return said;
        }
        let mut search = Search::new(&CATALOGUE, self);
        for (at, line) in message.split('\n').enumerate() {
            if at > 0 {
                said.push("\n", false);
            }
            if line.len() > LONGEST {
                said.push(line, true);
            } else {
                search.say(line, &mut said);
            }
        }
        said
    }
}

#[cfg(test)]
mod tests;
