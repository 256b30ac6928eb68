//! The configuration file as written, turned into a checked one.
//!
//! **Invariant:** a [`Config`] that exists is usable; all faults of a file are told at once.

pub mod acme;
mod check;
pub mod directory;
pub mod mail;
pub mod openid;
pub mod warnings;
pub mod webhook;

use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use satellite_proto::wire::JOIN_PORT;
use serde::Deserialize;

use self::check::Check;
use crate::host;

/// Where the configuration is read unless told otherwise. The file need not be there: all keys have defaults.
pub const DEFAULT_PATH: &str = "/etc/management-module/config.toml";

/// Where the web page is offered unless told otherwise.
const WEB_PORT: u16 = 7600;

/// Instead of an address: nowhere.
const OFF: &str = "off";

/// A checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What must survive: store, bundles, installation key.
    pub state_dir: PathBuf,
    /// The unix socket on which commands are taken.
    pub socket: PathBuf,
    /// What satellites show as the server's name.
    pub server_name: String,
    /// Where satellites with join tokens are received, while there are tokens.
    pub join_listen: SocketAddr,
    /// The server's address in join tokens; none: the machine's own, if it has one only.
    pub join_address: Option<String>,
    /// Socket of a backup-service on the server itself; none: there is none.
    pub local_backup_service: Option<PathBuf>,
    /// Where the web page is offered; none: nowhere.
    pub web_listen: Option<SocketAddr>,
    /// The operator's certificate and key for the web page, as PEM; none: its own.
    pub web_certificate: Option<(PathBuf, PathBuf)>,
    /// The authority that certifies the web page; none: nobody does.
    pub acme: Option<acme::Acme>,
    /// How often each satellite is checked without cause.
    pub reconcile_interval: Duration,
    /// How long a run that is due waits for its satellite to answer, and one whose satellite was lost in the middle of a copy.
    pub satellite_patience: Duration,
    /// After how long an archive and its copies are read whole again; zero: never by themselves.
    pub verify_interval: Duration,
    /// How many satellites are changed at once.
    pub max_concurrent_changes: usize,
    /// How long a call to a satellite may take.
    pub call_deadline: Duration,
    /// How long a piece of long work on a satellite may take.
    pub operation_deadline: Duration,
    /// Keys whose signature makes a bundle acceptable.
    pub trust_anchors: PathBuf,
    /// How accounts are warned.
    pub warnings: warnings::Warnings,
    /// Where accounts are read from; none: only built-in ones are known.
    pub directory: Option<directory::Directory>,
    /// Where people sign in, besides here; none: nowhere.
    pub openid: Option<openid::OpenId>,
    /// How mails are sent; none: no mails are sent.
    pub mail: Option<mail::Mail>,
    /// Where what happens is told to a program; none: nowhere.
    pub webhook: Option<webhook::Webhook>,
    /// Where a monitoring system reads numbers, without encryption or password; none: nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// What is logged, as `tracing` filters are written.
    pub log: String,
}

impl Default for Config {
    fn default() -> Self {
        let (config, _) = Checked::from(File::default()).into_parts();
        config
    }
}

impl Config {
    /// Reads the configuration at `path`.
    ///
    /// # Errors
    /// [`ConfigError`], with all faults.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text)
    }

    /// Reads `path` if one is given, else the default place, where no file means the defaults.
    ///
    /// # Errors
    /// [`ConfigError`], with all faults.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        match path {
            Some(path) => Self::read(path),
            None => match Self::read(Path::new(DEFAULT_PATH)) {
                Err(ConfigError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    Ok(Self::default())
                }
                other => other,
            },
        }
    }

    /// Checks the text of a configuration file.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`], [`ConfigError::Faults`].
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(ConfigError::Syntax)?;
        let (config, faults) = Checked::from(file).into_parts();
        if faults.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError::Faults(Faults(faults)))
        }
    }

    /// The store's file.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.state_dir.join("store.db")
    }

    /// Where it is noted which services of centrals are stopped for a backup or a restore.
    #[must_use]
    pub fn stopped_services(&self) -> PathBuf {
        self.state_dir.join("stopped-services")
    }

    /// Where it is noted which restores are under way.
    #[must_use]
    pub fn restores(&self) -> PathBuf {
        self.state_dir.join("restores")
    }

    /// Where disks that are plugged into the server are mounted: beside the directory of the socket, as only administrators
    /// may pass through that one.
    #[must_use]
    pub fn disks(&self) -> PathBuf {
        let beside = self.socket.parent().unwrap_or(&self.socket);
        let mut name = beside.file_name().unwrap_or_default().to_owned();
        name.push("-disks");
        beside.with_file_name(name)
    }

    /// What the last archive of each configuration holds, so that it need not be sent again.
    #[must_use]
    pub fn seen(&self) -> PathBuf {
        self.state_dir.join("seen")
    }

    /// Where restores are tried; emptied at each start.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.state_dir.join("scratch")
    }

    /// What one process of the module holds while it serves.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.state_dir.join("lock")
    }

    /// Where bundles lie.
    #[must_use]
    pub fn bundles(&self) -> PathBuf {
        self.state_dir.join("bundles")
    }

    /// Where the web page's own certificate and key lie.
    #[must_use]
    pub fn web(&self) -> PathBuf {
        self.state_dir.join("web")
    }

    /// What an authority has certified: account, certificate with its key, and how the last try went.
    #[must_use]
    pub fn acme(&self) -> PathBuf {
        self.web().join("acme")
    }

    /// Where the installation key lies.
    #[must_use]
    pub fn installation(&self) -> PathBuf {
        self.state_dir.join("installation")
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// It is not TOML, or has an unknown key, or a value of the wrong kind.
    #[error("the configuration cannot be parsed")]
    Syntax(#[source] toml::de::Error),
    /// Values that cannot be used.
    #[error("the configuration has unusable values: {0}")]
    Faults(Faults),
}

/// All faults of a configuration, by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct File {
    state_dir: PathBuf,
    socket: PathBuf,
    server_name: Option<String>,
    join_listen: SocketAddr,
    join_address: Option<String>,
    local_backup_service: Option<PathBuf>,
    web_listen: String,
    web_certificate: Option<PathBuf>,
    web_key: Option<PathBuf>,
    acme: Option<acme::Acme>,
    #[serde(with = "humantime_serde")]
    reconcile_interval: Duration,
    #[serde(with = "humantime_serde")]
    satellite_patience: Duration,
    #[serde(with = "humantime_serde")]
    verify_interval: Duration,
    max_concurrent_changes: usize,
    #[serde(with = "humantime_serde")]
    call_deadline: Duration,
    #[serde(with = "humantime_serde")]
    operation_deadline: Duration,
    trust_anchors: PathBuf,
    warnings: warnings::Warnings,
    directory: Option<directory::Directory>,
    openid: Option<openid::OpenId>,
    mail: Option<mail::File>,
    webhook: Option<webhook::Webhook>,
    metrics_listen: Option<SocketAddr>,
    log: String,
}

impl Default for File {
    fn default() -> Self {
        Self {
            state_dir: "/var/lib/management-module".into(),
            socket: "/run/management-module/api.sock".into(),
            server_name: None,
            join_listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, JOIN_PORT)),
            join_address: None,
            local_backup_service: None,
            web_listen: format!("[::]:{WEB_PORT}"),
            web_certificate: None,
            web_key: None,
            acme: None,
            reconcile_interval: Duration::from_mins(5),
            satellite_patience: Duration::from_mins(10),
            verify_interval: Duration::from_hours(24 * 30),
            max_concurrent_changes: 10,
            call_deadline: Duration::from_secs(20),
            operation_deadline: Duration::from_mins(15),
            trust_anchors: "/etc/management-module/trust.toml".into(),
            warnings: warnings::Warnings::default(),
            directory: None,
            openid: None,
            mail: None,
            webhook: None,
            metrics_listen: None,
            log: "info".into(),
        }
    }
}

struct Checked {
    config: Config,
    faults: Vec<String>,
}

impl Checked {
    fn into_parts(self) -> (Config, Vec<String>) {
        (self.config, self.faults)
    }
}

impl From<File> for Checked {
    fn from(file: File) -> Self {
        let mut faults = Vec::new();
        check_values(&file, &mut faults);
        if file.log.parse::<tracing_subscriber::EnvFilter>().is_err() {
            faults.push("`log` must be a filter such as `info` or `info,management_module=debug`".into());
        }
        let server_name = file.server_name.unwrap_or_else(host::name);
        if !(1..=63).contains(&server_name.chars().count()) || server_name.chars().any(char::is_control) {
            faults.push("`server-name` must be 1 to 63 printable characters".into());
        }
        if file
            .join_address
            .as_ref()
            .is_some_and(|text| text.trim().is_empty())
        {
            faults.push("`join-address` must be a host name or IP address".into());
        }
        let web_listen = web_address(&file.web_listen, &mut faults);
        let web_certificate = match (file.web_certificate, file.web_key) {
            (None, None) => None,
            (Some(certificate), Some(key)) if certificate.is_absolute() && key.is_absolute() => {
                Some((certificate, key))
            }
            _ => {
                faults.push("`web-certificate` and `web-key` must be absolute paths, both or none".into());
                None
            }
        };
        if let Some(acme) = &file.acme {
            acme.check(&mut faults);
            if web_certificate.is_some() {
                faults.push("`web-certificate` and the section `acme` exclude each other".into());
            }
        }
        file.warnings.check(&mut faults);
        if let Some(directory) = &file.directory {
            directory.check(&mut faults);
        }
        if let Some(openid) = &file.openid {
            openid.check(&mut faults);
        }
        if let Some(webhook) = &file.webhook {
            webhook.check(&mut faults);
        }
        let mail = file.mail.and_then(|mail| mail.checked(&mut faults));
        let config = Config {
            state_dir: file.state_dir,
            socket: file.socket,
            server_name,
            join_listen: file.join_listen,
            join_address: file.join_address,
            local_backup_service: file.local_backup_service,
            web_listen,
            web_certificate,
            acme: file.acme,
            reconcile_interval: file.reconcile_interval,
            satellite_patience: file.satellite_patience,
            verify_interval: file.verify_interval,
            max_concurrent_changes: file.max_concurrent_changes,
            call_deadline: file.call_deadline,
            operation_deadline: file.operation_deadline,
            trust_anchors: file.trust_anchors,
            warnings: file.warnings,
            directory: file.directory,
            openid: file.openid,
            mail,
            webhook: file.webhook,
            metrics_listen: file.metrics_listen,
            log: file.log,
        };
        Self { config, faults }
    }
}

/// Whether passwords may go there: over TLS, or not off this machine.
pub(crate) fn is_safe_address(url: &str) -> bool {
    let uri: Option<hyper::Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(hyper::Uri::host).unwrap_or_default();
    let is_here = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
    let is_fine = match uri.as_ref().and_then(hyper::Uri::scheme_str) {
        Some("https") => !host.is_empty(),
        Some("http") => is_here,
        _ => false,
    };
    is_fine && !url.contains('@')
}

/// Where the page is offered; none: nowhere.
fn web_address(text: &str, faults: &mut Vec<String>) -> Option<SocketAddr> {
    if text == OFF {
        return None;
    }
    let address = text.parse().ok();
    if address.is_none() {
        faults.push(format!("`web-listen` must be an address with a port, or `{OFF}`"));
    }
    address
}

/// Paths, times and numbers by themselves.
fn check_values(file: &File, faults: &mut Vec<String>) {
    let mut check = Check::of("", faults);
    for (key, path) in [
        ("state-dir", Some(&file.state_dir)),
        ("socket", Some(&file.socket)),
        ("trust-anchors", Some(&file.trust_anchors)),
        ("local-backup-service", file.local_backup_service.as_ref()),
    ] {
        check.absolute(key, path);
    }
    for (key, value, least, most) in [
        ("reconcile-interval", file.reconcile_interval, 1, 86_400),
        ("call-deadline", file.call_deadline, 1, 300),
        ("operation-deadline", file.operation_deadline, 10, 86_400),
    ] {
        check.within(key, value, least, most);
    }
    if !(1..=1000).contains(&file.max_concurrent_changes) {
        check.fault("max-concurrent-changes", "must be between 1 and 1000");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_gives_the_defaults() {
        assert_eq!(Config::parse("").unwrap(), Config::default());
    }

    #[test]
    fn the_shipped_file_says_the_defaults() {
        let shipped = include_str!("../../systemd/config/management-module.toml");
        assert_eq!(Config::parse(shipped).unwrap(), Config::default());
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(matches!(
            Config::parse("sokcet = '/x'"),
            Err(ConfigError::Syntax(_))
        ));
    }

    #[test]
    fn all_faults_are_told_at_once_by_key() {
        let text = "state-dir = 'x'\ncall-deadline = '0s'\nmax-concurrent-changes = 0\nlog = 'a=b=c'\nserver-name = ''\n\
                    web-listen = 'x'\nweb-key = '/key.pem'";
        let error = Config::parse(text).unwrap_err().to_string();
        for key in [
            "state-dir",
            "call-deadline",
            "max-concurrent-changes",
            "log",
            "server-name",
            "web-listen",
            "web-certificate",
        ] {
            assert!(error.contains(key), "{key} is missing in: {error}");
        }
    }
}
