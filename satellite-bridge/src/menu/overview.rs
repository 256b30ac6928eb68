//! What the status page shows: from the daemon, or from the machine itself while the daemon does not answer.
//!
//! **Invariant:** a fact that cannot be known is left empty; nothing here fails, and nothing is changed.

use std::{fs, path::Path, time::Duration};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use satellite_host::disk;
use satellite_proto::{
    identity::Pin,
    wire::bridge::v1::{GetConsoleResponse, JoinState, PairingState, WorkloadState},
};
use serde::Deserialize;
use tokio::time::timeout;

use super::client::Console;
use crate::{config::Config, journal, machine};

/// How long the daemon may take for a page that is drawn every few seconds.
const DEADLINE: Duration = Duration::from_secs(3);
/// With less than this the data partition counts as full.
const LEAST_FREE: u64 = 16 * 1024 * 1024;
/// Workloads that are shown.
const MOST_WORKLOADS: usize = 4;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) has_carrier: bool,
}

/// An open pairing window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) code: String,
    pub(super) seconds_left: i64,
    pub(super) tries_left: u32,
}

/// A workload that is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Workload {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) state: WorkloadState,
    pub(super) problem: String,
}

/// How the data partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Data {
    Fine,
    Full,
    ReadOnly,
    Unreadable,
}

/// Everything that the status page shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Overview {
    pub(super) name: String,
    /// With prefix length.
    pub(super) addresses: Vec<String>,
    pub(super) links: Vec<Link>,
    pub(super) port: u16,
    pub(super) daemon_answers: bool,
    pub(super) pairing: PairingState,
    pub(super) server_name: String,
    /// Seconds since the server was heard.
    pub(super) server_silence: Option<i64>,
    pub(super) window: Option<Window>,
    pub(super) workloads: Vec<Workload>,
    pub(super) bridge_version: String,
    pub(super) os_version: String,
    pub(super) last_error: String,
    pub(super) fingerprint: String,
    pub(super) data: Data,
    /// How joining by a token stands, if there is one: its state, and what is to be told of it.
    pub(super) join: Option<(JoinState, String)>,
    /// A change that waits to be confirmed.
    pub(super) open_change: bool,
}

/// What of the record of the installation is shown.
#[derive(Deserialize)]
struct Record {
    server_name: String,
}

impl Overview {
    /// Asks the daemon, and the machine for what the daemon does not say.
    pub(super) async fn load(config: &Config) -> Self {
        let mut overview = Self::of_machine(config);
        let asked = timeout(DEADLINE, async {
            Console::connect(&config.console_socket()).await?.status().await
        });
        match asked.await {
            Ok(Ok(answer)) => overview.take(answer, jiff::Timestamp::now().as_second()),
            Ok(Err(_)) | Err(_) => overview.pairing_from_disk(config),
        }
        overview
    }

    /// What can be known without the daemon.
    pub(super) fn of_machine(config: &Config) -> Self {
        Self {
            name: machine::name(),
            addresses: machine::addresses(),
            links: links(Path::new("/sys/class/net")),
            port: config.listen.port(),
            daemon_answers: false,
            pairing: PairingState::Unspecified,
            server_name: String::new(),
            server_silence: None,
            window: None,
            workloads: Vec::new(),
            bridge_version: env!("CARGO_PKG_VERSION").to_owned(),
            os_version: String::new(),
            last_error: String::new(),
            fingerprint: fingerprint(&config.state_dir).unwrap_or_default(),
            data: data(&config.state_dir),
            join: None,
            open_change: config.state_dir.join("change/open.json").exists(),
        }
    }

    fn pairing_from_disk(&mut self, config: &Config) {
        match journal::read::<Record>(&config.state_dir.join("pairing.json")) {
            Ok(Some(record)) => {
                self.pairing = PairingState::Paired;
                self.server_name = record.server_name;
            }
            Ok(None) => self.pairing = PairingState::Unpaired,
            Err(_) => self.data = Data::Unreadable,
        }
    }

    fn take(&mut self, answer: GetConsoleResponse, now: i64) {
        self.daemon_answers = true;
        self.pairing = answer.pairing();
        self.server_name = answer.server_name;
        self.server_silence = answer
            .server_seen_time
            .map(|seen| now.saturating_sub(seen.seconds).max(0));
        self.window = answer.window.map(|window| Window {
            seconds_left: window
                .expire_time
                .map_or(0, |time| time.seconds.saturating_sub(now).max(0)),
            code: window.code,
            tries_left: window.tries_left,
        });
        self.port = u16::try_from(answer.port).unwrap_or(self.port);
        self.last_error = answer.last_error;
        self.join = answer.join.and_then(|join| match join.state() {
            JoinState::Unspecified | JoinState::Joined => None,
            state => Some((state, join.server)),
        });
        let Some(satellite) = answer.satellite else { return };
        self.name = satellite.name;
        self.os_version = satellite.os_version;
        self.bridge_version = satellite.bridge_version;
        self.fingerprint = satellite.fingerprint;
        self.open_change |= !satellite.open_change_id.is_empty();
        let workloads = satellite.workloads.into_iter().take(MOST_WORKLOADS);
        self.workloads = workloads
            .map(|workload| Workload {
                state: workload.state(),
                name: workload.name,
                version: workload.version,
                problem: workload.problem,
            })
            .collect();
    }
}

/// Cards of the machine, without loopback and what is made by software only.
fn links(directory: &Path) -> Vec<Link> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut links: Vec<_> = entries
        .filter(|entry| entry.file_name() != "lo")
        .map(|entry| {
            let carrier = fs::read_to_string(entry.path().join("carrier")).unwrap_or_default();
            Link {
                name: entry.file_name().to_string_lossy().into_owned(),
                has_carrier: carrier.trim() == "1",
            }
        })
        .collect();
    links.sort_by(|one, other| one.name.cmp(&other.name));
    links
}

fn fingerprint(state_dir: &Path) -> Option<String> {
    let pem = fs::read(state_dir.join("identity/cert.pem")).ok()?;
    let certificate = CertificateDer::from_pem_slice(&pem).ok()?;
    Some(Pin::of_certificate(&certificate).ok()?.to_string())
}

fn data(state_dir: &Path) -> Data {
    let Ok(facts) = nix::sys::statvfs::statvfs(state_dir) else {
        return Data::Unreadable;
    };
    if facts.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY) {
        return Data::ReadOnly;
    }
    match disk::space(state_dir) {
        Ok(space) if space.free < LEAST_FREE => Data::Full,
        Ok(_) => Data::Fine,
        Err(_) => Data::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path) -> Config {
        Config {
            state_dir: dir.join("state"),
            run_dir: dir.join("run"),
            ..Config::default()
        }
    }

    #[tokio::test]
    async fn without_the_daemon_the_record_on_disk_says_who_it_belongs_to() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let overview = Overview::load(&config).await;
        assert_eq!(overview.data, Data::Unreadable, "there is no state directory");
        fs::create_dir(&config.state_dir).unwrap();
        let overview = Overview::load(&config).await;
        assert_eq!(
            (overview.pairing, overview.data),
            (PairingState::Unpaired, Data::Fine)
        );
        assert!(!overview.daemon_answers);
        let record = serde_json::json!({"server_name": "pbx", "more": 1});
        journal::write(&config.state_dir.join("pairing.json"), &record).unwrap();
        let overview = Overview::load(&config).await;
        assert_eq!(overview.pairing, PairingState::Paired);
        assert_eq!(overview.server_name, "pbx");
    }

    #[tokio::test]
    async fn a_damaged_record_is_shown_as_such_and_stops_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        fs::create_dir(&config.state_dir).unwrap();
        satellite_host::files::write_atomic(&config.state_dir.join("pairing.json"), b"\0\xff{", 0o600)
            .unwrap();
        let overview = Overview::load(&config).await;
        assert_eq!(overview.data, Data::Unreadable);
        assert!(!overview.name.is_empty());
    }

    #[test]
    fn a_link_without_a_cable_has_no_carrier() {
        let dir = tempfile::tempdir().unwrap();
        for (name, carrier) in [("lo", "1\n"), ("eth1", "0\n"), ("eth0", "1\n")] {
            fs::create_dir(dir.path().join(name)).unwrap();
            satellite_host::files::write_atomic(
                &dir.path().join(name).join("carrier"),
                carrier.as_bytes(),
                0o644,
            )
            .unwrap();
        }
        let found = links(dir.path());
        let found: Vec<_> = found
            .iter()
            .map(|link| (link.name.as_str(), link.has_carrier))
            .collect();
        assert_eq!(found, [("eth0", true), ("eth1", false)]);
    }
}
