//! Requests and their answers over HTTP/1.1, for the kinds of destinations that speak it. A connection is kept for the next
//! request to the same host.
//!
//! **Invariants:** no redirect is followed; no answer but the content of a file is larger than [`LONGEST`]; a server's
//! certificate is trusted or nothing is said to it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::fault::Fault;
use super::trust::{not_encrypted, trust};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(20);

/// How long a connection may take to be done with what went before, or a new one is made.
const READY: Duration = Duration::from_secs(2);

/// How long a request with its answer may take: 8 MiB over a slow line, or a slow disk that is flushed.
pub(super) const REQUEST: Duration = Duration::from_secs(600);

/// How long a server may take no byte, or send none, of the content of a file.
pub(super) const SILENCE: Duration = Duration::from_secs(180);

/// Most bytes of an answer.
const LONGEST: usize = 16 << 20;

/// Longest piece of an answer that an error shows, in characters.
const SHOWN: usize = 200;

/// What a request carries.
pub(super) enum Content {
    /// All of it.
    Whole(Bytes),
    /// Pieces as they come, and how many bytes are still to come.
    Pieces(mpsc::Receiver<Bytes>, u64),
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => None,
            Self::Whole(bytes) => Some(std::mem::take(bytes)),
            Self::Pieces(pieces, left) => {
                let piece = std::task::ready!(pieces.poll_recv(context));
                *left = left.saturating_sub(piece.as_ref().map_or(0, |piece| piece.len() as u64));
                piece
            }
        };
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Pieces(_, left) => *left,
        })
    }
}

/// An answer.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Response {
    pub(super) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A header as text; empty if it is not there.
    pub(super) fn header(&self, name: HeaderName) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// How long the server wants to be left alone, if it says so.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.header(header::RETRY_AFTER)
            .parse()
            .ok()
            .map(Duration::from_secs)
    }
}

/// What a server said, so that it can be shown.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}

/// The content of a file that is read from its beginning or from an offset to its end.
pub(super) struct Reading {
    body: Incoming,
    rest: Bytes,
    _connection: Connection,
}

impl Reading {
    /// The next bytes: `length` of them, or fewer where the content ends.
    pub(super) async fn next(&mut self, length: usize) -> Result<Bytes, String> {
        if self.rest.len() >= length {
            return Ok(self.rest.split_to(length));
        }
        let mut piece = BytesMut::with_capacity(length);
        loop {
            let taken = self.rest.len().min(length - piece.len());
            piece.extend_from_slice(&self.rest[..taken]);
            self.rest.advance(taken);
            if piece.len() == length {
                return Ok(piece.freeze());
            }
            let frame = tokio::time::timeout(SILENCE, self.body.frame()).await;
            match frame.map_err(|_| "it fell silent".to_owned())? {
                None => return Ok(piece.freeze()),
                Some(frame) => {
                    let frame = frame.map_err(|error| chain(&error))?;
                    self.rest = frame.into_data().unwrap_or_default();
                }
            }
        }
    }
}

/// A connection, which ends with this.
struct Connection {
    sender: SendRequest<Content>,
    task: JoinHandle<()>,
}

impl Connection {
    /// Sends a request; its answer comes whole.
    async fn answer(&mut self, request: Request<Content>) -> Result<Response, String> {
        let response = self.sender.send_request(request).await;
        collected(response.map_err(|error| chain(&error))?).await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connections to hosts, at most one to each.
pub(super) struct Http {
    /// The name in messages.
    at: String,
    tls: Option<Arc<ClientConfig>>,
    open: Vec<(String, Connection)>,
}

impl Http {
    /// Speaks with `at`, as messages name it; without `tls` certificates are trusted that everybody trusts.
    pub(super) fn new(at: String, tls: Option<Arc<ClientConfig>>) -> Self {
        Self {
            at,
            tls,
            open: Vec::new(),
        }
    }

    pub(super) fn cut(&self, why: impl ToString) -> Fault {
        Fault::Cut {
            at: self.at.clone(),
            why: why.to_string(),
        }
    }

    fn unreachable(&self, why: impl ToString) -> Fault {
        Fault::Unreachable {
            at: self.at.clone(),
            why: why.to_string(),
        }
    }

    /// Forgets the connections.
    pub(super) fn close(&mut self) {
        self.open.clear();
    }

    /// Sends a request to a host, as `https://name` or `http://name:port`.
    pub(super) async fn send(&mut self, host: &str, request: Request<Content>) -> Result<Response, Fault> {
        let mut connection = self.prepared(host).await?;
        let request = self.addressed(host, request)?;
        let is_empty = request.body().is_end_stream();
        let answered = tokio::time::timeout(REQUEST, connection.answer(request)).await;
        let response = answered
            .map_err(|_| self.cut("no answer"))?
            .map_err(|why| self.cut(why))?;
        // Who refuses may not have read what was sent, and never will.
        if is_empty || response.is_good() {
            self.open.push((host.to_owned(), connection));
        }
        Ok(response)
    }

    /// Sends a request whose content comes later, piece by piece.
    pub(super) async fn start(
        &mut self,
        host: &str,
        request: Request<Content>,
    ) -> Result<JoinHandle<Result<Response, String>>, Fault> {
        let mut connection = self.prepared(host).await?;
        let request = self.addressed(host, request)?;
        Ok(tokio::spawn(async move { connection.answer(request).await }))
    }

    /// Sends a request whose answer is the content of a file from `offset` on; any other answer comes as it is.
    pub(super) async fn read(
        &mut self,
        host: &str,
        mut request: Request<Content>,
        offset: u64,
    ) -> Result<Result<Reading, Response>, Fault> {
        let range = format!("bytes={offset}-")
            .parse()
            .map_err(|error| self.cut(error))?;
        request.headers_mut().insert(header::RANGE, range);
        let mut connection = self.prepared(host).await?;
        let request = self.addressed(host, request)?;
        let answered = tokio::time::timeout(REQUEST, async {
            let response = connection.sender.send_request(request).await;
            let response = response.map_err(|error| chain(&error))?;
            if matches!(response.status().as_u16(), 200 | 206) {
                return Ok(Ok(response));
            }
            collected(response).await.map(Err)
        });
        let answered = answered.await.map_err(|_| self.cut("no answer"))?;
        match answered.map_err(|why| self.cut(why))? {
            Ok(response) if response.status() == StatusCode::OK && offset > 0 => {
                Err(Fault::Unsupported(format!(
                    "{} answers whole files only and no parts of them: archives cannot be read back there",
                    self.at
                )))
            }
            Ok(response) => Ok(Ok(Reading {
                body: response.into_body(),
                rest: Bytes::new(),
                _connection: connection,
            })),
            Err(other) => {
                self.open.push((host.to_owned(), connection));
                Ok(Err(other))
            }
        }
    }

    fn addressed(&self, host: &str, mut request: Request<Content>) -> Result<Request<Content>, Fault> {
        let authority = authority(host).parse().map_err(|error| self.unreachable(error))?;
        request.headers_mut().insert(header::HOST, authority);
        // Not said by itself when there is nothing to send, and some servers insist on it.
        let sends = matches!(*request.method(), Method::PUT | Method::POST);
        if sends && request.body().is_end_stream() {
            let nothing = HeaderValue::from_static("0");
            request.headers_mut().insert(header::CONTENT_LENGTH, nothing);
        }
        Ok(request)
    }

    /// The connection that is open, or a new one. It is out of the list until its answer has come.
    async fn prepared(&mut self, host: &str) -> Result<Connection, Fault> {
        let kept = self.open.iter().position(|(open, _)| open == host);
        if let Some(kept) = kept {
            let (_, mut connection) = self.open.swap_remove(kept);
            let ready = tokio::time::timeout(READY, connection.sender.ready()).await;
            if matches!(ready, Ok(Ok(()))) {
                return Ok(connection);
            }
        }
        let connected = tokio::time::timeout(CONNECT, self.connect(host)).await;
        connected.map_err(|_| self.unreachable("no answer"))?
    }

    async fn connect(&mut self, host: &str) -> Result<Connection, Fault> {
        let uri: Uri = host.parse().map_err(|error| self.unreachable(error))?;
        let name = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let encrypted = uri.scheme_str() != Some("http");
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let stream = TcpStream::connect((name, port)).await;
        let stream = stream.map_err(|error| self.unreachable(error))?;
        stream
            .set_nodelay(true)
            .map_err(|error| self.unreachable(error))?;
        if !encrypted {
            return self.begin(TokioIo::new(stream)).await;
        }
        let tls = match &self.tls {
            Some(tls) => Arc::clone(tls),
            None => Arc::clone(self.tls.insert(trust(None)?)),
        };
        let server = ServerName::try_from(name.to_owned()).map_err(|error| self.unreachable(error))?;
        let stream = TlsConnector::from(tls).connect(server, stream).await;
        let stream = stream.map_err(|error| not_encrypted(self.at.clone(), &error))?;
        self.begin(TokioIo::new(stream)).await
    }

    async fn begin<S>(&self, stream: S) -> Result<Connection, Fault>
    where
        S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let (sender, connection) = handshake(stream).await.map_err(|error| self.unreachable(error))?;
        let at = self.at.clone();
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, at, "A connection to a destination ended");
            }
        });
        Ok(Connection { sender, task })
    }
}

/// Name and port of a host, as a request names it.
pub(super) fn authority(host: &str) -> &str {
    host.split_once("://").map_or(host, |(_, authority)| authority)
}

async fn collected(response: http::Response<Incoming>) -> Result<Response, String> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, LONGEST).collect().await;
    Ok(Response {
        status: head.status.as_u16(),
        headers: head.headers,
        body: body.map_err(|error| error.to_string())?.to_bytes(),
    })
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    crate::rpc::chain(error)
}

/// A text as a part of an address: all but letters, digits and `-._~` is written as numbers, and so is what is not in `kept`.
pub(crate) fn escaped(text: &str, kept: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.as_bytes().contains(&byte);
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&data_encoding::HEXUPPER.encode(&[byte]));
        }
    }
    out
}

/// What a part of an address means, if it is text.
pub(crate) fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        match after.get(..2) {
            Some(digits) if first == b'%' => {
                out.extend(data_encoding::HEXLOWER_PERMISSIVE.decode(digits).ok()?);
                rest = &after[2..];
            }
            None if first == b'%' => return None,
            _ => {
                out.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_in_an_address_is_ascii_and_means_the_same(text: String) {
            let escaped = escaped(&text, "/");
            prop_assert!(escaped.bytes().all(|b| b.is_ascii_graphic() && !b"?#&+ ".contains(&b)));
            prop_assert_eq!(unescaped(&escaped), Some(text));
        }

        #[test]
        fn any_address_is_read_or_refused(text: String) {
            let _ = unescaped(&text);
        }
    }
}
