//! Reads an archive whole and compares all that it says about itself with what is there.
//!
//! **Invariant:** any change of any bit of an archive is found: the seal covers all before it, and seal and seek table
//! are accepted in one form only.

use std::sync::Arc;

use super::frames::Written;
use super::index::{Entry, Totals, Type};
use super::manifest::Manifest;
use super::member::Kind;
use super::names::escape;
use super::read::{Archive, ReadError, damaged, hex, member, own_header, read_manifest, skip_padding};
use super::seek::{SEAL, read_seal};
use super::select::hashed;
use super::stream::{TarStream, Way};
use super::{BLOCK, CHECKSUMS, MANIFEST};

/// Most problems that are listed.
pub const MAX_PROBLEMS: usize = 100;

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// What is wrong; nothing if all digests are right.
    pub problems: Vec<String>,
    /// How many problems are contents of another digest than the index says.
    pub contents: u64,
    /// Members that were read.
    pub members: u64,
    /// What the archive says about itself, if that could be read.
    pub manifest: Option<Manifest>,
    /// What it holds.
    pub totals: Vec<Totals>,
    /// Things that it says were left out of it.
    pub left_out: u64,
    /// SHA-256 of the file, 64 hexadecimal digits; empty if it was not read to its end.
    pub sha256: String,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether the archive is as it was written, all but that contents have other digests than it was told: then they
    /// were wrong before they were written.
    #[must_use]
    pub fn only_content_differs(&self) -> bool {
        let listed = self.problems.len() as u64;
        listed > 0 && listed < MAX_PROBLEMS as u64 && listed == self.contents
    }

    fn problem(&mut self, what: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(what);
        }
    }
}

/// Verifies an archive that was opened. `expected` is the digest of the file, if something else knows it.
///
/// # Errors
/// [`ReadError::Io`] if the disk fails; what is wrong with the archive is in the report.
pub fn verify(archive: &Archive, expected: Option<&str>, threads: usize) -> Result<Report, ReadError> {
    examine(archive, Way::FromDisk, true, expected, threads)
}

/// Verifies an archive that this process has just written: it must be byte for byte what was written, and its index must be
/// readable and count what it lists. What was written was decompressed then. Contents that were compared as they came are not
/// looked at again; if any was not, all are.
///
/// # Errors
/// As [`verify`].
pub fn verify_written(written: Written, threads: usize) -> Result<Report, ReadError> {
    let archive = Archive::new(written.file)?;
    // The manifest lies in the first frame.
    let without = if written.is_compared {
        1..archive.checksums_at()
    } else {
        0..0
    };
    let way = Way::Proven {
        proof: Arc::new(written.proof),
        without,
    };
    let expected = hex(&written.sha256);
    examine(&archive, way, !written.is_compared, Some(&expected), threads)
}

fn examine(
    archive: &Archive,
    way: Way,
    has_contents: bool,
    expected: Option<&str>,
    threads: usize,
) -> Result<Report, ReadError> {
    let mut report = Report::default();
    let mut stream = archive.ahead(way, threads)?;
    match walk(archive, &mut stream, has_contents, &mut report) {
        Ok(()) => check_file(archive, stream, expected, &mut report)?,
        Err(ReadError::Io { what, source }) => return Err(ReadError::Io { what, source }),
        Err(error) => report.problem(error.to_string()),
    }
    Ok(report)
}

fn walk(
    archive: &Archive,
    stream: &mut TarStream,
    has_contents: bool,
    report: &mut Report,
) -> Result<(), ReadError> {
    let mut index = archive.index()?;
    report.totals.clone_from(&index.head()?.data_sets);
    report.left_out = index.head()?.left_out.count;
    let mut counted: Vec<Totals> = report
        .totals
        .iter()
        .map(|t| Totals {
            members: 0,
            size: 0,
            ..t.clone()
        })
        .collect();
    let first = index.entry()?.filter(|e| e.path == MANIFEST && e.offset == 0);
    let first = first.ok_or_else(|| damaged("the index does not begin with the manifest"))?;
    let (manifest, digest) = read_manifest(stream)?;
    if first.sha256.as_deref() != Some(digest.as_str()) {
        report.problem("the manifest has another digest than the index says".to_owned());
    }
    let announced: Vec<_> = report.totals.iter().map(|t| t.name.clone()).collect();
    if announced != manifest.data_sets {
        report.problem("manifest and index name different data sets".to_owned());
    }
    report.manifest = Some(manifest);
    let mut next = index.entry()?;
    while let Some(entry) = next {
        next = index.entry()?;
        if has_contents {
            check_member(stream, &entry, report)?;
        }
        let set = entry
            .path
            .strip_prefix("data/")
            .and_then(|path| path.split('/').next());
        if let Some(total) = counted.iter_mut().find(|t| Some(t.name.as_str()) == set) {
            total.members += 1;
            total.size = total.size.saturating_add(entry.size);
        }
        report.members += 1;
    }
    if counted != report.totals {
        report.problem("the index counts other members than there are".to_owned());
    }
    if !has_contents {
        stream.seek(archive.checksums_at())?;
    }
    if stream.offset() != archive.checksums_at() {
        return Err(damaged(
            "there is something between the last member and the index",
        ));
    }
    check_end(stream)
}

fn check_member(stream: &mut TarStream, entry: &Entry, report: &mut Report) -> Result<(), ReadError> {
    if stream.offset() != entry.offset {
        return Err(damaged(format!("`{}` is not where the index says", entry.path)));
    }
    let member = member(stream)?;
    let same = escape(&member.tar_name()) == entry.path
        && member.size() == entry.size
        && Type::from(&member.kind) == entry.kind;
    if !same {
        return Err(damaged(format!("`{}` is not what the index says", entry.path)));
    }
    let Kind::File(size) = member.kind else {
        if entry.sha256.is_some() {
            return Err(damaged(format!("`{}` has a digest and no content", entry.path)));
        }
        return Ok(());
    };
    let digest = Some(hex(&hashed(stream, size, |_| Ok::<_, ReadError>(()))?));
    if digest != entry.sha256 {
        report.contents += 1;
        report.problem(format!("the content of `{}` has another digest", entry.path));
    }
    Ok(())
}

/// The index was read by another way; here its bytes are passed, and what ends the tar is checked.
fn check_end(stream: &mut TarStream) -> Result<(), ReadError> {
    let size = own_header(stream, CHECKSUMS)?;
    let end = stream
        .offset()
        .checked_add(size)
        .ok_or_else(|| damaged("the index is too big"))?;
    stream.seek(end)?;
    skip_padding(stream, size)?;
    let mut last = [1; 2 * BLOCK];
    stream.read_exact(&mut last)?;
    if last.iter().any(|b| *b != 0) || !stream.fill()?.is_empty() {
        return Err(damaged("the tar does not end where it should"));
    }
    Ok(())
}

fn check_file(
    archive: &Archive,
    stream: TarStream,
    expected: Option<&str>,
    report: &mut Report,
) -> Result<(), ReadError> {
    let mut hash = stream.hash()?;
    hash.update(&archive.seal[..SEAL - 32]);
    let (_, sealed) = read_seal(&archive.seal).map_err(ReadError::End)?;
    if hash.clone().finish().as_ref() != sealed {
        report.problem("the file has another digest than its seal says".to_owned());
    }
    hash.update(&archive.seal[SEAL - 32..]);
    hash.update(&archive.tail);
    report.sha256 = hex(hash.finish().as_ref());
    if expected.is_some_and(|expected| expected != report.sha256) {
        report.problem("the file has another digest than the catalogue says".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;
    use std::path::Path;

    use aws_lc_rs::digest::{SHA256, digest};
    use twox_hash::XxHash3_64;

    use super::super::index::Entry;
    use super::super::member::{Member, Moment, Origin};
    use super::super::names::MemberPath;
    use super::super::reuse::{Last, Reuse};
    use super::super::write::{ArchiveWriter, Before, Room};
    use super::*;

    fn member(number: usize, size: usize) -> Member {
        Member {
            data_set: "core".parse().unwrap(),
            path: MemberPath::new(format!("f{number:04}").into()).unwrap(),
            kind: Kind::File(size as u64),
            mode: 0o640,
            uid: 0,
            gid: 0,
            modified: Moment::default(),
            xattrs: Vec::new(),
            origin: Origin::Path,
            sparse: false,
            user: String::new(),
            group: String::new(),
        }
    }

    fn manifest(key: &str) -> Manifest {
        Manifest {
            format: 1,
            id: uuid::Uuid::now_v7(),
            central: "pbx".parse().unwrap(),
            central_address: "192.0.2.1".to_owned(),
            tenant: "default".to_owned(),
            configuration: None,
            data_sets: vec!["core".parse().unwrap()],
            create_time: "2026-11-22T02:00:00Z".parse().unwrap(),
            creator_version: "1".to_owned(),
            writer_version: "1".to_owned(),
            idempotency_key: key.to_owned(),
        }
    }

    fn noise(length: usize, seed: usize) -> Vec<u8> {
        let mut state = seed as u64 + 1;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        })
        .take(length)
        .collect()
    }

    /// Writes files with these contents; those that `before` has under the same number are copied from it.
    fn write(dir: &Path, contents: &[Vec<u8>], before: Option<(&Archive, &[Vec<u8>])>) -> Written {
        let last = Last::default();
        let reuse = before.map(|(archive, _)| Reuse::new(archive, last.clone()));
        let room = Room {
            directory: dir.to_owned(),
            reserve: 0,
        };
        let file = tempfile::tempfile_in(dir).unwrap();
        let mut writer = ArchiveWriter::after(reuse, file, room, &manifest("k"), 2).unwrap();
        let there = before.map(|(archive, _)| (archive.past_cache(last).unwrap(), entries(archive)));
        let (mut stream, entries) = there.unzip();
        for (number, content) in contents.iter().enumerate() {
            let sha256 = digest(&SHA256, content);
            let same = before.is_some_and(|(_, old)| old.get(number) == Some(content));
            let (Some(stream), Some(entries), true) = (&mut stream, &entries, same) else {
                writer.begin(member(number, content.len()), false).unwrap();
                writer.content(content).unwrap();
                writer
                    .end(sha256.as_ref(), Some(XxHash3_64::oneshot(content)))
                    .unwrap();
                continue;
            };
            let at = entries[number + 1].offset;
            stream.seek(at).unwrap();
            super::member(stream).unwrap();
            let mut header = vec![0; (stream.offset() - at) as usize];
            stream.seek(at).unwrap();
            stream.read_exact(&mut header).unwrap();
            let before = Some(Before { at, header });
            writer
                .begin_again(member(number, content.len()), false, before)
                .unwrap();
            assert!(writer.takes_whole(content.len() as u64));
            let mut left = content.len();
            while left > 0 {
                let from = stream.offset();
                let here = stream.fill().unwrap();
                let count = here.len().min(left);
                writer.content_from(&here[..count], from).unwrap();
                stream.consume(count);
                left -= count;
            }
            writer.end(sha256.as_ref(), None).unwrap();
        }
        let bytes = contents.iter().map(|content| content.len() as u64).sum();
        writer.finish(contents.len() as u64, bytes).unwrap().0
    }

    fn entries(archive: &Archive) -> Vec<Entry> {
        let mut index = archive.index().unwrap();
        std::iter::from_fn(|| index.entry().unwrap()).collect()
    }

    #[test]
    fn what_was_written_is_proven_and_a_changed_bit_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let old: Vec<_> = (0..300).map(|number| noise(60_000 + number, number)).collect();
        let first = write(dir.path(), &old, None);
        let before = Archive::new(first.file.try_clone().unwrap()).unwrap();
        assert!(verify_written(first, 2).unwrap().is_intact());

        let mut new = old.clone();
        new[0] = noise(10, 1000);
        new[150] = noise(5_000_000, 1001);
        new.push(noise(100, 1002));
        let again = || write(dir.path(), &new, Some((&before, &old)));
        let written = again();
        let copy = written.file.try_clone().unwrap();
        assert!(written.is_compared && written.taken > 4, "{}", written.taken);
        let frames = Archive::new(copy.try_clone().unwrap()).unwrap().table;
        let report = verify_written(written, 2).unwrap();
        assert!(report.is_intact(), "{:?}", report.problems);
        assert_eq!(report.members, 301);
        let whole = verify(&Archive::new(copy).unwrap(), Some(&report.sha256), 2).unwrap();
        assert!(whole.is_intact(), "{:?}", whole.problems);
        assert_eq!((whole.members, &whole.totals), (301, &report.totals));

        // A bit of each frame, in turn.
        for frame in frames.frames() {
            let mut written = again();
            written.proof.forget();
            flip(&written.file, frame.at + u64::from(frame.length) / 2);
            let Err(ReadError::Damaged(_) | ReadError::End(_)) = found(written) else {
                panic!("a changed bit at {} was not found", frame.at);
            };
        }
    }

    /// As an error, whether it is one of the index or in the report.
    fn found(written: Written) -> Result<(), ReadError> {
        let report = verify_written(written, 2)?;
        report
            .problems
            .first()
            .map_or(Ok(()), |problem| Err(damaged(problem)))
    }

    fn flip(file: &File, at: u64) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 4], at).unwrap();
        file.sync_all().unwrap();
    }

    #[test]
    fn what_has_no_checksum_is_compared_by_its_digest() {
        let dir = tempfile::tempdir().unwrap();
        let old = [noise(3_000_000, 1), noise(3_000_000, 2), noise(3_000_000, 3)];
        let first = write(dir.path(), &old, None);
        let before = Archive::new(first.file).unwrap();
        let mut written = write(dir.path(), &old, Some((&before, &old)));
        assert!(written.taken > 2);
        // As if a sender of before had sent it: the frames that were taken are then decompressed too.
        written.is_compared = false;
        assert!(verify_written(written, 2).unwrap().is_intact());
    }
}
