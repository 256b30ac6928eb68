//! Addresses and names of the machine. Reads only.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfaceAddress {
    /// The interface.
    pub interface: String,
    /// The address with its prefix length.
    pub address: IpNet,
}

/// All addresses under which the machine may be reached: of interfaces that are up, loopback left out, sorted.
///
/// # Errors
///
/// If the kernel does not tell them.
pub fn addresses() -> io::Result<Vec<InterfaceAddress>> {
    use nix::net::if_::InterfaceFlags;
    let mut found: Vec<InterfaceAddress> = nix::ifaddrs::getifaddrs()
        .map_err(io::Error::from)?
        .filter(|one| {
            one.flags.contains(InterfaceFlags::IFF_UP) && !one.flags.contains(InterfaceFlags::IFF_LOOPBACK)
        })
        .filter_map(|one| {
            let address = ip(one.address.as_ref()?)?;
            let prefix = one
                .netmask
                .as_ref()
                .and_then(ip)
                .and_then(|mask| ipnet::ip_mask_to_prefix(mask).ok());
            let longest = if address.is_ipv4() { 32 } else { 128 };
            let address = IpNet::new(address, prefix.unwrap_or(longest)).ok()?;
            Some(InterfaceAddress {
                interface: one.interface_name,
                address,
            })
        })
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

fn ip(storage: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let four = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    four.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

/// The name of the machine, as the kernel has it.
///
/// # Errors
///
/// If the kernel does not tell it or it is not UTF-8.
pub fn hostname() -> io::Result<String> {
    let name = nix::unistd::gethostname().map_err(io::Error::from)?;
    name.into_string()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the host name is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_a_name() {
        assert!(!hostname().unwrap().is_empty());
    }

    #[test]
    fn loopback_is_not_among_the_addresses() {
        assert!(
            addresses()
                .unwrap()
                .iter()
                .all(|one| !one.address.addr().is_loopback())
        );
    }
}
