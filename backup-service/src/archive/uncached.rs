//! Writes a file to the disk and reads it from there, past the cache, where the file system can do that: the kernel then
//! copies nothing, and what others have in the cache stays.
//!
//! **Invariant:** what is written and read is the same either way; only where it passes may differ.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};

use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};

/// To what places in the file and in memory must be rounded: a page, which each disk's sector divides.
const UNIT: usize = 4096;

/// Bytes that are written at once.
const CHUNK: usize = 1 << 20;

/// Writes a file from its beginning, in the way described above.
pub(crate) struct Writer {
    file: File,
    direct: Option<File>,
    buffer: Vec<u8>,
    filled: usize,
    at: u64,
}

impl Writer {
    /// For an empty file.
    pub(crate) fn new(file: File) -> Self {
        let direct = direct(&file, File::options().write(true)).ok();
        let buffer = if direct.is_some() {
            vec![0; CHUNK + UNIT]
        } else {
            Vec::new()
        };
        Self {
            file,
            direct,
            buffer,
            filled: 0,
            at: 0,
        }
    }

    /// Whether what is written waits in the cache until somebody flushes it.
    pub(crate) fn is_cached(&self) -> bool {
        self.direct.is_none()
    }

    /// How much of the file lies on the disk already: nothing that is known, if it passes through the cache.
    pub(crate) fn on_disk(&self) -> u64 {
        if self.is_cached() { 0 } else { self.at }
    }

    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if self.is_cached() {
            self.file.write_all_at(bytes, self.at)?;
            self.at += bytes.len() as u64;
            return Ok(());
        }
        let aligned = self.aligned();
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.filled));
            self.buffer[aligned + self.filled..][..now.len()].copy_from_slice(now);
            self.filled += now.len();
            bytes = later;
            if self.filled == CHUNK {
                self.pass_on()?;
            }
        }
        Ok(())
    }

    /// Writes what is left, and answers the file; it must still be flushed.
    pub(crate) fn end(mut self) -> io::Result<File> {
        // The rest is no whole page.
        self.direct = None;
        self.pass_on()?;
        Ok(self.file)
    }

    fn aligned(&self) -> usize {
        self.buffer.as_ptr().align_offset(UNIT)
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let aligned = self.aligned();
        let chunk = &self.buffer[aligned.min(self.buffer.len())..][..self.filled];
        match self
            .direct
            .as_ref()
            .map(|direct| direct.write_all_at(chunk, self.at))
        {
            Some(Ok(())) => {}
            Some(Err(error)) if error.kind() != io::ErrorKind::InvalidInput => return Err(error),
            // The file system took the flag, and now does not know what to do with it: as without it, again from here.
            Some(Err(_)) | None => {
                self.file.write_all_at(chunk, self.at)?;
                self.direct = None;
            }
        }
        self.at += self.filled as u64;
        self.filled = 0;
        Ok(())
    }
}

/// Opens a file once more: others who use it need not know of pages.
fn direct(file: &File, options: &mut OpenOptions) -> io::Result<File> {
    options
        .custom_flags(OFlag::O_DIRECT.bits())
        .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// A file, read in the way described above.
pub(crate) struct Uncached {
    file: File,
    direct: bool,
}

impl Uncached {
    /// For a file that was written: what of it is in the cache and on the disk too is thrown away.
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        if let Err(error) = posix_fadvise(file.as_fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED) {
            tracing::debug!(%error, "The cache keeps what it has of an archive");
        }
        match direct(file, File::options().read(true)) {
            Ok(file) => Ok(Self { file, direct: true }),
            Err(_) => Ok(Self {
                file: file.try_clone()?,
                direct: false,
            }),
        }
    }

    /// Reads `length` bytes; answers where in the buffer they are. The buffer's former content is of no meaning.
    pub(crate) fn read(&mut self, at: u64, length: usize, buffer: &mut Vec<u8>) -> io::Result<Range<usize>> {
        if self.direct {
            match self.read_direct(at, length, buffer) {
                // The file system took the flag, and now does not know what to do with it.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.direct = false,
                done => return done,
            }
        }
        grow(buffer, length);
        self.file.read_exact_at(&mut buffer[..length], at)?;
        Ok(0..length)
    }

    fn read_direct(&self, at: u64, length: usize, buffer: &mut Vec<u8>) -> io::Result<Range<usize>> {
        let before = (at % UNIT as u64) as usize;
        let whole = (before + length).next_multiple_of(UNIT);
        grow(buffer, whole + UNIT);
        let aligned = buffer.as_ptr().align_offset(UNIT);
        let page = &mut buffer[aligned..][..whole];
        let mut filled = 0;
        while filled < before + length {
            match self
                .file
                .read_at(&mut page[filled..], at - before as u64 + filled as u64)
            {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(aligned + before..aligned + before + length)
    }
}

/// Only what was never used is cleared.
fn grow(buffer: &mut Vec<u8>, length: usize) {
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_any_pieces_is_the_file() {
        for sizes in [&[0][..], &[1], &[CHUNK], &[CHUNK + 1, 7, 3 * CHUNK, 4096, UNIT]] {
            let mut writer = Writer::new(tempfile::tempfile().unwrap());
            let mut written = Vec::new();
            for (number, size) in sizes.iter().enumerate() {
                let bytes: Vec<u8> = (0..*size).map(|n| (n * 31 + number) as u8).collect();
                writer.write(&bytes).unwrap();
                written.extend(bytes);
            }
            let file = writer.end().unwrap();
            assert_eq!(file.metadata().unwrap().len(), written.len() as u64);
            let mut found = vec![0; written.len()];
            file.read_exact_at(&mut found, 0).unwrap();
            assert!(found == written, "{sizes:?}");
        }
    }

    #[test]
    fn any_part_of_a_file_is_read_as_it_was_written() {
        let bytes: Vec<u8> = (0..50_000_u32).map(|n| (n * n / 7) as u8).collect();
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        file.sync_all().unwrap();
        let mut uncached = Uncached::new(&file).unwrap();
        let mut buffer = Vec::new();
        for (at, length) in [
            (0, 50_000),
            (1, 1),
            (4095, 2),
            (4096, 4096),
            (8191, 20_000),
            (49_999, 1),
            (7, 0),
        ] {
            let there = uncached.read(at, length, &mut buffer).unwrap();
            assert_eq!(buffer[there], bytes[at as usize..][..length], "{at} {length}");
        }
        let beyond = uncached.read(49_990, 20, &mut buffer).unwrap_err();
        assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
    }
}
