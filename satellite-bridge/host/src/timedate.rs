//! The clock of the machine, set through systemd-timedated.
//!
//! **Invariant:** a time server that is reached has the last word: following one is only paused for the moment in which
//! the clock is set.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::timeout;
use zbus::Connection;

const NAME: &str = "org.freedesktop.timedate1";
const PATH: &str = "/org/freedesktop/timedate1";
/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(15);
/// Is there after systemd-timesyncd has heard a time server.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

/// Why the clock was not set.
#[derive(Debug, thiserror::Error)]
pub enum TimeError {
    /// There is no message bus.
    #[error("the message bus cannot be reached")]
    Connect(#[source] Box<zbus::Error>),
    /// It was refused.
    #[error("cannot {action}")]
    Call {
        /// What was being done.
        action: &'static str,
        /// Why not.
        #[source]
        source: Box<zbus::Error>,
    },
    /// It took too long.
    #[error("cannot {action}: no answer within {DEADLINE:?}")]
    Deadline {
        /// What was being done.
        action: &'static str,
    },
}

/// Sets the clock of the machine, the one that keeps running without power too.
///
/// # Errors
///
/// [`TimeError`]: the clock is as it was, and follows a time server if it did.
pub async fn set(time: Timestamp) -> Result<(), TimeError> {
    let connection = timeout(DEADLINE, Connection::system());
    let connection = match connection.await {
        Ok(made) => made.map_err(|source| TimeError::Connect(Box::new(source)))?,
        Err(_) => {
            return Err(TimeError::Deadline {
                action: "reach the message bus",
            });
        }
    };
    call(
        &connection,
        "stop following a time server",
        "SetNTP",
        &(false, false),
    )
    .await?;
    let done = call(
        &connection,
        "set the clock",
        "SetTime",
        &(time.as_microsecond(), false, false),
    )
    .await;
    let follows = call(&connection, "follow a time server", "SetNTP", &(true, false)).await;
    done.and(follows)
}

/// Whether the clock follows a time server that was reached since the start.
#[must_use]
pub fn is_synchronised() -> bool {
    Path::new(SYNCHRONISED).exists()
}

async fn call<B>(
    connection: &Connection,
    action: &'static str,
    method: &str,
    body: &B,
) -> Result<(), TimeError>
where
    B: serde::Serialize + zbus::zvariant::DynamicType + Sync,
{
    let answer = connection.call_method(Some(NAME), PATH, Some(NAME), method, body);
    match timeout(DEADLINE, answer).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(source)) => Err(TimeError::Call {
            action,
            source: Box::new(source),
        }),
        Err(_) => Err(TimeError::Deadline { action }),
    }
}
