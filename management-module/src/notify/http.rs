//! One HTTP request to a server that others run: one connection each, its certificate verified, its answer bounded.

use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{HeaderMap, Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::trust::{self, TrustError};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// TLS cannot be set up.
    #[error("cannot prepare TLS")]
    Trust(#[source] TrustError),
    /// The server failed.
    #[error("{host}: cannot {doing}")]
    Server {
        /// The server.
        host: String,
        /// What was being done.
        doing: &'static str,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// None: it is longer than allowed, or was cut off.
    pub(super) body: Option<Bytes>,
}

/// An address as a request needs it: the server, and what is asked of it.
pub(super) fn parts(url: &str) -> Result<(Uri, String), HttpError> {
    let uri: Uri = url
        .parse()
        .map_err(|error: hyper::http::uri::InvalidUri| HttpError::Server {
            host: "(unknown)".to_owned(),
            doing: "use its address",
            source: error.into(),
        })?;
    let place = uri
        .path_and_query()
        .map_or("/", |place| place.as_str())
        .to_owned();
    Ok((uri, place))
}

/// Sends a request and takes at most `most` bytes of the answer. The caller bounds the time.
///
/// # Errors
/// [`HttpError`]: whether the server took the request is not known.
pub(super) async fn send(
    uri: &Uri,
    ca_file: Option<&Path>,
    mut request: Request<Full<Bytes>>,
    most: usize,
) -> Result<Answer, HttpError> {
    let host = uri.authority().map_or_else(String::new, ToString::to_string);
    let agent = concat!("management-module/", env!("CARGO_PKG_VERSION"));
    let headers = request.headers_mut();
    headers.insert(header::USER_AGENT, header::HeaderValue::from_static(agent));
    if let Ok(host) = header::HeaderValue::from_str(&host) {
        headers.insert(header::HOST, host);
    }
    let failed = |doing| {
        let host = host.clone();
        move |source| HttpError::Server { host, doing, source }
    };
    let mut sender = connect(uri, ca_file, &host).await?;
    let answer = sender.send_request(request).await;
    let answer = answer.map_err(|error| failed("send the request")(error.into()))?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = Limited::new(answer.into_body(), most).collect().await;
    Ok(Answer {
        status,
        headers,
        body: body.ok().map(http_body_util::Collected::to_bytes),
    })
}

async fn connect(
    uri: &Uri,
    ca_file: Option<&Path>,
    host: &str,
) -> Result<SendRequest<Full<Bytes>>, HttpError> {
    let failed = |doing| {
        let host = host.to_owned();
        move |source| HttpError::Server { host, doing, source }
    };
    let encrypted = uri.scheme_str() != Some("http");
    let name = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    let stream = TcpStream::connect((name, port)).await;
    let stream = stream.map_err(|error| failed("connect")(error.into()))?;
    if !encrypted {
        return handshake(host, TokioIo::new(stream)).await;
    }
    let tls = trust::client(ca_file).map_err(HttpError::Trust)?;
    let name = ServerName::try_from(name.to_owned());
    let name = name.map_err(|error| failed("use its name")(error.into()))?;
    let stream = TlsConnector::from(tls).connect(name, stream).await;
    let stream = stream.map_err(|error| failed("encrypt the connection")(error.into()))?;
    handshake(host, TokioIo::new(stream)).await
}

async fn handshake<S>(host: &str, stream: S) -> Result<SendRequest<Full<Bytes>>, HttpError>
where
    S: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(stream)
        .await
        .map_err(|error| HttpError::Server {
            host: host.to_owned(),
            doing: "begin to speak",
            source: error.into(),
        })?;
    // It ends when the sender is dropped.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "Connection to a server of others ended");
        }
    });
    Ok(sender)
}
