//! An authority that certifies names by ACME, on loopback: Debian's Pebble, with a name server that finds every name here.

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::command::{command, stdout_of};
use crate::network::write;
use crate::wait::until;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);
/// The account that whoever comes must have already.
pub const KEY_ID: &str = "customer-1";
/// Its key.
pub const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

/// An authority; it ends when dropped, and forgets whom it knew.
#[derive(Debug)]
pub struct Authority {
    directory: PathBuf,
    management: u16,
    process: Child,
    _names: Child,
}

/// A port at which nobody listens, for programs that must be told theirs. Not one of those that the kernel gives to whoever asks for
/// any: between the look and the program's start somebody else would have it.
#[must_use]
pub fn free_port() -> u16 {
    let is_free = |port: &u16| {
        TcpListener::bind(("127.0.0.1", *port)).is_ok() && UdpSocket::bind(("127.0.0.1", *port)).is_ok()
    };
    let mut any = std::iter::repeat_with(|| rand::random_range(12_000..32_000));
    any.find(is_free).unwrap_or_default()
}

impl Authority {
    /// Starts one in `directory` at `port`, which shows `certificate`, looks at names on port `page`, and certifies for `validity`.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub async fn start(
        directory: &Path,
        (port, page): (u16, u16),
        (certificate, key): &(PathBuf, PathBuf),
        validity: Duration,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let management = free_port();
        let config = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": certificate, "privateKey": key,
            "httpPort": 9, "tlsPort": page, "ocspResponderURL": "",
            "certificateValidityPeriod": validity.as_secs(),
            "externalAccountBindingRequired": true, "externalAccountMACKeys": { KEY_ID: KEY },
        }});
        write(&directory.join("config.json"), config.to_string())?;
        let (names, process) = {
            let log = std::fs::File::options()
                .create(true)
                .append(true)
                .open(directory.join("log"))?;
            let server = format!("127.0.0.1:{}", free_port());
            let mut names = command("pebble-challtestsrv");
            names
                .args([
                    "-http01",
                    "",
                    "-https01",
                    "",
                    "-tlsalpn01",
                    "",
                    "-defaultIPv6",
                    "",
                ])
                .arg("-dns01")
                .arg(&server)
                .arg("-management")
                .arg(format!("127.0.0.1:{}", free_port()));
            let mut authority = command("pebble");
            authority
                .env("PEBBLE_VA_NOSLEEP", "1")
                .arg("-config")
                .arg(directory.join("config.json"))
                .arg("-dnsserver")
                .arg(&server);
            let started = |mut program: Command| {
                program.stdout(log.try_clone()?).stderr(log.try_clone()?);
                program.spawn().context("cannot start it")
            };
            (started(names)?, started(authority)?)
        };
        let authority = Self {
            directory: directory.to_owned(),
            management,
            process,
            _names: names,
        };
        for port in [port, management] {
            let up = until("the authority to listen", LIMIT, async || {
                TcpStream::connect(("127.0.0.1", port)).await.ok()
            });
            up.await.with_context(|| authority.log())?;
        }
        Ok(authority)
    }

    /// What it says.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// The certificate that all of its certificates lead to, as a file.
    ///
    /// # Errors
    ///
    /// If it does not tell.
    pub async fn root(&self) -> anyhow::Result<PathBuf> {
        let path = self.directory.join("root.pem");
        let mut ask = command("curl");
        ask.args(["--silent", "--show-error", "--fail", "--insecure"])
            .arg(format!("https://127.0.0.1:{}/roots/0", self.management));
        write(&path, stdout_of(ask, LIMIT).await?)?;
        Ok(path)
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub async fn end(mut self) -> anyhow::Result<()> {
        self.process.kill().await.context("the authority stays")
    }
}
