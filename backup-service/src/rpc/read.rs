//! Streams archives and their members out. The threads that read wait for slow takers: a few pieces are in memory.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use bytes::{Bytes, BytesMut};
use satellite_proto::wire::MAX_PIECE;
use satellite_proto::wire::backup::v1::{
    Batch, DownloadArchiveResponse, FindMembersRequest, FindMembersResponse, FoundMember, Item, MemberEnd,
    ReadArchiveResponse, item,
};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{chain, wire};
use crate::age::Sealed;
use crate::archive::find;
use crate::archive::index::Entry;
use crate::archive::read::{Archive, ReadError};
use crate::archive::select::{Check, Piece, SelectError, Selection, select};
use crate::catalog::{Reading, SealedArchive};

/// Pieces that wait for the taker.
const AHEAD: usize = 4;

/// Members that are answered of those that were found.
const MOST_FOUND: usize = 500;

/// Bytes of a batch's items at which it is sent: what the messages around them need still fits.
const BATCH: usize = MAX_PIECE - (16 << 10);

/// Streams the file from `offset` on.
pub(super) fn download(
    reading: Reading,
    sealed: Option<SealedArchive>,
    offset: u64,
) -> Result<ReceiverStream<Result<DownloadArchiveResponse, Status>>, Status> {
    let size = match &sealed {
        Some(sealed) => sealed.sealed.size(),
        None => reading.record.size_bytes,
    };
    if offset > size {
        return Err(Status::out_of_range(format!("the archive has {size} bytes only")));
    }
    let (out, stream) = channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let sent = match &sealed {
            None => send_file(&reading, offset, &out),
            Some(sealed) => send_sealed(&sealed.sealed, offset, &out),
        };
        if let Err(error) = sent {
            tracing::error!(archive = %reading.record.id, %error, "Cannot read an archive");
            let _ = out.blocking_send(Err(Status::data_loss("the archive cannot be read: verify it")));
        }
    });
    Ok(ReceiverStream::new(stream))
}

fn send_file(
    reading: &Reading,
    offset: u64,
    out: &Sender<Result<DownloadArchiveResponse, Status>>,
) -> std::io::Result<()> {
    let file = File::open(&reading.path)?;
    let mut at = offset;
    while at < reading.record.size_bytes {
        let length = (reading.record.size_bytes - at).min(MAX_PIECE as u64) as usize;
        let mut piece = BytesMut::zeroed(length);
        file.read_exact_at(&mut piece, at)?;
        at += length as u64;
        if out
            .blocking_send(Ok(DownloadArchiveResponse { data: piece.freeze() }))
            .is_err()
        {
            break;
        }
        satellite_host::fail_point("archive.sent");
    }
    Ok(())
}

fn send_sealed(
    sealed: &Sealed,
    mut at: u64,
    out: &Sender<Result<DownloadArchiveResponse, Status>>,
) -> std::io::Result<()> {
    loop {
        let piece = sealed.read(at, MAX_PIECE).map_err(std::io::Error::other)?;
        at += piece.len() as u64;
        let is_over = piece.is_empty();
        let message = DownloadArchiveResponse { data: piece.into() };
        if is_over || out.blocking_send(Ok(message)).is_err() {
            return Ok(());
        }
    }
}

/// The members that were looked for.
pub(super) fn find(reading: &Reading, asked: &FindMembersRequest) -> Result<FindMembersResponse, Status> {
    let most = match asked.most {
        0 => MOST_FOUND,
        most => MOST_FOUND.min(most as usize),
    };
    let found =
        Archive::open(&reading.path).and_then(|archive| find::find(&archive, &asked.text, most, BATCH));
    let found = found.map_err(|error| unreadable(reading, &error))?;
    let member = |(path, entry): (Vec<u8>, Entry)| FoundMember {
        path: path.into(),
        r#type: wire::member_type(entry.kind).into(),
        size_bytes: entry.size,
    };
    Ok(FindMembersResponse {
        members: found.first.into_iter().map(member).collect(),
        found: found.count,
    })
}

fn unreadable(reading: &Reading, error: &ReadError) -> Status {
    tracing::error!(archive = %reading.record.id, error = chain(error), "Cannot read an archive");
    match error {
        ReadError::Io { .. } => Status::data_loss("the archive cannot be read: verify it"),
        damaged => Status::data_loss(damaged.to_string()),
    }
}

/// Streams the chosen members; `permit` is kept until the last was taken.
pub(super) fn read(
    reading: Reading,
    selection: Selection,
    permit: OwnedSemaphorePermit,
) -> ReceiverStream<Result<ReadArchiveResponse, Status>> {
    let (out, stream) = channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let mut batches = Batches {
            out,
            items: Vec::new(),
            bytes: 0,
        };
        let archive = Archive::open(&reading.path).map_err(SelectError::from);
        let done = archive
            .and_then(|archive| select(&archive, &selection, Check::AtTaker, |piece| batches.add(piece)));
        let status = match done {
            Ok(()) => {
                batches.flush();
                return;
            }
            Err(SelectError::Stopped) => return,
            Err(error @ SelectError::Missing(_)) => Status::not_found(error.to_string()),
            Err(SelectError::Read(error)) => unreadable(&reading, &error),
        };
        // What came before the error is good, and goes first.
        if batches.flush() {
            let _ = batches.out.blocking_send(Err(status));
        }
    });
    ReceiverStream::new(stream)
}

struct Batches {
    out: Sender<Result<ReadArchiveResponse, Status>>,
    items: Vec<Item>,
    bytes: usize,
}

impl Batches {
    /// Adds a piece; false if the taker is gone.
    fn add(&mut self, piece: Piece<'_>) -> bool {
        match piece {
            Piece::Begin(member) => {
                let begin = wire::begin(member);
                let size = prost::Message::encoded_len(&begin);
                self.push(item::Kind::Begin(begin), size)
            }
            Piece::Content(bytes) => {
                // A piece is at most 128 KiB: it fits into a batch of its own.
                self.push(item::Kind::Content(Bytes::copy_from_slice(bytes)), bytes.len())
            }
            Piece::End(digest) => {
                let end = MemberEnd {
                    xxh3: None,
                    sha256: Bytes::copy_from_slice(&digest),
                };
                self.push(item::Kind::End(end), digest.len())
            }
        }
    }

    fn push(&mut self, kind: item::Kind, size: usize) -> bool {
        let size = size + 16;
        if self.bytes + size > BATCH && !self.flush() {
            return false;
        }
        self.bytes += size;
        self.items.push(Item { kind: Some(kind) });
        true
    }

    fn flush(&mut self) -> bool {
        if self.items.is_empty() {
            return !self.out.is_closed();
        }
        self.bytes = 0;
        let batch = Some(Batch {
            items: std::mem::take(&mut self.items),
        });
        let taken = self.out.blocking_send(Ok(ReadArchiveResponse { batch })).is_ok();
        satellite_host::fail_point("archive.read");
        taken
    }
}
