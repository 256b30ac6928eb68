//! What can be wrong with a network setting, and in which field.
//!
//! **Invariant:** a fault carries values, never words for a person: those are chosen where it is shown.

use std::net::IpAddr;

use super::check::{IPV6_LEAST_MTU, MOST_SERVERS};

/// The field that a fault is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Field {
    /// The host name.
    HostName,
    /// The wired port.
    Port,
    /// The IPv4 address with its prefix length.
    Ipv4Address,
    /// The IPv4 router.
    Ipv4Gateway,
    /// The IPv6 address with its prefix length.
    Ipv6Address,
    /// The IPv6 router.
    Ipv6Gateway,
    /// The name servers.
    Dns,
    /// The time servers.
    Ntp,
    /// The virtual LAN.
    Vlan,
    /// The largest packet.
    Mtu,
    /// The proxy.
    Proxy,
}

impl Field {
    /// Its name in a settings document.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::HostName => "host-name",
            Self::Port => "port",
            Self::Ipv4Address => "ipv4.address",
            Self::Ipv4Gateway => "ipv4.gateway",
            Self::Ipv6Address => "ipv6.address",
            Self::Ipv6Gateway => "ipv6.gateway",
            Self::Dns => "dns",
            Self::Ntp => "ntp",
            Self::Vlan => "vlan",
            Self::Mtu => "mtu",
            Self::Proxy => "proxy",
        }
    }
}

/// Why a value is refused. The text is for logs and remote callers; the console has its own words for each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing was typed where something is needed.
    #[error("{}: must not be empty", .0.key())]
    Empty(Field),
    /// A host name that is none.
    #[error("host-name: must be 1 to 63 of the letters a-z, digits and inner hyphens")]
    HostName,
    /// A port name that is none.
    #[error("port: this is not the name of a network port")]
    Port,
    /// An address that is none.
    #[error("{}: this is not an address of this kind", .0.key())]
    NotAnAddress(Field),
    /// An address without its prefix length or mask.
    #[error("{}: the prefix length is missing, such as /24", .0.key())]
    PrefixMissing(Field),
    /// A prefix length or mask that is none, or that leaves no room for a machine.
    #[error("{}: this prefix length or mask is not possible", .0.key())]
    Prefix(Field),
    /// An address that no machine can have: loopback, multicast, unspecified, link-local.
    #[error("{}: no machine can be reached at this address", .0.key())]
    NotForMachines(Field),
    /// The first address of the subnet names the subnet itself.
    #[error("{}: this address names the subnet, not a machine in it", .0.key())]
    NamesTheSubnet(Field),
    /// The last address of the subnet is for all machines.
    #[error("{}: this address is for all machines of the subnet", .0.key())]
    Broadcast(Field),
    /// The router cannot be reached directly.
    #[error("{}: the gateway {gateway} is not in the subnet {subnet}", field.key())]
    GatewayOutside {
        /// Which gateway.
        field: Field,
        /// The gateway.
        gateway: IpAddr,
        /// The satellite's subnet.
        subnet: ipnet::IpNet,
    },
    /// The router would be the satellite itself.
    #[error("{}: the gateway cannot be the satellite itself", .0.key())]
    GatewayIsSelf(Field),
    /// A server that is none.
    #[error("{}: `{value}` is no address or name of a server", field.key())]
    NotAServer {
        /// Which list.
        field: Field,
        /// What was typed, shortened.
        value: String,
    },
    /// More servers than can be used.
    #[error("{}: at most {MOST_SERVERS} servers", .0.key())]
    TooManyServers(Field),
    /// A virtual LAN that is none.
    #[error("vlan: must be a number from 1 to 4094")]
    Vlan,
    /// A packet size that is not possible.
    #[error("mtu: must be a number from 576 to 9216")]
    Mtu,
    /// A packet size that IPv6 does not allow.
    #[error("mtu: IPv6 needs at least {IPV6_LEAST_MTU}; set more, or switch IPv6 off")]
    MtuTooSmallForIpv6,
    /// A proxy that is none.
    #[error("proxy: must look like http://proxy.example.com:3128")]
    Proxy,
    /// A proxy with a user or password, which would be readable by workloads and in backups.
    #[error("proxy: a user name or password is not supported")]
    ProxyWithPassword,
}

impl Fault {
    /// The field to be corrected.
    #[must_use]
    pub fn field(&self) -> Field {
        match self {
            Self::Empty(field)
            | Self::NotAnAddress(field)
            | Self::PrefixMissing(field)
            | Self::Prefix(field)
            | Self::NotForMachines(field)
            | Self::NamesTheSubnet(field)
            | Self::Broadcast(field)
            | Self::GatewayOutside { field, .. }
            | Self::GatewayIsSelf(field)
            | Self::NotAServer { field, .. }
            | Self::TooManyServers(field) => *field,
            Self::HostName => Field::HostName,
            Self::Port => Field::Port,
            Self::Vlan => Field::Vlan,
            Self::Mtu | Self::MtuTooSmallForIpv6 => Field::Mtu,
            Self::Proxy | Self::ProxyWithPassword => Field::Proxy,
        }
    }
}
