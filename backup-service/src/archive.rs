//! The `.sar` format, version 1: a POSIX pax tar inside independent zstd frames, with an index, a seal and a seek
//! table, so that any `tar --zstd` reads it and one file is found by reading a few MiB. See `docs/archive.md`.
//!
//! **Invariants:** memory does not grow with the size of an archive's content; bytes that are read back are never
//! trusted, whatever wrote them; nothing in here knows of gRPC or of where archives are kept.

mod back;
pub mod find;
pub mod frames;
pub mod index;
pub mod manifest;
pub mod member;
pub mod names;
mod ordered;
pub mod pax;
mod proof;
pub mod read;
pub(crate) mod reuse;
pub mod seek;
pub mod select;
pub(crate) mod stream;
mod uncached;
pub mod verify;
pub mod write;

/// Most bytes of content in one frame.
pub const FRAME: usize = 4 << 20;

/// Bytes of content at which a frame is ended. Bigger ones would hardly become smaller, but several are in memory at once.
pub const FULL: usize = 2 << 20;

/// A frame that holds this much is ended before a member that does not fit into it any more.
pub const CUT: usize = 1 << 20;

/// Most frames in an archive: of the length that they have when they are written, 1 to 2 TiB of content.
pub const MAX_FRAMES: usize = 1 << 20;

/// Most members in an archive.
pub const MAX_MEMBERS: u64 = 4_000_000;

/// Most bytes of the pax records of one member.
pub const MAX_PAX: u64 = 1 << 20;

/// Most bytes of `manifest.json`.
pub const MAX_MANIFEST: u64 = 256 << 10;

/// Most bytes of a line of `checksums.json`.
pub const MAX_LINE: usize = 64 << 10;

/// Level of compression: more costs several times the CPU for a few per cent, and dumps and call records become no
/// smaller by it.
pub const LEVEL: i32 = 1;

/// Name of the first member.
pub const MANIFEST: &str = "manifest.json";

/// What the names of members of data sets begin with.
pub(crate) const DATA: &[u8] = b"data/";

/// Name of the last member.
pub const CHECKSUMS: &str = "checksums.json";

/// Tar's unit.
pub(crate) const BLOCK: usize = 512;

/// How many threads compress or decompress: the cores, at most four so that memory stays below 64 MiB.
#[must_use]
pub fn threads() -> usize {
    std::thread::available_parallelism()
        .map_or(1, usize::from)
        .clamp(1, 4)
}

/// Bytes that fill the last block of `size` bytes of content.
pub(crate) fn padding(size: u64) -> usize {
    let used = (size % BLOCK as u64) as usize;
    if used == 0 { 0 } else { BLOCK - used }
}
