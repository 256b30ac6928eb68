//! The content of an archive as a stream: frames are read and decompressed one by one, or by several threads ahead.
//!
//! **Invariant:** a frame that is not exactly what the seek table says is an error before its content is used; one that is left out
//! is passed over, and an error to whom wants to read in it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::thread::JoinHandle;

use aws_lc_rs::digest::{Context, SHA256};
use zstd::bulk::Decompressor;
use zstd::zstd_safe::find_frame_compressed_size;

use super::FRAME;
use super::ordered::{Buffers, Results, Work, ordered};
use super::proof::Proof;
use super::read::{ReadError, damaged};
use super::reuse::{Last, Raw};
use super::seek::{Frame, Table};
use super::uncached::Uncached;

/// The content from some place on.
pub(crate) struct TarStream {
    source: Source,
    frame: Vec<u8>,
    /// Of the frame's content, which `frame` is unless it was left out.
    length: usize,
    at: usize,
    offset: u64,
}

/// Where frames that are read ahead come from, and what is done beside decompressing them.
pub(crate) enum Way {
    /// From the cache, if they are there; the file is not hashed.
    Cached,
    /// From the disk; the file is hashed.
    FromDisk,
    /// From the disk; each frame must be the one that was written.
    Proven {
        /// By what it is known.
        proof: Arc<Proof>,
        /// A part of the content that is not asked for: frames that lie in it whole are not decompressed.
        without: Range<u64>,
    },
}

/// The content of a frame, or only how long it is.
struct Content {
    bytes: Vec<u8>,
    length: usize,
}

enum Source {
    Direct {
        file: Arc<File>,
        table: Arc<Table>,
        next: usize,
        decoder: Decoder,
        compressed: Vec<u8>,
        /// Past the cache, and where to keep what is read.
        past_cache: Option<(Uncached, Last)>,
    },
    Ahead {
        results: Results<Result<Content, ReadError>>,
        buffers: Buffers,
        reader: JoinHandle<io::Result<Context>>,
    },
}

impl TarStream {
    /// Reads frame by frame, only those that are asked for.
    pub(crate) fn direct(file: Arc<File>, table: Arc<Table>) -> Result<Self, ReadError> {
        Self::one_by_one(file, table, None)
    }

    /// The same, past the cache; the frame that was read last is kept in `last`.
    pub(crate) fn past_cache(file: Arc<File>, table: Arc<Table>, last: Last) -> Result<Self, ReadError> {
        let uncached = Uncached::new(&file).map_err(ReadError::io("read the archive"))?;
        Self::one_by_one(file, table, Some((uncached, last)))
    }

    fn one_by_one(
        file: Arc<File>,
        table: Arc<Table>,
        past_cache: Option<(Uncached, Last)>,
    ) -> Result<Self, ReadError> {
        let (decoder, compressed) = (Decoder::new()?, Vec::new());
        let source = Source::Direct {
            file,
            table,
            next: 0,
            decoder,
            compressed,
            past_cache,
        };
        Ok(Self {
            source,
            frame: Vec::new(),
            length: 0,
            at: 0,
            offset: 0,
        })
    }

    /// Reads all frames, by several threads ahead of the caller, from the cache or from the disk, as `way` says.
    pub(crate) fn ahead(
        file: Arc<File>,
        table: Arc<Table>,
        way: Way,
        threads: usize,
    ) -> Result<Self, ReadError> {
        let inputs = Buffers::default();
        let outputs = Buffers::default();
        let (proof, without) = match &way {
            Way::Proven { proof, without } => (Some(Arc::clone(proof)), without.clone()),
            Way::Cached | Way::FromDisk => (None, 0..0),
        };
        let mut workers = Vec::with_capacity(threads);
        for _ in 0..threads {
            let mut reading = Reading::new(&file, &way).map_err(ReadError::io("read the archive"))?;
            let (mut decoder, proof, without) = (Decoder::new()?, proof.clone(), without.clone());
            let (inputs, outputs) = (inputs.clone(), outputs.clone());
            workers.push(move |piece: Piece| {
                let Piece { number, frame, read } = piece;
                let length = frame.content as usize;
                let end = frame.content_at + u64::from(frame.content);
                let is_left_out = without.start <= frame.content_at && end <= without.end;
                if is_left_out && proof.as_ref().is_some_and(|proof| proof.was_read(number)) {
                    let bytes = Vec::new();
                    return Ok(Content { bytes, length });
                }
                let (buffer, there) = match read {
                    Some(read) => read,
                    None => reading
                        .read(frame, &inputs)
                        .map_err(ReadError::io("read the archive"))?,
                };
                let compressed = &buffer[there];
                if proof.as_ref().is_some_and(|p| !p.knows(number, compressed)) {
                    let at = frame.at;
                    return Err(damaged(format!(
                        "the frame at byte {at} of the file is not what was written"
                    )));
                }
                let bytes = if is_left_out {
                    Vec::new()
                } else {
                    let mut bytes = outputs.take(length);
                    decoder.decode(compressed, frame, &mut bytes)?;
                    bytes
                };
                inputs.give(buffer);
                Ok(Content { bytes, length })
            });
        }
        let (work, results) =
            ordered(workers, threads).map_err(ReadError::io("start the threads that read"))?;
        let reader = std::thread::Builder::new().name("archive-reader".to_owned());
        let reading = Reading::new(&file, &way).map_err(ReadError::io("read the archive"))?;
        let reader = reader.spawn(move || give_frames(reading, &table, &way, &work, &inputs));
        let reader = reader.map_err(ReadError::io("start the threads that read"))?;
        let source = Source::Ahead {
            results,
            buffers: outputs,
            reader,
        };
        Ok(Self {
            source,
            frame: Vec::new(),
            length: 0,
            at: 0,
            offset: 0,
        })
    }

    /// Place in the content.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// What is at hand; empty only at the end.
    pub(crate) fn fill(&mut self) -> Result<&[u8], ReadError> {
        if self.at == self.length {
            self.next_frame()?;
        }
        if self.frame.len() == self.length {
            Ok(&self.frame[self.at..])
        } else {
            Err(damaged("the content of a frame that was left out is read"))
        }
    }

    /// Goes on by what was used of [`Self::fill`].
    pub(crate) fn consume(&mut self, count: usize) {
        let count = count.min(self.length - self.at);
        self.at += count;
        self.offset += count as u64;
    }

    /// Fills `out`.
    pub(crate) fn read_exact(&mut self, mut out: &mut [u8]) -> Result<(), ReadError> {
        while !out.is_empty() {
            let here = self.fill()?;
            if here.is_empty() {
                return Err(damaged("the content ends too early"));
            }
            let count = here.len().min(out.len());
            out[..count].copy_from_slice(&here[..count]);
            self.consume(count);
            out = &mut out[count..];
        }
        Ok(())
    }

    /// Goes to a place in the content; forward only when reading ahead.
    pub(crate) fn seek(&mut self, to: u64) -> Result<(), ReadError> {
        let start = self.offset - self.at as u64;
        let inside = to >= start && to - start <= self.length as u64;
        if inside {
            self.at = (to - start) as usize;
        } else if let Source::Direct { table, next, .. } = &mut self.source {
            let number = table
                .find(to)
                .ok_or_else(|| damaged("a place outside of the content is named"))?;
            *next = number;
            let content_at = table.frames()[number].content_at;
            self.next_frame()?;
            self.at = (to - content_at) as usize;
        } else {
            while self.offset < to {
                if self.at == self.length {
                    self.next_frame()?;
                }
                let here = self.length - self.at;
                if here == 0 {
                    return Err(damaged("the content ends too early"));
                }
                self.consume((here as u64).min(to - self.offset) as usize);
            }
        }
        self.offset = to;
        Ok(())
    }

    fn next_frame(&mut self) -> Result<(), ReadError> {
        (self.at, self.length) = (0, 0);
        match &mut self.source {
            Source::Direct {
                file,
                table,
                next,
                decoder,
                compressed,
                past_cache,
            } => {
                self.frame.clear();
                let number = *next;
                let Some(frame) = table.frames().get(number).copied() else {
                    return Ok(());
                };
                *next += 1;
                if let Some((uncached, last)) = past_cache {
                    let mut buffer = last.buffer();
                    let there = uncached.read(frame.at, frame.length as usize, &mut buffer);
                    let there = there.map_err(ReadError::io("read the archive"))?;
                    decoder.decode(&buffer[there.clone()], frame, &mut self.frame)?;
                    self.length = self.frame.len();
                    last.keep(Raw {
                        number,
                        buffer,
                        there,
                    });
                    return Ok(());
                }
                compressed.resize(frame.length as usize, 0);
                file.read_exact_at(compressed, frame.at)
                    .map_err(ReadError::io("read the archive"))?;
                decoder.decode(compressed, frame, &mut self.frame)?;
                self.length = self.frame.len();
                Ok(())
            }
            Source::Ahead { results, buffers, .. } => {
                let used = std::mem::take(&mut self.frame);
                if used.capacity() > 0 {
                    buffers.give(used);
                }
                if let Some(frame) = results.next() {
                    let Content { bytes, length } = frame?;
                    (self.frame, self.length) = (bytes, length);
                }
                Ok(())
            }
        }
    }

    /// The digest of all frames' bytes, once the stream that reads them from the disk was read to its end.
    pub(crate) fn hash(self) -> Result<Context, ReadError> {
        let Source::Ahead { reader, results, .. } = self.source else {
            return Ok(Context::new(&SHA256));
        };
        drop(results);
        let joined = reader
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that reads went away")));
        joined.map_err(ReadError::io("read the archive"))
    }
}

/// A frame, and where it is read in order, what lies in the file.
struct Piece {
    number: usize,
    frame: Frame,
    read: Option<(Vec<u8>, Range<usize>)>,
}

/// How frames are read.
enum Reading {
    Cached(Arc<File>),
    Uncached(Uncached),
}

impl Reading {
    fn new(file: &Arc<File>, way: &Way) -> io::Result<Self> {
        Ok(match way {
            Way::Cached => Self::Cached(Arc::clone(file)),
            Way::FromDisk | Way::Proven { .. } => Self::Uncached(Uncached::new(file)?),
        })
    }

    fn read(&mut self, frame: Frame, buffers: &Buffers) -> io::Result<(Vec<u8>, Range<usize>)> {
        let mut buffer = buffers.take_used();
        let length = frame.length as usize;
        let there = match self {
            Self::Uncached(uncached) => uncached.read(frame.at, length, &mut buffer)?,
            Self::Cached(file) => {
                buffer.resize(length, 0);
                file.read_exact_at(&mut buffer, frame.at)?;
                0..length
            }
        };
        Ok((buffer, there))
    }
}

/// Frames as they lie in the file become their content.
type Decoding = Work<Piece, Result<Content, ReadError>>;

/// Gives out all frames. Where the file is hashed they are read here, in order; else by those who decompress them, so that the
/// disk is asked for several at once.
fn give_frames(
    mut reading: Reading,
    table: &Table,
    way: &Way,
    work: &Decoding,
    buffers: &Buffers,
) -> io::Result<Context> {
    let mut hash = Context::new(&SHA256);
    for (number, frame) in table.frames().iter().copied().enumerate() {
        let mut read = None;
        if matches!(way, Way::FromDisk) {
            let (buffer, there) = reading.read(frame, buffers)?;
            hash.update(&buffer[there.clone()]);
            read = Some((buffer, there));
        }
        if work.give(Piece { number, frame, read }).is_err() {
            break;
        }
    }
    Ok(match way {
        Way::Proven { proof, .. } => proof.hash(),
        _ => hash,
    })
}

pub(super) struct Decoder(Decompressor<'static>);

impl Decoder {
    pub(super) fn new() -> Result<Self, ReadError> {
        Decompressor::new()
            .map(Self)
            .map_err(ReadError::io("make a decompressor"))
    }

    fn decode(&mut self, compressed: &[u8], frame: Frame, out: &mut Vec<u8>) -> Result<(), ReadError> {
        let at = || format!("the frame at byte {} of the file", frame.at);
        // One frame with a checksum and the size of its content, in a single segment, without a dictionary.
        let plain = compressed.starts_with(&[0x28, 0xB5, 0x2F, 0xFD])
            && compressed.get(4).is_some_and(|b| b & 0x3F == 0x24);
        let alone = find_frame_compressed_size(compressed).is_ok_and(|size| size == compressed.len());
        if !plain || !alone || frame.content as usize > FRAME {
            return Err(damaged(format!("{} is not one", at())));
        }
        out.clear();
        out.reserve_exact(frame.content as usize);
        let size = self.0.decompress_to_buffer(compressed, out);
        match size {
            Ok(size) if size == frame.content as usize => Ok(()),
            Ok(_) => Err(damaged(format!(
                "{} has another length than the seek table says",
                at()
            ))),
            Err(_) => Err(damaged(format!("{} cannot be decompressed", at()))),
        }
    }
}
