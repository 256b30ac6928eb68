//! Takes a stream of members and makes an archive of it: written, flushed, read back, then listed.
//!
//! **Invariant:** whatever goes wrong before the commit, nothing stays.

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use satellite_proto::wire::backup::v1::create_archive_request::Kind;
use satellite_proto::wire::backup::v1::{ArchiveTrailer, Batch, CreateArchiveRequest, item};
use tokio::runtime::Handle;
use tonic::{Status, Streaming};

use super::{catalog_status, chain, wire};
use crate::archive::manifest::Manifest;
use crate::archive::read::Archive;
use crate::archive::threads;
use crate::archive::verify::verify;
use crate::archive::write::{ArchiveWriter, WriteError, Written};
use crate::catalog::{Begun, Catalog, Record};

/// Where the members come from.
pub(super) struct Source {
    pub(super) stream: Streaming<CreateArchiveRequest>,
    pub(super) runtime: Handle,
    pub(super) stall: Duration,
}

impl Source {
    /// The next message; waits for it on a thread that may block.
    fn next(&mut self) -> Result<Kind, Status> {
        let (stall, stream) = (self.stall, &mut self.stream);
        let message = self
            .runtime
            .block_on(async { tokio::time::timeout(stall, stream.message()).await });
        match message {
            Err(_) => Err(Status::deadline_exceeded(format!(
                "nothing came for {}: the archive was given up",
                humantime::format_duration(stall)
            ))),
            Ok(Err(status)) => Err(status),
            Ok(Ok(None)) => Err(Status::invalid_argument(
                "the stream ended without a trailer: nothing was kept",
            )),
            Ok(Ok(Some(message))) => message
                .kind
                .ok_or_else(|| Status::invalid_argument("a message of the stream is empty")),
        }
    }
}

/// Makes the archive, or finds the one that the same run left before.
pub(super) fn create(catalog: &Catalog, mut source: Source) -> Result<Record, Status> {
    let begun = Instant::now();
    let Kind::Header(header) = source.next()? else {
        return Err(Status::invalid_argument(
            "the stream does not begin with a header",
        ));
    };
    let expected = header.expected_bytes;
    let manifest = wire::manifest(header)?;
    let room = catalog.room();
    let (writing, file) = match catalog.begin(&manifest).map_err(catalog_status)? {
        Begun::Existing(record) => return Ok(*record),
        Begun::New(writing, file) => (writing, file),
    };
    room.check(expected).map_err(write_status)?;
    let writer = ArchiveWriter::create(file, room, &manifest, threads()).map_err(write_status)?;
    let (written, trailer) = receive(writer, &mut source)?;
    let record = read_back(written, &manifest, &trailer)?;
    writing.commit(&record).map_err(catalog_status)?;
    tracing::info!(
        archive = %record.id,
        central = %record.central,
        members = trailer.members,
        content_bytes = trailer.content_bytes,
        size_bytes = record.size_bytes,
        elapsed = ?begun.elapsed(),
        "Wrote and verified an archive"
    );
    Ok(record)
}

fn receive(mut writer: ArchiveWriter, source: &mut Source) -> Result<(Written, ArchiveTrailer), Status> {
    loop {
        match source.next()? {
            Kind::Header(_) => return Err(Status::invalid_argument("a second header came")),
            Kind::Batch(batch) => take(&mut writer, batch)?,
            Kind::Trailer(trailer) => {
                let finished = writer.finish(trailer.members, trailer.content_bytes);
                let (written, _) = finished.map_err(write_status)?;
                return Ok((written, trailer));
            }
        }
    }
}

fn take(writer: &mut ArchiveWriter, batch: Batch) -> Result<(), Status> {
    for item in batch.items {
        let kind = item
            .kind
            .ok_or_else(|| Status::invalid_argument("an item of a batch is empty"))?;
        let done = match kind {
            item::Kind::Begin(begin) => {
                let (member, size_unknown) = wire::member(begin)?;
                writer.begin(member, size_unknown)
            }
            item::Kind::Content(bytes) => writer.content(&bytes),
            item::Kind::End(end) => writer.end(&end.sha256),
        };
        done.map_err(write_status)?;
    }
    Ok(())
}

/// Reads the archive from the disk, not from the cache as far as the kernel can be asked, and compares everything.
fn read_back(written: Written, manifest: &Manifest, trailer: &ArchiveTrailer) -> Result<Record, Status> {
    if let Err(error) = posix_fadvise(
        written.file.as_fd(),
        0,
        0,
        PosixFadviseAdvice::POSIX_FADV_DONTNEED,
    ) {
        tracing::debug!(%error, "The archive is read back through the cache");
    }
    let sha256 = data_encoding::HEXLOWER.encode(&written.sha256);
    let report = Archive::new(written.file).and_then(|archive| verify(&archive, Some(&sha256), threads()));
    let lost = |what: String| {
        tracing::error!(archive = %manifest.id, problem = what, "Reading an archive back found a difference");
        Status::data_loss(format!(
            "reading the archive back found a difference: {what}; check disk and memory"
        ))
    };
    let report = report.map_err(|error| lost(chain(&error)))?;
    if let Some(problem) = report.problems.first() {
        if report.only_content_differs() {
            let advice =
                "it does not have the digest that its reader found; it was changed on the way, send it again";
            return Err(Status::invalid_argument(format!("{problem}: {advice}")));
        }
        return Err(lost(problem.clone()));
    }
    if report.manifest.as_ref() != Some(manifest) || report.members != trailer.members {
        return Err(lost("it holds something else than was sent".to_owned()));
    }
    Ok(Record::new(manifest, report.totals, written.size, report.sha256))
}

fn write_status(error: WriteError) -> Status {
    match &error {
        WriteError::Refused { .. } => Status::invalid_argument(error.to_string()),
        WriteError::Space { .. } => Status::resource_exhausted(error.to_string()),
        WriteError::Io { source, .. } if wire::is_full(source) => Status::resource_exhausted(
            "the disk became full: nothing was kept; delete archives or make it larger",
        ),
        WriteError::Io { .. } => {
            tracing::error!(error = chain(&error), "Writing an archive failed");
            Status::internal(format!("{error}: see the log of the backup-service"))
        }
    }
}
