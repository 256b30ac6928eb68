//! Cuts content into frames, compresses them on several threads and writes them in order, hashing as it writes.
//!
//! **Invariant:** at most `threads + 2` frames are in memory, and one thread writes. What was compressed is decompressed at once,
//! by the same thread, and must be what it was: what is read back from the disk then need only be what was written.

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use aws_lc_rs::digest::{Context, SHA256};
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, ParamSwitch, compress_bound};

use super::back::{Known, ReadBack};
use super::ordered::{Buffers, Results, Work, ordered};
use super::proof::{Key, Proof, Prover};
use super::reuse::{Last, Raw, Reuse};
use super::seek::{SEAL, Table, seal_head};
use super::uncached::Writer;
use super::{CUT, FULL, LEVEL, MAX_FRAMES};

/// Bytes after which what was written is flushed.
const FLUSH: u64 = 32 << 20;

/// Samples by which a frame is judged, and bytes of each.
const SAMPLES: usize = 4;
const SAMPLE: usize = 16 << 10;

/// What repetitions must save of what is left without looking for them: one part in this many.
const WORTH: usize = 8;

/// What became of the file.
#[derive(Debug)]
pub struct Written {
    /// The file, flushed to disk.
    pub file: File,
    /// Its length.
    pub size: u64,
    /// SHA-256 of it.
    pub sha256: [u8; 32],
    /// How many of its frames were taken from the archive before.
    pub taken: u64,
    /// Whether each content is known to be what its reader read.
    pub(crate) is_compared: bool,
    /// By what its frames are known again.
    pub(crate) proof: Proof,
}

/// What becomes a frame.
enum Piece {
    /// This content.
    New(Vec<u8>),
    /// So much content, which this frame of the archive before has.
    Same(Raw, usize),
}

/// A frame, and how much content it has.
struct Frame {
    data: Data,
    content: usize,
}

enum Data {
    Compressed(Vec<u8>),
    Taken(Raw),
}

impl Data {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Compressed(bytes) => bytes,
            Self::Taken(raw) => &raw.buffer[raw.there.clone()],
        }
    }
}

struct Frames {
    out: Writer,
    hash: Context,
    size: u64,
    taken: u64,
    table: Vec<(u32, u32)>,
    prover: Prover,
    known: Known,
}

/// Takes content and makes frames of it.
pub(crate) struct FrameWriter {
    work: Option<Work<Piece, io::Result<Frame>>>,
    writer: Option<JoinHandle<io::Result<Frames>>>,
    buffers: Buffers,
    buffer: Vec<u8>,
    offset: u64,
    reuse: Option<Reuse>,
}

impl FrameWriter {
    /// Writes to `file`, which is empty. What comes again by `reuse` need not be compressed.
    pub(crate) fn start(file: File, reuse: Option<Reuse>, threads: usize) -> io::Result<Self> {
        let inputs = Buffers::default();
        let outputs = Buffers::default();
        let mut workers = Vec::with_capacity(threads);
        for _ in 0..threads {
            workers.push(compressor(inputs.clone(), outputs.clone())?);
        }
        let (work, results) = ordered(workers, threads)?;
        let writer = std::thread::Builder::new().name("archive-writer".to_owned());
        let last = reuse.as_ref().map(Reuse::last).unwrap_or_default();
        let writer = writer.spawn(move || write_frames(file, &results, &outputs, &last))?;
        let buffer = inputs.take(FULL);
        Ok(Self {
            work: Some(work),
            writer: Some(writer),
            buffers: inputs,
            buffer,
            offset: 0,
            reuse,
        })
    }

    /// Bytes of content so far.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Adds content. `from` is where the same bytes lie in the content of the archive before, if they do.
    ///
    /// Frames end where they ended there as far as they are long enough: what comes after a change is then soon in the
    /// same frames as before.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut from: Option<u64>) -> io::Result<()> {
        self.offset += bytes.len() as u64;
        while !bytes.is_empty() {
            let begins = |reuse: &Reuse| from.is_some_and(|at| reuse.begins_at(at));
            if self.buffer.len() >= CUT && self.reuse.as_ref().is_some_and(begins) {
                self.cut()?;
            }
            let filled = self.buffer.len();
            let left = self.reuse.as_mut().and_then(|reuse| reuse.follow(from, filled));
            let most = most(filled, left);
            let count = bytes.len().min(most.saturating_sub(filled));
            let count = count.min(left.unwrap_or(count));
            let (now, later) = bytes.split_at(count);
            self.buffer.extend_from_slice(now);
            (bytes, from) = (later, from.map(|at| at + count as u64));
            if self.buffer.len() >= most || self.is_same() {
                self.cut()?;
            }
        }
        Ok(())
    }

    /// Whether the content of a frame of the archive before is in the buffer.
    fn is_same(&self) -> bool {
        let whole = |reuse: &Reuse| reuse.whole(self.buffer.len()).is_some();
        self.reuse.as_ref().is_some_and(whole)
    }

    /// Adds zeros; `from` as of [`Self::push`].
    pub(crate) fn pad(&mut self, count: usize, from: Option<u64>) -> io::Result<()> {
        self.push(&[0; 2 * super::BLOCK][..count], from)
    }

    /// Says that a member of `size` bytes begins here: ends the frame if the member does not fit into a full one.
    pub(crate) fn boundary(&mut self, size: u64) -> io::Result<()> {
        let fits = size.saturating_add(self.buffer.len() as u64) <= FULL as u64;
        if self.buffer.len() >= CUT && !fits {
            self.cut()
        } else {
            Ok(())
        }
    }

    fn cut(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let reuse = self.reuse.as_ref();
        let same = reuse.and_then(|reuse| reuse.take(self.buffer.len()));
        let piece = if let Some(raw) = same {
            let content = self.buffer.len();
            self.buffer.clear();
            Piece::Same(raw, content)
        } else {
            Piece::New(std::mem::take(&mut self.buffer))
        };
        let given = self.work.as_ref().is_some_and(|work| work.give(piece).is_ok());
        if !given {
            return Err(self.why());
        }
        if self.buffer.capacity() == 0 {
            // Not before: while `give` waited, one of those that were compressed has mostly come back.
            self.buffer = self.buffers.take(FULL);
        }
        Ok(())
    }

    /// The error for which the writing thread went away.
    fn why(&mut self) -> io::Error {
        self.work = None;
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => error,
            _ => io::Error::other("the thread that writes the archive went away"),
        }
    }

    /// Ends the last frame, writes seal and seek table and flushes all to disk.
    pub(crate) fn finish(mut self, checksums_at: u64) -> io::Result<Written> {
        self.cut()?;
        self.work = None;
        let Some(Ok(frames)) = self.writer.take().map(JoinHandle::join) else {
            return Err(self.why());
        };
        let mut frames = frames?;
        let hash_of_frames = frames.hash.clone();
        frames.add(&seal_head(checksums_at))?;
        let digest = frames.hash.clone().finish();
        frames.add(digest.as_ref())?;
        let table = Table::encode(&frames.table);
        frames.add(&table)?;
        let file = frames.out.end()?;
        file.sync_all()?;
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(frames.hash.finish().as_ref());
        debug_assert_eq!(digest.as_ref().len() + seal_head(0).len(), SEAL);
        Ok(Written {
            file,
            size: frames.size,
            sha256,
            taken: frames.taken,
            is_compared: false,
            proof: frames.prover.end(hash_of_frames, frames.known),
        })
    }
}

/// How much a frame takes that holds `filled` bytes, if `left` of one of the archive before are still to come. If they do not
/// fit, two halves of it all are made: the second ends where that one did, and is not too short for it. Where frames there are
/// longer than those that are written now, so are the halves, which must not be.
fn most(filled: usize, left: Option<usize>) -> usize {
    let all = filled + left.unwrap_or_default();
    if all > FULL { (all / 2).min(FULL) } else { FULL }
}

fn compressor(
    inputs: Buffers,
    outputs: Buffers,
) -> io::Result<impl FnMut(Piece) -> io::Result<Frame> + Send + 'static> {
    let mut zstd = zstd()?;
    let mut probe = Vec::with_capacity(compress_bound(SAMPLE));
    let mut check = Check::new()?;
    Ok(move |piece: Piece| {
        let input = match piece {
            Piece::New(input) => input,
            Piece::Same(raw, content) => {
                // As long as frames are taken, buffers of those that are compressed would only lie there.
                drop((inputs.take_used(), outputs.take_used()));
                check.content = Vec::new();
                let data = Data::Taken(raw);
                return Ok(Frame { data, content });
            }
        };
        let mut data = outputs.take(compress_bound(FULL));
        let repeats = repetitions_pay(&mut zstd, &input, &mut probe)?;
        tune(&mut zstd, if repeats { WHOLE } else { LETTERS })?;
        zstd.compress_to_buffer(&input, &mut data)?;
        check.is_of(&data, &input)?;
        let content = input.len();
        inputs.give(input);
        let data = Data::Compressed(data);
        Ok(Frame { data, content })
    })
}

/// Decompresses what was compressed, while it is still in the processor's cache.
struct Check {
    zstd: Decompressor<'static>,
    content: Vec<u8>,
}

impl Check {
    fn new() -> io::Result<Self> {
        Ok(Self {
            zstd: Decompressor::new()?,
            content: Vec::new(),
        })
    }

    /// Fails unless `frame` becomes `content` again.
    fn is_of(&mut self, frame: &[u8], content: &[u8]) -> io::Result<()> {
        self.content.clear();
        self.content.reserve_exact(content.len());
        let size = self.zstd.decompress_to_buffer(frame, &mut self.content);
        if size.is_ok() && self.content == content {
            return Ok(());
        }
        let what = "what was compressed does not come out again as it was: have the memory of the satellite's host checked";
        Err(io::Error::new(io::ErrorKind::InvalidData, what))
    }
}

/// How repetitions are looked for: from how many bytes on, how many entries the table has (as a power of two), and how far it
/// is gone on where there are none.
#[derive(Clone, Copy)]
struct Search {
    shortest: u32,
    table: u32,
    step: u32,
}

/// For all of them. Every second byte makes call records smaller than every one does, and takes a tenth less time.
const WHOLE: Search = Search {
    shortest: 7,
    table: 14,
    step: 2,
};

/// For few, in sound: most of what is saved is that frequent bytes become short, and 8 % of the size by short repetitions in
/// the pauses of speech. Steps of 64 would save 7 % more and take a quarter more time; a table of 2^14 misses most
/// of them. Long ones, as of zeros, are found all the same.
const LETTERS: Search = Search {
    shortest: 5,
    table: 16,
    step: 1024,
};

fn zstd() -> io::Result<Compressor<'static>> {
    let mut zstd = Compressor::new(LEVEL)?;
    zstd.set_parameter(CParameter::ChecksumFlag(true))?;
    // The window of a whole frame: the header then has no field that a reader could not check.
    zstd.set_parameter(CParameter::WindowLog(FULL.ilog2()))?;
    // By itself zstd does not, once it goes on faster.
    zstd.set_parameter(CParameter::LiteralCompressionMode(ParamSwitch::Enable))?;
    Ok(zstd)
}

/// Sets all of it, so that short samples are judged by what a whole frame would become: zstd itself would choose by the length.
fn tune(zstd: &mut Compressor<'_>, search: Search) -> io::Result<()> {
    zstd.set_parameter(CParameter::MinMatch(search.shortest))?;
    zstd.set_parameter(CParameter::HashLog(search.table))?;
    zstd.set_parameter(CParameter::TargetLength(search.step))
}

/// Whether it pays to look for repetitions, by samples of a frame. In sound they save a few per cent for three times the
/// CPU. It depends on the frame alone, so that the same content always gives the same frames.
fn repetitions_pay(zstd: &mut Compressor<'_>, input: &[u8], probe: &mut Vec<u8>) -> io::Result<bool> {
    let mut sizes = [0; 2];
    for (size, search) in sizes.iter_mut().zip([WHOLE, LETTERS]) {
        tune(zstd, search)?;
        for number in 0..SAMPLES {
            let sample = &input[input.len() / SAMPLES * number..];
            probe.clear();
            *size += zstd.compress_to_buffer(&sample[..sample.len().min(SAMPLE)], probe)?;
        }
    }
    let [with, without] = sizes;
    Ok(with * WORTH <= without * (WORTH - 1))
}

fn write_frames(
    file: File,
    results: &Results<io::Result<Frame>>,
    outputs: &Buffers,
    last: &Last,
) -> io::Result<Frames> {
    let flusher = Flusher::start(file.try_clone()?)?;
    let key = Key::new()?;
    let mut back = ReadBack::start(file.try_clone()?, key.clone())?;
    let mut frames = Frames {
        out: Writer::new(file),
        hash: Context::new(&SHA256),
        size: 0,
        taken: 0,
        table: Vec::new(),
        prover: Prover::new(key),
        known: Known::new(),
    };
    let mut flushed = 0;
    while let Some(frame) = results.next() {
        let Frame { data, content } = frame?;
        if frames.table.len() >= MAX_FRAMES {
            let full = "an archive holds 1 to 2 TiB at most: spread the data sets over several backups";
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, full));
        }
        let bytes = data.bytes();
        frames.add(bytes)?;
        let tagged = frames.prover.add(bytes)?;
        // What waits in the cache lies nowhere yet.
        if !frames.out.is_cached() {
            back.wrote(tagged, bytes.len(), frames.size, frames.out.on_disk());
        }
        frames.table.push((bytes.len() as u32, content as u32));
        match data {
            Data::Compressed(bytes) => outputs.give(bytes),
            Data::Taken(raw) => {
                frames.taken += 1;
                last.give_back(Some(raw));
            }
        }
        if frames.out.is_cached() && frames.size - flushed >= FLUSH {
            flushed = frames.size;
            flusher.wake();
        }
    }
    flusher.end()?;
    frames.known = back.end();
    Ok(frames)
}

/// Flushes what waits in the cache while others write, so that the disk works from the beginning and not after the last byte.
struct Flusher {
    ticks: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Flusher {
    fn start(file: File) -> io::Result<Self> {
        let (ticks, wakes) = sync_channel(1);
        let thread = std::thread::Builder::new().name("archive-flusher".to_owned());
        let thread = thread.spawn(move || wakes.iter().try_for_each(|()| file.sync_data()))?;
        Ok(Self { ticks, thread })
    }

    fn wake(&self) {
        // It is woken already, or has failed, which `end` tells.
        let _ = self.ticks.try_send(());
    }

    /// An error is told here or never: the kernel tells each only once.
    fn end(self) -> io::Result<()> {
        drop(self.ticks);
        self.thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that flushes went away")))
    }
}

impl Frames {
    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        self.out.write(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pays(content: &[u8]) -> bool {
        repetitions_pay(&mut zstd().unwrap(), content, &mut Vec::with_capacity(100_000)).unwrap()
    }

    #[test]
    fn a_frame_that_does_not_become_its_content_again_is_an_error() {
        let content = b"Every bit of it counts. ".repeat(9000);
        let mut zstd = zstd().unwrap();
        tune(&mut zstd, WHOLE).unwrap();
        let frame = zstd.compress(&content).unwrap();
        let mut check = Check::new().unwrap();
        check.is_of(&frame, &content).unwrap();
        check.is_of(&zstd.compress(b"").unwrap(), b"").unwrap();
        for at in 0..frame.len() {
            let mut other = frame.clone();
            other[at] ^= 1;
            check.is_of(&other, &content).unwrap_err();
        }
        for at in [0, content.len() / 2, content.len() - 1] {
            let mut other = content.clone();
            other[at] ^= 1;
            check.is_of(&frame, &other).unwrap_err();
        }
        check.is_of(&frame, &content[1..]).unwrap_err();
        check.is_of(&frame, &content[..content.len() - 1]).unwrap_err();
        check.is_of(&frame, &[&content[..], b"x"].concat()).unwrap_err();
        check.is_of(&frame, &content).unwrap();
    }

    #[test]
    fn repetitions_are_looked_for_in_records_and_not_in_sound() {
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        let records: String = (0..40_000)
            .map(|_| format!("<sip:{:08x}@pbx>;", random(300) * 0x0100_0193 % 0xFFFF_FFFB))
            .collect();
        assert!(pays(records.as_bytes()));
        let sound: Vec<u8> = (0..300_000_i64)
            .map(|n| ((n * n % 1709) * 3 + random(200) as i64) as i16)
            .flat_map(i16::to_le_bytes)
            .collect();
        assert!(!pays(&sound));
        for few in [&b""[..], b"a", b"abc"] {
            pays(few);
        }
    }
}
