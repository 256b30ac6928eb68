//! The support bundle: logs, status and settings in one file, for who helps from afar.
//!
//! A small unit of its own (`satellite-support@DEVICE.service`) mounts the disk and writes, because the menu may neither.
//!
//! **Invariant:** what goes in is named here, file by file: keys, the PIN, codes and tokens are not, and no directory is
//! taken whole. It is bounded, and what cannot be read is named instead of it.

mod redact;
mod send;

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use satellite_host::{
    exec::Exec,
    files,
    usb::{Mounted, UsbError},
};
use serde::{Deserialize, Serialize};
use tokio_stream::StreamExt as _;

pub use self::send::SupportBundles;
use crate::{
    cli::error_chain,
    config::Config,
    journal::{self, JournalError},
    logs::{self, Logs, Query},
    machine,
};

/// Lines of each log.
const LOG_LINES: u64 = 20_000;
/// Bytes of each file in the bundle.
const LARGEST: usize = 16 * 1024 * 1024;
/// How long a program may take to tell something.
const DEADLINE: Duration = Duration::from_secs(20);
/// Records of ours that say how the satellite is set up; none has a secret in it.
const RECORDS: [&str; 6] = [
    "network/confirmed.json",
    "firewall/confirmed.json",
    "change/open.json",
    "generation.json",
    "language",
    "keyboard",
];
/// What the machine is asked.
const QUESTIONS: [(&str, &[&str]); 9] = [
    ("ip-address", &["ip", "-d", "address", "show"]),
    ("ip-route", &["ip", "route", "show", "table", "all"]),
    ("ip6-route", &["ip", "-6", "route", "show", "table", "all"]),
    ("iptables", &["iptables-save"]),
    ("ip6tables", &["ip6tables-save"]),
    ("units", &["systemctl", "--no-pager", "--all", "list-units"]),
    ("failed", &["systemctl", "--no-pager", "--failed"]),
    ("sockets", &["ss", "-tuln"]),
    ("disks", &["df", "-h"]),
];

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SupportError {
    /// The disk.
    #[error(transparent)]
    Usb(#[from] UsbError),
    /// It cannot be written.
    #[error("the support bundle cannot be written to the disk")]
    Write(#[source] io::Error),
    /// What came of it cannot be told to the menu.
    #[error("the outcome cannot be recorded")]
    Record(#[source] JournalError),
}

/// What came of it, for the menu that asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// Name of the file on the disk; empty if there is none.
    pub file: String,
    /// Its size in bytes.
    pub size: u64,
    /// What went wrong; empty if nothing did.
    pub error: String,
}

/// Where the outcome is recorded.
#[must_use]
pub fn outcome_file(config: &Config) -> PathBuf {
    config.run_dir.join("support.json")
}

/// Mounts the USB disk `device`, writes a bundle to it, and lets go of it.
///
/// # Errors
///
/// [`SupportError`]; the menu finds it in [`outcome_file`] too.
pub async fn to_disk(config: &Config, device: &str) -> Result<(), SupportError> {
    let written = write_to(config, device).await;
    let outcome = match &written {
        Ok((file, size)) => Outcome {
            file: file.clone(),
            size: *size,
            error: String::new(),
        },
        Err(error) => Outcome {
            file: String::new(),
            size: 0,
            error: error_chain(error),
        },
    };
    journal::write(&outcome_file(config), &outcome).map_err(SupportError::Record)?;
    written.map(drop)
}

async fn write_to(config: &Config, device: &str) -> Result<(String, u64), SupportError> {
    let mounted = Mounted::new(device, &config.run_dir.join("usb"))?;
    let written = to_directory(config, mounted.path()).await;
    mounted.finish()?;
    let (path, size) = written?;
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    Ok((file.into_owned(), size))
}

/// Writes a bundle into `directory` and answers its path and size.
///
/// # Errors
///
/// [`SupportError::Write`]: nothing is left of it.
pub async fn to_directory(config: &Config, directory: &Path) -> Result<(PathBuf, u64), SupportError> {
    let now = Timestamp::now();
    let name = format!("support-{}-{}", machine::name(), now.strftime("%Y%m%d-%H%M%S"));
    let path = directory.join(format!("{name}.tar.zst"));
    let part = directory.join(format!("{name}.part"));
    let done = fill(config, &part, &name).await.and_then(|()| {
        std::fs::rename(&part, &path)?;
        File::open(directory)?.sync_all()?;
        path.metadata()
    });
    match done {
        Ok(facts) => Ok((path, facts.len())),
        Err(error) => {
            // It may not even be there.
            let _ = std::fs::remove_file(&part);
            Err(SupportError::Write(error))
        }
    }
}

async fn fill(config: &Config, part: &Path, name: &str) -> io::Result<()> {
    let file = File::options().write(true).create_new(true).open(part)?;
    let mut bundle = Bundle {
        name: name.to_owned(),
        tar: tar::Builder::new(zstd::Encoder::new(file, 3)?),
    };
    bundle.add("status.json", &status(config))?;
    for record in RECORDS {
        match files::read(&config.state_dir.join(record), LARGEST as u64) {
            Ok(Some(bytes)) => bundle.add(&format!("settings/{record}"), &bytes)?,
            Ok(None) => {}
            Err(error) => bundle.add(
                &format!("settings/{record}.error"),
                error_chain(&error).as_bytes(),
            )?,
        }
    }
    for (question, words) in QUESTIONS {
        let Some((program, args)) = words.split_first() else {
            continue;
        };
        let asked = Exec::new(program).args(args).deadline(DEADLINE).run_any().await;
        let answer = asked.map_or_else(
            |error| error_chain(&error).into_bytes(),
            |output| [output.stdout, output.stderr].concat(),
        );
        bundle.add(&format!("machine/{question}.txt"), &answer)?;
    }
    let logs = Logs::new(Arc::new(logs::on_disk(config)));
    for source in logs.sources() {
        let text = log(&logs, &source.name).await;
        let text = redact::text(&String::from_utf8_lossy(&text));
        bundle.add(
            &format!("logs/{}.log", source.name.replace('/', "-")),
            text.as_bytes(),
        )?;
    }
    let mut file = bundle.tar.into_inner()?.finish()?;
    file.flush()?;
    file.sync_all()
}

/// The end of a log; if it cannot be read, why.
async fn log(logs: &Logs, source: &str) -> Vec<u8> {
    let query = Query {
        source: source.to_owned(),
        lines: Some(LOG_LINES),
        ..Query::default()
    };
    let mut packed = Vec::new();
    let mut end = String::new();
    match logs.fetch(query).await {
        Ok(mut pieces) => {
            while let Some(piece) = pieces.next().await {
                match piece {
                    Ok(piece) if packed.len() < LARGEST => packed.extend_from_slice(&piece.data),
                    Ok(_) => break,
                    Err(error) => {
                        end = error_chain(&error);
                        break;
                    }
                }
            }
        }
        Err(error) => end = error_chain(&error),
    }
    let mut text = Vec::new();
    if let Ok(decoder) = zstd::Decoder::new(packed.as_slice()) {
        // What was cut is read as far as it goes.
        let _ = io::copy(&mut io::Read::take(decoder, LARGEST as u64), &mut text);
    }
    text.extend_from_slice(end.as_bytes());
    text
}

/// The machine in a few facts.
fn status(config: &Config) -> Vec<u8> {
    let space = satellite_host::disk::space(&config.state_dir).ok();
    let status = serde_json::json!({
        "name": machine::name(),
        "addresses": machine::addresses(),
        "bridge_version": env!("CARGO_PKG_VERSION"),
        "time": Timestamp::now().to_string(),
        "uptime_seconds": satellite_host::clock::uptime().map(|up| up.as_secs()).unwrap_or_default(),
        "is_paired": config.state_dir.join("pairing.json").exists(),
        "has_pin": config.state_dir.join("console-pin.json").exists(),
        "disk_free_bytes": space.map(|space| space.free),
        "disk_total_bytes": space.map(|space| space.total),
        "os": std::fs::read_to_string("/usr/lib/os-release").unwrap_or_default(),
    });
    format!("{status:#}\n").into_bytes()
}

struct Bundle {
    name: String,
    tar: tar::Builder<zstd::Encoder<'static, File>>,
}

impl Bundle {
    /// Adds a file, at most as large as one may be.
    fn add(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let bytes = bytes.get(..bytes.len().min(LARGEST)).unwrap_or_default();
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(u64::try_from(Timestamp::now().as_second()).unwrap_or_default());
        let path = format!("{}/{path}", self.name);
        self.tar.append_data(&mut header, path, bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use super::*;

    fn config(dir: &Path) -> Config {
        Config {
            state_dir: dir.join("state"),
            run_dir: dir.join("run"),
            ..Config::default()
        }
    }

    fn contents(path: &Path) -> BTreeMap<String, String> {
        let mut archive = tar::Archive::new(zstd::Decoder::new(File::open(path).unwrap()).unwrap());
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (
                path.split_once('/').unwrap().1.to_owned(),
                String::from_utf8_lossy(&bytes).into_owned(),
            )
        });
        entries.collect()
    }

    #[tokio::test]
    async fn settings_are_in_the_bundle_and_no_secret_is() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        for (path, text) in [
            ("identity/key.pem", "SECRET-1"),
            ("console-pin.json", "SECRET-2"),
            ("pairing.json", "SECRET-3"),
            ("join.json", "SECRET-4"),
            ("network/confirmed.json", "{\"host-name\":\"satellite-3\"}"),
            ("language", "de"),
        ] {
            let path = config.state_dir.join(path);
            files::create_dir(path.parent().unwrap(), 0o700).unwrap();
            files::write_atomic(&path, text.as_bytes(), 0o600).unwrap();
        }
        let usb = dir.path().join("usb");
        files::create_dir(&usb, 0o700).unwrap();
        let (path, size) = to_directory(&config, &usb).await.unwrap();
        assert_eq!(path.metadata().unwrap().len(), size);
        let contents = contents(&path);
        assert!(contents["settings/network/confirmed.json"].contains("satellite-3"));
        assert_eq!(contents["settings/language"], "de");
        assert!(contents["status.json"].contains("\"has_pin\": true"));
        assert!(contents.contains_key("logs/bridge.log") && contents.contains_key("machine/ip-address.txt"));
        let leaked: Vec<_> = contents
            .iter()
            .filter(|(_, text)| text.contains("SECRET"))
            .collect();
        assert!(leaked.is_empty(), "{leaked:?}");
        assert_eq!(
            std::fs::read_dir(&usb).unwrap().count(),
            1,
            "something else was left"
        );
    }

    #[tokio::test]
    async fn a_disk_that_takes_nothing_gets_nothing_half() {
        let dir = tempfile::tempdir().unwrap();
        let refused = to_directory(&config(dir.path()), &dir.path().join("none")).await;
        assert!(matches!(refused, Err(SupportError::Write(_))));
    }

    #[tokio::test]
    async fn what_went_wrong_is_told_to_the_menu() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        files::create_dir(&config.run_dir, 0o700).unwrap();
        assert!(to_disk(&config, "nosuchdisk").await.is_err());
        let outcome: Outcome = journal::read(&outcome_file(&config)).unwrap().unwrap();
        assert!(outcome.error.contains("nosuchdisk") && outcome.file.is_empty());
    }
}
