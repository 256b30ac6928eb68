//! The configuration: the file as written, what the bridge's unit says, and the checked result.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use satellite_proto::identity::Role;
use serde::Deserialize;

use crate::archive::names::{BadName, Label};

/// Where things are and how much they may take.
#[derive(Debug, Clone)]
pub struct Config {
    /// Unix socket on which calls are taken.
    pub socket: PathBuf,
    /// Directory of all that is kept.
    pub state: PathBuf,
    /// Directory below the destination in which archives lie (B8).
    pub directory: Label,
    /// Bytes that stay free on the disk.
    pub reserve: u64,
    /// How long a sender may be silent before its archive is given up.
    pub stall: Duration,
    /// How long calls may go on after the order to stop.
    pub grace: Duration,
    /// Tries at a destination without any progress before it is given up.
    pub tries: u32,
    /// Address of a server that stands for those of Dropbox that programs ask; none: Dropbox's own.
    pub dropbox: Option<String>,
    /// Role of callers that did not come through a bridge; none: they are refused.
    pub local_role: Option<Role>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct File {
    socket: Option<PathBuf>,
    state: Option<PathBuf>,
    directory: Option<String>,
    reserve_mib: Option<u64>,
    #[serde(with = "humantime_serde")]
    stall: Option<Duration>,
    #[serde(with = "humantime_serde")]
    grace: Option<Duration>,
    tries: Option<NonZeroU32>,
    dropbox: Option<String>,
    local_role: Option<String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration `{path}`")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("the configuration `{path}` is wrong")]
    Parse {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A value that must be given is not.
    #[error("`{key}` is not set: set it in the configuration, or {variable} in the environment")]
    Missing {
        /// The key.
        key: &'static str,
        /// The variable.
        variable: &'static str,
    },
    /// A value is not allowed.
    #[error("`{key}` must be {must}")]
    Value {
        /// The key.
        key: &'static str,
        /// What it must be.
        must: &'static str,
    },
    /// The directory's name is none.
    #[error("`directory` is not a name for a directory")]
    Directory(#[source] BadName),
}

impl Config {
    /// Reads the file, if there is one; the environment tells what it does not.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let file = match path {
            None => File::default(),
            Some(path) => {
                let read = std::fs::read_to_string(path);
                let text = read.map_err(|source| ConfigError::Read {
                    path: path.to_owned(),
                    source,
                })?;
                toml::from_str(&text).map_err(|e| ConfigError::Parse {
                    path: path.to_owned(),
                    source: Box::new(e),
                })?
            }
        };
        Self::check(file, |name| std::env::var_os(name).map(PathBuf::from))
    }

    fn check(file: File, environment: impl Fn(&str) -> Option<PathBuf>) -> Result<Self, ConfigError> {
        let place = |given: Option<PathBuf>, key, variable| {
            let path: PathBuf = given
                .or_else(|| environment(variable))
                .ok_or(ConfigError::Missing { key, variable })?;
            let must = "an absolute path";
            if path.is_absolute() {
                Ok(path)
            } else {
                Err(ConfigError::Value { key, must })
            }
        };
        let positive = |given: Option<Duration>, default, key| match given.unwrap_or(default) {
            Duration::ZERO => Err(ConfigError::Value {
                key,
                must: "longer than zero",
            }),
            duration => Ok(duration),
        };
        let role = |text: String| {
            text.parse().map_err(|_| ConfigError::Value {
                key: "local-role",
                must: "viewer, operator or admin",
            })
        };
        let address = |text: String| {
            let rest = text.strip_prefix("https://").or(text.strip_prefix("http://"));
            if rest.is_some_and(|host| !host.is_empty()) {
                Ok(text)
            } else {
                Err(ConfigError::Value {
                    key: "dropbox",
                    must: "an address that begins with https:// or http://",
                })
            }
        };
        let directory = file.directory.unwrap_or_else(|| "starface-backup".to_owned());
        Ok(Self {
            socket: place(file.socket, "socket", "SATELLITE_SOCKET")?,
            state: place(file.state, "state", "SATELLITE_STATE")?,
            directory: directory.parse().map_err(ConfigError::Directory)?,
            reserve: file.reserve_mib.unwrap_or(64).saturating_mul(1 << 20),
            stall: positive(file.stall, Duration::from_secs(15 * 60), "stall")?,
            grace: positive(file.grace, Duration::from_secs(20), "grace")?,
            tries: file.tries.map_or(8, NonZeroU32::get),
            dropbox: file.dropbox.map(address).transpose()?,
            local_role: file.local_role.map(role).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Config, String> {
        let file = toml::from_str(text).map_err(|e| e.to_string())?;
        Config::check(file, |name| Some(PathBuf::from(format!("/env/{name}")))).map_err(|e| e.to_string())
    }

    #[test]
    fn the_environment_tells_what_the_file_does_not() {
        let config = check("state = '/srv/backup'").unwrap();
        assert_eq!(config.socket, Path::new("/env/SATELLITE_SOCKET"));
        assert_eq!(config.state, Path::new("/srv/backup"));
        assert_eq!(config.directory.as_str(), "starface-backup");
        assert_eq!(config.local_role, None);
    }

    #[test]
    fn bad_values_are_refused_by_name() {
        for (text, key) in [
            ("state = 'x'", "state"),
            ("stall = '0s'", "stall"),
            ("directory = '..'", "directory"),
            ("local-role = 'root'", "local-role"),
            ("tries = 0", "tries"),
            ("dropbox = 'ftp://x'", "dropbox"),
            ("colour = 1", "colour"),
        ] {
            assert!(check(text).unwrap_err().contains(key), "{text}");
        }
    }
}
