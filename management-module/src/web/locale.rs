//! What the page says in the reader's language.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::language::Language;

impl Language {
    /// A moment by the server's clock, to the minute.
    pub(super) fn moment(self, time: Timestamp) -> String {
        self.moment_in(time, &TimeZone::system())
    }
}
