//! The logs of satellites: which there are, and their lines as people read them.

pub(crate) mod lines;

use std::io::Write as _;

use bytes::Bytes;
use futures_util::Stream;
use satellite_proto::wire::MAX_MESSAGE;
use satellite_proto::wire::bridge::v1::log_service_client::LogServiceClient;
use satellite_proto::wire::bridge::v1::{FetchLogsRequest, ListLogSourcesRequest, LogSource};
use tonic::transport::Channel;

use self::lines::{Lines, Style};
use super::remote::call;
use super::{App, AppError};
use crate::names::SatelliteName;

/// The logs of a satellite.
///
/// # Errors
/// The satellite is not known or does not answer.
pub async fn sources(app: &App, satellite: &SatelliteName) -> Result<Vec<LogSource>, AppError> {
    let mut client = client(app, satellite)?;
    let asked = client.list_log_sources(ListLogSourcesRequest {});
    Ok(call(satellite, app.config.call_deadline, asked).await?.sources)
}

/// The lines of a log, in pieces as they come; a piece may end within a line.
///
/// # Errors
/// The satellite is not known, does not answer, or has no such log.
pub async fn fetch(
    app: &App,
    satellite: &SatelliteName,
    query: FetchLogsRequest,
) -> Result<impl Stream<Item = Result<Bytes, AppError>> + Send + use<>, AppError> {
    let style = Style::of(&query.source);
    let mut client = client(app, satellite)?;
    let mut pieces = call(satellite, app.config.call_deadline, client.fetch_logs(query)).await?;
    let name = satellite.clone();
    let unpack = |source| AppError::machine("unpack the lines of a log", source);
    Ok(async_stream::try_stream! {
        let lines = Lines::new(Vec::new(), style);
        let mut decoder = zstd::stream::write::Decoder::new(lines).map_err(unpack)?;
        loop {
            let message = pieces.message().await;
            let message = message.map_err(|status| AppError::remote(name.as_str(), status))?;
            let Some(piece) = message else { break };
            decoder.write_all(&piece.data).and_then(|()| decoder.flush()).map_err(unpack)?;
            let ready = decoder.get_mut().take();
            if !ready.is_empty() {
                yield Bytes::from(ready);
            }
        }
        let rest = decoder.into_inner().into_inner().map_err(unpack)?;
        if !rest.is_empty() {
            yield Bytes::from(rest);
        }
    })
}

fn client(app: &App, satellite: &SatelliteName) -> Result<LogServiceClient<Channel>, AppError> {
    let channel = app.fleet.channel(satellite)?;
    Ok(LogServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE))
}
