//! Posts what happened to a program: one connection a message, over TLS, signed if a secret is there.

use std::path::PathBuf;
use std::time::Duration;

use aws_lc_rs::hmac;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use http_body_util::Full;
use hyper::{Request, header};

use super::Verdict;
use super::http::{self, HttpError};
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
    /// There is no answer.
    #[error("the webhook cannot be reached")]
    Http(#[source] HttpError),
    /// The message cannot be written.
    #[error("the message to the webhook cannot be written")]
    Write(#[source] hyper::http::Error),
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
    let (uri, place) = http::parts(&config.url).map_err(WebhookError::Http)?;
    let mut request = Request::post(place)
        .header(header::CONTENT_TYPE, "application/json")
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
        .map_err(WebhookError::Write)?;
    let answer = http::send(&uri, config.ca_file.as_deref(), request, ANSWER).await;
    let http::Answer { status, body, .. } = answer.map_err(WebhookError::Http)?;
    if status.is_success() {
        return Ok(Verdict::Taken);
    }
    let body = body.unwrap_or_default();
    let text: String = String::from_utf8_lossy(&body)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_signed_as_rfc_4231_has_it() {
        let wanted = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signature(b"Jefe\n", "what do ya want for nothing?"), wanted);
    }
}
