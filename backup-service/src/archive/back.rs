//! Reads frames back from the disk while those after them are still written, so that little is left to be read in the end.
//!
//! **Invariant:** a frame counts as read back only if its bytes came from the disk and have the tag that it was given as it was
//! written. What is not known in the end, for whatever reason, is read then, and told if it is wrong.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::proof::{Key, Tag};
use super::uncached::Uncached;

/// Frames that wait for being read; more make the writing thread wait.
const AHEAD: usize = 16;

/// A frame where it lies in the file.
struct Lying {
    number: usize,
    at: u64,
    length: usize,
    tag: Tag,
}

/// The numbers of frames, ascending.
pub(super) type Known = Vec<usize>;

/// Takes frames as they are written.
pub(super) struct ReadBack {
    /// Those that are not on the disk yet.
    waiting: VecDeque<Lying>,
    frames: SyncSender<Lying>,
    thread: JoinHandle<Known>,
}

impl ReadBack {
    /// Of this file, whose frames are tagged with this key.
    pub(super) fn start(file: File, key: Key) -> io::Result<Self> {
        let (frames, lying) = sync_channel(AHEAD);
        let thread = std::thread::Builder::new().name("archive-back".to_owned());
        let thread = thread.spawn(move || read(&file, &key, &lying))?;
        Ok(Self {
            waiting: VecDeque::new(),
            frames,
            thread,
        })
    }

    /// The frame with this number and tag ends before this place; the file is on the disk up to `on_disk`.
    pub(super) fn wrote(&mut self, (number, tag): (usize, Tag), length: usize, end: u64, on_disk: u64) {
        self.waiting.push_back(Lying {
            number,
            at: end - length as u64,
            length,
            tag,
        });
        while let Some(lying) = self
            .waiting
            .pop_front_if(|lying| lying.at + lying.length as u64 <= on_disk)
        {
            // Where the thread went away, all that it does not know is read in the end.
            let _ = self.frames.send(lying);
        }
    }

    /// The frames that were read and are what was written.
    pub(super) fn end(self) -> Known {
        drop(self.frames);
        self.thread.join().unwrap_or_default()
    }
}

fn read(file: &File, key: &Key, frames: &Receiver<Lying>) -> Known {
    let mut known = Known::new();
    let Ok(mut uncached) = Uncached::new(file) else {
        return known;
    };
    let mut buffer = Vec::new();
    for lying in frames {
        let there = uncached.read(lying.at, lying.length, &mut buffer);
        if there.is_ok_and(|there| key.knows(lying.number, &buffer[there], &lying.tag)) {
            known.push(lying.number);
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn only_what_lies_on_the_disk_as_it_was_written_is_known() {
        let file = tempfile::tempfile().unwrap();
        let key = Key::new().unwrap();
        let frames: Vec<Vec<u8>> = (0..40_usize).map(|n| vec![n as u8; 3000 + n * 977]).collect();
        let mut end = 0;
        let mut ends = Vec::new();
        for frame in &frames {
            file.write_all_at(frame, end).unwrap();
            end += frame.len() as u64;
            ends.push(end);
        }
        // One changes after it was tagged, and the last two are told to be on their way.
        file.write_all_at(&[200], ends[6] + 100).unwrap();
        file.sync_all().unwrap();
        let mut back = ReadBack::start(file, key.clone()).unwrap();
        for (number, frame) in frames.iter().enumerate() {
            let tag = key.tag(number, frame).unwrap();
            back.wrote((number, tag), frame.len(), ends[number], ends[37]);
        }
        let expected: Known = (0..38).filter(|number| *number != 7).collect();
        assert_eq!(back.end(), expected);
    }
}
