//! Looks for a token on the disks beside ours (the OVF environment of VMware and others, a NoCloud seed) and among the
//! variables that VMware has for its machines.
//!
//! It runs beside the daemon and hands over what it finds. Where nobody attached such a disk it ends after some seconds.
//!
//! **Invariant:** disks are read and never mounted; of a seed nothing is used but the token.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use satellite_host::{iso::Iso, vmware};
use satellite_proto::join::Token;

use super::{JoinError, record, source};
use crate::{cli::error_chain, config::Config, pairing};

/// How long disks may take to appear, and the daemon to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to look while there is nothing.
const LOOK: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_secs(1);
/// Largest file that is read, in bytes.
const LIMIT: u32 = 256 * 1024;
/// Where the kernel lists disks, and where their nodes are.
const DISKS: &str = "/sys/class/block";

/// Looks for a token and gives it to the daemon, unless the satellite is paired or the token has ended.
///
/// # Errors
///
/// [`JoinError`] if the daemon does not take what was found.
pub async fn run(config: &Config) -> Result<(), JoinError> {
    let start = tokio::time::Instant::now();
    let (place, text) = loop {
        if pairing::is_paired_on_disk(&config.state_dir) {
            return Ok(());
        }
        if let Some(found) = look(&disks()).or_else(of_vmware) {
            break found;
        }
        if start.elapsed() > LOOK {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    };
    let token: Token = text.parse().map_err(|error| {
        tracing::error!(%error, %place, "Join token cannot be read");
        JoinError::Token(error)
    })?;
    let known = record::read(&config.state_dir.join("join.json"));
    if known.is_some_and(|record| record.id == token.id().to_string()) {
        return Ok(());
    }
    tracing::info!(%place, id = %token.id(), "Join token found");
    loop {
        match super::start(config, &text).await {
            Ok(()) => return Ok(()),
            Err(error) if start.elapsed() > PATIENCE => return Err(error),
            Err(error) => tracing::debug!(error = %error_chain(&error), "Daemon does not take the token yet"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn disks() -> Vec<PathBuf> {
    let entries = fs::read_dir(DISKS).into_iter().flatten().flatten();
    let mut disks: Vec<PathBuf> = entries
        .map(|entry| Path::new("/dev").join(entry.file_name()))
        .filter(|path| path.exists())
        .collect();
    disks.sort();
    disks
}

/// The first token on one of these disks, and which.
fn look(disks: &[PathBuf]) -> Option<(String, String)> {
    disks.iter().find_map(|disk| {
        // An empty drive, or another format.
        let iso = Iso::open(disk).ok()??;
        let read = |name: &str| {
            let bytes = iso.read(name, LIMIT).ok()??;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        let token = read("ovf-env.xml").and_then(|text| of_environment(&text));
        let is_seed = iso.label.eq_ignore_ascii_case("cidata");
        let token = token.or_else(|| {
            read("user-data")
                .filter(|_| is_seed)
                .and_then(|text| of_user_data(&text))
        });
        Some((disk.display().to_string(), token?))
    })
}

/// The token among VMware's variables, by itself or in an OVF environment, and which.
fn of_vmware() -> Option<(String, String)> {
    let variable = |name: &str| {
        let answer = vmware::guestinfo(name);
        let answer = answer.inspect_err(|error| tracing::debug!(%error, name, "VMware does not tell"));
        answer.ok().flatten().filter(|value| !value.is_empty())
    };
    let token = variable(source::NAME).or_else(|| of_environment(&variable("ovfEnv")?))?;
    Some(("guestinfo".to_owned(), token))
}

/// The value of our property in an OVF environment, whatever prefix its attributes have.
fn of_environment(text: &str) -> Option<String> {
    text.split('<').find_map(|tag| {
        let tag = tag
            .strip_prefix("Property")
            .or_else(|| tag.split_once(":Property").map(|(_, rest)| rest))?;
        let is_ours = attribute(tag, "key")?.ends_with(source::NAME);
        let value = attribute(tag, "value").filter(|value| is_ours && !value.trim().is_empty());
        value.map(str::to_owned)
    })
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = tag;
    loop {
        let (before, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| *c == '"' || *c == '\'')?;
        let (value, behind) = after[1..].split_once(quote)?;
        let found = before.trim().rsplit([':', ' ', '\n', '\t']).next()?;
        if found == name {
            return Some(value);
        }
        rest = behind;
    }
}

/// The value of our key in a seed: a line of its own at the top level.
fn of_user_data(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        let key = key.trim_matches(['"', '\'']);
        let value = value.split(" #").next()?.trim().trim_matches(['"', '\'']);
        (key == source::NAME && !value.is_empty()).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_property_is_found_whoever_wrote_the_environment() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1" xmlns:oe="http://schemas.dmtf.org/ovf/environment/1" oe:id="">
  <PropertySection>
    <Property oe:key="other" oe:value="x"/>
    <Property oe:key="satellite.join-token" oe:value="SJ1-ABC"/>
  </PropertySection>
</Environment>"#;
        assert_eq!(of_environment(text).as_deref(), Some("SJ1-ABC"));
        let prefixed = "<oe:Property\n oe:value='SJ1-X'\n oe:key='satellite.join-token' />";
        assert_eq!(of_environment(prefixed).as_deref(), Some("SJ1-X"));
        for nothing in [
            "",
            "<Property",
            "<Property key=\"satellite.join-token\" value=\"\"/>",
            "<Property =\"\" =>",
        ] {
            assert_eq!(of_environment(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn the_key_is_found_in_a_seed() {
        let text = "#cloud-config\nhostname: s1\nsatellite.join-token: \"SJ1-ABC\" # once\n";
        assert_eq!(of_user_data(text).as_deref(), Some("SJ1-ABC"));
        assert_eq!(of_user_data("users:\n  satellite.join-token: SJ1-X\n"), None);
        assert_eq!(of_user_data("satellite.join-token:\n"), None);
    }
}
