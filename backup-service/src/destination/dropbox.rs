//! A Dropbox, over its HTTP API.
//!
//! Archives go in upload sessions, so that no request is larger than the service takes (150 MB) whatever an archive's size.
//!
//! **Invariants:** the refresh token goes to the token endpoint only; a file is made by the end of its session or not at
//! all, and never in place of another.

mod api;
mod hosts;
pub mod oauth;

use bytes::{Buf as _, Bytes, BytesMut};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::fault::Fault;
use super::path::PlacePath;
use super::place::{Entry, Place};
use super::target::Secret;
use api::{Api, Reply};
pub use hosts::Hosts;

/// Bytes of one request of an upload: a multiple of 4 MiB, as the service wants.
const REQUEST: usize = 8 << 20;

/// Most bytes of a file that is made by an upload session.
const MOST: u64 = 350 << 30;

/// Whose Dropbox, and where its API is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Key of the app.
    pub app_key: String,
    /// Secret of the app, if it has one.
    pub app_secret: Option<Secret>,
    /// What access is asked for with.
    pub refresh_token: Secret,
    /// Where the API is.
    pub hosts: Hosts,
}

/// The name in messages.
const AT: &str = "Dropbox";

/// A file that is being sent.
struct Upload {
    path: PlacePath,
    session: String,
    /// Bytes that the service has.
    arrived: u64,
    /// Bytes that wait until a request is full.
    waiting: BytesMut,
}

/// The Dropbox.
#[expect(missing_debug_implementations, reason = "a connection has nothing to show")]
pub struct Dropbox {
    api: Api,
    upload: Option<Upload>,
}

fn full_path(path: &PlacePath) -> String {
    format!("/{path}")
}

impl Dropbox {
    /// Asks for access.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn connect(settings: Settings) -> Result<Self, Fault> {
        let mut place = Self {
            api: Api::new(settings),
            upload: None,
        };
        place.again().await?;
        Ok(place)
    }

    /// Sends what waits; the session's end is another request.
    async fn flush(&mut self) -> Result<(), Fault> {
        while let Some(upload) = self.upload.as_mut()
            && !upload.waiting.is_empty()
        {
            let piece = upload.waiting.clone().freeze();
            let (from, to) = (upload.arrived, upload.arrived + piece.len() as u64);
            let argument = json!({
                "cursor": {"session_id": upload.session, "offset": from},
                "close": false,
            });
            let sent = self
                .api
                .content("upload_session/append_v2", &argument, piece, None);
            let reply = sent.await?;
            // If the answer to an earlier try was lost, a part of it has arrived.
            let arrived = if reply.is_good() {
                to
            } else {
                correct_offset(&reply.json()).unwrap_or(0)
            };
            match self.upload.as_mut() {
                Some(upload) if from < arrived && arrived <= to => {
                    upload
                        .waiting
                        .advance(usize::try_from(arrived - from).unwrap_or(0));
                    upload.arrived = arrived;
                }
                _ => {
                    self.upload = None;
                    return Err(reply.fault("go on with the upload"));
                }
            }
        }
        Ok(())
    }

    async fn listed(&mut self, path: &PlacePath) -> Result<Vec<Value>, Fault> {
        let mut asked = ("list_folder", json!({"path": full_path(path), "limit": 2000}));
        let mut entries = Vec::new();
        loop {
            let reply = self.api.call(&format!("files/{}", asked.0), &asked.1).await?;
            if reply.says("path/not_found") {
                return Ok(entries);
            }
            let mut answer = reply.good("list the directory")?;
            if let Some(Value::Array(found)) = answer.get_mut("entries").map(Value::take) {
                entries.extend(found);
            }
            let more = answer["has_more"] == json!(true);
            if !more || entries.len() > super::MOST_ENTRIES {
                return Ok(entries);
            }
            asked = ("list_folder/continue", json!({"cursor": answer["cursor"]}));
        }
    }
}

/// What the service has of an upload, if it says so.
fn correct_offset(answer: &Value) -> Option<u64> {
    let error = &answer["error"];
    [
        &error["correct_offset"],
        &error["lookup_failed"]["correct_offset"],
    ]
    .into_iter()
    .find_map(Value::as_u64)
}

fn entry(value: &Value) -> Option<Entry> {
    let is_directory = match value[".tag"].as_str()? {
        "folder" => true,
        "file" => false,
        _ => return None,
    };
    Some(Entry {
        name: value["name"].as_str()?.to_owned(),
        is_directory,
        size: value["size"].as_u64().unwrap_or(0),
        modified: value["server_modified"]
            .as_str()
            .and_then(|at| at.parse::<Timestamp>().ok()),
    })
}

#[tonic::async_trait]
impl Place for Dropbox {
    /// Uploads under way stay: the service keeps them for days.
    async fn again(&mut self) -> Result<(), Fault> {
        self.api.sign_in().await
    }

    async fn close(&mut self) {
        self.upload = None;
    }

    async fn free(&mut self) -> Result<Option<u64>, Fault> {
        let reply = self.api.call("users/get_space_usage", &Value::Null).await?;
        let answer = reply.good("ask for the space")?;
        let allocation = &answer["allocation"];
        // A team's space is shared: what this user has used counts by itself only if the team limits each.
        let used = allocation["used"].as_u64().or_else(|| answer["used"].as_u64());
        let allocated = allocation["allocated"].as_u64();
        Ok(allocated
            .zip(used)
            .map(|(allocated, used)| allocated.saturating_sub(used)))
    }

    async fn most(&mut self) -> Result<Option<u64>, Fault> {
        Ok(Some(MOST))
    }

    fn overlap(&self) -> u64 {
        0
    }

    async fn make_directory(&mut self, path: &PlacePath) -> Result<(), Fault> {
        let asked = json!({"path": full_path(path), "autorename": false});
        let reply = self.api.call("files/create_folder_v2", &asked).await?;
        if reply.says("path/conflict/folder") {
            return Ok(());
        }
        reply.good("make the directory").map(|_| ())
    }

    async fn list(&mut self, path: &PlacePath) -> Result<Vec<Entry>, Fault> {
        let mut entries: Vec<_> = self.listed(path).await?.iter().filter_map(entry).collect();
        // What is being sent is no file yet, but is there to be gone on with.
        if let Some(upload) = &self.upload
            && upload.path.parent().as_ref() == Some(path)
        {
            entries.push(Entry {
                name: upload.path.name().to_owned(),
                is_directory: false,
                size: upload.arrived + upload.waiting.len() as u64,
                modified: None,
            });
        }
        Ok(entries)
    }

    async fn size(&mut self, path: &PlacePath) -> Result<Option<u64>, Fault> {
        let reply = self
            .api
            .call("files/get_metadata", &json!({"path": full_path(path)}))
            .await?;
        if reply.says("path/not_found") {
            return Ok(None);
        }
        let answer = reply.good("look at the file")?;
        Ok(entry(&answer)
            .filter(|entry| !entry.is_directory)
            .map(|entry| entry.size))
    }

    async fn begin(&mut self, path: &PlacePath, offset: u64, _total: u64) -> Result<(), Fault> {
        let goes_on = self.upload.as_ref().is_some_and(|upload| {
            upload.path == *path && upload.arrived + upload.waiting.len() as u64 == offset
        });
        if goes_on {
            return Ok(());
        }
        self.upload = None;
        let argument = json!({"close": false});
        let reply = self
            .api
            .content("upload_session/start", &argument, Bytes::new(), None)
            .await?;
        let answer = reply.good("begin an upload")?;
        let session = answer["session_id"].as_str().unwrap_or_default().to_owned();
        self.upload = Some(Upload {
            path: path.clone(),
            session,
            arrived: 0,
            waiting: BytesMut::new(),
        });
        if offset == 0 {
            return Ok(());
        }
        // The file of an earlier call cannot be gone on with: it begins anew.
        Err(Fault::Cut {
            at: AT.to_owned(),
            why: "the upload begins anew".to_owned(),
        })
    }

    async fn put(&mut self, piece: Bytes) -> Result<(), Fault> {
        let Some(upload) = self.upload.as_mut() else {
            return Err(Fault::Cut {
                at: AT.to_owned(),
                why: "the upload is not known any more".to_owned(),
            });
        };
        upload.waiting.extend_from_slice(&piece);
        if upload.waiting.len() >= REQUEST {
            self.flush().await?;
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<(), Fault> {
        self.flush().await?;
        let Some(upload) = &self.upload else {
            return Ok(());
        };
        let (path, arrived) = (upload.path.clone(), upload.arrived);
        let argument = json!({
            "cursor": {"session_id": upload.session, "offset": arrived},
            "commit": {"path": full_path(&path), "mode": "add", "autorename": false, "mute": true},
        });
        let ended = self
            .api
            .content("upload_session/finish", &argument, Bytes::new(), None);
        let reply = ended.await?;
        self.upload = None;
        // If the answer to an earlier try was lost, the file is there.
        if !reply.is_good() && self.size(&path).await? == Some(arrived) {
            return Ok(());
        }
        reply.good("end the upload").map(|_| ())
    }

    async fn rename(&mut self, from: &PlacePath, to: &PlacePath) -> Result<(), Fault> {
        let asked = json!({"from_path": full_path(from), "to_path": full_path(to), "autorename": false});
        let reply = self.api.call("files/move_v2", &asked).await?;
        reply.good("give the file its name").map(|_| ())
    }

    async fn get(&mut self, path: &PlacePath, offset: u64, length: usize) -> Result<Bytes, Fault> {
        let last = offset + (length as u64).max(1) - 1;
        let argument = json!({"path": full_path(path)});
        let reply: Reply = self
            .api
            .content("download", &argument, Bytes::new(), Some((offset, last)))
            .await?;
        if reply.status == 416 {
            return Ok(Bytes::new());
        }
        reply.bytes("read the file")
    }

    async fn remove(&mut self, path: &PlacePath) -> Result<(), Fault> {
        self.upload = None;
        let reply = self
            .api
            .call("files/delete_v2", &json!({"path": full_path(path)}))
            .await?;
        if reply.says("path_lookup/not_found") {
            return Ok(());
        }
        reply.good("remove the file").map(|_| ())
    }
}
