//! A directory of a WebDAV server.
//!
//! The protocol has no way to go on with a file: after a cut it is sent from its beginning.
//!
//! **Invariants:** user and password go over encrypted connections only (the description sees to that) and into no address; a
//! file goes as one stream to a temporary name and is moved; no redirect is followed.

mod answer;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use http::{HeaderValue, Method, Request, header};
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::fault::Fault;
use super::http::{Content, Http, REQUEST, Reading, Response, SILENCE, escaped, shown};
use super::path::PlacePath;
use super::place::{Entry, Place};
use super::target::Secret;
use answer::{Found, listed, one};

/// Pieces of a file that wait to be sent.
const WAITING: usize = 2;

/// How long it is waited for what a server says that has stopped to take a file.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// What is asked about files.
const ASKED: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?><propfind xmlns=\"DAV:\"><prop>\
    <resourcetype/><getcontentlength/><getlastmodified/></prop></propfind>";

/// What is asked about the space (RFC 4331).
const ASKED_SPACE: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?><propfind xmlns=\"DAV:\"><prop>\
    <resourcetype/><quota-available-bytes/></prop></propfind>";

/// Which directory, and how to sign in.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Scheme, name and port.
    pub origin: String,
    /// The directory, encoded, with `/` at its beginning and none at its end; may be empty.
    pub path: String,
    /// Name and password of the user, if one is needed.
    pub user: Option<(String, Secret)>,
    /// Whose certificates are trusted; none: those that everybody trusts.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Settings {
    /// Who it is, for messages.
    #[must_use]
    pub fn at(&self) -> String {
        format!("the WebDAV server {}", self.origin)
    }
}

/// A file on its way.
struct Upload {
    pieces: mpsc::Sender<Bytes>,
    answer: JoinHandle<Result<Response, String>>,
}

/// How the task ended that waits for the answer.
type Answered = Result<Result<Response, String>, tokio::task::JoinError>;

impl Drop for Upload {
    fn drop(&mut self) {
        self.answer.abort();
    }
}

/// The server.
#[expect(missing_debug_implementations, reason = "a connection has nothing to show")]
pub struct WebDav {
    settings: Settings,
    http: Http,
    upload: Option<Upload>,
    reading: Option<(PlacePath, u64, Reading)>,
}

impl WebDav {
    /// Looks whether the directory is there.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn connect(settings: Settings) -> Result<Self, Fault> {
        let mut place = Self {
            http: Http::new(settings.at(), settings.tls.clone()),
            settings,
            upload: None,
            reading: None,
        };
        place.again().await?;
        Ok(place)
    }

    fn url(&self, path: &PlacePath) -> String {
        format!("{}/{}", self.settings.path, escaped(&path.to_string(), "/"))
    }

    /// Directories end with `/`, or some servers send their callers there.
    fn directory(&self, path: &PlacePath) -> String {
        format!("{}/", self.url(path))
    }

    fn request(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        content: Content,
    ) -> Result<Request<Content>, Fault> {
        let wrong = |error: http::Error| Fault::Description(error.to_string());
        let method = Method::from_bytes(method.as_bytes()).map_err(|error| wrong(error.into()))?;
        let mut request = Request::builder().method(method).uri(url);
        if let Some((user, password)) = &self.settings.user {
            let pair = zeroize::Zeroizing::new(format!("{user}:{}", password.reveal()));
            let basic = format!("Basic {}", BASE64.encode(pair.as_bytes()));
            let mut basic = HeaderValue::try_from(basic).map_err(|error| wrong(error.into()))?;
            basic.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, basic);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(content).map_err(wrong)
    }

    async fn ask(
        &mut self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        content: &'static str,
    ) -> Result<Response, Fault> {
        let content = Content::from(Bytes::from_static(content.as_bytes()));
        let request = self.request(method, url, headers, content)?;
        let response = self.http.send(&self.settings.origin, request).await?;
        match response.status {
            429 | 503 => Err(self.fault(&response, method)),
            _ => Ok(response),
        }
    }

    /// What is at an address; none if nothing is.
    async fn look(&mut self, url: &str, asked: &'static str) -> Result<Option<Found>, Fault> {
        let headers = [("depth", "0"), ("content-type", "application/xml; charset=utf-8")];
        let response = self.ask("PROPFIND", url, &headers, asked).await?;
        match response.status {
            404 => Ok(None),
            207 => one(&response.body)
                .map(Some)
                .ok_or_else(|| self.no_webdav(&response)),
            _ => Err(self.fault(&response, "look at the directory")),
        }
    }

    fn no_webdav(&self, response: &Response) -> Fault {
        Fault::NoPlace {
            what: format!(
                "a directory that speaks WebDAV (it answered {}) at {}{}/",
                response.status, self.settings.origin, self.settings.path
            ),
        }
    }

    /// What an answer means that is not good.
    fn fault(&self, response: &Response, what: &str) -> Fault {
        let at = self.settings.at();
        let other = |why: String| Fault::Other {
            at: at.clone(),
            what: what.to_owned(),
            why,
        };
        match response.status {
            401 => self.refused(response),
            301 | 302 | 303 | 307 | 308 => Fault::Description(format!(
                "`url` leads on to `{}`: give the address that it leads to",
                shown(response.header(header::LOCATION))
            )),
            403 => Fault::Denied {
                what: format!("{what} at {at}"),
                why: "403".to_owned(),
            },
            404 | 409 => Fault::NoPlace {
                what: format!(
                    "what was wanted below {}{}/",
                    self.settings.origin, self.settings.path
                ),
            },
            405 | 501 => self.no_webdav(response),
            413 => other("413: the server takes no request of that size; raise its limit".to_owned()),
            423 => Fault::Busy {
                at,
                why: "423: somebody holds a lock on it".to_owned(),
                after: None,
            },
            429 | 503 => Fault::Busy {
                at,
                why: response.status.to_string(),
                after: response.retry_after(),
            },
            507 => Fault::Full {
                needed: 1,
                available: 0,
            },
            502 if what == NAME => other(
                "502: it takes itself for another server; its proxy must pass on `Host` and the scheme"
                    .to_owned(),
            ),
            status if status >= 500 => self.http.cut(status),
            status => other(status.to_string()),
        }
    }

    /// The sign-in is not taken.
    fn refused(&self, response: &Response) -> Fault {
        let at = self.settings.at();
        let offers = response.headers.get_all(header::WWW_AUTHENTICATE).iter();
        let mut offers = offers.filter_map(|offer| offer.to_str().ok());
        let basic = offers.any(|offer| offer.to_ascii_lowercase().contains("basic"));
        match &self.settings.user {
            None => Fault::SignIn {
                at,
                why: "it wants a user and a password".to_owned(),
            },
            Some(_) if basic => Fault::SignIn {
                at,
                why: "401: user or password is wrong".to_owned(),
            },
            Some(_) => Fault::Security {
                at,
                why: "it takes no user and password (\"Basic\") over this encrypted connection".to_owned(),
            },
        }
    }

    /// Why an upload ended before it was to.
    fn stopped(&self, answered: Option<Answered>) -> Fault {
        match answered {
            Some(Ok(Ok(response))) if !response.is_good() => self.fault(&response, WRITE),
            Some(Ok(Err(why))) => self.http.cut(why),
            _ => self.http.cut("it stopped to take the file"),
        }
    }
}

const WRITE: &str = "write the file";
const NAME: &str = "give the file its name";

#[tonic::async_trait]
impl Place for WebDav {
    async fn again(&mut self) -> Result<(), Fault> {
        self.close().await;
        let url = format!("{}/", self.settings.path);
        match self.look(&url, ASKED).await? {
            Some(found) if found.is_directory => Ok(()),
            _ => Err(Fault::NoPlace {
                what: format!("the directory {}{url}", self.settings.origin),
            }),
        }
    }

    async fn close(&mut self) {
        (self.upload, self.reading) = (None, None);
        self.http.close();
    }

    async fn free(&mut self) -> Result<Option<u64>, Fault> {
        let url = format!("{}/", self.settings.path);
        let found = self.look(&url, ASKED_SPACE).await?;
        Ok(found.and_then(|found| found.free))
    }

    async fn most(&mut self) -> Result<Option<u64>, Fault> {
        Ok(None)
    }

    /// All of it: a file cannot be gone on with.
    fn overlap(&self) -> u64 {
        u64::MAX
    }

    async fn make_directory(&mut self, path: &PlacePath) -> Result<(), Fault> {
        let url = self.directory(path);
        match self.look(&url, ASKED).await? {
            Some(found) if found.is_directory => return Ok(()),
            Some(_) => {
                return Err(Fault::NoPlace {
                    what: format!("the directory {}{url}", self.settings.origin),
                });
            }
            None => {}
        }
        let made = self.ask("MKCOL", &url, &[], "").await?;
        // Somebody else may have made it meanwhile.
        match made.status {
            405 => Ok(()),
            _ if made.is_good() => Ok(()),
            _ => Err(self.fault(&made, "make the directory")),
        }
    }

    async fn list(&mut self, path: &PlacePath) -> Result<Vec<Entry>, Fault> {
        let headers = [("depth", "1"), ("content-type", "application/xml; charset=utf-8")];
        let response = self
            .ask("PROPFIND", &self.directory(path), &headers, ASKED)
            .await?;
        match response.status {
            404 => Ok(Vec::new()),
            207 => listed(&response.body, super::MOST_ENTRIES).ok_or_else(|| self.no_webdav(&response)),
            _ => Err(self.fault(&response, "list the directory")),
        }
    }

    async fn size(&mut self, path: &PlacePath) -> Result<Option<u64>, Fault> {
        let found = self.look(&self.url(path), ASKED).await?;
        Ok(found.filter(|found| !found.is_directory).map(|found| found.size))
    }

    async fn begin(&mut self, path: &PlacePath, offset: u64, total: u64) -> Result<(), Fault> {
        (self.upload, self.reading) = (None, None);
        if offset > 0 {
            return Err(self.http.cut("a file cannot be gone on with: it begins anew"));
        }
        let (pieces, content) = mpsc::channel(WAITING);
        let headers = [("content-type", "application/octet-stream")];
        let request = self.request("PUT", &self.url(path), &headers, Content::Pieces(content, total))?;
        let answer = self.http.start(&self.settings.origin, request).await?;
        self.upload = Some(Upload { pieces, answer });
        Ok(())
    }

    async fn put(&mut self, piece: Bytes) -> Result<(), Fault> {
        let Some(mut upload) = self.upload.take() else {
            return Err(self.http.cut("nothing was begun"));
        };
        let pieces = upload.pieces.clone();
        let sent = tokio::select! {
            biased;
            // A server that has answered already does not want the rest.
            answered = &mut upload.answer => return Err(self.stopped(Some(answered))),
            sent = tokio::time::timeout(SILENCE, pieces.send(piece)) => sent,
        };
        match sent {
            Ok(Ok(())) => {
                self.upload = Some(upload);
                Ok(())
            }
            Ok(Err(_)) => {
                let answered = tokio::time::timeout(LAST_WORDS, &mut upload.answer).await;
                Err(self.stopped(answered.ok()))
            }
            Err(_) => Err(self.http.cut("it takes no more of the file")),
        }
    }

    async fn end(&mut self) -> Result<(), Fault> {
        let Some(mut upload) = self.upload.take() else {
            return Ok(());
        };
        // The sender goes: what was sent is all.
        let (last, _) = mpsc::channel(1);
        upload.pieces = last;
        let answered = tokio::time::timeout(REQUEST, &mut upload.answer).await;
        match answered {
            Ok(Ok(Ok(response))) if response.is_good() => Ok(()),
            Ok(answered) => Err(self.stopped(Some(answered))),
            Err(_) => Err(self.http.cut("no answer")),
        }
    }

    async fn rename(&mut self, from: &PlacePath, to: &PlacePath) -> Result<(), Fault> {
        self.reading = None;
        let destination = format!("{}{}", self.settings.origin, self.url(to));
        let headers = [("destination", destination.as_str()), ("overwrite", "F")];
        let moved = self.ask("MOVE", &self.url(from), &headers, "").await?;
        match moved.is_good() {
            true => Ok(()),
            false => Err(self.fault(&moved, NAME)),
        }
    }

    async fn get(&mut self, path: &PlacePath, offset: u64, length: usize) -> Result<Bytes, Fault> {
        let open = self.reading.take();
        let open = open.filter(|(open, position, _)| open == path && *position == offset);
        let mut reading = match open {
            Some((_, _, reading)) => reading,
            None => {
                let request = self.request("GET", &self.url(path), &[], Bytes::new().into())?;
                match self.http.read(&self.settings.origin, request, offset).await? {
                    Ok(reading) => reading,
                    Err(response) if response.status == 416 => return Ok(Bytes::new()),
                    Err(response) => return Err(self.fault(&response, "read the file")),
                }
            }
        };
        let piece = reading.next(length).await.map_err(|why| self.http.cut(why))?;
        self.reading = Some((path.clone(), offset + piece.len() as u64, reading));
        Ok(piece)
    }

    async fn remove(&mut self, path: &PlacePath) -> Result<(), Fault> {
        (self.reading, self.upload) = (None, None);
        let removed = self.ask("DELETE", &self.url(path), &[], "").await?;
        match removed.status {
            404 => Ok(()),
            _ if removed.is_good() => Ok(()),
            _ => Err(self.fault(&removed, "remove the file")),
        }
    }
}
