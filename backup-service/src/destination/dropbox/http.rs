//! One request and its answer over HTTP/1.1. The connection is kept for the next one to the same host.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::AT;
use crate::destination::fault::Fault;
use crate::destination::trust::trust;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(20);

/// How long a request with its answer may take: 8 MiB over a slow line.
const REQUEST: Duration = Duration::from_secs(600);

/// Most bytes of an answer.
const LONGEST: usize = 16 << 20;

/// Where the API is: its three hosts, or one server that stands for all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// Calls.
    pub api: String,
    /// Contents of files.
    pub content: String,
    /// Where people give their consent.
    pub consent: String,
}

impl Default for Hosts {
    fn default() -> Self {
        Self {
            api: "https://api.dropboxapi.com".to_owned(),
            content: "https://content.dropboxapi.com".to_owned(),
            consent: "https://www.dropbox.com".to_owned(),
        }
    }
}

impl Hosts {
    /// One server that stands for all hosts.
    #[must_use]
    pub fn one(url: &str) -> Self {
        let url = url.trim_end_matches('/').to_owned();
        Self {
            api: url.clone(),
            content: url.clone(),
            consent: url,
        }
    }
}

/// An answer.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

/// Connections to the hosts, at most one to each.
#[derive(Default)]
pub(super) struct Http {
    tls: Option<Arc<ClientConfig>>,
    open: Vec<(String, SendRequest<Full<Bytes>>)>,
}

fn cut(why: impl ToString) -> Fault {
    Fault::Cut {
        at: AT.to_owned(),
        why: why.to_string(),
    }
}

fn unreachable(why: impl ToString) -> Fault {
    Fault::Unreachable {
        at: AT.to_owned(),
        why: why.to_string(),
    }
}

impl Http {
    /// Sends a request to a host, as `https://name` or `http://name:port`.
    pub(super) async fn send(
        &mut self,
        host: &str,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response, Fault> {
        let uri: Uri = host.parse().map_err(unreachable)?;
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let named = authority.parse().map_err(unreachable)?;
        request.headers_mut().insert(header::HOST, named);
        let mut sender = self.sender(host, &uri).await?;
        let answered = tokio::time::timeout(REQUEST, async {
            let response = sender.send_request(request).await.map_err(cut)?;
            let status = response.status().as_u16();
            let seconds = response.headers().get(header::RETRY_AFTER);
            let seconds = seconds
                .and_then(|value| value.to_str().ok())
                .and_then(|text| text.parse().ok());
            let body = Limited::new(response.into_body(), LONGEST)
                .collect()
                .await
                .map_err(cut)?;
            Ok(Response {
                status,
                retry_after: seconds.map(Duration::from_secs),
                body: body.to_bytes(),
            })
        });
        let response = answered.await.map_err(|_| cut("no answer"))??;
        self.open.push((host.to_owned(), sender));
        Ok(response)
    }

    /// The connection that is open, or a new one. It is out of the list until its answer has come.
    async fn sender(&mut self, host: &str, uri: &Uri) -> Result<SendRequest<Full<Bytes>>, Fault> {
        let kept = self.open.iter().position(|(open, _)| open == host);
        if let Some(kept) = kept {
            let (_, mut sender) = self.open.swap_remove(kept);
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
        let connected = tokio::time::timeout(CONNECT, self.connect(uri)).await;
        connected.map_err(|_| unreachable("no answer"))?
    }

    async fn connect(&mut self, uri: &Uri) -> Result<SendRequest<Full<Bytes>>, Fault> {
        let name = uri.host().unwrap_or_default();
        let encrypted = uri.scheme_str() != Some("http");
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let stream = TcpStream::connect((name, port)).await.map_err(unreachable)?;
        if !encrypted {
            return begin(TokioIo::new(stream)).await;
        }
        let tls = match &self.tls {
            Some(tls) => Arc::clone(tls),
            None => Arc::clone(self.tls.insert(trust(None)?)),
        };
        let server = ServerName::try_from(name.to_owned()).map_err(unreachable)?;
        let stream = TlsConnector::from(tls).connect(server, stream).await;
        let stream = stream.map_err(|error| Fault::Certificate {
            at: AT.to_owned(),
            why: error.to_string(),
        })?;
        begin(TokioIo::new(stream)).await
    }
}

async fn begin<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, Fault>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(stream).await.map_err(unreachable)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "A connection to Dropbox ended");
        }
    });
    Ok(sender)
}
