//! Tries settings in the network before they are applied.
//!
//! **Invariant:** changes nothing, and what cannot be tried is said to be untried, never passed over.

use std::net::IpAddr;

use satellite_host::network::{Link, Network as Machine};

use super::observed::port_in_use;
use super::render::vlan_name;
use super::{Finding, HardwareAddress, PortName, Settings};

/// What is found about `wanted`, the worst first.
pub(super) async fn probe(machine: &dyn Machine, wanted: &Settings) -> Vec<Finding> {
    let links = machine.links().await.unwrap_or_default();
    let mut findings = match port_of(&links, wanted) {
        Ok((port, true)) => ask(machine, &links, &port, wanted).await,
        Ok((port, false)) => vec![Finding::NoCarrier { port }],
        Err(finding) => vec![finding],
    };
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity()));
    findings
}

/// The port that the settings are for, and whether it has a link.
fn port_of(links: &[Link], wanted: &Settings) -> Result<(PortName, bool), Finding> {
    let link = match &wanted.port {
        Some(port) => links.iter().find(|link| link.name == port.as_str()),
        None => port_in_use(links),
    };
    let named = link.and_then(|link| Some((link.name.parse().ok()?, link.has_carrier)));
    named.ok_or_else(|| match &wanted.port {
        Some(port) => Finding::NoSuchPort { port: port.clone() },
        None => Finding::NoPort,
    })
}

async fn ask(machine: &dyn Machine, links: &[Link], port: &PortName, wanted: &Settings) -> Vec<Finding> {
    let owned: Vec<IpAddr> = links
        .iter()
        .flat_map(|link| link.reachable())
        .map(|net| net.addr())
        .collect();
    // What the satellite has already nobody else can have unnoticed.
    let mut addresses = wanted.static_addresses();
    addresses.retain(|address| !owned.contains(address));
    let gateways = wanted.static_gateways();
    if addresses.is_empty() && gateways.is_empty() {
        return Vec::new();
    }
    let asked_at = match wanted.vlan {
        None => port.to_string(),
        Some(vlan) => {
            let name = vlan_name(vlan);
            let there = links.iter().find(|link| link.name == name);
            if there.is_none_or(|link| link.parent.as_deref() != Some(port.as_str())) {
                return vec![Finding::NotTriedInVlan { vlan }];
            }
            name
        }
    };
    let everyone: Vec<IpAddr> = addresses.iter().chain(&gateways).copied().collect();
    let owners = match machine.owners(&asked_at, &everyone).await {
        Ok(owners) => owners,
        Err(error) => {
            tracing::warn!(error = ?error, "Neighbours could not be asked");
            return vec![Finding::NotTried { port: port.clone() }];
        }
    };
    let taken = addresses.into_iter().filter_map(|address| {
        let by = HardwareAddress(*owners.get(&address)?);
        Some(Finding::AddressTaken { address, by })
    });
    let silent = gateways
        .into_iter()
        .filter(|gateway| !owners.contains_key(gateway))
        .map(|gateway| Finding::GatewayDoesNotAnswer { gateway });
    taken.chain(silent).collect()
}

#[cfg(test)]
mod tests {
    use satellite_host::network::{Address, FakeNetwork};

    use super::*;

    fn port(has_carrier: bool) -> Link {
        Link {
            name: "eth0".to_owned(),
            has_carrier,
            addresses: vec![Address {
                net: "192.0.2.6/24".parse().unwrap(),
                is_dynamic: true,
                is_duplicate: false,
            }],
            ..Link::default()
        }
    }

    async fn check(links: Vec<Link>, neighbours: &[&str], settings: &str, expected: &[&str]) {
        let machine = FakeNetwork::with(links);
        for neighbour in neighbours {
            machine.add_neighbour(neighbour.parse().unwrap(), [2, 0, 0, 0, 0, 9]);
        }
        let settings: Settings = serde_json::from_str(settings).unwrap();
        let found = probe(&machine, &settings).await;
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{settings:?}");
    }

    const STATIC: &str = r#"{"ipv4":{"method":"static","address":"192.0.2.7/24","gateway":"192.0.2.1"}}"#;
    const KEPT: &str = r#"{"ipv4":{"method":"static","address":"192.0.2.6/24","gateway":"192.0.2.1"}}"#;

    #[tokio::test]
    async fn a_free_address_and_a_gateway_that_answers_are_fine() {
        check(vec![port(true)], &["192.0.2.1"], STATIC, &[]).await;
        check(vec![port(true)], &["192.0.2.1", "192.0.2.6"], KEPT, &[]).await;
        check(vec![port(true)], &[], "{}", &[]).await;
    }

    #[tokio::test]
    async fn the_worst_comes_first() {
        let expected = [
            "the address 192.0.2.7 is used by another machine (02:00:00:00:00:09)",
            "the gateway 192.0.2.1 does not answer",
        ];
        check(vec![port(true)], &["192.0.2.7"], STATIC, &expected).await;
    }

    #[tokio::test]
    async fn without_a_port_or_a_link_nobody_is_asked() {
        let no_link = ["the port eth0 has no link: check its cable or its virtual switch"];
        check(vec![port(false)], &[], STATIC, &no_link).await;
        check(vec![], &[], STATIC, &["the satellite has no wired network port"]).await;
        let other = r#"{"port":"eth9"}"#;
        check(
            vec![port(true)],
            &[],
            other,
            &["the satellite has no network port eth9"],
        )
        .await;
    }

    #[tokio::test]
    async fn what_cannot_be_tried_is_said() {
        let tagged = r#"{"vlan":7,"ipv4":{"method":"static","address":"192.0.2.7/24","gateway":null}}"#;
        let expected = ["addresses in the virtual LAN 7 can be tried only after the change"];
        check(vec![port(true)], &["192.0.2.7"], tagged, &expected).await;
    }
}
