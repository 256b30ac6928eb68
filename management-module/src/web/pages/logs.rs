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
use crate::web::look::{self, Field};
use crate::web::text::{common, machine};

/// Lines on the page.
const SHOWN: u64 = 500;

/// Lines that are sent together, if they are there.
const TOGETHER: usize = 500;

/// Satellites whose lines are shown in one.
const MOST: usize = 50;

/// Characters that are looked for.
const LONGEST: usize = 200;

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
        "source={}&hours={}&priority={}&find={}&also={}",
        escaped(&query.source),
        text("hours"),
        text("priority"),
        text("find"),
        text("also")
    )
}

/// What lines are to hold; empty: all are wanted.
fn find(ask: &Ask) -> String {
    ask.query.text("find").chars().take(LONGEST).collect()
}

/// The satellite of the page, and those whose lines are wanted as well; or the first that there is not.
fn satellites(ask: &Ask) -> Result<Result<Vec<SatelliteName>, String>, Failure> {
    let mut all: Vec<SatelliteName> = vec![ask.named("name")?];
    let also = ask.query.text("also").split(',').map(str::trim);
    for text in also.filter(|text| !text.is_empty()) {
        match text.parse::<SatelliteName>() {
            Ok(name) if all.contains(&name) => {}
            Ok(name) if all.len() < MOST && ask.app().fleet.observed(&name).is_ok() => all.push(name),
            _ => return Ok(Err(text.to_owned())),
        }
    }
    Ok(Ok(all))
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
    let fault = match satellites(&ask)? {
        Ok(_) => String::new(),
        Err(other) => ask.fill(machine::NO_SUCH_SATELLITE, &[&other]),
    };
    let lines_with = Field {
        name: "find",
        label: ask.say(machine::LINES_WITH),
        kind: "search",
        value: ask.query.text("find"),
        hint: ask.say(machine::LINES_WITH_HINT),
        ..Field::default()
    };
    let also = Field {
        name: "also",
        label: ask.say(machine::ALSO_OF),
        value: ask.query.text("also"),
        hint: ask.say(machine::ALSO_HINT),
        fault: &fault,
        ..Field::default()
    };
    let content = html! {
        (head(&ask, &name, "/logs"))
        form.card method="get" action=(place) {
            div.row {
                (look::select("source", ask.say(machine::SOURCE), &query.source, &names))
                (look::select("priority", ask.say(machine::PRIORITY), ask.query.text("priority"), &priorities))
                (look::select("hours", ask.say(common::TIME), ask.query.text("hours"), &times))
            }
            div.row { (lines_with.show()) (also.show()) }
            div.actions {
                button.main { (ask.say(machine::SHOW)) }
                a.button href={ (place) "/download?" (chosen(&ask)) } { (ask.say(common::DOWNLOAD)) }
            }
        }
        @if fault.is_empty() { div.field {
            label for="filter" { (ask.say(machine::SEARCH)) }
            input #filter type="search" data-filter="lines" autocomplete="off";
        }
        pre.log #lines tabindex="0" role="log" aria-label=(ask.say(machine::LOGS)) data-empty=(ask.say(machine::NO_LINES)) data-lines={ (place) "/events?" (chosen(&ask)) } {}
        noscript { p { a href={ (place) "/download?" (chosen(&ask)) } { (ask.say(common::DOWNLOAD)) } } } }
    };
    Ok(look::page(&ask, ask.say(machine::LOGS), &content))
}

/// Lines as they come, as server-sent events. Those that hold something are looked for in the whole log.
pub(in crate::web) async fn events(ask: Ask) -> Answer {
    let names = satellites(&ask)?.map_err(|_| Failure::NoPage)?;
    let slot = std::sync::Arc::clone(&ask.web.0.live).try_acquire_owned();
    let slot = slot.map_err(|_| Failure::Busy)?;
    let find = find(&ask);
    let query = FetchLogsRequest {
        follow: true,
        lines: if find.is_empty() { SHOWN } else { 0 },
        ..query(&ask)
    };
    let token_hash = ask.session()?.token_hash.clone();
    let lines = logs::read(ask.app(), &names, query, &find).await?;
    let events = async_stream::stream! {
        let _slot = slot;
        let mut lines = lines.ready_chunks(TOGETHER);
        let mut looks = tokio::time::interval(std::time::Duration::from_secs(10));
        loop {
            tokio::select! {
                some = lines.next() => {
                    let Some(some) = some else { break };
                    yield Ok::<_, std::convert::Infallible>(Bytes::from(event("line", &some.join("\n"))));
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
    let names = satellites(&ask)?.map_err(|_| Failure::NoPage)?;
    let (query, find) = (query(&ask), find(&ask));
    let named: Vec<&str> = names.iter().map(SatelliteName::as_str).take(3).collect();
    let file = format!("{}-{}.log", named.join("+"), query.source);
    let lines = logs::read(ask.app(), &names, query, &find).await?;
    let pieces = lines.ready_chunks(TOGETHER).map(|some| {
        let text: String = some
            .into_iter()
            .flat_map(|line| [line, "\n".to_owned()])
            .collect();
        Ok::<_, std::convert::Infallible>(Bytes::from(text))
    });
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
