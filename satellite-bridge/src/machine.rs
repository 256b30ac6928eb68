//! What the satellite is as a machine, gathered for its answers.
//!
//! **Invariant:** a fact that cannot be read is left empty; it never fails a call.

use std::{collections::BTreeSet, net::IpAddr, path::PathBuf};

use jiff::Timestamp;
use nix::ifaddrs::getifaddrs;
use satellite_host::{clock, disk};
use satellite_proto::wire::bridge::v1::Satellite;

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
            boot_id: clock::boot_id().map(|id| id.to_string()).unwrap_or_default(),
            ..Satellite::default()
        }
    }
}

/// The host name.
#[must_use]
pub fn name() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let name = name.to_string_lossy();
    if name.is_empty() {
        "satellite".to_owned()
    } else {
        name.into_owned()
    }
}

/// Addresses in use with their prefix length, without loopback and link-local ones.
#[must_use]
pub fn addresses() -> Vec<String> {
    let Ok(interfaces) = getifaddrs() else {
        return Vec::new();
    };
    let mut found = BTreeSet::new();
    for interface in interfaces {
        let address = interface.address.as_ref().and_then(ip_of);
        let mask = interface.netmask.as_ref().and_then(ip_of);
        if let (Some(address), Some(mask)) = (address, mask)
            && is_reachable(address)
        {
            found.insert((address, prefix_length(mask)));
        }
    }
    found
        .into_iter()
        .map(|(address, length)| format!("{address}/{length}"))
        .collect()
}

fn ip_of(address: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

fn is_reachable(address: IpAddr) -> bool {
    let is_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(is_local || address.is_loopback() || address.is_unspecified())
}

fn prefix_length(mask: IpAddr) -> u32 {
    match mask {
        IpAddr::V4(v4) => v4.to_bits().count_ones(),
        IpAddr::V6(v6) => v6.to_bits().count_ones(),
    }
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

    #[test]
    fn a_mask_becomes_a_prefix_length() {
        assert_eq!(prefix_length("255.255.240.0".parse().unwrap()), 20);
        assert_eq!(prefix_length("ffff:ffff::".parse().unwrap()), 32);
    }
}
