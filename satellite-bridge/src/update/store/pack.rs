//! A pack: a file that chunks are appended to, each behind a header that names it and says its length.
//!
//! **Invariant:** what follows the last whole record is not there; a power cut can only cost records, for whoever reads
//! a chunk checks it.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;

use satellite_proto::bundle::Digest;

use super::FRAME_MOST;

/// Bytes before each chunk: a mark, the digest of its content, its length in the file (little-endian).
pub(super) const HEADER: u64 = 40;

/// Marks a chunk.
const CHUNK: [u8; 4] = *b"CHK1";

/// Marks a chunk that was found damaged.
const DAMAGED: [u8; 4] = *b"CHK0";

/// Where a chunk lies in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) digest: Digest,
    /// Of its first byte behind the header.
    pub(super) offset: u64,
    pub(super) length: u32,
}

impl Record {
    /// Where the next one begins.
    fn end(self) -> u64 {
        self.offset.saturating_add(self.length.into())
    }
}

fn header(digest: Digest, length: u32) -> [u8; HEADER as usize] {
    let mut bytes = [0; HEADER as usize];
    bytes[..4].copy_from_slice(&CHUNK);
    bytes[4..36].copy_from_slice(digest.as_bytes());
    bytes[36..].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// The chunks in a file, and where the last one ends.
///
/// # Errors
///
/// If the file cannot be read.
pub(super) fn scan(file: &File) -> io::Result<(Vec<Record>, u64)> {
    let size = file.metadata()?.len();
    let mut records = Vec::new();
    let mut place = 0_u64;
    let mut bytes = [0; HEADER as usize];
    while place.saturating_add(HEADER) <= size {
        file.read_exact_at(&mut bytes, place)?;
        let (mark, rest) = bytes.split_at(4);
        let (digest, length) = rest.split_at(32);
        let length = length.try_into().map_or(0, u32::from_le_bytes);
        let Ok(digest) = Digest::try_from(digest) else {
            break;
        };
        let record = Record {
            digest,
            offset: place.saturating_add(HEADER),
            length,
        };
        let is_record = (mark == CHUNK || mark == DAMAGED) && length > 0 && u64::from(length) <= FRAME_MOST;
        if !is_record || record.end() > size {
            break;
        }
        if mark == CHUNK {
            records.push(record);
        }
        place = record.end();
    }
    Ok((records, place))
}

/// Appends chunks at `end`, where the file is positioned, with one call as a rule; answers where they lie. What a failure
/// leaves of them is cut off.
///
/// # Errors
///
/// If they cannot be written.
pub(super) fn append(mut file: &File, end: u64, chunks: &[(Digest, &[u8])]) -> io::Result<Vec<Record>> {
    let mut records = Vec::with_capacity(chunks.len());
    let mut headers = Vec::with_capacity(chunks.len());
    let mut place = end;
    for (digest, frame) in chunks {
        let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
        let record = Record {
            digest: *digest,
            offset: place.saturating_add(HEADER),
            length,
        };
        place = record.end();
        records.push(record);
        headers.push(header(*digest, length));
    }
    let pairs = headers.iter().zip(chunks);
    let mut slices: Vec<IoSlice<'_>> = pairs
        .flat_map(|(header, (_, frame))| [IoSlice::new(header), IoSlice::new(frame)])
        .collect();
    let mut left = slices.as_mut_slice();
    while !left.is_empty() {
        let written = match file.write_vectored(left) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            other => other,
        };
        match written {
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(err) => {
                let _ = file.set_len(end);
                return Err(err);
            }
        }
    }
    Ok(records)
}

/// The chunk, unchecked.
///
/// # Errors
///
/// If it cannot be read.
pub(super) fn read(file: &File, offset: u64, length: u32) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut frame, offset)?;
    Ok(frame)
}

/// Marks the chunk whose first byte is at `offset` as damaged.
///
/// # Errors
///
/// If the file cannot be written.
pub(super) fn mark_damaged(file: &File, offset: u64) -> io::Result<()> {
    file.write_all_at(&DAMAGED, offset.saturating_sub(HEADER))
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom};

    use super::*;

    #[test]
    fn what_a_cut_left_of_the_last_chunk_is_not_there() {
        let mut file = tempfile::tempfile().unwrap();
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let chunks: [(Digest, &[u8]); 2] = [(a, b"packed a"), (b, b"packed b")];
        let records = append(&file, 0, &chunks).unwrap();
        let whole = file.metadata().unwrap().len();
        assert_eq!(scan(&file).unwrap(), (records.clone(), whole));
        assert_eq!(
            read(&file, records[1].offset, records[1].length).unwrap(),
            b"packed b"
        );
        let first = records[0].end();
        for length in (0..whole).rev() {
            file.set_len(length).unwrap();
            let (found, end) = scan(&file).unwrap();
            let expected = if length >= first { &records[..1] } else { &[] };
            assert_eq!(
                (found.as_slice(), end),
                (expected, if length >= first { first } else { 0 })
            );
        }
        // A file system may have made the file longer than what came to the disk.
        file.set_len(0).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        append(&file, 0, &chunks).unwrap();
        file.write_all_at(&[0; HEADER as usize], first).unwrap();
        assert_eq!(scan(&file).unwrap(), (records[..1].to_vec(), first));
    }

    #[test]
    fn a_damaged_chunk_is_passed_over() {
        let file = tempfile::tempfile().unwrap();
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let records = append(&file, 0, &[(a, b"packed a"), (b, b"packed b")]).unwrap();
        mark_damaged(&file, records[0].offset).unwrap();
        let (found, end) = scan(&file).unwrap();
        assert_eq!(found, records[1..]);
        assert_eq!(end, file.metadata().unwrap().len());
    }
}
