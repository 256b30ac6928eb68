//! Frames of an archive before whose content comes again: their bytes are taken as they lie there, and not compressed anew.
//!
//! **Invariant:** a frame is taken only if all of its content was copied from there, or is known to be the same as what lies there.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::CUT;
use super::ordered::Buffers;
use super::read::Archive;
use super::seek::{Frame, Table};

/// The frame of an archive that was read last, as it lies in the file.
#[derive(Clone, Default)]
pub(crate) struct Last {
    frame: Arc<Mutex<Option<Raw>>>,
    buffers: Buffers,
}

/// A frame as it lies in the file.
pub(crate) struct Raw {
    pub(crate) number: usize,
    pub(crate) buffer: Vec<u8>,
    pub(crate) there: Range<usize>,
}

impl Last {
    /// A buffer for the next one.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.buffers.take_used()
    }

    /// Keeps a frame instead of the one before.
    pub(crate) fn keep(&self, raw: Raw) {
        self.give_back(self.put(Some(raw)));
    }

    /// The frame with this number, if it is the one.
    fn take(&self, number: usize) -> Option<Raw> {
        let raw = self.put(None)?;
        if raw.number == number {
            return Some(raw);
        }
        self.give_back(Some(raw));
        None
    }

    /// Takes a buffer that is not needed any more.
    pub(crate) fn give_back(&self, raw: Option<Raw>) {
        if let Some(raw) = raw {
            self.buffers.give(raw.buffer);
        }
    }

    fn put(&self, raw: Option<Raw>) -> Option<Raw> {
        let mut frame = self.frame.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *frame, raw)
    }
}

/// The frames of the archive before, and which of them comes again just now.
pub(crate) struct Reuse {
    table: Arc<Table>,
    last: Last,
    /// All that is in the buffer now is the beginning of this frame's content.
    like: Option<usize>,
}

impl Reuse {
    /// `last` is the frame of `before` from which what comes again is read.
    pub(crate) fn new(before: &Archive, last: Last) -> Self {
        Self {
            table: Arc::clone(&before.table),
            last,
            like: None,
        }
    }

    /// Where frames are kept that are read.
    pub(crate) fn last(&self) -> Last {
        self.last.clone()
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
    pub(crate) fn whole(&self, filled: usize) -> Option<usize> {
        let number = self.like?;
        let frame = self.table.frames().get(number)?;
        (filled >= CUT && frame.content as usize == filled).then_some(number)
    }

    /// The same as it lies in the file, if it was the last that was read.
    pub(crate) fn take(&self, filled: usize) -> Option<Raw> {
        self.last.take(self.whole(filled)?)
    }

    fn frame(&self, at: u64) -> Option<(usize, Frame)> {
        let number = self.table.find(at)?;
        Some((number, *self.table.frames().get(number)?))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;
    use zstd::bulk::Compressor;
    use zstd::zstd_safe::CParameter;

    use super::*;
    use crate::archive::frames::{FrameWriter, Written};
    use crate::archive::seek::seal_head;
    use crate::archive::{FRAME, FULL};

    /// A piece of content: what is in the archive before from one place to another, or something new.
    #[derive(Debug, Clone)]
    enum Part {
        Before(usize, usize),
        New(u8, usize),
    }

    enum Given<'a> {
        Before(Range<usize>),
        New(&'a [u8]),
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

    /// Writes something new, or copies from the archive before what lies there.
    fn write(before: Option<&Archive>, parts: &[Given<'_>]) -> Written {
        let last = Last::default();
        let reuse = before.map(|before| Reuse::new(before, last.clone()));
        let mut stream = before.map(|before| before.past_cache(last).unwrap());
        let mut writer = FrameWriter::start(tempfile::tempfile().unwrap(), reuse, 2).unwrap();
        for part in parts {
            match part {
                Given::New(bytes) => writer.push(bytes, None).unwrap(),
                Given::Before(there) => {
                    let stream = stream.as_mut().unwrap();
                    stream.seek(there.start as u64).unwrap();
                    let mut left = there.len();
                    while left > 0 {
                        let at = stream.offset();
                        let here = stream.fill().unwrap();
                        let count = here.len().min(left).min(77_777);
                        writer.push(&here[..count], Some(at)).unwrap();
                        stream.consume(count);
                        left -= count;
                    }
                }
            }
        }
        writer.finish(0).unwrap()
    }

    fn archive(content: &[u8]) -> Archive {
        Archive::new(write(None, &[Given::New(content)]).file).unwrap()
    }

    /// With the longest frames that there may be, as they were written once.
    fn archive_of_long_frames(content: &[u8]) -> Archive {
        let (mut bytes, mut frames) = (Vec::new(), Vec::new());
        for piece in content.chunks(FRAME) {
            let mut zstd = Compressor::new(1).unwrap();
            zstd.set_parameter(CParameter::ChecksumFlag(true)).unwrap();
            zstd.set_parameter(CParameter::WindowLog(FRAME.ilog2())).unwrap();
            let frame = zstd.compress(piece).unwrap();
            frames.push((frame.len() as u32, piece.len() as u32));
            bytes.extend(frame);
        }
        bytes.extend(seal_head(0));
        bytes.extend([0; 32]);
        bytes.extend(Table::encode(&frames));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        Archive::new(file).unwrap()
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
        fn what_is_written_is_what_was_pushed(parts in prop::collection::vec(part(LENGTH), 1..6), long in any::<bool>()) {
            let old = noise(LENGTH, 7);
            let before = if long { archive_of_long_frames(&old) } else { archive(&old) };
            let new: Vec<_> = parts.iter().map(|part| match part {
                Part::Before(at, length) => old[*at..at + length].to_vec(),
                Part::New(byte, length) => vec![*byte; *length],
            }).collect();
            let given: Vec<_> = parts.iter().zip(&new).map(|(part, bytes)| match part {
                Part::Before(at, length) => Given::Before(*at..at + length),
                Part::New(..) => Given::New(bytes),
            }).collect();
            let after = Archive::new(write(Some(&before), &given).file).unwrap();
            prop_assert_eq!(content(&after), new.concat());
            let frames = after.table.frames();
            let all_but_last = frames.split_last().map(|(_, most)| most).unwrap_or_default();
            prop_assert!(all_but_last.iter().all(|frame| (CUT..=FULL).contains(&(frame.content as usize))));
        }
    }

    #[test]
    fn after_something_new_frames_are_soon_the_same_again() {
        let old = noise(41_000_000, 3);
        let before = archive(&old);
        let whole = write(Some(&before), &[Given::Before(0..old.len())]);
        assert_eq!(whole.taken, before.table.frames().len() as u64);
        for length in [1, 1000, 1_000_000, 3_000_000, 5_000_000] {
            let new = noise(length, 4);
            let (first, rest) = (Given::Before(0..10_000_000), Given::Before(10_000_000..old.len()));
            let written = write(Some(&before), &[first, Given::New(&new), rest]);
            let (taken, all) = (written.taken, before.table.frames().len() as u64);
            assert!(taken + 3 >= all, "{length} new bytes: {taken} of {all}");
        }
    }

    #[test]
    fn a_frame_that_is_not_whole_is_compressed_anew() {
        let old = noise(9_000_000, 5);
        let before = archive(&old);
        let shifted = write(Some(&before), &[Given::Before(1..old.len())]);
        assert_eq!(shifted.taken, 3, "the first lacks a byte, the last is short");
        let unknown = write(Some(&before), &[Given::New(&old)]);
        assert_eq!(unknown.taken, 0);
    }
}
