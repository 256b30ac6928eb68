//! What the server's own machine says of itself: its name and its addresses.
//!
//! **Invariant:** nothing is changed here.

use std::net::IpAddr;

/// The host's name as far as it can be shown.
#[must_use]
pub fn name() -> String {
    let name = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_default();
    let name: String = name.chars().filter(|c| !c.is_control()).take(63).collect();
    if name.is_empty() { "server".into() } else { name }
}

/// The addresses of all its interfaces, in order, loopback among them.
#[must_use]
pub fn addresses() -> Vec<IpAddr> {
    let all = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let mut ips: Vec<IpAddr> = all
        .filter_map(|one| {
            let storage = one.address?;
            let four = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            four.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        })
        .collect();
    ips.sort();
    ips.dedup();
    ips
}
