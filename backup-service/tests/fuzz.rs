//! Archives that somebody forged: sealed as they should be, with content changed at random. Whoever reads them ends, takes
//! nothing for intact that is not what was written, and gets no member that leads out of where it is restored.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "../../proto/tests/changes/mod.rs"]
mod changes;
mod support;

use std::collections::HashSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use backup_service::archive::FRAME;
use backup_service::archive::find::find;
use backup_service::archive::member::{Kind, Member};
use backup_service::archive::read::Archive;
use backup_service::archive::seek::{FOOTER, Table, read_seal, seal_head};
use backup_service::archive::select::{Check, Piece, Selection, select};
use backup_service::archive::verify::verify;
use changes::changed;
use proptest::prelude::*;
use support::{read, sha256};
use zstd::zstd_safe::CParameter;

/// Bytes of a block of tar.
const BLOCK: usize = 512;

fn corpus() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/corpus/archive");
    let files = std::fs::read_dir(dir).unwrap();
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// What an archive of the corpus holds, uncompressed, with where its index begins.
fn content(path: &Path) -> (Vec<u8>, u64) {
    let bytes = std::fs::read(path).unwrap();
    let tail = Table::length(bytes.last_chunk::<FOOTER>().unwrap()).unwrap();
    let (index_at, _) = read_seal(bytes[..bytes.len() - tail].last_chunk().unwrap()).unwrap();
    (zstd::decode_all(bytes.as_slice()).unwrap(), index_at)
}

/// Headers whose checksum is that of what is in them now: a forger does not forget it.
fn with_checksums(mut content: Vec<u8>) -> Vec<u8> {
    let (blocks, _) = content.as_chunks_mut::<BLOCK>();
    for block in blocks.iter_mut().filter(|block| &block[257..262] == b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    content
}

/// An archive of that content, sealed as the format has it.
fn sealed(content: &[u8], index_at: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut frames = Vec::new();
    let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
    let parameters = [
        CParameter::ChecksumFlag(true),
        CParameter::WindowLog(FRAME.ilog2()),
    ];
    for parameter in parameters {
        compressor.set_parameter(parameter).unwrap();
    }
    for piece in content.chunks(64 << 10) {
        let frame = compressor.compress(piece).unwrap();
        frames.push((
            u32::try_from(frame.len()).unwrap(),
            u32::try_from(piece.len()).unwrap(),
        ));
        out.extend(frame);
    }
    out.extend(seal_head(index_at));
    out.extend(sha256(&out));
    out.extend(Table::encode(&frames));
    out
}

fn opened(bytes: &[u8]) -> Option<Archive> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Archive::new(file).ok()
}

/// What a restore is handed of it, if it is readable to its end. Fails if a member leads elsewhere, or is not what is said.
fn handed(archive: &Archive) -> Option<Vec<(Member, Vec<u8>)>> {
    let mut members: Vec<(Member, Vec<u8>)> = Vec::new();
    let (mut links, mut files) = (HashSet::new(), HashSet::new());
    let end = select(archive, &Selection::default(), Check::Here, |piece| {
        match piece {
            Piece::Begin(member) => {
                let (set, path) = (member.data_set.to_string(), member.path.as_bytes().to_vec());
                let names: Vec<_> = path.split(|byte| *byte == b'/').collect();
                assert!(
                    names.iter().all(|name| !matches!(*name, b"" | b"." | b"..")),
                    "{member:?}"
                );
                for above in member.path.parents() {
                    assert!(
                        !links.contains(&(set.clone(), above.to_vec())),
                        "below a link: {member:?}"
                    );
                }
                match &member.kind {
                    Kind::Symlink(_) => drop(links.insert((set, path))),
                    Kind::HardLink(to) => {
                        assert!(files.contains(&(set, to.as_bytes().to_vec())), "{member:?}");
                    }
                    Kind::File(_) => drop(files.insert((set, path))),
                    Kind::Directory => {}
                }
                members.push((member, Vec::new()));
            }
            Piece::Content(bytes) => members.last_mut().unwrap().1.extend_from_slice(bytes),
            Piece::End(digest) => assert_eq!(digest, sha256(&members.last().unwrap().1)),
        }
        true
    });
    end.ok().map(|_| members)
}

/// Reads it in every way that there is. Answers what it holds if it is intact.
fn tried(bytes: &[u8]) -> Option<Vec<(Member, Vec<u8>)>> {
    let archive = opened(bytes)?;
    let _ = find(&archive, "a", 100, 1 << 16);
    let handed = handed(&archive);
    let is_intact = verify(&archive, None, 1).is_ok_and(|report| report.is_intact());
    assert!(!is_intact || handed.is_some(), "what is intact can be restored");
    handed.filter(|_| is_intact)
}

/// Whether it is refused or holds what the archive of the corpus holds.
fn is_refused_or(good: &Path, bytes: &[u8]) -> bool {
    tried(bytes).is_none_or(|members| members == read(good, &Selection::default()).unwrap())
}

#[test]
fn what_is_sealed_again_unchanged_is_intact() {
    for good in corpus() {
        let (content, index_at) = content(&good);
        let archive = opened(&sealed(&with_checksums(content), index_at)).unwrap();
        assert_eq!(verify(&archive, None, 1).unwrap().problems, Vec::<String>::new());
        assert_eq!(
            handed(&archive),
            Some(read(&good, &Selection::default()).unwrap())
        );
    }
}

proptest! {
    #[test]
    fn a_forged_archive_is_read_safely_or_refused(
        (good, forged) in prop::sample::select(corpus())
            .prop_flat_map(|good| { let (bytes, _) = content(&good); (Just(good), changed(vec![bytes])) }),
        is_careful: bool,
        shift in -2_000_i64..2_000,
    ) {
        let (_, index_at) = content(&good);
        // The index may have moved, or be said to lie anywhere.
        for index_at in [index_at, index_at.saturating_add_signed(shift)] {
            if is_careful {
                // Who forgets nothing makes an archive as good as any: it is only read safely.
                let _ = tried(&sealed(&with_checksums(forged.clone()), index_at));
            } else {
                prop_assert!(is_refused_or(&good, &sealed(&forged, index_at)));
            }
        }
    }

    #[test]
    fn an_archive_that_was_changed_is_refused(
        (good, bytes) in prop::sample::select(corpus())
            .prop_flat_map(|good| { let bytes = std::fs::read(&good).unwrap(); (Just(good), changed(vec![bytes])) }),
    ) {
        prop_assert!(is_refused_or(&good, &bytes));
    }

    /// Other names, in the places of those that are there: as long, and everywhere they stand.
    #[test]
    fn no_name_leads_elsewhere(
        good in prop::sample::select(corpus()),
        from in prop::sample::select(vec!["dir/a", "dir/b", "dir/c", "core", "data"]),
        to in prop::sample::select(vec!["../../x", "/etc/x", "..", "./x", "//x", "dir/c", "dir/c/x", "a\0b"]),
    ) {
        let (bytes, index_at) = content(&good);
        let (from, mut to) = (from.as_bytes(), to.as_bytes().to_vec());
        to.resize(from.len(), b'x');
        let mut forged = bytes.clone();
        for at in 0..bytes.len() - from.len() {
            if bytes[at..].starts_with(from) {
                forged[at..at + from.len()].copy_from_slice(&to);
            }
        }
        let _ = tried(&sealed(&with_checksums(forged), index_at));
    }
}
