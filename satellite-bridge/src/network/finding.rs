//! What probes find out about settings before they are applied.

use std::fmt;
use std::net::IpAddr;

use super::settings::{PortName, VlanId};

/// The hardware address of a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HardwareAddress(pub [u8; 6]);

impl fmt::Display for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Probably wrong; may be applied.
    Warning,
    /// Wrong; is applied only if a person insists.
    Error,
}

/// Something that a probe found out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Finding {
    /// Another machine has the address.
    #[error("the address {address} is used by another machine ({by})")]
    AddressTaken {
        /// The address.
        address: IpAddr,
        /// Who has it.
        by: HardwareAddress,
    },
    /// Nobody answers at the router's address.
    #[error("the gateway {gateway} does not answer")]
    GatewayDoesNotAnswer {
        /// The router.
        gateway: IpAddr,
    },
    /// The port has no cable, or is switched off at the other end.
    #[error("the port {port} has no link: check its cable or its virtual switch")]
    NoCarrier {
        /// The port.
        port: PortName,
    },
    /// The satellite has no such port.
    #[error("the satellite has no network port {port}")]
    NoSuchPort {
        /// The port.
        port: PortName,
    },
    /// The satellite has no wired port at all.
    #[error("the satellite has no wired network port")]
    NoPort,
    /// The virtual LAN is not in use yet, so nobody can be asked in it.
    #[error("addresses in the virtual LAN {vlan} can be tried only after the change")]
    NotTriedInVlan {
        /// Which.
        vlan: VlanId,
    },
    /// The port does not let itself be asked.
    #[error("the network could not be asked at the port {port}")]
    NotTried {
        /// The port.
        port: PortName,
    },
}

impl Finding {
    /// How much it weighs.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::AddressTaken { .. } | Self::NoSuchPort { .. } | Self::NoPort => Severity::Error,
            Self::GatewayDoesNotAnswer { .. } | Self::NoCarrier { .. } => Severity::Warning,
            Self::NotTriedInVlan { .. } | Self::NotTried { .. } => Severity::Note,
        }
    }
}
