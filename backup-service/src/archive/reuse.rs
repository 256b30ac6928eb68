//! Frames of an archive before whose content comes again: their bytes are taken as they lie there, and not compressed anew.
//!
//! **Invariant:** a frame is taken only if all of its content was copied from there, or is known to be the same as what lies there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::CUT;
use super::read::Archive;
use super::seek::{Frame, Table};

/// The frames of the archive before, and which of them comes again just now.
pub(crate) struct Reuse {
    file: Arc<File>,
    table: Arc<Table>,
    /// All that is in the buffer now is the beginning of this frame's content.
    like: Option<usize>,
}

impl Reuse {
    pub(crate) fn new(before: &Archive) -> Self {
        Self {
            file: Arc::clone(&before.file),
            table: Arc::clone(&before.table),
            like: None,
        }
    }

    /// Reads frames as they lie in the file.
    pub(crate) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Whether a frame begins at this byte of the content there.
    pub(crate) fn begins_at(&self, at: u64) -> bool {
        self.frame(at).is_some_and(|(_, frame)| frame.content_at == at)
    }

    /// Says that what comes next lies at `from` there, or nowhere, and that `filled` bytes are in the buffer. Answers
    /// how many bytes of the frame there are left.
    pub(crate) fn follow(&mut self, from: Option<u64>, filled: usize) -> Option<usize> {
        let found = from.and_then(|at| Some((at, self.frame(at)?)));
        self.like = self.like.filter(|_| found.is_some());
        let (at, (number, frame)) = found?;
        let inside = (at - frame.content_at) as usize;
        let goes_on = inside == filled && (filled == 0 || self.like == Some(number));
        self.like = goes_on.then_some(number);
        Some(frame.content as usize - inside)
    }

    /// The frame whose content the buffer holds whole. A short one is none: so many would not fit into an archive.
    pub(crate) fn whole(&self, filled: usize) -> Option<Frame> {
        let frame = self.table.frames().get(self.like?)?;
        (filled >= CUT && frame.content as usize == filled).then_some(*frame)
    }

    fn frame(&self, at: u64) -> Option<(usize, Frame)> {
        let number = self.table.find(at)?;
        Some((number, *self.table.frames().get(number)?))
    }
}

/// Reads the bytes of a frame.
pub(crate) fn bytes_of(frame: Frame, file: &File, data: &mut Vec<u8>) -> io::Result<()> {
    data.resize(frame.length as usize, 0);
    file.read_exact_at(data, frame.at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::archive::FULL;
    use crate::archive::frames::{FrameWriter, Written};

    /// A piece of content: what is in the archive before from one place to another, or something new.
    #[derive(Debug, Clone)]
    enum Part {
        Before(usize, usize),
        New(u8, usize),
    }

    fn noise(length: usize, seed: u64) -> Vec<u8> {
        let mut state = seed;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        })
        .take(length)
        .collect()
    }

    /// Writes content in pieces of odd lengths.
    fn write(reuse: Option<Reuse>, parts: &[(&[u8], Option<u64>)]) -> Written {
        let mut writer = FrameWriter::start(tempfile::tempfile().unwrap(), reuse, 2).unwrap();
        for (bytes, from) in parts {
            let mut at = *from;
            for piece in bytes.chunks(77_777) {
                writer.push(piece, at).unwrap();
                at = at.map(|at| at + piece.len() as u64);
            }
        }
        writer.finish(0).unwrap()
    }

    fn content(archive: &Archive) -> Vec<u8> {
        let mut all = vec![0; archive.table.content() as usize];
        archive.direct().unwrap().read_exact(&mut all).unwrap();
        all
    }

    fn part(length: usize) -> impl Strategy<Value = Part> {
        let place =
            (0..length, 1..length).prop_map(move |(at, most)| Part::Before(at, most.min(length - at)));
        prop_oneof![3 => place, 1 => (any::<u8>(), 1..300_000_usize).prop_map(|(byte, length)| Part::New(byte, length))]
    }

    const LENGTH: usize = 15_000_000;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_what_was_pushed(parts in prop::collection::vec(part(LENGTH), 1..6)) {
            let old = noise(LENGTH, 7);
            let before = Archive::new(write(None, &[(&old, None)]).file).unwrap();
            let new: Vec<_> = parts.iter().map(|part| match part {
                Part::Before(at, length) => (old[*at..at + length].to_vec(), Some(*at as u64)),
                Part::New(byte, length) => (vec![*byte; *length], None),
            }).collect();
            let given: Vec<_> = new.iter().map(|(bytes, from)| (bytes.as_slice(), *from)).collect();
            let after = Archive::new(write(Some(Reuse::new(&before)), &given).file).unwrap();
            prop_assert_eq!(content(&after), new.iter().flat_map(|(bytes, _)| bytes.clone()).collect::<Vec<_>>());
            let frames = after.table.frames();
            let all_but_last = frames.split_last().map(|(_, most)| most).unwrap_or_default();
            prop_assert!(all_but_last.iter().all(|frame| (CUT..=FULL).contains(&(frame.content as usize))));
        }
    }

    #[test]
    fn after_something_new_frames_are_soon_the_same_again() {
        let old = noise(41_000_000, 3);
        let before = Archive::new(write(None, &[(&old, None)]).file).unwrap();
        let whole = write(Some(Reuse::new(&before)), &[(&old, Some(0))]);
        assert_eq!(whole.taken, before.table.frames().len() as u64);
        for length in [1, 1000, 1_000_000, 3_000_000, 5_000_000] {
            let new = noise(length, 4);
            let (first, rest) = old.split_at(10_000_000);
            let parts: [(&[u8], _); 3] = [(first, Some(0)), (&new, None), (rest, Some(10_000_000))];
            let written = write(Some(Reuse::new(&before)), &parts);
            let (taken, all) = (written.taken, before.table.frames().len() as u64);
            assert!(taken + 3 >= all, "{length} new bytes: {taken} of {all}");
        }
    }

    #[test]
    fn a_frame_that_is_not_whole_is_compressed_anew() {
        let old = noise(9_000_000, 5);
        let before = Archive::new(write(None, &[(&old, None)]).file).unwrap();
        let shifted = write(Some(Reuse::new(&before)), &[(&old[1..], Some(1))]);
        assert_eq!(shifted.taken, 3, "the first lacks a byte, the last is short");
        let unknown = write(Some(Reuse::new(&before)), &[(&old, None)]);
        assert_eq!(unknown.taken, 0);
    }
}
