//! The end of an archive: the seal (a skippable zstd frame with the digest of all that comes before it and the place
//! of the index) and the seek table (zstd's seekable format). Pure.
//!
//! **Invariant:** reading accepts exactly what writing makes: each bit of both has a meaning that is checked.

use super::{FRAME, MAX_FRAMES};

/// Bytes of the seal.
pub const SEAL: usize = 56;

/// Bytes of the seek table's footer.
pub const FOOTER: usize = 9;

const SEAL_MAGIC: [u8; 4] = 0x184D_2A50_u32.to_le_bytes();
const SEAL_NAME: [u8; 8] = *b"SARSEAL1";
const TABLE_MAGIC: [u8; 4] = 0x184D_2A5E_u32.to_le_bytes();
const FOOTER_MAGIC: [u8; 4] = 0x8F92_EAB1_u32.to_le_bytes();

/// What is wrong with the end of an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadEnd {
    /// The last bytes are not those of a seek table: it is no archive, or it was cut.
    #[error("it does not end with a seek table: it is cut short or no archive")]
    Footer,
    /// The seek table contradicts itself or the length of the file.
    #[error("the seek table does not fit the file")]
    Table,
    /// The seal is not one.
    #[error("the seal before the seek table is damaged")]
    Seal,
}

/// A frame: where it lies in the file and in the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Where it begins in the file.
    pub at: u64,
    /// Its length in the file.
    pub length: u32,
    /// Where its content begins.
    pub content_at: u64,
    /// Length of its content.
    pub content: u32,
}

/// Frames of an archive, without the seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table(Vec<Frame>);

impl Table {
    /// Writes a table for frames given as length and content's length; the seal is added as one without content.
    #[must_use]
    pub fn encode(frames: &[(u32, u32)]) -> Vec<u8> {
        let count = frames.len() + 1;
        let mut out = Vec::with_capacity(8 + 8 * count + FOOTER);
        out.extend_from_slice(&TABLE_MAGIC);
        out.extend_from_slice(&((8 * count + FOOTER) as u32).to_le_bytes());
        for (length, content) in frames.iter().copied().chain([(SEAL as u32, 0)]) {
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&content.to_le_bytes());
        }
        out.extend_from_slice(&(count as u32).to_le_bytes());
        out.push(0);
        out.extend_from_slice(&FOOTER_MAGIC);
        out
    }

    /// How long the whole table is, from the last bytes of a file.
    ///
    /// # Errors
    /// [`BadEnd`].
    pub fn length(footer: &[u8; FOOTER]) -> Result<usize, BadEnd> {
        let [a, b, c, d, descriptor, magic @ ..] = *footer;
        if magic != FOOTER_MAGIC || descriptor != 0 {
            return Err(BadEnd::Footer);
        }
        let count = u32::from_le_bytes([a, b, c, d]) as usize;
        if !(2..=MAX_FRAMES + 1).contains(&count) {
            return Err(BadEnd::Table);
        }
        Ok(8 + 8 * count + FOOTER)
    }

    /// Reads a table that ends a file of `file` bytes.
    ///
    /// # Errors
    /// [`BadEnd::Table`] if anything in it does not fit.
    pub fn decode(bytes: &[u8], file: u64) -> Result<Self, BadEnd> {
        let body = bytes.strip_prefix(&TABLE_MAGIC).ok_or(BadEnd::Table)?;
        let (size, body) = body.split_first_chunk::<4>().ok_or(BadEnd::Table)?;
        if u32::from_le_bytes(*size) as usize != body.len() || body.len() < FOOTER {
            return Err(BadEnd::Table);
        }
        let (entries, _) = body[..body.len() - FOOTER].as_chunks::<8>();
        let mut frames = Vec::with_capacity(entries.len());
        let (mut at, mut content_at) = (0u64, 0u64);
        for [a, b, c, d, e, f, g, h] in entries {
            let frame = Frame {
                at,
                length: u32::from_le_bytes([*a, *b, *c, *d]),
                content_at,
                content: u32::from_le_bytes([*e, *f, *g, *h]),
            };
            at += u64::from(frame.length);
            content_at += u64::from(frame.content);
            frames.push(frame);
        }
        let seal = frames.pop().ok_or(BadEnd::Table)?;
        let most = zstd::zstd_safe::compress_bound(FRAME);
        let fits = |f: &Frame| {
            (1..=FRAME).contains(&(f.content as usize)) && (9..=most).contains(&(f.length as usize))
        };
        let whole = at.checked_add(bytes.len() as u64) == Some(file);
        if !whole || seal.length as usize != SEAL || seal.content != 0 || !frames.iter().all(fits) {
            return Err(BadEnd::Table);
        }
        Ok(Self(frames))
    }

    /// The frames.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.0
    }

    /// Bytes of all content.
    #[must_use]
    pub fn content(&self) -> u64 {
        self.0.last().map_or(0, |f| f.content_at + u64::from(f.content))
    }

    /// The number of the frame that holds this byte of the content.
    #[must_use]
    pub fn find(&self, content_at: u64) -> Option<usize> {
        if content_at >= self.content() {
            return None;
        }
        self.0
            .partition_point(|f| f.content_at <= content_at)
            .checked_sub(1)
    }
}

/// The part of the seal before its digest.
#[must_use]
pub fn seal_head(checksums_at: u64) -> [u8; SEAL - 32] {
    let mut head = [0; SEAL - 32];
    head[..4].copy_from_slice(&SEAL_MAGIC);
    head[4..8].copy_from_slice(&((SEAL - 8) as u32).to_le_bytes());
    head[8..16].copy_from_slice(&SEAL_NAME);
    head[16..].copy_from_slice(&checksums_at.to_le_bytes());
    head
}

/// Reads a seal: where the index begins, and the digest of all bytes before the digest.
///
/// # Errors
/// [`BadEnd::Seal`].
pub fn read_seal(seal: &[u8; SEAL]) -> Result<(u64, [u8; 32]), BadEnd> {
    let [.., a, b, c, d, e, f, g, h] = seal[..SEAL - 32] else {
        return Err(BadEnd::Seal);
    };
    let at = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let digest = seal[SEAL - 32..].try_into().map_err(|_| BadEnd::Seal)?;
    if seal[..SEAL - 32] == seal_head(at) {
        Ok((at, digest))
    } else {
        Err(BadEnd::Seal)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_table_survives(frames in prop::collection::vec((9..1000u32, 1..1000u32), 1..50)) {
            let bytes = Table::encode(&frames);
            let file = frames.iter().map(|f| u64::from(f.0)).sum::<u64>() + SEAL as u64 + bytes.len() as u64;
            let table = Table::decode(&bytes, file).unwrap();
            prop_assert_eq!(Table::length(bytes.last_chunk().unwrap()).unwrap(), bytes.len());
            prop_assert_eq!(table.frames().iter().map(|f| (f.length, f.content)).collect::<Vec<_>>(), frames);
            for frame in table.frames() {
                let number = table.find(frame.content_at + u64::from(frame.content) - 1).unwrap();
                prop_assert_eq!(&table.frames()[number], frame);
            }
            prop_assert_eq!(table.find(table.content()), None);
            prop_assert!(Table::decode(&bytes, file + 1).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, file: u64) {
            let _ = Table::decode(&bytes, file);
            let mut framed = TABLE_MAGIC.to_vec();
            framed.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            framed.extend_from_slice(&bytes);
            let _ = Table::decode(&framed, file);
        }
    }
}
