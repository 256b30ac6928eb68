//! What the satellite is as a machine, gathered for its answers.
//!
//! **Invariant:** a fact that cannot be read is left empty; it never fails a call.

use std::{collections::BTreeSet, net::IpAddr, path::PathBuf};

use ipnet::IpNet;
use jiff::Timestamp;
use satellite_host::{clock, disk, net};
use satellite_proto::wire::bridge::v1::{QuarantineReason, Satellite};

use crate::pairing::Pairing;

/// Gathers the facts. A cheap handle.
#[derive(Debug, Clone)]
pub struct Machine {
    state_dir: PathBuf,
    pairing: Pairing,
}

impl Machine {
    /// A machine whose workloads and archives lie on the file system of `state_dir`.
    #[must_use]
    pub fn new(state_dir: PathBuf, pairing: Pairing) -> Self {
        Self { state_dir, pairing }
    }

    /// Differs after every boot.
    #[must_use]
    pub fn boot_id(&self) -> String {
        clock::boot_id().map(|id| id.to_string()).unwrap_or_default()
    }

    /// The satellite as it is now, without what other modules know: workloads and firewall.
    #[must_use]
    pub fn satellite(&self) -> Satellite {
        let disk = disk::space(&self.state_dir).ok();
        let memory = disk::memory().ok();
        let uname = nix::sys::utsname::uname().ok();
        Satellite {
            name: name(),
            fingerprint: self.pairing.pin().to_string(),
            bridge_version: env!("CARGO_PKG_VERSION").to_owned(),
            os_version: os_version().unwrap_or_else(|| "Linux".to_owned()),
            architecture: uname
                .map(|uname| uname.machine().to_string_lossy().into_owned())
                .unwrap_or_default(),
            boot_time: clock::boot_time().ok().map(crate::rpc::timestamp),
            current_time: Some(crate::rpc::timestamp(Timestamp::now())),
            addresses: addresses(),
            disk_free_bytes: disk.map_or(0, |space| space.free),
            disk_total_bytes: disk.map_or(0, |space| space.total),
            memory_available_bytes: memory.map_or(0, |space| space.free),
            memory_total_bytes: memory.map_or(0, |space| space.total),
            generation: self.pairing.generations().generation(),
            quarantine: self
                .pairing
                .generations()
                .quarantine()
                .map_or(QuarantineReason::Unspecified, QuarantineReason::from)
                .into(),
            instance_id: self.pairing.generations().instance(),
            boot_id: self.boot_id(),
            ..Satellite::default()
        }
    }
}

/// The host name.
#[must_use]
pub fn name() -> String {
    match net::hostname() {
        Ok(name) if !name.is_empty() => name,
        _ => "satellite".to_owned(),
    }
}

/// Addresses in use with their prefix length, without loopback and link-local ones.
#[must_use]
pub fn addresses() -> Vec<String> {
    let all = net::addresses().unwrap_or_default();
    let reachable: BTreeSet<IpNet> = all
        .into_iter()
        .map(|one| one.address)
        .filter(|address| is_reachable(address.addr()))
        .collect();
    reachable.iter().map(ToString::to_string).collect()
}

fn is_reachable(address: IpAddr) -> bool {
    let is_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(is_local || address.is_loopback() || address.is_unspecified())
}

fn os_version() -> Option<String> {
    let text = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|p| std::fs::read_to_string(p).ok())?;
    let line = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(line.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_others_can_reach_are_shown() {
        for (text, shown) in [
            ("127.0.0.1", false),
            ("::1", false),
            ("169.254.1.1", false),
            ("fe80::1", false),
            ("10.0.0.7", true),
            ("2001:db8::7", true),
        ] {
            assert_eq!(is_reachable(text.parse().unwrap()), shown, "{text}");
        }
    }
}
