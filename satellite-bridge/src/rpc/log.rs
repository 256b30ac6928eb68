//! Wire for the log service: wire to one call to wire.

use std::pin::Pin;
use std::time::SystemTime;

use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use satellite_proto::wire::bridge::v1 as wire;
use satellite_proto::wire::bridge::v1::log_service_server::LogService;
use tonic::{Request, Response, Status};

use crate::config::Config;
use crate::logs::{Format, Kind, LogError, Logs, Query, Source};
use crate::support::SupportBundles;

/// Longest cursor that is looked at.
const MAX_CURSOR: usize = 512;

/// The log service.
#[derive(Debug, Clone)]
pub struct LogRpc {
    logs: Logs,
    support: SupportBundles,
}

impl LogRpc {
    /// Serves `logs`, and support bundles of the satellite that `config` is about.
    #[must_use]
    pub fn new(logs: Logs, config: &Config) -> Self {
        let support = SupportBundles::new(config.clone());
        Self { logs, support }
    }
}

#[tonic::async_trait]
impl LogService for LogRpc {
    type FetchSupportBundleStream =
        Pin<Box<dyn Stream<Item = Result<wire::FetchSupportBundleResponse, Status>> + Send>>;

    async fn fetch_support_bundle(
        &self,
        _request: Request<wire::FetchSupportBundleRequest>,
    ) -> Result<Response<Self::FetchSupportBundleStream>, Status> {
        let pieces = self.support.make().await?;
        let messages = pieces.map(|piece| {
            let (file_name, data) = piece?;
            Ok(wire::FetchSupportBundleResponse { data, file_name })
        });
        Ok(Response::new(Box::pin(messages)))
    }

    type FetchLogsStream = Pin<Box<dyn Stream<Item = Result<wire::FetchLogsResponse, Status>> + Send>>;

    async fn list_log_sources(
        &self,
        _request: Request<wire::ListLogSourcesRequest>,
    ) -> Result<Response<wire::ListLogSourcesResponse>, Status> {
        let logs = self.logs.clone();
        let sources = tokio::task::spawn_blocking(move || logs.sources());
        let sources = sources
            .await
            .map_err(|_| Status::internal("the log sources cannot be listed"))?;
        let sources = sources.into_iter().map(source_to_wire).collect();
        Ok(Response::new(wire::ListLogSourcesResponse { sources }))
    }

    async fn fetch_logs(
        &self,
        request: Request<wire::FetchLogsRequest>,
    ) -> Result<Response<Self::FetchLogsStream>, Status> {
        let pieces = self
            .logs
            .fetch(query(request.into_inner())?)
            .await
            .map_err(|err| refusal(&err))?;
        let messages = pieces.map(|piece| {
            let piece = piece.map_err(|err| refusal(&err))?;
            Ok(wire::FetchLogsResponse {
                data: piece.data,
                cursor: piece.cursor,
                lines: piece.lines,
            })
        });
        Ok(Response::new(Box::pin(messages)))
    }
}

fn query(request: wire::FetchLogsRequest) -> Result<Query, Status> {
    let priority = request.max_priority.map(u8::try_from).transpose();
    let max_priority = priority
        .ok()
        .filter(|priority| priority.is_none_or(|priority| priority < 8))
        .ok_or_else(|| Status::invalid_argument("a priority is 0 to 7"))?;
    if request.cursor.len() > MAX_CURSOR {
        return Err(Status::invalid_argument("this is not a cursor"));
    }
    Ok(Query {
        source: request.source,
        since: request.since.map(time).transpose()?,
        until: request.until.map(time).transpose()?,
        max_priority,
        lines: Some(request.lines).filter(|lines| *lines > 0),
        cursor: Some(request.cursor).filter(|cursor| !cursor.is_empty()),
        follow: request.follow,
        format: match wire::LogFormat::try_from(request.format) {
            Ok(wire::LogFormat::Unspecified | wire::LogFormat::Text) => Format::Text,
            Ok(wire::LogFormat::Json) => Format::Json,
            Err(_) => {
                return Err(Status::invalid_argument(
                    "the format is not known: choose text or JSON",
                ));
            }
        },
    })
}

fn time(time: prost_types::Timestamp) -> Result<Timestamp, Status> {
    Timestamp::new(time.seconds, time.nanos).map_err(|_| Status::invalid_argument("a time is out of range"))
}

fn source_to_wire(source: Source) -> wire::LogSource {
    let kind = match source.kind {
        Kind::Unit => wire::LogSourceKind::Unit,
        Kind::File => wire::LogSourceKind::File,
        Kind::Kernel => wire::LogSourceKind::Kernel,
        Kind::System => wire::LogSourceKind::System,
    };
    wire::LogSource {
        name: source.name,
        kind: kind.into(),
        size_bytes: source.size,
        modify_time: source.modified.map(|time| SystemTime::from(time).into()),
        description: source.description,
    }
}

fn refusal(err: &LogError) -> Status {
    match err {
        LogError::NoSource(_) => Status::not_found(err.to_string()),
        LogError::Invalid(_) => Status::invalid_argument(err.to_string()),
        LogError::UnknownCursor => Status::out_of_range(err.to_string()),
        LogError::Busy => Status::resource_exhausted(err.to_string()),
        LogError::Open(source) if source.is_missing() => {
            Status::not_found("the log file is not there yet; the workload has not written it")
        }
        LogError::Open(_) | LogError::Read(_) | LogError::Journal(_) => {
            tracing::warn!(error = ?err, "A log could not be read");
            Status::unavailable(err.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_refused() {
        let check = |change: &dyn Fn(&mut wire::FetchLogsRequest)| {
            let mut request = wire::FetchLogsRequest {
                source: "bridge".into(),
                ..Default::default()
            };
            change(&mut request);
            assert_eq!(query(request).unwrap_err().code(), tonic::Code::InvalidArgument);
        };
        check(&|request| request.max_priority = Some(8));
        check(&|request| request.max_priority = Some(u32::MAX));
        check(&|request| request.format = 9);
        check(&|request| request.cursor = "x".repeat(513));
        check(&|request| {
            request.since = Some(prost_types::Timestamp {
                seconds: i64::MAX,
                nanos: 0,
            })
        });
    }

    #[test]
    fn nothing_set_means_all_of_it_as_text() {
        let query = query(wire::FetchLogsRequest {
            source: "system".into(),
            ..Default::default()
        })
        .unwrap();
        assert_eq!(
            query,
            Query {
                source: "system".into(),
                ..Query::default()
            }
        );
    }
}
