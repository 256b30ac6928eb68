//! What is in force, as the kernel and the resolver say.

use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use satellite_host::files;
pub use satellite_host::network::{Address, Link};
use satellite_host::{net, network};

/// Where systemd-resolved tells which servers it asks.
const RESOLVER: &str = "/run/systemd/resolve/resolv.conf";

/// Where systemd-networkd tells what it knows of the network as a whole.
const NETWORKD: &str = "/run/systemd/netif/state";

/// Largest of these files that is read, in bytes.
const LIMIT: u64 = 64 * 1024;

/// The network as it is now. What cannot be read is left empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The satellite's name.
    pub host_name: String,
    /// Its wired ports and virtual LANs.
    pub links: Vec<Link>,
    /// Routers that packets for everywhere go to.
    pub gateways: Vec<IpAddr>,
    /// Name servers in use.
    pub dns: Vec<IpAddr>,
    /// Time servers that are set or were offered.
    pub ntp: Vec<String>,
}

impl Observed {
    /// The port that carries the traffic: one with a link, if possible with an address, of equals the first.
    #[must_use]
    pub fn port_in_use(&self) -> Option<&Link> {
        port_in_use(&self.links)
    }

    /// All addresses under which others can reach the satellite.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpNet> {
        self.links.iter().flat_map(Link::reachable).collect()
    }
}

/// The port of `links` that carries the traffic.
pub(super) fn port_in_use(links: &[Link]) -> Option<&Link> {
    let is_used = |link: &Link| {
        let through_vlan = links
            .iter()
            .any(|other| other.parent.as_deref() == Some(&link.name) && !other.reachable().is_empty());
        through_vlan || !link.reachable().is_empty()
    };
    let ports = links.iter().filter(|link| link.vlan.is_none());
    ports.rev().max_by_key(|link| (link.has_carrier, is_used(link)))
}

/// Looks at the machine.
pub(super) async fn observe(machine: &dyn network::Network) -> Observed {
    let unknown =
        |error: network::NetworkError| tracing::warn!(error = ?error, "State of the network not known");
    Observed {
        host_name: net::hostname().unwrap_or_default(),
        links: machine.links().await.map_err(unknown).unwrap_or_default(),
        gateways: machine.gateways().await.map_err(unknown).unwrap_or_default(),
        dns: name_servers(&text_of(RESOLVER)),
        ntp: time_servers(&text_of(NETWORKD)),
    }
}

fn text_of(path: &str) -> String {
    let bytes = files::read(Path::new(path), LIMIT).ok().flatten();
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

fn name_servers(text: &str) -> Vec<IpAddr> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("nameserver "));
    // A link-local one carries the port behind a per cent sign.
    lines
        .filter_map(|server| server.split('%').next()?.trim().parse().ok())
        .collect()
}

fn time_servers(text: &str) -> Vec<String> {
    let line = text.lines().find_map(|line| line.strip_prefix("NTP="));
    let words = line.unwrap_or_default().split_whitespace();
    words.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, has_carrier: bool, address: Option<&str>) -> Link {
        let addresses = address.map(|address| Address {
            net: address.parse().unwrap(),
            is_dynamic: true,
            is_duplicate: false,
        });
        Link {
            name: name.to_owned(),
            has_carrier,
            addresses: addresses.into_iter().collect(),
            ..Link::default()
        }
    }

    #[test]
    fn the_port_in_use_has_a_link_and_then_an_address() {
        for (links, expected) in [
            (vec![link("eth0", false, None), link("eth1", true, None)], "eth1"),
            (
                vec![link("eth0", true, None), link("eth1", true, Some("192.0.2.7/24"))],
                "eth1",
            ),
            (
                vec![
                    link("eth0", true, Some("169.254.1.1/16")),
                    link("eth1", true, None),
                ],
                "eth0",
            ),
            (
                vec![
                    link("eth0", true, Some("192.0.2.7/24")),
                    link("eth1", true, Some("192.0.2.8/24")),
                ],
                "eth0",
            ),
        ] {
            assert_eq!(port_in_use(&links).unwrap().name, expected, "{links:?}");
        }
        assert_eq!(port_in_use(&[]), None);
    }

    #[test]
    fn a_port_whose_virtual_lan_is_used_is_used() {
        let vlan = Link {
            vlan: Some(7),
            parent: Some("eth1".to_owned()),
            ..link("vlan7", true, Some("192.0.2.7/24"))
        };
        let links = [link("eth0", true, None), link("eth1", true, None), vlan];
        assert_eq!(port_in_use(&links).unwrap().name, "eth1");
    }

    #[test]
    fn servers_are_read_as_systemd_writes_them() {
        let dns = name_servers("# x\nnameserver 192.0.2.53\nnameserver fe80::1%2\nsearch .\n");
        assert_eq!(
            dns,
            [
                "192.0.2.53".parse::<IpAddr>().unwrap(),
                "fe80::1".parse().unwrap()
            ]
        );
        assert_eq!(
            time_servers("OPER_STATE=routable\nNTP=a.example 192.0.2.1\n"),
            ["a.example", "192.0.2.1"]
        );
        assert!(time_servers("").is_empty());
    }
}
