//! Parts of a page that are kept up to date while somebody looks: server-sent events that carry HTML made here.
//!
//! **Invariant:** what is sent is what the reader may see now: a session that has ended, or a role that was taken away,
//! ends the events at the next look.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use maud::Markup;

use super::access::{Need, may};
use super::ask::{Answer, Ask};
use super::failure::Failure;
use crate::app::users::Session;

/// How often something is sent though nothing has changed, so that what is in between keeps the connection.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// How often it is looked whether the session still holds.
const LOOK: Duration = Duration::from_secs(5);

/// How long one stream lasts; the browser comes again by itself.
const LONGEST: Duration = Duration::from_hours(1);

/// What is to be seen now.
pub(super) struct Seen {
    pub(super) html: Markup,
    /// Nothing will change any more; where to go then, empty: stay.
    pub(super) over: Option<String>,
}

impl From<Markup> for Seen {
    /// What may change again.
    fn from(html: Markup) -> Self {
        Self { html, over: None }
    }
}

/// Sends what `look` answers whenever it is something else, every so often.
pub(super) fn live<F, R>(ask: Ask, need: Need, every: Duration, look: F) -> Answer
where
    F: Fn(std::sync::Arc<Ask>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Seen, Failure>> + Send,
{
    let slot = std::sync::Arc::clone(&ask.web.0.live).try_acquire_owned();
    let slot = slot.map_err(|_| Failure::Busy)?;
    let token_hash = ask.session()?.token_hash.clone();
    let ask = std::sync::Arc::new(ask);
    let events = async_stream::stream! {
        let _slot = slot;
        let began = tokio::time::Instant::now();
        let (mut sent, mut sent_at, mut looked_at) = (String::new(), began, began);
        yield piece(": here\n\n");
        loop {
            let Ok(seen) = look(std::sync::Arc::clone(&ask)).await else {
                // The page itself says what is wrong when it is asked for anew.
                yield piece("event: over\ndata: .\n\n");
                return;
            };
            let html = seen.html.into_string();
            if html != sent {
                yield Ok(Bytes::from(event("html", &html)));
                (sent, sent_at) = (html, tokio::time::Instant::now());
            } else if sent_at.elapsed() >= SIGN_OF_LIFE {
                yield piece(": still here\n\n");
                sent_at = tokio::time::Instant::now();
            }
            if let Some(place) = seen.over {
                yield Ok(Bytes::from(event("over", &place)));
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = ask.web.0.stop.cancelled() => return,
            }
            if began.elapsed() >= LONGEST {
                return;
            }
            if looked_at.elapsed() >= LOOK {
                looked_at = tokio::time::Instant::now();
                let session = Session::of_hash(ask.app(), &token_hash, false).await;
                let is_good = session.is_ok_and(|session| {
                    session.is_some_and(|session| may(session.user.role, need))
                });
                if !is_good {
                    yield piece("event: over\ndata: .\n\n");
                    return;
                }
            }
        }
    };
    let mut response = Response::new(Body::from_stream(events));
    let kind = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

fn piece(text: &'static str) -> Result<Bytes, std::convert::Infallible> {
    Ok(Bytes::from_static(text.as_bytes()))
}

/// An event as browsers read it: each line of its own.
pub(super) fn event(name: &str, data: &str) -> String {
    let mut text = format!("event: {name}\n");
    for line in data.split(['\n', '\r']) {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_data_begins_an_event_of_its_own() {
        let text = event("html", "a\n\nevent: over\rdata: x");
        assert_eq!(
            text,
            "event: html\ndata: a\ndata: \ndata: event: over\ndata: data: x\n\n"
        );
    }
}
