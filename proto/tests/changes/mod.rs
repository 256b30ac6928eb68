//! Changes to bytes, drawn at random: what a careless disk, a cut line or an attacker makes of a file.

use proptest::prelude::*;

/// A change to bytes.
#[derive(Debug, Clone)]
enum Change {
    Flip(usize, u8),
    Cut(usize),
    Remove(usize, usize),
    Repeat(usize, usize),
    Insert(usize, Vec<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    let place = || any::<prop::sample::Index>().prop_map(|index| index.index(1 << 20));
    prop_oneof![
        4 => (place(), 1..=255_u8).prop_map(|(at, bits)| Change::Flip(at, bits)),
        1 => place().prop_map(Change::Cut),
        1 => (place(), 1..64_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => (place(), 1..64_usize).prop_map(|(at, count)| Change::Repeat(at, count)),
        1 => (place(), prop::collection::vec(any::<u8>(), 1..32)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
    ]
}

/// One of `files`, with a few changes.
pub(crate) fn changed(files: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(files), prop::collection::vec(change(), 1..5)).prop_map(|(mut bytes, changes)| {
        for change in changes {
            let within = |at: usize| at % bytes.len().max(1);
            match change {
                _ if bytes.is_empty() => {}
                Change::Flip(at, bits) => {
                    let at = within(at);
                    bytes[at] ^= bits;
                }
                Change::Cut(at) => {
                    let at = within(at);
                    bytes.truncate(at);
                }
                Change::Remove(at, count) => {
                    let at = within(at);
                    let end = (at + count).min(bytes.len());
                    bytes.drain(at..end);
                }
                Change::Repeat(at, count) => {
                    let at = within(at);
                    let end = (at + count).min(bytes.len());
                    let again = bytes[at..end].to_vec();
                    bytes.splice(end..end, again);
                }
                Change::Insert(at, more) => {
                    let at = within(at);
                    bytes.splice(at..at, more);
                }
            }
        }
        bytes
    })
}
