//! The network under a satellite: what is in force, and the few things that a change needs done.
//!
//! **Invariant:** addresses are never set here: systemd-networkd does that, from files that others write.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;

use ipnet::IpNet;

use crate::exec::ExecError;
use crate::neighbour::Hardware;

#[cfg(any(test, feature = "testing"))]
mod fake;
mod parse;
mod system;

#[cfg(any(test, feature = "testing"))]
pub use fake::FakeNetwork;
pub use system::SystemNetwork;

/// Why the network did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// A program failed.
    #[error("cannot {action}")]
    Exec {
        /// What was being done.
        action: &'static str,
        /// Why not.
        #[source]
        source: ExecError,
    },
    /// The neighbours could not be asked.
    #[error("cannot ask the neighbours at {port}")]
    Ask {
        /// At which port.
        port: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A program wrote something that makes no sense.
    #[error("cannot {action}: the answer of `{program}` is not understood")]
    Answer {
        /// What was being done.
        action: &'static str,
        /// Which program.
        program: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// A wired port, or a virtual LAN on one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its number in the kernel.
    pub index: u32,
    /// Its hardware address; empty if it has none.
    pub hardware_address: String,
    /// Whether there is a machine or a switch at the other end.
    pub has_carrier: bool,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// The virtual LAN that it is, if it is one.
    pub vlan: Option<u16>,
    /// The port that it is on, if it is a virtual LAN.
    pub parent: Option<String>,
    /// Its addresses.
    pub addresses: Vec<Address>,
}

impl Link {
    /// Its addresses under which others can reach it.
    #[must_use]
    pub fn reachable(&self) -> Vec<IpNet> {
        let used = self.addresses.iter().filter(|one| !one.is_duplicate);
        used.map(|one| one.net)
            .filter(|net| match net.addr() {
                IpAddr::V4(v4) => !v4.is_link_local(),
                IpAddr::V6(v6) => !v6.is_unicast_link_local(),
            })
            .collect()
    }
}

/// An address of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The address with its prefix length.
    pub net: IpNet,
    /// Whether it came from the network and may change.
    pub is_dynamic: bool,
    /// Whether another machine has it, so that it is not used (IPv6).
    pub is_duplicate: bool,
}

/// What a call of [`Network`] returns.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, NetworkError>> + Send + 'a>>;

/// The seam between our decisions and the machine's network.
pub trait Network: fmt::Debug + Send + Sync + 'static {
    /// Wired ports and the virtual LANs on them.
    fn links(&self) -> Answer<'_, Vec<Link>>;

    /// Routers that packets for everywhere go to.
    fn gateways(&self) -> Answer<'_, Vec<IpAddr>>;

    /// Who of the neighbours at `port` has which of `addresses`; those that nobody has are not in the answer.
    fn owners<'a>(&'a self, port: &'a str, addresses: &'a [IpAddr])
    -> Answer<'a, BTreeMap<IpAddr, Hardware>>;

    /// Lets systemd-networkd read its files anew and bring what changed into force. If it does not run, they count
    /// when it is started.
    fn reload(&self) -> Answer<'_, ()>;

    /// Removes the virtual LAN `name`; one that is not there is no error.
    fn remove_link<'a>(&'a self, name: &'a str) -> Answer<'a, ()>;

    /// Takes the addresses away that routers and DHCPv6 have given the port `name`; with `routes` their routes, too.
    fn drop_ipv6_offers<'a>(&'a self, name: &'a str, routes: bool) -> Answer<'a, ()>;

    /// Sets the largest packet of the port `name`.
    fn set_mtu<'a>(&'a self, name: &'a str, mtu: u32) -> Answer<'a, ()>;

    /// Gives the machine a name until its next start.
    fn set_host_name<'a>(&'a self, name: &'a str) -> Answer<'a, ()>;
}
