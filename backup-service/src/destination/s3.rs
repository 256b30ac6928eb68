//! A bucket of an S3 service.
//!
//! What is larger than one part goes as a multipart upload, which S3 makes an object at its end or not at all, and gets the
//! archive's own name at once: S3 has no rename, and a copy under another name would lie there twice where deleted
//! objects are kept. What a temporary is elsewhere is here an empty object of the temporary's name. It is made before the
//! upload and removed when the object was read back and found right; it tells whose upload is under way, so that this
//! service goes on with its own and leaves those of others alone.
//!
//! **Invariants:** each part is signed with its digest, which the service compares; an object of an archive's name is whole;
//! one without a temporary beside it was read back; what proves to be wrong is removed.

mod api;
mod sign;
mod upload;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{Method, header};
use jiff::Timestamp;
use rustls::ClientConfig;

use super::fault::Fault;
use super::http::Reading;
use super::path::{PlacePath, becomes};
use super::place::{Entry, Place};
use super::target::Secret;
use super::xml::Element;
use api::{Api, Ask};

/// Bytes of a part: at least 5 MiB, as S3 wants; more for large archives. It is held in memory.
const PART: u64 = 8 << 20;

/// Most bytes of a part, for the sake of memory.
const LARGEST_PART: u64 = 32 << 20;

/// Most parts of an object.
const MOST_PARTS: u64 = 10_000;

/// Most bytes of an object that is made of such parts.
const MOST: u64 = LARGEST_PART * MOST_PARTS;

/// Which bucket, and how to sign in.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Scheme, name and port.
    pub origin: String,
    /// Region.
    pub region: String,
    /// Name of the bucket.
    pub bucket: String,
    /// Directory in it, without `/` at either end; may be empty.
    pub prefix: String,
    /// Name of the key.
    pub access_key: String,
    /// What requests are signed with.
    pub secret_key: Secret,
    /// Whose certificates are trusted; none: those that everybody trusts.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Settings {
    /// Who it is, for messages.
    #[must_use]
    pub fn at(&self) -> String {
        format!("the S3 service {}", self.origin)
    }
}

/// What is being written.
struct Writing {
    path: PlacePath,
    /// The upload; none: all goes in one request.
    upload: Option<String>,
    /// Bytes of a part.
    part: usize,
    /// Tags of the parts that arrived.
    tags: Vec<String>,
    /// Bytes that wait until a part is full.
    waiting: BytesMut,
}

/// The bucket.
#[expect(missing_debug_implementations, reason = "a connection has nothing to show")]
pub struct S3 {
    api: Api,
    writing: Option<Writing>,
    /// The temporary whose content has its name.
    ended: Option<PlacePath>,
    reading: Option<(PlacePath, u64, Reading)>,
}

/// Bytes of each part of an object of `total` bytes but the last.
fn part_of(total: u64) -> u64 {
    total
        .div_ceil(MOST_PARTS)
        .next_multiple_of(1 << 20)
        .clamp(PART, LARGEST_PART)
}

impl S3 {
    /// Looks whether the bucket is there.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn connect(settings: Settings) -> Result<Self, Fault> {
        let mut place = Self {
            api: Api::new(settings),
            writing: None,
            ended: None,
            reading: None,
        };
        place.again().await?;
        Ok(place)
    }

    /// The key of a path as it is.
    fn own_key(&self, path: &PlacePath) -> String {
        match &*self.api.settings().prefix {
            "" => path.to_string(),
            prefix => format!("{prefix}/{path}"),
        }
    }

    /// The key of a file: a temporary's content has the name that it is to become.
    fn key(&self, path: &PlacePath) -> String {
        let own = self.own_key(path);
        match becomes(&own) {
            Some(name) => name.to_owned(),
            None => own,
        }
    }

    fn is_temporary(path: &PlacePath) -> bool {
        becomes(path.name()).is_some()
    }

    /// Removes; good if it is not there.
    async fn delete(&mut self, key: &str, query: &[(&str, &str)], what: &str) -> Result<(), Fault> {
        let ask = Ask {
            method: Method::DELETE,
            key: Some(key),
            query,
            ..Ask::default()
        };
        let response = self.api.ask(ask).await?;
        match response.status {
            404 if said_code(&response.body) != "NoSuchBucket" => Ok(()),
            _ => self.api.good(response, what).map(|_| ()),
        }
    }

    async fn store(&mut self, key: &str, query: &[(&str, &str)], content: Bytes) -> Result<String, Fault> {
        let ask = Ask {
            method: Method::PUT,
            key: Some(key),
            query,
            content,
        };
        let response = self.api.ask(ask).await?;
        let response = self.api.good(response, "write the file")?;
        Ok(response.header(header::ETAG).to_owned())
    }

    /// Sends parts that are full; with `last` what is left, too.
    async fn flush(&mut self, last: bool) -> Result<(), Fault> {
        while let Some(writing) = self.writing.as_mut()
            && let Some(upload) = writing.upload.clone()
            && (writing.waiting.len() >= writing.part || (last && !writing.waiting.is_empty()))
        {
            let length = writing.part.min(writing.waiting.len());
            let content = writing.waiting.split_to(length).freeze();
            let number = (writing.tags.len() + 1).to_string();
            let path = writing.path.clone();
            let query = [("partNumber", number.as_str()), ("uploadId", upload.as_str())];
            let tag = self.store(&self.key(&path), &query, content).await?;
            if let Some(writing) = self.writing.as_mut() {
                writing.tags.push(tag);
            }
        }
        Ok(())
    }

    /// A page of a list after another.
    async fn listed(&mut self, prefix: &str) -> Result<Vec<Entry>, Fault> {
        let (mut entries, mut token) = (Vec::new(), String::new());
        loop {
            let mut query = vec![("delimiter", "/"), ("list-type", "2"), ("prefix", prefix)];
            if !token.is_empty() {
                query.insert(0, ("continuation-token", &token));
            }
            let listed = self.api.list(&query, "list the directory").await?;
            let directories = listed.all("CommonPrefixes").map(|one| (one.said("Prefix"), None));
            let objects = listed.all("Contents").map(|one| (one.said("Key"), Some(one)));
            let found = directories
                .chain(objects)
                .filter_map(|(key, object)| entry(prefix, key, object));
            entries.extend(found);
            token = listed.said("NextContinuationToken").to_owned();
            if listed.said("IsTruncated") != "true" || token.is_empty() || entries.len() > super::MOST_ENTRIES
            {
                return Ok(entries);
            }
        }
    }
}

fn said_code(body: &[u8]) -> String {
    Element::read(body).unwrap_or_default().said("Code").to_owned()
}

fn entry(prefix: &str, key: &str, object: Option<&Element>) -> Option<Entry> {
    let name = key.strip_prefix(prefix)?.trim_end_matches('/');
    Some(Entry {
        name: (!name.is_empty()).then(|| name.to_owned())?,
        is_directory: object.is_none(),
        size: object.and_then(|one| one.said("Size").parse().ok()).unwrap_or(0),
        modified: object.and_then(|one| one.said("LastModified").parse::<Timestamp>().ok()),
    })
}

#[tonic::async_trait]
impl Place for S3 {
    /// Uploads under way stay, with the parts that have arrived.
    async fn again(&mut self) -> Result<(), Fault> {
        (self.writing, self.reading) = (None, None);
        self.api.close();
        // A key may be for this directory only.
        let prefix = match &*self.api.settings().prefix {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        let query = [("list-type", "2"), ("max-keys", "1"), ("prefix", &*prefix)];
        self.api.list(&query, "list the bucket").await.map(|_| ())
    }

    async fn close(&mut self) {
        (self.writing, self.reading) = (None, None);
        self.api.close();
    }

    /// A bucket does not say.
    async fn free(&mut self) -> Result<Option<u64>, Fault> {
        Ok(None)
    }

    async fn most(&mut self) -> Result<Option<u64>, Fault> {
        Ok(Some(MOST))
    }

    fn overlap(&self) -> u64 {
        0
    }

    /// There are none: keys have `/` in them.
    async fn make_directory(&mut self, _path: &PlacePath) -> Result<(), Fault> {
        Ok(())
    }

    async fn list(&mut self, path: &PlacePath) -> Result<Vec<Entry>, Fault> {
        let prefix = format!("{}/", self.own_key(path));
        let mut entries = self.listed(&prefix).await?;
        for entry in &mut entries {
            if let Some(name) = becomes(&entry.name).filter(|_| !entry.is_directory) {
                entry.size = self.arrived(&format!("{prefix}{name}")).await?;
            }
        }
        Ok(entries)
    }

    async fn size(&mut self, path: &PlacePath) -> Result<Option<u64>, Fault> {
        if Self::is_temporary(path) && self.ended.as_ref() != Some(path) {
            return Ok(None);
        }
        let ask = Ask {
            method: Method::HEAD,
            key: Some(&self.key(path)),
            ..Ask::default()
        };
        let response = self.api.ask(ask).await?;
        if response.status == 404 {
            return Ok(None);
        }
        let response = self.api.good(response, "look at the file")?;
        Ok(response.header(header::CONTENT_LENGTH).parse().ok())
    }

    async fn begin(&mut self, path: &PlacePath, offset: u64, total: u64) -> Result<(), Fault> {
        (self.reading, self.writing, self.ended) = (None, None, None);
        let part = part_of(total);
        let (upload, tags) = if offset > 0 {
            match self.resumed(path, offset, total).await? {
                Some((upload, tags)) => (Some(upload), tags),
                None => {
                    self.give_up(path).await?;
                    return Err(self
                        .api
                        .cut("what was there of the upload is gone: it begins anew"));
                }
            }
        } else if total > part {
            (Some(self.create(path).await?), Vec::new())
        } else {
            (None, Vec::new())
        };
        self.writing = Some(Writing {
            path: path.clone(),
            upload,
            part: usize::try_from(part).unwrap_or(usize::MAX),
            tags,
            waiting: BytesMut::new(),
        });
        Ok(())
    }

    async fn put(&mut self, piece: Bytes) -> Result<(), Fault> {
        let Some(writing) = self.writing.as_mut() else {
            return Err(self.api.cut("nothing was begun"));
        };
        writing.waiting.extend_from_slice(&piece);
        self.flush(false).await
    }

    async fn end(&mut self) -> Result<(), Fault> {
        self.flush(true).await?;
        let Some(writing) = self.writing.take() else {
            return Ok(());
        };
        let key = self.key(&writing.path);
        match writing.upload {
            Some(upload) => self.complete(&key, &upload, &writing.tags).await?,
            None => {
                self.store(&key, &[], writing.waiting.freeze()).await?;
            }
        }
        self.ended = Some(writing.path);
        Ok(())
    }

    /// The content has its name already.
    async fn rename(&mut self, from: &PlacePath, to: &PlacePath) -> Result<(), Fault> {
        if self.ended.as_ref() != Some(from) || self.key(from) != self.own_key(to) {
            return Err(self
                .api
                .cut("what is to get its name was not written by this connection"));
        }
        self.delete(&self.own_key(from), &[], "remove the mark of an upload")
            .await
    }

    async fn get(&mut self, path: &PlacePath, offset: u64, length: usize) -> Result<Bytes, Fault> {
        let open = self.reading.take();
        let open = open.filter(|(open, position, _)| open == path && *position == offset);
        let mut reading = match open {
            Some((_, _, reading)) => reading,
            None => {
                let key = self.key(path);
                match self.api.read(&key, offset).await? {
                    Ok(reading) => reading,
                    Err(response) if response.status == 416 => return Ok(Bytes::new()),
                    Err(response) => return Err(self.api.fault(&response, "read the file")),
                }
            }
        };
        let piece = reading.next(length).await.map_err(|why| self.api.cut(&why))?;
        self.reading = Some((path.clone(), offset + piece.len() as u64, reading));
        Ok(piece)
    }

    async fn remove(&mut self, path: &PlacePath) -> Result<(), Fault> {
        (self.reading, self.writing) = (None, None);
        if !Self::is_temporary(path) {
            return self.delete(&self.own_key(path), &[], "remove the file").await;
        }
        if self.ended.take().as_ref() == Some(path) {
            self.delete(&self.key(path), &[], "remove the file").await?;
        }
        self.give_up(path).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_with_the_archive_and_are_never_too_many() {
        assert_eq!(part_of(0), PART);
        assert_eq!(part_of(PART * MOST_PARTS), PART);
        for total in [PART * MOST_PARTS + 1, 200 << 30, MOST] {
            let part = part_of(total);
            assert!(
                part <= LARGEST_PART && total.div_ceil(part) <= MOST_PARTS,
                "{total}"
            );
        }
    }
}
