//! Uploads of many parts, from their mark to the object.

use bytes::Bytes;
use http::Method;

use super::api::Ask;
use super::{MOST_PARTS, S3, part_of};
use crate::destination::fault::Fault;
use crate::destination::path::PlacePath;

impl S3 {
    /// Uploads of this key that are under way.
    async fn uploads(&mut self, key: &str) -> Result<Vec<String>, Fault> {
        let query = [("prefix", key), ("uploads", "")];
        let listed = self.api.list(&query, "list the uploads").await?;
        let ours = listed.all("Upload").filter(|upload| upload.said("Key") == key);
        Ok(ours.map(|upload| upload.said("UploadId").to_owned()).collect())
    }

    /// Size and tag of each part of an upload, in order; nothing if it is gone.
    async fn parts(&mut self, key: &str, upload: &str) -> Result<Vec<(u64, String)>, Fault> {
        let (mut parts, mut after) = (Vec::new(), "0".to_owned());
        loop {
            let query = [("part-number-marker", after.as_str()), ("uploadId", upload)];
            let ask = Ask {
                key: Some(key),
                query: &query,
                ..Ask::default()
            };
            let response = self.api.ask(ask).await?;
            if response.status == 404 {
                return Ok(Vec::new());
            }
            let listed = self.api.element(&response, "list the parts of an upload")?;
            for part in listed.all("Part") {
                let in_order = part.said("PartNumber").parse() == Ok(parts.len() + 1);
                match part.said("Size").parse() {
                    Ok(size) if in_order => parts.push((size, part.said("ETag").to_owned())),
                    // What comes after a gap is sent again.
                    _ => return Ok(parts),
                }
            }
            let next = listed.said("NextPartNumberMarker").to_owned();
            if listed.said("IsTruncated") != "true" || next == after || parts.len() as u64 >= MOST_PARTS {
                return Ok(parts);
            }
            after = next;
        }
    }

    /// Gives up what is under way for a temporary.
    pub(super) async fn give_up(&mut self, path: &PlacePath) -> Result<(), Fault> {
        let key = self.key(path);
        for upload in self.uploads(&key).await? {
            let query = [("uploadId", upload.as_str())];
            self.delete(&key, &query, "give up an upload").await?;
        }
        self.delete(&self.own_key(path), &[], "remove the file").await
    }

    /// Begins an upload, marked as ours.
    pub(super) async fn create(&mut self, path: &PlacePath) -> Result<String, Fault> {
        self.give_up(path).await?;
        self.store(&self.own_key(path), &[], Bytes::new()).await?;
        let ask = Ask {
            method: Method::POST,
            key: Some(&self.key(path)),
            query: &[("uploads", "")],
            ..Ask::default()
        };
        let response = self.api.ask(ask).await?;
        let created = self.api.element(&response, "begin an upload")?;
        Ok(created.said("UploadId").to_owned())
    }

    /// Goes on with an upload of which exactly `offset` bytes of `total` are there, in parts of the size that we send.
    pub(super) async fn resumed(
        &mut self,
        path: &PlacePath,
        offset: u64,
        total: u64,
    ) -> Result<Option<(String, Vec<String>)>, Fault> {
        let key = self.key(path);
        let [upload] = &self.uploads(&key).await?[..] else {
            return Ok(None);
        };
        let parts = self.parts(&key, upload).await?;
        let (part, mut arrived) = (part_of(total), 0);
        let fit = parts.iter().all(|(size, _)| {
            arrived += size;
            *size == part || arrived == total
        });
        let tags = parts.into_iter().map(|(_, tag)| tag).collect();
        Ok((fit && arrived == offset).then(|| (upload.clone(), tags)))
    }

    /// Bytes that have arrived of what is under way for a temporary.
    pub(super) async fn arrived(&mut self, key: &str) -> Result<u64, Fault> {
        match &self.uploads(key).await?[..] {
            [upload] => Ok(self.parts(key, upload).await?.iter().map(|(size, _)| size).sum()),
            _ => Ok(0),
        }
    }

    /// Makes the object of its parts.
    pub(super) async fn complete(&mut self, key: &str, upload: &str, tags: &[String]) -> Result<(), Fault> {
        let parts: String = tags
            .iter()
            .zip(1..)
            .map(|(tag, number)| {
                let tag = tag.trim_matches('"');
                // A tag is a name that S3 gave: what XML would not take is not in one.
                let tag: String = tag.chars().filter(|c| !"<>&\"".contains(*c)).collect();
                format!("<Part><PartNumber>{number}</PartNumber><ETag>&quot;{tag}&quot;</ETag></Part>")
            })
            .collect();
        let content = format!(
            "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{parts}</CompleteMultipartUpload>"
        );
        let ask = Ask {
            method: Method::POST,
            key: Some(key),
            query: &[("uploadId", upload)],
            content: content.into(),
        };
        let response = self.api.ask(ask).await?;
        self.api.element(&response, "end the upload").map(|_| ())
    }
}
