//! The logs of a satellite: read, searched, watched, fetched.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use maud::html;
use satellite_proto::wire::bridge::v1::{FetchLogsRequest, LogFormat};

use super::satellite::head;
use crate::app::logs::{self, lines::PRIORITIES};
use crate::app::users::Session;
use crate::names::SatelliteName;
use crate::web::access::{Need, may};
use crate::web::ask::{Answer, Ask, escaped};
use crate::web::failure::Failure;
use crate::web::live::event;
use crate::web::look;
use crate::web::text::{common, machine};

/// Lines on the page.
const SHOWN: u64 = 500;

/// The longest piece that waits for the end of its line, in bytes.
const WAITING: usize = 64 * 1024;

/// What is read, unless another is chosen.
const USUAL: &str = "bridge";

fn query(ask: &Ask) -> FetchLogsRequest {
    let source = Some(ask.query.text("source")).filter(|source| !source.is_empty());
    let hours = ask
        .query
        .text("hours")
        .parse::<i64>()
        .ok()
        .filter(|hours| (1..=24 * 366).contains(hours));
    let since = hours.map(|hours| Timestamp::now() - jiff::SignedDuration::from_hours(hours));
    FetchLogsRequest {
        source: source.unwrap_or(USUAL).to_owned(),
        since: since.map(|time| prost_types::Timestamp {
            seconds: time.as_second(),
            nanos: 0,
        }),
        max_priority: ask.query.text("priority").parse().ok(),
        format: LogFormat::Text.into(),
        ..FetchLogsRequest::default()
    }
}

/// What was chosen, for addresses of the same choice.
fn chosen(ask: &Ask) -> String {
    let query = query(ask);
    let text = |name: &str| escaped(ask.query.text(name));
    format!(
        "source={}&hours={}&priority={}",
        escaped(&query.source),
        text("hours"),
        text("priority")
    )
}

pub(in crate::web) async fn show(ask: Ask) -> Answer {
    let name: SatelliteName = ask.named("name")?;
    let sources = logs::sources(ask.app(), &name).await?;
    let place = format!("/satellites/{}/logs", escaped(name.as_str()));
    let query = query(&ask);
    let names: Vec<_> = sources
        .iter()
        .map(|source| (source.name.clone(), source.name.clone()))
        .collect();
    let mut priorities = vec![(String::new(), ask.say(machine::ALL_PRIORITIES).to_owned())];
    priorities.extend(
        PRIORITIES
            .iter()
            .zip(0..)
            .map(|(name, number): (_, u8)| (number.to_string(), (*name).to_owned())),
    );
    let times = [
        (String::new(), ask.say(machine::ALL_TIME).to_owned()),
        ("1".to_owned(), ask.say(machine::LAST_HOUR).to_owned()),
        ("24".to_owned(), ask.say(machine::LAST_DAY).to_owned()),
        ("168".to_owned(), ask.say(machine::LAST_WEEK).to_owned()),
    ];
    let content = html! {
        (head(&ask, &name, "/logs"))
        form.card method="get" action=(place) {
            div.row {
                (look::select("source", ask.say(machine::SOURCE), &query.source, &names))
                (look::select("priority", ask.say(machine::PRIORITY), ask.query.text("priority"), &priorities))
                (look::select("hours", ask.say(common::TIME), ask.query.text("hours"), &times))
            }
            div.actions {
                button.main { (ask.say(machine::SHOW)) }
                a.button href={ (place) "/download?" (chosen(&ask)) } { (ask.say(common::DOWNLOAD)) }
            }
        }
        div.field {
            label for="filter" { (ask.say(machine::SEARCH)) }
            input #filter type="search" data-filter="lines" autocomplete="off";
        }
        pre.log #lines tabindex="0" role="log" aria-label=(ask.say(machine::LOGS)) data-lines={ (place) "/events?" (chosen(&ask)) } {}
        noscript { p { a href={ (place) "/download?" (chosen(&ask)) } { (ask.say(common::DOWNLOAD)) } } }
    };
    Ok(look::page(&ask, ask.say(machine::LOGS), &content))
}

/// Lines as they come, as server-sent events.
pub(in crate::web) async fn events(ask: Ask) -> Answer {
    let name: SatelliteName = ask.named("name")?;
    let slot = std::sync::Arc::clone(&ask.web.0.live).try_acquire_owned();
    let slot = slot.map_err(|_| Failure::Busy)?;
    let query = FetchLogsRequest {
        follow: true,
        lines: SHOWN,
        ..query(&ask)
    };
    let token_hash = ask.session()?.token_hash.clone();
    let pieces = logs::fetch(ask.app(), &name, query).await?;
    let events = async_stream::stream! {
        let _slot = slot;
        let mut pieces = Box::pin(pieces);
        let mut waiting = Vec::new();
        let mut looks = tokio::time::interval(std::time::Duration::from_secs(10));
        loop {
            tokio::select! {
                piece = pieces.next() => {
                    let Some(Ok(piece)) = piece else { break };
                    waiting.extend_from_slice(&piece);
                    let end = waiting.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                    let end = if waiting.len() > WAITING { waiting.len() } else { end };
                    if end > 0 {
                        let lines: Vec<u8> = waiting.drain(..end).collect();
                        let text = String::from_utf8_lossy(&lines);
                        yield Ok::<_, std::convert::Infallible>(Bytes::from(event("line", text.trim_end_matches('\n'))));
                    }
                }
                _ = looks.tick() => {
                    let session = Session::of_hash(ask.app(), &token_hash, false).await;
                    let is_good = session.is_ok_and(|session| session.is_some_and(|s| may(s.user.role, Need::SeeFleet)));
                    if !is_good { break }
                    yield Ok(Bytes::from_static(b": still here\n\n"));
                }
                () = ask.web.0.stop.cancelled() => break,
            }
        }
        yield Ok(Bytes::from(event("over", "")));
    };
    let mut response = Response::new(Body::from_stream(events));
    let kind = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

pub(in crate::web) async fn download(ask: Ask) -> Answer {
    let name: SatelliteName = ask.named("name")?;
    let query = query(&ask);
    let file = format!("{name}-{}.log", query.source);
    let pieces = logs::fetch(ask.app(), &name, query).await?;
    Ok(attachment(
        &file,
        "text/plain; charset=utf-8",
        Body::from_stream(pieces),
    ))
}

/// A file to keep.
pub(in crate::web) fn attachment(name: &str, kind: &'static str, body: Body) -> Response {
    let keep = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name: String = name.chars().map(|c| if keep(c) { c } else { '_' }).collect();
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    response
}
