//! What the page says in the reader's language.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::text::Text;
use crate::language::Language;

impl Language {
    /// A text in this language.
    pub(super) fn say(self, text: Text) -> &'static str {
        text.0[self as usize]
    }

    /// A text with `{}` filled in, one value after the other.
    pub(super) fn fill(self, text: Text, values: &[&str]) -> String {
        let mut pieces = self.say(text).split("{}");
        let mut filled = pieces.next().unwrap_or_default().to_owned();
        let mut values = values.iter();
        for piece in pieces {
            filled.push_str(values.next().copied().unwrap_or_default());
            filled.push_str(piece);
        }
        filled
    }

    /// A moment by the server's clock, to the minute.
    pub(super) fn moment(self, time: Timestamp) -> String {
        self.moment_in(time, &TimeZone::system())
    }
}
