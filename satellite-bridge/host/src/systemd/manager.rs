//! systemd over D-Bus.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tracing::debug;
use zbus::message::Type;
use zbus::zvariant::DynamicType;
use zbus::{Connection, MatchRule, Message, MessageStream, OwnedObjectPath, OwnedVariant, Variant};

use super::{Activity, Answer, CALL_DEADLINE, UnitError, UnitStatus, Units};
use crate::exec::Exec;

const DESTINATION: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// Ended jobs that may wait to be looked at.
const SIGNALS: usize = 256;
/// How long the journal may take to give a few lines.
const JOURNAL_DEADLINE: Duration = Duration::from_secs(10);

/// The real service manager. Connects when it is first needed, and again after the connection broke.
#[derive(Debug, Default)]
pub struct SystemUnits {
    connection: Mutex<Option<Connection>>,
}

impl SystemUnits {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    async fn connection(&self) -> Result<Connection, UnitError> {
        let kept = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(connection) = kept {
            return Ok(connection);
        }
        let made = match timeout(CALL_DEADLINE, Connection::system()).await {
            Ok(made) => made.map_err(|source| UnitError::Connect { source })?,
            Err(_) => {
                let unit = "the message bus".to_owned();
                return Err(UnitError::Deadline {
                    action: "reach",
                    unit,
                    deadline: CALL_DEADLINE,
                });
            }
        };
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(made.clone());
        Ok(made)
    }

    /// One call of the manager or of one of its objects.
    async fn call<B>(&self, to: Target<'_>, method: &str, body: &B) -> Result<Message, UnitError>
    where
        B: serde::Serialize + DynamicType + Sync,
    {
        let Target {
            action,
            unit,
            path,
            interface,
        } = to;
        let connection = self.connection().await?;
        let answer = connection.call_method(Some(DESTINATION), path, Some(interface), method, body);
        let failure = match timeout(CALL_DEADLINE, answer).await {
            Ok(Ok(message)) => return Ok(message),
            Ok(Err(source)) => UnitError::Call {
                action,
                unit: unit.to_owned(),
                source: Box::new(source),
            },
            Err(_) => UnitError::Deadline {
                action,
                unit: unit.to_owned(),
                deadline: CALL_DEADLINE,
            },
        };
        let refused = matches!(&failure, UnitError::Call { source, .. } if matches!(**source, zbus::Error::MethodError(..)));
        if !refused {
            *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        Err(failure)
    }

    /// Queues a job and waits for its end.
    async fn job(
        &self,
        action: &'static str,
        method: &str,
        unit: &str,
        deadline: Duration,
    ) -> Result<(), UnitError> {
        let whole = async {
            let to = Target::manager(action, unit);
            // Without this the manager sends no signals. It counts subscribers by connection, so again does no harm.
            if let Err(err) = self.call(to, "Subscribe", &()).await
                && !is_refusal(&err, "org.freedesktop.systemd1.AlreadySubscribed")
            {
                return Err(err);
            }
            // Listening before asking: a quick job could be over before the answer is here.
            let mut messages = self.removals(to).await?;
            let answer = self.call(to, method, &(unit, "replace")).await?;
            let job: OwnedObjectPath = body(&answer, unit)?;
            while let Some(message) = messages.next().await {
                let message = message.map_err(|source| UnitError::Call {
                    action,
                    unit: unit.to_owned(),
                    source: Box::new(source),
                })?;
                let Some(result) = job_result(&message, &job) else {
                    continue;
                };
                return match result.as_str() {
                    "done" => Ok(()),
                    _ => Err(UnitError::Job {
                        action,
                        unit: unit.to_owned(),
                        result,
                    }),
                };
            }
            Err(UnitError::Job {
                action,
                unit: unit.to_owned(),
                result: "connection lost".to_owned(),
            })
        };
        match timeout(deadline, whole).await {
            Ok(result) => result,
            Err(_) => Err(UnitError::Deadline {
                action,
                unit: unit.to_owned(),
                deadline,
            }),
        }
    }

    /// The signals that tell of ended jobs. Without a match rule the bus would not pass them on.
    async fn removals(&self, to: Target<'_>) -> Result<MessageStream, UnitError> {
        let failed = |source| UnitError::Call {
            action: to.action,
            unit: to.unit.to_owned(),
            source: Box::new(source),
        };
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(DESTINATION)
            .path(MANAGER_PATH)
            .interface(MANAGER)
            .member("JobRemoved")
            .build()
            .map_err(failed)?;
        let connection = self.connection().await?;
        MessageStream::for_match_rule(rule, &connection, NonZeroUsize::new(SIGNALS))
            .await
            .map_err(failed)
    }

    async fn read_status(&self, unit: &str) -> Result<UnitStatus, UnitError> {
        let action = "look at";
        let answer = self
            .call(Target::manager(action, unit), "LoadUnit", &(unit,))
            .await?;
        let path: OwnedObjectPath = body(&answer, unit)?;
        let to = Target {
            action,
            unit,
            path: path.as_str(),
            interface: PROPERTIES,
        };
        let answer = self.call(to, "GetAll", &("",)).await?;
        let properties: HashMap<String, OwnedVariant> = body(&answer, unit)?;
        Ok(status_of(&properties))
    }

    async fn begin(&self, action: &'static str, target: &str) -> Result<(), UnitError> {
        let to = Target::manager(action, target);
        self.call(to, "StartUnit", &(target, "replace-irreversibly"))
            .await
            .map(drop)
    }
}

impl Units for SystemUnits {
    fn reload(&self) -> Answer<'_, ()> {
        Box::pin(async {
            self.call(Target::manager("reload", "all units"), "Reload", &())
                .await
                .map(drop)
        })
    }

    fn start<'a>(&'a self, unit: &'a str, deadline: Duration) -> Answer<'a, ()> {
        Box::pin(self.job("start", "StartUnit", unit, deadline))
    }

    fn stop<'a>(&'a self, unit: &'a str, deadline: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            match self.job("stop", "StopUnit", unit, deadline).await {
                Err(err) if is_refusal(&err, "org.freedesktop.systemd1.NoSuchUnit") => Ok(()),
                other => other,
            }
        })
    }

    fn reset_failed<'a>(&'a self, unit: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            match self
                .call(Target::manager("reset", unit), "ResetFailedUnit", &(unit,))
                .await
            {
                Err(err) if is_refusal(&err, "org.freedesktop.systemd1.NoSuchUnit") => Ok(()),
                other => other.map(drop),
            }
        })
    }

    fn status<'a>(&'a self, unit: &'a str) -> Answer<'a, UnitStatus> {
        Box::pin(self.read_status(unit))
    }

    fn log_tail<'a>(
        &'a self,
        unit: &'a str,
        lines: u32,
        since: Timestamp,
    ) -> Pin<Box<dyn Future<Output = Vec<String>> + Send + 'a>> {
        Box::pin(async move {
            // Whole microseconds, as the journal counts.
            let (seconds, micros) = (since.as_second(), since.subsec_microsecond());
            let journal = Exec::new("journalctl")
                .args(["--no-pager", "--quiet", "--output=cat", "--unit", unit, "--lines"])
                .arg(lines.to_string())
                .arg(format!("--since=@{seconds}.{micros:06}"))
                .deadline(JOURNAL_DEADLINE);
            match journal.run().await {
                Ok(output) => output.text().lines().map(str::to_owned).collect(),
                Err(err) => {
                    debug!(unit, error = %err, "Log of a unit cannot be read");
                    Vec::new()
                }
            }
        })
    }

    fn start_timer<'a>(&'a self, name: &'a str, after: Duration, command: &'a [String]) -> Answer<'a, ()> {
        Box::pin(async move {
            let (timer, service) = (format!("{name}.timer"), format!("{name}.service"));
            let Some(program) = command.first() else {
                return Err(UnitError::Answer {
                    unit: timer,
                    fault: "no command was given".to_owned(),
                });
            };
            self.stop_timer(name).await?;
            self.reset_failed(&timer).await?;
            self.reset_failed(&service).await?;
            let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
            let properties: Vec<(&str, Variant<'_>)> = vec![
                ("Description", Variant::from(format!("Runs {service} once"))),
                ("TimersMonotonic", Variant::from(vec![("OnActiveSec", micros)])),
                ("AccuracyUSec", Variant::from(100_000_u64)),
                ("RemainAfterElapse", Variant::from(false)),
            ];
            let exec = vec![(program.as_str(), command.to_vec(), false)];
            let service_properties: Vec<(&str, Variant<'_>)> = vec![
                ("Description", Variant::from(format!("Started by {timer}"))),
                ("Type", Variant::from("oneshot")),
                ("ExecStart", Variant::from(exec)),
            ];
            let auxiliary = vec![(service.as_str(), service_properties)];
            let to = Target::manager("start", &timer);
            let body = (timer.as_str(), "replace", properties, auxiliary);
            self.call(to, "StartTransientUnit", &body).await.map(drop)
        })
    }

    fn stop_timer<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { self.stop(&format!("{name}.timer"), CALL_DEADLINE).await })
    }

    fn reboot(&self) -> Answer<'_, ()> {
        Box::pin(self.begin("start", "reboot.target"))
    }

    fn power_off(&self) -> Answer<'_, ()> {
        Box::pin(self.begin("start", "poweroff.target"))
    }
}

/// Whom a call goes to, and the words for its failure.
#[derive(Debug, Clone, Copy)]
struct Target<'a> {
    action: &'static str,
    unit: &'a str,
    path: &'a str,
    interface: &'a str,
}

impl<'a> Target<'a> {
    fn manager(action: &'static str, unit: &'a str) -> Self {
        Self {
            action,
            unit,
            path: MANAGER_PATH,
            interface: MANAGER,
        }
    }
}

fn is_refusal(err: &UnitError, name: &str) -> bool {
    let UnitError::Call { source, .. } = err else {
        return false;
    };
    matches!(&**source, zbus::Error::MethodError(found, _, _) if found.as_str() == name)
}

fn body<T>(message: &Message, unit: &str) -> Result<T, UnitError>
where
    T: serde::de::DeserializeOwned + zbus::zvariant::Type,
{
    let parsed = message.body().deserialize::<T>();
    parsed.map_err(|err| UnitError::Answer {
        unit: unit.to_owned(),
        fault: err.to_string(),
    })
}

/// How `job` ended, if `message` says so.
fn job_result(message: &Message, job: &OwnedObjectPath) -> Option<String> {
    let header = message.header();
    let is_signal = message.message_type() == Type::Signal;
    let is_removal = header
        .member()
        .is_some_and(|member| member.as_str() == "JobRemoved");
    if !(is_signal && is_removal) {
        return None;
    }
    let (_, path, _, result) = message
        .body()
        .deserialize::<(u32, OwnedObjectPath, String, String)>()
        .ok()?;
    (path == *job).then_some(result)
}

fn status_of(properties: &HashMap<String, OwnedVariant>) -> UnitStatus {
    let text = |name: &str| -> String {
        properties
            .get(name)
            .and_then(|value| value.downcast_ref::<&str>().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let number = |name: &str| {
        properties
            .get(name)
            .and_then(|value| value.downcast_ref::<u64>().ok())
    };
    let small = |name: &str| {
        properties
            .get(name)
            .and_then(|value| value.downcast_ref::<u32>().ok())
    };
    let started = number("ExecMainStartTimestamp").filter(|micros| *micros > 0);
    UnitStatus {
        activity: activity_of(&text("ActiveState")),
        detail: text("SubState"),
        result: text("Result"),
        main_pid: small("MainPID").filter(|pid| *pid != 0),
        restarts: small("NRestarts").unwrap_or(0),
        started: started
            .and_then(|micros| i64::try_from(micros).ok())
            .and_then(|micros| Timestamp::from_microsecond(micros).ok()),
        // The largest number stands for "not counted".
        memory: number("MemoryCurrent").filter(|bytes| *bytes != u64::MAX),
    }
}

fn activity_of(state: &str) -> Activity {
    match state {
        "active" | "reloading" | "refreshing" => Activity::Active,
        "activating" => Activity::Activating,
        "deactivating" => Activity::Deactivating,
        "failed" => Activity::Failed,
        _ => Activity::Inactive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned<'a>(value: impl Into<Variant<'a>>) -> OwnedVariant {
        OwnedVariant::try_from(value.into()).unwrap()
    }

    #[test]
    fn properties_become_a_status() {
        let properties = HashMap::from([
            ("ActiveState".to_owned(), owned("active")),
            ("SubState".to_owned(), owned("running")),
            ("Result".to_owned(), owned("success")),
            ("MainPID".to_owned(), owned(77_u32)),
            ("NRestarts".to_owned(), owned(2_u32)),
            (
                "ExecMainStartTimestamp".to_owned(),
                owned(1_700_000_000_000_000_u64),
            ),
            ("MemoryCurrent".to_owned(), owned(u64::MAX)),
        ]);
        let status = status_of(&properties);
        assert_eq!(status.activity, Activity::Active);
        assert_eq!(
            (status.main_pid, status.restarts, status.memory),
            (Some(77), 2, None)
        );
        assert_eq!(
            status.started,
            Some(Timestamp::from_second(1_700_000_000).unwrap())
        );
    }

    #[test]
    fn a_unit_without_properties_is_inactive() {
        let status = status_of(&HashMap::new());
        assert_eq!(
            (status.activity, status.main_pid, status.started),
            (Activity::Inactive, None, None)
        );
    }
}
