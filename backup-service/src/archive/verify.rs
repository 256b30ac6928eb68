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
    examine(archive, Way::FromDisk, expected, threads)
}

/// Verifies an archive that this process has just written: it must be byte for byte what was written, and all digests
/// in it right.
///
/// # Errors
/// As [`verify`].
pub fn verify_written(written: Written, threads: usize) -> Result<Report, ReadError> {
    let archive = Archive::new(written.file)?;
    let way = Way::Proven(Arc::new(written.proof));
    examine(&archive, way, Some(&hex(&written.sha256)), threads)
}

fn examine(archive: &Archive, way: Way, expected: Option<&str>, threads: usize) -> Result<Report, ReadError> {
    let mut report = Report::default();
    let mut stream = archive.ahead(way, threads)?;
    match walk(archive, &mut stream, &mut report) {
        Ok(()) => check_file(archive, stream, expected, &mut report)?,
        Err(ReadError::Io { what, source }) => return Err(ReadError::Io { what, source }),
        Err(error) => report.problem(error.to_string()),
    }
    Ok(report)
}

fn walk(archive: &Archive, stream: &mut TarStream, report: &mut Report) -> Result<(), ReadError> {
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
    while let Some(entry) = index.entry()? {
        check_member(stream, &entry, &mut counted, report)?;
        report.members += 1;
    }
    if counted != report.totals {
        report.problem("the index counts other members than there are".to_owned());
    }
    if stream.offset() != archive.checksums_at() {
        return Err(damaged(
            "there is something between the last member and the index",
        ));
    }
    check_end(stream)
}

fn check_member(
    stream: &mut TarStream,
    entry: &Entry,
    counted: &mut [Totals],
    report: &mut Report,
) -> Result<(), ReadError> {
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
    if let Some(total) = counted.iter_mut().find(|t| t.name == member.data_set) {
        total.members += 1;
        total.size = total.size.saturating_add(entry.size);
    }
    let digest = match member.kind {
        Kind::File(size) => Some(hex(&hashed(stream, size, |_| Ok::<_, ReadError>(()))?)),
        _ => None,
    };
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
