//! The catalogue: what programs say, in four languages, one table for each area. The English text is the one in the source with
//! `{}` for each gap; in the others `{0}`, `{1}` name a gap where the order is another.
//!
//! **Invariant:** a text has all languages, or it does not compile; that none is missing, and none is there that nobody says, is
//! checked against the sources (`tests/tests/tidy/said.rs`).

use super::template::Row;

/// Makes a table: English, German, French, Italian.
macro_rules! said {
    ($($english:literal | $german:literal | $french:literal | $italian:literal;)*) => {
        pub(super) const ALL: &[crate::language::said::template::Row] = &[$([$english, $german, $french, $italian]),*];
    };
}
use said;

mod archives;
mod centrals;
mod command;
mod destinations;
mod machine;
mod mails;
mod plans;
mod requests;
mod runs;
mod satellites;
mod system;
mod updates;

/// All tables.
pub(super) const ALL: &[&[Row]] = &[
    archives::ALL,
    centrals::ALL,
    command::ALL,
    destinations::ALL,
    machine::ALL,
    mails::ALL,
    plans::ALL,
    requests::ALL,
    runs::ALL,
    satellites::ALL,
    system::ALL,
    updates::ALL,
];
