//! Finds members of an archive by their names. Only the index is read, a line at a time.

use super::index::Entry;
use super::read::{Archive, ReadError};

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// The first of them: the name as `DATA SET/PATH`, and what the index says.
    pub first: Vec<(Vec<u8>, Entry)>,
    /// How many there are in all.
    pub count: u64,
}

/// The members whose names hold every word of `text`, however it is written; at most `most` of them, of at most `bytes` bytes
/// of names.
///
/// # Errors
/// [`ReadError`].
pub fn find(archive: &Archive, text: &str, most: usize, mut bytes: usize) -> Result<Found, ReadError> {
    let folded = text.to_lowercase();
    let words: Vec<&str> = folded.split_whitespace().collect();
    let mut found = Found {
        first: Vec::new(),
        count: 0,
    };
    let mut index = archive.index()?;
    while let Some((entry, name)) = index.data_entry()? {
        let readable = String::from_utf8_lossy(&name).to_lowercase();
        if !words.iter().all(|word| readable.contains(word)) {
            continue;
        }
        found.count += 1;
        // Once one does not fit, those that come after are only counted: what is answered has no gap.
        bytes = bytes.saturating_sub(name.len());
        if found.first.len() < most && bytes > 0 {
            found.first.push((name, entry));
        }
    }
    Ok(found)
}
