//! Collects what is read into the messages of which an archive is made, and tells what a person should know.
//!
//! **Invariant:** a batch is never larger than the contract allows, and what waits is one batch and what the archive's writer has
//! not taken yet.

use std::hash::Hasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use prost::Message as _;
use satellite_proto::wire::MAX_PIECE;
use satellite_proto::wire::backup::v1::create_archive_request::Kind;
use satellite_proto::wire::backup::v1::{
    ArchiveTrailer, Batch, CopiedContent, CreateArchiveRequest, Item, Member, MemberEnd, item,
};
use tokio::sync::mpsc::Sender;
use tonic::Status;
use twox_hash::XxHash3_64;

use super::CentralError;
use super::seen::Digest;
use crate::archive::index::{LEFT_OUT_BYTES, MOST_LEFT_OUT};

/// What the tags and lengths of an item take at most.
const FRAMING: usize = 32;

/// Where the archive's writer and the caller hear of what is read.
#[derive(Debug, Clone)]
pub struct Taker {
    /// Takes the messages of the archive.
    pub requests: Sender<Result<CreateArchiveRequest, Status>>,
    /// Takes what a person should know; what nobody takes is counted all the same.
    pub notices: Sender<String>,
    /// Bytes of content that were read, or need not be.
    pub done: Arc<AtomicU64>,
}

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Members.
    pub members: u64,
    /// Notices that were given.
    pub notices: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// Bytes of content that the archive before has, and were not read.
    pub copied: u64,
}

/// The messages of an archive.
pub(super) struct Feed {
    taker: Taker,
    items: Vec<Item>,
    size: usize,
    hash: Context,
    checksum: XxHash3_64,
    totals: Totals,
    trailer: ArchiveTrailer,
}

impl Feed {
    pub(super) fn new(taker: Taker) -> Self {
        Self {
            taker,
            items: Vec::new(),
            size: 0,
            hash: Context::new(&SHA256),
            checksum: XxHash3_64::new(),
            totals: Totals::default(),
            trailer: ArchiveTrailer::default(),
        }
    }

    /// Begins a member.
    pub(super) async fn begin(&mut self, member: Member) -> Result<(), CentralError> {
        self.totals.members += 1;
        self.hash = Context::new(&SHA256);
        self.checksum = XxHash3_64::new();
        self.push(item::Kind::Begin(member)).await
    }

    /// Content of the file that was begun.
    pub(super) async fn content(&mut self, mut data: Bytes) -> Result<(), CentralError> {
        self.hash.update(&data);
        self.checksum.write(&data);
        self.trailer.content_bytes += data.len() as u64;
        self.taker.done.fetch_add(data.len() as u64, Ordering::Relaxed);
        while !data.is_empty() {
            if self.size + 2 * FRAMING >= MAX_PIECE {
                self.flush().await?;
            }
            let room = MAX_PIECE - FRAMING - self.size;
            let piece = data.split_to(room.min(data.len()));
            self.push(item::Kind::Content(piece)).await?;
        }
        Ok(())
    }

    /// Ends it.
    pub(super) async fn end(&mut self) -> Result<Digest, CentralError> {
        let hash = std::mem::replace(&mut self.hash, Context::new(&SHA256));
        let mut sha256 = Digest::default();
        sha256.copy_from_slice(hash.finish().as_ref());
        let checksum = self.checksum.finish();
        self.ended(&sha256, Some(checksum)).await?;
        Ok(sha256)
    }

    async fn ended(&mut self, sha256: &Digest, xxh3: Option<u64>) -> Result<(), CentralError> {
        let sha256 = Bytes::copy_from_slice(sha256);
        self.push(item::Kind::End(MemberEnd { sha256, xxh3 })).await
    }

    /// A file that the archive before has under the same name, with this digest.
    pub(super) async fn copied(&mut self, member: Member, sha256: &Digest) -> Result<(), CentralError> {
        let (path, length) = (member.path.clone(), member.size_bytes);
        self.begin(member).await?;
        let mut checksum = Some(XxHash3_64::oneshot(&[]));
        if length > 0 {
            checksum = None;
            self.totals.copied += length;
            self.trailer.content_bytes += length;
            self.taker.done.fetch_add(length, Ordering::Relaxed);
            let whole = CopiedContent {
                path,
                offset: 0,
                length,
            };
            self.push(item::Kind::Copied(whole)).await?;
        }
        self.ended(sha256, checksum).await
    }

    /// A file that was read whole.
    pub(super) async fn whole(&mut self, mut member: Member, content: Bytes) -> Result<Digest, CentralError> {
        member.size_bytes = content.len() as u64;
        self.begin(member).await?;
        self.content(content).await?;
        self.end().await
    }

    /// Something that a person should know.
    pub(super) fn notice(&mut self, text: &str) {
        self.totals.notices += 1;
        // Where nobody takes them quickly enough, some are lost; the reading is not held up.
        let _lost = self.taker.notices.try_send(shortened(text));
    }

    /// The same for what should have come and cannot be had.
    pub(super) fn left_out(&mut self, text: &str) {
        self.notice(text);
        self.trailer.left_out += 1;
        if self.trailer.left_out_first.len() < MOST_LEFT_OUT {
            self.trailer.left_out_first.push(shortened(text));
        }
    }

    /// Everything was read.
    pub(super) async fn finish(mut self) -> Result<Totals, CentralError> {
        self.flush().await?;
        let trailer = std::mem::take(&mut self.trailer);
        self.totals.bytes = trailer.content_bytes;
        let trailer = ArchiveTrailer {
            members: self.totals.members,
            ..trailer
        };
        self.send(Kind::Trailer(trailer)).await?;
        Ok(self.totals)
    }

    async fn push(&mut self, kind: item::Kind) -> Result<(), CentralError> {
        let item = Item { kind: Some(kind) };
        let size = item.encoded_len() + FRAMING / 2;
        if self.size + size > MAX_PIECE {
            self.flush().await?;
        }
        self.size += size;
        self.items.push(item);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), CentralError> {
        if self.items.is_empty() {
            return Ok(());
        }
        self.size = 0;
        let items = std::mem::take(&mut self.items);
        self.send(Kind::Batch(Batch { items })).await
    }

    async fn send(&self, kind: Kind) -> Result<(), CentralError> {
        let request = CreateArchiveRequest { kind: Some(kind) };
        let sent = self.taker.requests.send(Ok(request)).await;
        sent.map_err(|_| CentralError::Cancelled)
    }
}

/// As an archive takes it: on one line, not too long.
fn shortened(text: &str) -> String {
    let mut short = String::new();
    for shown in text.chars().map(|c| if c.is_control() { '?' } else { c }) {
        if short.len() + shown.len_utf8() > LEFT_OUT_BYTES {
            break;
        }
        short.push(shown);
    }
    short
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn no_batch_is_larger_than_the_contract_allows_and_nothing_is_lost() {
        let (requests, mut came) = channel(1000);
        let (notices, _kept) = channel(1);
        let taker = Taker {
            requests,
            notices,
            done: Arc::default(),
        };
        let mut feed = Feed::new(taker);
        let content = Bytes::from(vec![7; 3_000_001]);
        for size in [0, 1, 40_000, MAX_PIECE - 40, MAX_PIECE, MAX_PIECE + 1, 3_000_001] {
            let piece = content.slice(..size);
            feed.whole(Member::default(), piece).await.unwrap();
        }
        feed.left_out("core: /a\nb: it is left out");
        assert_eq!(feed.finish().await.unwrap().members, 7);
        let (mut bytes, mut last) = (0, None);
        while let Ok(Some(request)) = tokio::time::timeout(Duration::from_secs(5), came.recv()).await {
            match request.unwrap().kind.unwrap() {
                Kind::Batch(batch) => {
                    assert!(batch.encoded_len() <= MAX_PIECE, "{}", batch.encoded_len());
                    for item in batch.items {
                        if let Some(item::Kind::Content(data)) = item.kind {
                            bytes += data.len();
                        }
                    }
                }
                Kind::Trailer(trailer) => last = Some(trailer),
                Kind::Header(_) => panic!(),
            }
        }
        let last = last.unwrap();
        assert_eq!(last.content_bytes, bytes as u64);
        assert_eq!((last.members, last.left_out), (7, 1));
        assert_eq!(last.left_out_first, ["core: /a?b: it is left out"]);
    }
}
