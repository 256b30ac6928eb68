//! Calls to a satellite: each with a deadline, long work watched until it has ended.
//!
//! **Invariant:** work on a satellite is found again by its id after the connection was lost; it is not started twice.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use satellite_proto::pushback;
use satellite_proto::wire::MAX_MESSAGE;
use satellite_proto::wire::bridge::v1::operation_service_client::OperationServiceClient;
use satellite_proto::wire::bridge::v1::{Operation, OperationState, WatchOperationRequest};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Code, Response, Status};

use super::{App, AppError, JobFailure};
use crate::fleet::Backoff;
use crate::names::SatelliteName;

/// An operation says nothing for so long: the connection is doubted and the operation asked for again.
const SILENCE: Duration = Duration::from_secs(60);

/// A watch that held so long shows that the satellite answers.
const SOUND: Duration = Duration::from_secs(10);

/// Waits between tries while a satellite does not answer.
pub(super) const RETRY: Backoff = Backoff {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(10),
};

/// A key that no other call has: a UUID of version 7 (RFC 9562 §5.7), which holds when it was made.
pub(super) fn new_key() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// When a [`new_key`] was made, by this machine's clock; none for what is no such key.
pub(super) fn made_at(key: &str) -> Option<Timestamp> {
    let (seconds, nanoseconds) = uuid::Uuid::parse_str(key).ok()?.get_timestamp()?.to_unix();
    Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanoseconds).ok()?).ok()
}

/// The wait before a call that failed is made again: longer each time, and no shorter than the satellite asked for.
pub(super) fn wait_after(error: &AppError, attempt: u32) -> Duration {
    pushback::wait(RETRY.delay(attempt, rand::random()), asked(error), rand::random())
}

/// Whether the satellite does something else at the moment, and says when to ask again.
pub(super) fn is_busy(error: &AppError) -> bool {
    error.code() == Code::Aborted && asked(error).is_some()
}

fn asked(error: &AppError) -> Option<Duration> {
    match error {
        AppError::Remote { status, .. } => pushback::asked(status),
        _ => None,
    }
}

/// Waits for the answer to one call, at most `deadline`.
pub(super) async fn call<T>(
    satellite: &SatelliteName,
    deadline: Duration,
    answer: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, AppError> {
    match timeout(deadline, answer).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(AppError::remote(satellite.as_str(), status)),
        Err(_) => Err(AppError::Unavailable {
            message: format!(
                "satellite {satellite} did not answer within {}",
                humantime::format_duration(deadline)
            ),
            source: None,
        }),
    }
}

/// Whether the same call may succeed later without anybody changing anything.
pub(super) fn is_transient(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable | Code::ResourceExhausted | Code::Aborted | Code::Cancelled | Code::Unknown
    )
}

/// Watches an operation until it has ended, over as many connections as it takes.
pub(super) async fn watch_operation(
    app: &App,
    satellite: &SatelliteName,
    operation: Operation,
    mut progress: impl FnMut(&Operation),
) -> Result<(), JobFailure> {
    let until = Instant::now() + app.config.operation_deadline;
    let (id, kind) = (operation.id.clone(), operation.kind.clone());
    let mut last = operation;
    let mut attempt = 0;
    loop {
        progress(&last);
        if let Some(end) = ended(&last) {
            return end;
        }
        let asked = Instant::now();
        match watch_once(app, satellite, &id, until, &mut |operation| {
            last = operation.clone();
            progress(operation);
        })
        .await
        {
            // A watch that ends at once, again and again, is asked for ever more slowly too.
            Ok(()) if asked.elapsed() >= SOUND => attempt = 0,
            Ok(()) => {}
            Err(error) if is_transient(error.code()) || error.code() == Code::DeadlineExceeded => {}
            Err(error) => return Err(error.into()),
        }
        if ended(&last).is_some() {
            continue;
        }
        let wait = RETRY.delay(attempt, rand::random());
        attempt = attempt.saturating_add(1);
        if Instant::now() + wait >= until {
            return Err(JobFailure {
                message: format!(
                    "{kind} on satellite {satellite} had not ended after {}; it goes on there",
                    humantime::format_duration(app.config.operation_deadline)
                ),
                code: Code::DeadlineExceeded,
                log_tail: Vec::new(),
            });
        }
        tokio::time::sleep(wait).await;
    }
}

async fn watch_once(
    app: &App,
    satellite: &SatelliteName,
    id: &str,
    until: Instant,
    heard: &mut impl FnMut(&Operation),
) -> Result<(), AppError> {
    let mut client =
        OperationServiceClient::new(app.fleet.channel(satellite)?).max_decoding_message_size(MAX_MESSAGE);
    let request = WatchOperationRequest { id: id.to_owned() };
    let mut stream = call(
        satellite,
        app.config.call_deadline,
        client.watch_operation(request),
    )
    .await?;
    loop {
        let limit = until.min(Instant::now() + SILENCE);
        match timeout_at(limit, stream.message()).await {
            Ok(Ok(Some(message))) => {
                if let Some(operation) = message.operation {
                    heard(&operation);
                    if ended(&operation).is_some() {
                        return Ok(());
                    }
                }
            }
            Ok(Ok(None)) | Err(_) => return Ok(()),
            Ok(Err(status)) => return Err(AppError::remote(satellite.as_str(), status)),
        }
    }
}

/// How an operation ended, if it has.
pub(super) fn ended(operation: &Operation) -> Option<Result<(), JobFailure>> {
    match operation.state() {
        OperationState::Succeeded => Some(Ok(())),
        OperationState::Failed => {
            let error = operation.error.clone().unwrap_or_default();
            let back = if error.rolled_back {
                " (the satellite is as it was before)"
            } else {
                ""
            };
            Some(Err(JobFailure {
                message: format!("{}{back}", error.message),
                code: Code::from_i32(error.code),
                log_tail: error.log_tail,
            }))
        }
        OperationState::Cancelled => Some(Err(JobFailure {
            message: format!("{} of {} was cancelled", operation.kind, operation.subject),
            code: Code::Cancelled,
            log_tail: Vec::new(),
        })),
        _ => None,
    }
}

impl From<AppError> for JobFailure {
    fn from(error: AppError) -> Self {
        Self {
            message: crate::error_chain(&error),
            code: error.code(),
            log_tail: Vec::new(),
        }
    }
}
