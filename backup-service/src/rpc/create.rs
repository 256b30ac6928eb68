//! Takes a stream of members and makes an archive of it: written, flushed, read back, then listed.
//!
//! **Invariant:** whatever goes wrong before the commit, nothing stays.

use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt as _};
use satellite_host::fail_point;
use satellite_proto::wire::backup::v1::create_archive_request::Kind;
use satellite_proto::wire::backup::v1::{ArchiveTrailer, Batch, CreateArchiveRequest, item};
use tokio::runtime::Handle;
use tonic::Status;

use super::base::{Base, Fault, Whole};
use super::{catalog_status, chain, wire};
use crate::archive::manifest::Manifest;
use crate::archive::names::DataSet;
use crate::archive::threads;
use crate::archive::verify::verify_written;
use crate::archive::write::{ArchiveWriter, WriteError, Written};
use crate::catalog::{Begun, Catalog, Record};

/// Header, batches, trailer.
pub(super) type Messages = Pin<Box<dyn Stream<Item = Result<CreateArchiveRequest, Status>> + Send>>;

/// Where the members come from.
pub(super) struct Source {
    pub(super) stream: Messages,
    pub(super) runtime: Handle,
    pub(super) stall: Duration,
}

impl Source {
    /// The next message; waits for it on a thread that may block.
    fn next(&mut self) -> Result<Kind, Status> {
        let (stall, stream) = (self.stall, &mut self.stream);
        let message = self
            .runtime
            .block_on(async { tokio::time::timeout(stall, stream.next()).await });
        match message {
            Err(_) => Err(Status::deadline_exceeded(format!(
                "nothing came for {}: the archive was given up",
                humantime::format_duration(stall)
            ))),
            Ok(Some(Err(status))) => Err(status),
            Ok(None) => Err(Status::invalid_argument(
                "the stream ended without a trailer: nothing was kept",
            )),
            Ok(Some(Ok(message))) => message
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
    let base = header.base_archive_id.clone();
    let manifest = wire::manifest(header)?;
    let room = catalog.room();
    let (writing, file) = match catalog.begin(&manifest).map_err(catalog_status)? {
        Begun::Existing(record) => return Ok(*record),
        Begun::New(writing, file) => (writing, file),
    };
    fail_point("archive.begun");
    let base = match base.as_str() {
        "" => None,
        base => Some(Base::open(catalog, base)?),
    };
    let failed = |error, came| write_status(catalog, error, came);
    room.check(expected).map_err(|error| failed(error, 0))?;
    let reuse = base.as_ref().map(Base::reuse);
    let writer = ArchiveWriter::after(reuse, file, room, &manifest, threads());
    let writer = writer.map_err(|error| failed(error, 0))?;
    let (written, trailer) = receive((writer, base), &mut source, failed)?;
    fail_point("archive.written");
    let taken = written.taken;
    let record = read_back(written, &manifest, &trailer)?;
    fail_point("archive.verified");
    writing.commit(&record).map_err(catalog_status)?;
    fail_point("archive.listed");
    tracing::info!(
        archive = %record.id,
        central = %record.central,
        members = trailer.members,
        content_bytes = trailer.content_bytes,
        size_bytes = record.size_bytes,
        frames_taken = taken,
        elapsed = ?begun.elapsed(),
        "Wrote and verified an archive"
    );
    Ok(record)
}

/// `failed` says what a fault of the writer means, by the bytes of content that had come.
fn receive(
    (writer, base): (ArchiveWriter, Option<Base>),
    source: &mut Source,
    failed: impl Fn(WriteError, u64) -> Status,
) -> Result<(Written, ArchiveTrailer), Status> {
    let mut taker = Taker {
        writer,
        base,
        data_set: None,
        whole: None,
        came: 0,
    };
    loop {
        match source.next()? {
            Kind::Header(_) => return Err(Status::invalid_argument("a second header came")),
            Kind::Batch(batch) => taker.take(batch, &failed)?,
            Kind::Trailer(trailer) => {
                let Taker { mut writer, came, .. } = taker;
                writer.leave_out(wire::left_out(&trailer)?);
                let finished = writer.finish(trailer.members, trailer.content_bytes);
                let (written, _) = finished.map_err(|error| failed(error, came))?;
                return Ok((written, trailer));
            }
        }
    }
}

/// Takes what comes, from the sender or from the archive before.
struct Taker {
    writer: ArchiveWriter,
    base: Option<Base>,
    /// Data set of the file that was begun.
    data_set: Option<DataSet>,
    /// The file of the archive before of which it is a copy.
    whole: Option<Whole>,
    came: u64,
}

impl Taker {
    fn take(&mut self, batch: Batch, failed: &impl Fn(WriteError, u64) -> Status) -> Result<(), Status> {
        for item in batch.items {
            let kind = item
                .kind
                .ok_or_else(|| Status::invalid_argument("an item of a batch is empty"))?;
            let done = match kind {
                item::Kind::Begin(begin) => {
                    let (member, size_unknown) = wire::member(begin)?;
                    self.data_set = Some(member.data_set.clone());
                    self.whole = None;
                    let before = match &mut self.base {
                        Some(base) if !size_unknown => base.header(&member)?,
                        _ => None,
                    };
                    self.writer.begin_again(member, size_unknown, before)
                }
                item::Kind::Content(bytes) => {
                    self.came += bytes.len() as u64;
                    self.writer.content(&bytes)
                }
                item::Kind::Copied(part) => {
                    let (Some(base), Some(data_set)) = (&mut self.base, &self.data_set) else {
                        return Err(Status::invalid_argument(
                            "content is to be copied, and no archive or file was named before",
                        ));
                    };
                    self.came += part.length;
                    match base.copy(data_set, part, &mut self.writer) {
                        Ok(whole) => {
                            self.whole = self.whole.or(whole);
                            Ok(())
                        }
                        Err(Fault::Write(error)) => Err(error),
                        Err(Fault::Base(status)) => return Err(status),
                    }
                }
                item::Kind::End(end) => {
                    if let (Some(base), Some(whole)) = (&self.base, self.whole.take()) {
                        base.check(whole, &end.sha256)?;
                    }
                    self.writer.end(&end.sha256, end.xxh3)
                }
            };
            done.map_err(|error| failed(error, self.came))?;
        }
        fail_point("archive.taken");
        Ok(())
    }
}

/// Reads the archive from the disk, not from the cache as far as the file system can, and compares everything.
fn read_back(written: Written, manifest: &Manifest, trailer: &ArchiveTrailer) -> Result<Record, Status> {
    let size = written.size;
    let report = verify_written(written, threads());
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
    Ok(Record {
        left_out: report.left_out,
        ..Record::new(manifest, report.totals, size, report.sha256)
    })
}

fn write_status(catalog: &Catalog, error: WriteError, came: u64) -> Status {
    match &error {
        WriteError::Refused { .. } => Status::invalid_argument(error.to_string()),
        WriteError::Space { .. } => Status::resource_exhausted(error.to_string()),
        WriteError::Io { source, .. } if wire::is_full(source) => {
            let (total, archives) = catalog.used().unwrap_or_default();
            Status::resource_exhausted(format!(
                "the disk became full after {came} bytes of content: it has {total} bytes, archives take {archives}; \
                 nothing was kept of this one; delete archives or make the disk larger"
            ))
        }
        WriteError::Io { .. } => {
            tracing::error!(error = chain(&error), "Writing an archive failed");
            Status::internal(format!("{error}: see the log of the backup-service"))
        }
    }
}
