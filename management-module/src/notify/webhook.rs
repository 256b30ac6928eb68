//! Posts what happened to a program: one connection a message, over TLS, signed if a secret is there.

use std::path::PathBuf;
use std::time::Duration;

use aws_lc_rs::hmac;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Verdict;
use super::trust::{self, TrustError};
use crate::config::webhook::Webhook;

/// Most bytes of an answer that are read, and characters of it that are kept.
const ANSWER: usize = 64 * 1024;
const KEPT: usize = 200;

/// A message.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Always the same for what happened once: who gets it twice can tell.
    pub id: &'a str,
    /// JSON.
    pub body: &'a str,
}

/// Why no message can be posted now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// The secret cannot be read.
    #[error("cannot read `secret-file` of the webhook, {}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// TLS cannot be set up.
    #[error("cannot prepare TLS for the webhook")]
    Trust(#[source] TrustError),
    /// The server failed.
    #[error("webhook {host}: cannot {doing}")]
    Server {
        /// The server.
        host: String,
        /// What was being done.
        doing: &'static str,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("webhook {host}: no answer within {deadline:?}")]
    Deadline {
        /// The server.
        host: String,
        /// How long it may take.
        deadline: Duration,
    },
}

/// Posts a message.
///
/// # Errors
/// [`WebhookError`]: whether it was taken is not known; its id tells the receiver that a second one is the same.
pub async fn post(config: &Webhook, message: Message<'_>) -> Result<Verdict, WebhookError> {
    let posted = tokio::time::timeout(config.deadline, posted(config, message)).await;
    posted.map_err(|_| WebhookError::Deadline {
        host: config.host(),
        deadline: config.deadline,
    })?
}

async fn posted(config: &Webhook, message: Message<'_>) -> Result<Verdict, WebhookError> {
    let failed = |doing| move |source| failed(config, doing, source);
    let uri: Uri = config
        .url
        .parse()
        .map_err(|error: hyper::http::uri::InvalidUri| failed("use its address")(error.into()))?;
    let place = uri.path_and_query().map_or("/", |place| place.as_str());
    let mut request = Request::post(place)
        .header(header::HOST, config.host())
        .header(header::CONTENT_TYPE, "application/json")
        .header(
            header::USER_AGENT,
            concat!("management-module/", env!("CARGO_PKG_VERSION")),
        )
        .header("X-Event-Id", message.id);
    if let Some(path) = &config.secret_file {
        let secret = tokio::fs::read(path)
            .await
            .map_err(|source| WebhookError::Secret {
                path: path.clone(),
                source,
            })?;
        request = request.header("X-Signature-256", signature(&secret, message.body));
    }
    let request = request
        .body(Full::new(Bytes::from(message.body.to_owned())))
        .map_err(|error| failed("write the message")(error.into()))?;
    let mut sender = connect(config, &uri).await?;
    let answer = sender.send_request(request).await;
    let answer = answer.map_err(|error| failed("post the message")(error.into()))?;
    let status = answer.status();
    let text = Limited::new(answer.into_body(), ANSWER).collect().await;
    if status.is_success() {
        return Ok(Verdict::Taken);
    }
    let text = text.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
    let text: String = text
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .take(KEPT)
        .collect();
    let problem = format!("answered {status}: {text}");
    // Too early, too often, took too long: that passes. Else it will not like the same message better tomorrow.
    let passes = status.is_server_error() || [408, 425, 429].contains(&status.as_u16());
    if status.is_client_error() && !passes {
        Ok(Verdict::Refused(problem))
    } else {
        Ok(Verdict::Later(problem))
    }
}

/// As many services sign: `sha256=` and the HMAC-SHA256 of the body, in hexadecimal. A line end after the secret is not part of it.
fn signature(secret: &[u8], body: &str) -> String {
    let secret = secret.strip_suffix(b"\n").unwrap_or(secret);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    format!(
        "sha256={}",
        HEXLOWER.encode(hmac::sign(&key, body.as_bytes()).as_ref())
    )
}

async fn connect(config: &Webhook, uri: &Uri) -> Result<SendRequest<Full<Bytes>>, WebhookError> {
    let failed = |doing| move |source| failed(config, doing, source);
    let encrypted = uri.scheme_str() != Some("http");
    let name = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    let stream = TcpStream::connect((name, port)).await;
    let stream = stream.map_err(|error| failed("connect")(error.into()))?;
    if !encrypted {
        return handshake(config, TokioIo::new(stream)).await;
    }
    let tls = trust::client(config.ca_file.as_deref()).map_err(WebhookError::Trust)?;
    let name = ServerName::try_from(name.to_owned());
    let name = name.map_err(|error| failed("use its name")(error.into()))?;
    let stream = TlsConnector::from(tls).connect(name, stream).await;
    let stream = stream.map_err(|error| failed("encrypt the connection")(error.into()))?;
    handshake(config, TokioIo::new(stream)).await
}

async fn handshake<S>(config: &Webhook, stream: S) -> Result<SendRequest<Full<Bytes>>, WebhookError>
where
    S: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(stream)
        .await
        .map_err(|error| failed(config, "begin to speak", error.into()))?;
    // It ends when the sender is dropped.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "Connection of the webhook ended");
        }
    });
    Ok(sender)
}

fn failed(
    config: &Webhook,
    doing: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
) -> WebhookError {
    WebhookError::Server {
        host: config.host(),
        doing,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_signed_as_rfc_4231_has_it() {
        let wanted = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signature(b"Jefe\n", "what do ya want for nothing?"), wanted);
    }
}
