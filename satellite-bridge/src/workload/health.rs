//! Whether a workload is well: the service manager's word, then its own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use satellite_host::systemd::{Activity, UnitStatus, Units};
use satellite_proto::bundle::{Health, HttpHealth};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Endpoint, Uri};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::service_fn;

/// How long one question may take.
const PROBE_DEADLINE: Duration = Duration::from_secs(5);
/// The longest first line of an HTTP answer that is read, in bytes.
const STATUS_LINE_MOST: u64 = 1024;
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

    /// All that the manifest declares, in turn; the first that is not well counts.
    async fn ask(&self) -> Finding {
        let asked = async {
            if let Some(port) = self.health.tcp {
                connect(port).await?;
            }
            if let Some(http) = &self.health.http {
                answers(http).await?;
            }
            let Some(service) = &self.health.grpc else {
                return Ok(());
            };
            match serving(&self.socket, service).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(format!("it says that `{service}` does not serve")),
                Err(fault) => Err(format!("it does not answer on its socket: {fault}")),
            }
        };
        match timeout(PROBE_DEADLINE, asked).await {
            Ok(Ok(())) => Finding::Well,
            Ok(Err(fault)) => Finding::NotYet(fault),
            Err(_) => Finding::NotYet(format!("it did not answer within {PROBE_DEADLINE:?}")),
        }
    }
}

/// A connection to a port of this machine, over whichever protocol it listens on.
async fn connect(port: u16) -> Result<TcpStream, String> {
    let addresses: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let mut fault = String::new();
    for address in addresses {
        match TcpStream::connect((address, port)).await {
            Ok(stream) => return Ok(stream),
            Err(err) => fault = format!("it takes no connections on port {port}: {err}"),
        }
    }
    Err(fault)
}

/// Asks over HTTP/1.1 and reads the first line of the answer, which says all that is needed.
async fn answers(http: &HttpHealth) -> Result<(), String> {
    let HttpHealth { port, path } = http;
    let broken = |err: io::Error| format!("it does not answer over HTTP on port {port}: {err}");
    let mut stream = connect(*port).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut line = Vec::new();
    let mut answer = BufReader::new(stream).take(STATUS_LINE_MOST);
    answer.read_until(b'\n', &mut line).await.map_err(broken)?;
    let line = String::from_utf8_lossy(&line);
    let mut words = line.split_ascii_whitespace();
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    match words.next().and_then(|code| code.parse::<u16>().ok()) {
        Some(200..=299) if is_http => Ok(()),
        Some(code) if is_http => Err(format!("it answers {code} to `{path}` on port {port}")),
        _ => Err(format!("what answers on port {port} does not speak HTTP")),
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

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// What a probe finds where something answers every connection with `answer`.
    async fn found(answer: &'static str, health: impl FnOnce(u16) -> Health) -> Finding {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut heard = [0; 256];
                let _ = stream.read(&mut heard).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let health = health(port);
        let probe = Probe {
            units: &satellite_host::systemd::SystemUnits::new(),
            unit: "x",
            socket: PathBuf::new(),
            health: &health,
        };
        let finding = probe.ask().await;
        server.abort();
        finding
    }

    fn health() -> Health {
        serde_json::from_str(r#"{"start_seconds":5,"settle_seconds":0}"#).unwrap()
    }

    fn over_http(port: u16) -> Health {
        let http = Some(HttpHealth {
            port,
            path: "/health".to_owned(),
        });
        Health { http, ..health() }
    }

    #[tokio::test]
    async fn a_port_is_well_if_it_takes_connections() {
        let tcp = |port| Health {
            tcp: Some(port),
            ..health()
        };
        assert_eq!(found("", tcp).await, Finding::Well);
        let nobody = found("", |port| Health {
            // The listener has the port of IPv4 only while it lives: one that nobody has is taken and let go.
            tcp: std::net::TcpListener::bind("[::1]:0")
                .map_or(Some(port), |other| other.local_addr().ok().map(|at| at.port())),
            ..health()
        });
        assert!(matches!(nobody.await, Finding::NotYet(fault) if fault.contains("takes no connections")));
    }

    #[tokio::test]
    async fn an_answer_over_http_is_well_if_it_is_a_success() {
        assert_eq!(
            found("HTTP/1.1 204 No Content\r\n\r\n", over_http).await,
            Finding::Well
        );
        for (answer, said) in [
            ("HTTP/1.1 503 Busy\r\n\r\n", "503"),
            ("SSH-2.0-x\r\n", "does not speak HTTP"),
            ("", "does not speak HTTP"),
        ] {
            let finding = found(answer, over_http).await;
            assert!(
                matches!(&finding, Finding::NotYet(fault) if fault.contains(said)),
                "{answer}: {finding:?}"
            );
        }
    }
}
