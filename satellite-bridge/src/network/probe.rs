//! Tries settings in the network before they are applied.
//!
//! **Invariant:** changes nothing, and what cannot be tried is said to be untried, never passed over.

use satellite_host::network::Network as Machine;

use super::observed::port_in_use;
use super::{Finding, PortName, Settings};

/// What is found about `wanted`, the worst first.
pub(super) async fn probe(machine: &dyn Machine, wanted: &Settings) -> Vec<Finding> {
    let links = machine.links().await.unwrap_or_default();
    let link = match &wanted.port {
        Some(port) => links.iter().find(|link| link.name == port.as_str()),
        None => port_in_use(&links),
    };
    let Some(link) = link else {
        let port = wanted.port.clone();
        return vec![port.map_or(Finding::NoPort, |port| Finding::NoSuchPort { port })];
    };
    let Ok(port) = link.name.parse::<PortName>() else {
        return vec![Finding::NoPort];
    };
    if !link.has_carrier {
        return vec![Finding::NoCarrier { port }];
    }
    Vec::new()
}
