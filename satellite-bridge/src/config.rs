//! The configuration file as written, turned into a checked one.
//!
//! **Invariant:** every path in a [`Config`] is absolute, and nothing else in the daemon knows a default path.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use satellite_host::iptables::Kernel;
use satellite_proto::wire::BRIDGE_PORT;
use serde::Deserialize;

use crate::{change, firewall};

/// Where the configuration is looked for.
pub const DEFAULT_PATH: &str = "/etc/satellite/bridge.toml";

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("the configuration `{}` is wrong", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// A time to confirm that is too short or too long.
    #[error("`confirm-seconds` must be 10 to 600, or 0 for 120, not {seconds}")]
    ConfirmTime {
        /// What is written.
        seconds: u32,
    },
    /// A path that depends on where the daemon is started.
    #[error("`{key}` must be an absolute path, not `{}`", value.display())]
    Relative {
        /// The key.
        key: &'static str,
        /// What is written.
        value: PathBuf,
    },
}

/// What the daemon, the menu and the tests are told. [`Config::default`] is what an image ships.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Where calls of the installation are taken.
    pub listen: SocketAddr,
    /// What survives a boot.
    pub state_dir: PathBuf,
    /// Where the data partition is mounted; a factory reset is asked for there.
    pub data_dir: PathBuf,
    /// What the hypervisor calls this machine.
    pub instance_id: PathBuf,
    /// What the hypervisor changes with each copy and each return to a snapshot.
    pub vm_generation_id: PathBuf,
    /// Sockets.
    pub run_dir: PathBuf,
    /// Where units of workloads are generated.
    pub unit_dir: PathBuf,
    /// Where files for systemd-networkd are written.
    pub network_dir: PathBuf,
    /// How long a change of the network waits for its confirmation, unless the caller asks for another time.
    pub confirm_time: Duration,
    /// Where the service manager keeps the state directories of workloads.
    pub workload_state_dir: PathBuf,
    /// Keys whose signatures on bundles count; the first file that exists is used.
    pub trust_anchors: Vec<PathBuf>,
    /// The file that this was read from, if one was named.
    pub file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    listen: Option<SocketAddr>,
    state_dir: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    instance_id: Option<PathBuf>,
    vm_generation_id: Option<PathBuf>,
    run_dir: Option<PathBuf>,
    unit_dir: Option<PathBuf>,
    network_dir: Option<PathBuf>,
    confirm_seconds: Option<u32>,
    workload_state_dir: Option<PathBuf>,
    trust_anchors: Option<Vec<PathBuf>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, BRIDGE_PORT)),
            state_dir: "/var/lib/satellite".into(),
            data_dir: "/var".into(),
            instance_id: "/sys/class/dmi/id/product_uuid".into(),
            vm_generation_id: "/sys/firmware/qemu_fw_cfg/by_name/etc/vmgenid_guid/raw".into(),
            run_dir: "/run/satellite".into(),
            unit_dir: "/run/systemd/system".into(),
            network_dir: "/run/systemd/network".into(),
            confirm_time: change::USUAL,
            workload_state_dir: "/var/lib".into(),
            trust_anchors: vec![
                "/etc/satellite/trust.toml".into(),
                "/usr/lib/satellite/trust.toml".into(),
            ],
            file: None,
        }
    }
}

impl Config {
    /// Reads `path`; without one the usual place, where no file means that all defaults hold.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: a file that was named must exist, and every key in a file must be known and right.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let file = path.unwrap_or(Path::new(DEFAULT_PATH));
        match std::fs::read_to_string(file) {
            Ok(text) => Ok(Self {
                file: path.map(Path::to_owned),
                ..Self::parse(file, &text)?
            }),
            Err(source) if path.is_none() && source.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(ConfigError::Read {
                path: file.to_owned(),
                source,
            }),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let usual = Self::default();
        let seconds = file.confirm_seconds.unwrap_or(0);
        let config = Self {
            listen: file.listen.unwrap_or(usual.listen),
            state_dir: file.state_dir.unwrap_or(usual.state_dir),
            data_dir: file.data_dir.unwrap_or(usual.data_dir),
            instance_id: file.instance_id.unwrap_or(usual.instance_id),
            vm_generation_id: file.vm_generation_id.unwrap_or(usual.vm_generation_id),
            run_dir: file.run_dir.unwrap_or(usual.run_dir),
            unit_dir: file.unit_dir.unwrap_or(usual.unit_dir),
            network_dir: file.network_dir.unwrap_or(usual.network_dir),
            confirm_time: change::confirm_time(seconds).ok_or(ConfigError::ConfirmTime { seconds })?,
            workload_state_dir: file.workload_state_dir.unwrap_or(usual.workload_state_dir),
            trust_anchors: file.trust_anchors.unwrap_or(usual.trust_anchors),
            file: None,
        };
        let paths = [
            ("state-dir", &config.state_dir),
            ("data-dir", &config.data_dir),
            ("instance-id", &config.instance_id),
            ("vm-generation-id", &config.vm_generation_id),
            ("run-dir", &config.run_dir),
            ("unit-dir", &config.unit_dir),
            ("network-dir", &config.network_dir),
            ("workload-state-dir", &config.workload_state_dir),
        ];
        let anchors = config.trust_anchors.iter().map(|path| ("trust-anchors", path));
        for (key, value) in paths.into_iter().chain(anchors) {
            if !value.is_absolute() {
                return Err(ConfigError::Relative {
                    key,
                    value: value.clone(),
                });
            }
        }
        Ok(config)
    }

    /// How the service manager starts this program again with the same configuration.
    #[must_use]
    pub fn own_command(&self) -> Vec<String> {
        let program =
            std::env::current_exe().unwrap_or_else(|_| "/usr/lib/satellite/satellite-bridge".into());
        let mut command = vec![program.to_string_lossy().into_owned()];
        if let Some(file) = &self.file {
            command.extend(["--config".to_owned(), file.to_string_lossy().into_owned()]);
        }
        command
    }

    /// What the firewall is told; `port` is the one that stays open.
    #[must_use]
    pub fn firewall(&self, port: u16) -> firewall::Settings {
        firewall::Settings {
            state_dir: self.state_dir.clone(),
            port,
            filter: Arc::new(Kernel),
        }
    }

    /// Where disks are mounted.
    #[must_use]
    pub fn disks(&self) -> PathBuf {
        self.run_dir.join("disks")
    }

    /// The socket of the console.
    #[must_use]
    pub fn console_socket(&self) -> PathBuf {
        self.run_dir.join("console.sock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("bridge.toml"), text)
    }

    #[test]
    fn an_empty_file_means_the_defaults() {
        assert_eq!(parse("").unwrap(), Config::default());
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = parse("stat-dir = \"/x\"").unwrap_err();
        let ConfigError::Parse { source, .. } = error else {
            panic!("{error}")
        };
        assert!(source.to_string().contains("stat-dir"));
    }

    #[test]
    fn a_relative_path_is_refused_by_key() {
        let error = parse("run-dir = \"run\"").unwrap_err();
        assert!(matches!(error, ConfigError::Relative { key: "run-dir", .. }));
    }

    #[test]
    fn a_time_to_confirm_out_of_bounds_is_refused() {
        assert_eq!(
            parse("confirm-seconds = 15").unwrap().confirm_time,
            Duration::from_secs(15)
        );
        let error = parse("confirm-seconds = 5").unwrap_err();
        assert!(matches!(error, ConfigError::ConfirmTime { seconds: 5 }));
    }

    #[test]
    fn a_file_that_was_named_must_exist() {
        let dir = tempfile::tempdir().unwrap();
        let missing = Config::load(Some(&dir.path().join("none.toml")));
        assert!(matches!(missing, Err(ConfigError::Read { .. })));
    }
}
