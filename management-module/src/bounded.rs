//! Memory that is bounded: of too much the oldest goes.
//!
//! **Invariant:** what is asked to stay is not touched as long as there is room.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

/// Removes the oldest, if there are `most` already: one more fits then. `at` is the age of each.
pub(crate) fn make_room<K: Clone + Eq + Hash, V>(
    all: &mut HashMap<K, V>,
    most: usize,
    at: impl Fn(&V) -> Instant,
) {
    if all.len() < most {
        return;
    }
    let oldest = all.iter().min_by_key(|(_, value)| at(value));
    if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
        all.remove(&oldest);
    }
}
