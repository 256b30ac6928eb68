//! Whether a workload is well: the service manager's word, then its own.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use satellite_host::systemd::{Activity, UnitStatus, Units};
use satellite_proto::bundle::Health;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Endpoint, Uri};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::service_fn;

/// How long one question may take.
const PROBE_DEADLINE: Duration = Duration::from_secs(5);
/// How long to wait between two looks during the gate.
const PAUSE: Duration = Duration::from_millis(200);

/// What is looked at.
#[derive(Debug, Clone)]
pub(crate) struct Probe<'a> {
    pub(crate) units: &'a dyn Units,
    pub(crate) unit: &'a str,
    pub(crate) socket: PathBuf,
    pub(crate) health: &'a Health,
}

/// How a workload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It runs and answers.
    Well,
    /// Not yet: why.
    NotYet(String),
    /// It has ended: why.
    Ended(String),
}

impl Probe<'_> {
    /// Waits until the workload has been well for its settle time. Every look has to find it well, and a restart in
    /// between counts as an illness.
    ///
    /// # Errors
    ///
    /// Says in a person's words what was wrong when the time was up, or the workload had ended, or was asked to stop.
    pub(crate) async fn gate(&self, stop: &CancellationToken) -> Result<(), String> {
        let start = Duration::from_secs(self.health.start_seconds.into());
        let settle = Duration::from_secs(self.health.settle_seconds.into());
        let deadline = Instant::now() + start + settle;
        let mut since: Option<(Instant, Option<u32>)> = None;
        loop {
            let (status, finding) = self.look().await;
            let pid = status.as_ref().and_then(|status| status.main_pid);
            let fault = match finding {
                Finding::Well => {
                    let (begun, first) = *since.get_or_insert((Instant::now(), pid));
                    if first != pid {
                        return Err("it was restarted while it should have settled".to_owned());
                    }
                    if begun.elapsed() >= settle {
                        return Ok(());
                    }
                    "it has not settled yet".to_owned()
                }
                Finding::Ended(fault) => return Err(fault),
                Finding::NotYet(fault) => {
                    since = None;
                    fault
                }
            };
            if Instant::now() >= deadline {
                return Err(format!("after {} s {fault}", (start + settle).as_secs()));
            }
            tokio::select! {
                () = stop.cancelled() => return Err("it was asked to stop".to_owned()),
                () = sleep(PAUSE) => {}
            }
        }
    }

    /// One look.
    pub(crate) async fn look(&self) -> (Option<UnitStatus>, Finding) {
        let status = match self.units.status(self.unit).await {
            Ok(status) => status,
            Err(err) => return (None, Finding::NotYet(super::record::chain(&err))),
        };
        let finding = match status.activity {
            Activity::Active => self.ask().await,
            Activity::Failed => Finding::Ended(format!("its process failed ({})", status.result)),
            Activity::Inactive => Finding::Ended("its process has ended".to_owned()),
            Activity::Deactivating => Finding::NotYet("its process is ending".to_owned()),
            Activity::Activating if status.detail == "auto-restart" => {
                Finding::NotYet(format!("its process failed ({}) and is restarted", status.result))
            }
            Activity::Activating => Finding::NotYet("its process has not said that it is ready".to_owned()),
        };
        (Some(status), finding)
    }

    async fn ask(&self) -> Finding {
        let Some(service) = &self.health.grpc else {
            return Finding::Well;
        };
        match timeout(PROBE_DEADLINE, serving(&self.socket, service)).await {
            Ok(Ok(true)) => Finding::Well,
            Ok(Ok(false)) => Finding::NotYet(format!("it says that `{service}` does not serve")),
            Ok(Err(fault)) => Finding::NotYet(format!("it does not answer on its socket: {fault}")),
            Err(_) => Finding::NotYet(format!(
                "it did not answer on its socket within {PROBE_DEADLINE:?}"
            )),
        }
    }
}

async fn serving(socket: &Path, service: &str) -> Result<bool, String> {
    let socket = socket.to_owned();
    let connector = service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
    });
    // The address is only a name: the connector goes to the socket.
    let endpoint = Endpoint::from_static("http://workload.invalid").connect_timeout(PROBE_DEADLINE);
    let channel = endpoint.connect_with_connector(connector).await;
    let channel = channel.map_err(|err| super::record::chain(&err))?;
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = HealthClient::new(channel).check(request).await;
    let answer = answer.map_err(|status| format!("{} ({:?})", status.message(), status.code()))?;
    Ok(answer.into_inner().status == ServingStatus::Serving as i32)
}
