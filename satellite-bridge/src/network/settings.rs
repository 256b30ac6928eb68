//! The satellite's network as a person sets it.
//!
//! **Invariant:** a value of one of these types was checked: nothing here can hold what [`super::check`] refuses, be it
//! typed, read from the disk or received.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::check::{self, Fault};

/// How the satellite takes part in the network. [`Settings::default`] is what an image ships.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    /// Its name; none: the shipped one.
    pub host_name: Option<HostName>,
    /// The wired port that the settings are for; none: the one in use, or all while addresses come by themselves.
    pub port: Option<PortName>,
    /// IPv4.
    pub ipv4: Ipv4,
    /// IPv6.
    pub ipv6: Ipv6,
    /// Name servers; none: those that the network offers.
    pub dns: Vec<IpAddr>,
    /// Time servers; none: those that the network offers, or the shipped ones.
    pub ntp: Vec<TimeServer>,
    /// Number of the virtual LAN whose frames the port tags; none: untagged.
    pub vlan: Option<VlanId>,
    /// Largest packet in bytes; none: as the port has it.
    pub mtu: Option<Mtu>,
    /// The proxy that workloads are told of.
    pub proxy: Option<Proxy>,
}

/// Where the IPv4 address comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ipv4 {
    /// From the network's DHCP server.
    #[default]
    Dhcp,
    /// Set by hand.
    Static {
        /// The address with its prefix length.
        address: Ipv4Net,
        /// The router; none: only the own subnet is reached.
        gateway: Option<Ipv4Addr>,
    },
}

/// Where the IPv6 addresses come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ipv6 {
    /// From router advertisements and DHCPv6.
    #[default]
    Automatic,
    /// Set by hand.
    Static {
        /// The address with its prefix length.
        address: Ipv6Net,
        /// The router; none: the one that advertises itself.
        gateway: Option<Ipv6Addr>,
    },
    /// No IPv6 at all.
    Off,
}

impl Settings {
    /// Whether every address comes from the network.
    #[must_use]
    pub fn is_automatic(&self) -> bool {
        self.ipv4 == Ipv4::Dhcp && !matches!(self.ipv6, Ipv6::Static { .. })
    }

    /// The addresses that are set by hand.
    #[must_use]
    pub fn static_addresses(&self) -> Vec<IpAddr> {
        let four = match self.ipv4 {
            Ipv4::Static { address, .. } => Some(IpAddr::V4(address.addr())),
            Ipv4::Dhcp => None,
        };
        let six = match self.ipv6 {
            Ipv6::Static { address, .. } => Some(IpAddr::V6(address.addr())),
            Ipv6::Automatic | Ipv6::Off => None,
        };
        four.into_iter().chain(six).collect()
    }

    /// The routers that are set by hand.
    #[must_use]
    pub fn static_gateways(&self) -> Vec<IpAddr> {
        let four = match self.ipv4 {
            Ipv4::Static { gateway, .. } => gateway.map(IpAddr::V4),
            Ipv4::Dhcp => None,
        };
        let six = match self.ipv6 {
            Ipv6::Static { gateway, .. } => gateway.map(IpAddr::V6),
            Ipv6::Automatic | Ipv6::Off => None,
        };
        four.into_iter().chain(six).collect()
    }

    /// Whether the settings are for one port: an address cannot be on two.
    #[must_use]
    pub fn needs_port(&self) -> bool {
        self.port.is_some() || self.vlan.is_some() || !self.is_automatic()
    }
}

/// Makes a type of text that only its check lets through.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = Fault;

            fn from_str(text: &str) -> Result<Self, Fault> {
                $check(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Fault;

            fn try_from(text: String) -> Result<Self, Fault> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked_text!(
    /// A host name: one label of `a-z0-9-`, at most 63 characters.
    HostName,
    check::host_name_text
);
checked_text!(
    /// A network port as the kernel calls it, such as `eth0` or `ens18`.
    PortName,
    check::port_text
);
checked_text!(
    /// A time server: an address, or a name of the domain name system.
    TimeServer,
    check::time_server_text
);
checked_text!(
    /// A proxy: `http://HOST:PORT` or `https://HOST:PORT`, without a password.
    Proxy,
    check::proxy_text
);

/// Makes a type of a number that only its check lets through.
macro_rules! checked_number {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "u32", into = "u32")]
        pub struct $name(u16);

        impl $name {
            /// The number itself.
            #[must_use]
            pub fn get(self) -> u16 {
                self.0
            }
        }

        impl TryFrom<u32> for $name {
            type Error = Fault;

            fn try_from(number: u32) -> Result<Self, Fault> {
                $check(number).map(Self)
            }
        }

        impl From<$name> for u32 {
            fn from(value: $name) -> Self {
                value.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

checked_number!(
    /// Number of a virtual LAN: 1 to 4094.
    VlanId,
    check::vlan_number
);
checked_number!(
    /// Largest packet in bytes: 576 to 9216.
    Mtu,
    check::mtu_number
);
