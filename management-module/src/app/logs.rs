//! The logs of satellites: which there are, and their lines as people read them, also of several in one.

pub(crate) mod lines;
pub(crate) mod merge;

use std::io::Write as _;
use std::pin::Pin;

use futures_util::{Stream, StreamExt as _};
use satellite_proto::wire::MAX_MESSAGE;
use satellite_proto::wire::bridge::v1::log_service_client::LogServiceClient;
use satellite_proto::wire::bridge::v1::{FetchLogsRequest, ListLogSourcesRequest, LogSource};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use self::lines::{Style, take_lines};
use self::merge::Merge;
use super::remote::call;
use super::{App, AppError};
use crate::names::SatelliteName;

/// Lines of a satellite that wait to be merged.
const AHEAD: usize = 64;

/// The logs of a satellite.
///
/// # Errors
/// The satellite is not known or does not answer.
pub async fn sources(app: &App, satellite: &SatelliteName) -> Result<Vec<LogSource>, AppError> {
    let mut client = client(app, satellite)?;
    let asked = client.list_log_sources(ListLogSourcesRequest {});
    Ok(call(satellite, app.config.call_deadline, asked).await?.sources)
}

/// The lines of the same log of several satellites, whole and in the order of their times, each after the name of its
/// satellite; those of one as they come. With `with` only those that hold it, in upper or lower case. What cannot be read is
/// told as a line of its own, and the others go on.
///
/// # Errors
/// Of one satellite: it is not known, does not answer, or has no such log.
pub async fn read(
    app: &App,
    satellites: &[SatelliteName],
    query: FetchLogsRequest,
    with: &str,
) -> Result<Pin<Box<dyn Stream<Item = String> + Send>>, AppError> {
    let wanted = with.to_lowercase();
    let is_wanted = move |line: &String| {
        let fits = wanted.is_empty() || line.to_lowercase().contains(&wanted);
        std::future::ready(fits)
    };
    if let [satellite] = satellites {
        let style = Style::of(&query.source);
        let lines = whole(app, satellite, query).await?;
        let shown = lines.map(move |line| match line {
            Ok(line) => style.shown(&line),
            Err(error) => crate::error_chain(&error),
        });
        return Ok(Box::pin(shown.filter(is_wanted)));
    }
    Ok(Box::pin(merged(app, satellites, query).filter(is_wanted)))
}

fn merged(
    app: &App,
    satellites: &[SatelliteName],
    query: FetchLogsRequest,
) -> impl Stream<Item = String> + Send + use<> {
    let style = Style::of(&query.source);
    let width = satellites
        .iter()
        .map(|name| name.as_str().len())
        .max()
        .unwrap_or(0);
    // They end with the stream.
    let mut readers = JoinSet::new();
    let mut sources = Vec::new();
    for name in satellites {
        let (sender, lines) = mpsc::channel(AHEAD);
        let (app, name, query) = (app.clone(), name.clone(), query.clone());
        sources.push((name.to_string(), lines));
        readers.spawn(async move {
            match whole(&app, &name, query).await {
                Ok(lines) => {
                    let mut lines = Box::pin(lines);
                    while let Some(line) = lines.next().await {
                        if sender.send(line).await.is_err() {
                            return;
                        }
                    }
                }
                Err(error) => drop(sender.send(Err(error)).await),
            }
        });
    }
    let mut merge = Merge::new(sources, query.follow);
    async_stream::stream! {
        let _readers = readers;
        while let Some((name, line)) = merge.next().await {
            for (name, error) in std::mem::take(&mut merge.failures) {
                yield format!("{name:<width$} {}", crate::error_chain(&error));
            }
            yield format!("{name:<width$} {}", style.shown(&line));
        }
        for (name, error) in std::mem::take(&mut merge.failures) {
            yield format!("{name:<width$} {}", crate::error_chain(&error));
        }
    }
}

/// The lines of a log without their ends, as the satellite has them.
async fn whole(
    app: &App,
    satellite: &SatelliteName,
    query: FetchLogsRequest,
) -> Result<impl Stream<Item = Result<String, AppError>> + Send + use<>, AppError> {
    let mut client = client(app, satellite)?;
    let mut pieces = call(satellite, app.config.call_deadline, client.fetch_logs(query)).await?;
    let name = satellite.clone();
    let unpack = |source| AppError::machine("unpack the lines of a log", source);
    Ok(async_stream::try_stream! {
        let mut decoder = zstd::stream::write::Decoder::new(Vec::new()).map_err(unpack)?;
        loop {
            let message = pieces.message().await;
            let message = message.map_err(|status| AppError::remote(name.as_str(), status))?;
            let Some(piece) = message else { break };
            decoder.write_all(&piece.data).and_then(|()| decoder.flush()).map_err(unpack)?;
            for line in take_lines(decoder.get_mut()) {
                yield line;
            }
        }
        let rest = decoder.get_mut();
        if !rest.is_empty() {
            yield String::from_utf8_lossy(rest).into_owned();
        }
    })
}

fn client(app: &App, satellite: &SatelliteName) -> Result<LogServiceClient<Channel>, AppError> {
    let channel = app.fleet.channel(satellite)?;
    Ok(LogServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE))
}
