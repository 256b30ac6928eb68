//! What `ip -j` prints, turned into our types.
//!
//! **Invariant:** pure. What is not understood of one link or address is left out, the others stay.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

use super::{Address, Link};

#[derive(Debug, Deserialize)]
struct RawLink {
    ifindex: u32,
    ifname: String,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    mtu: u32,
    #[serde(default)]
    link_type: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    link: Option<String>,
    #[serde(default)]
    linkinfo: LinkInfo,
    #[serde(default)]
    addr_info: Vec<RawAddress>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LinkInfo {
    info_kind: String,
    info_data: LinkData,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LinkData {
    id: Option<u16>,
}

#[derive(Debug, Deserialize)]
struct RawAddress {
    local: Option<IpAddr>,
    prefixlen: u8,
    #[serde(default)]
    dynamic: bool,
    #[serde(default)]
    dadfailed: bool,
}

#[derive(Debug, Deserialize)]
struct RawRoute {
    gateway: Option<IpAddr>,
    #[serde(default)]
    nexthops: Vec<Hop>,
}

#[derive(Debug, Deserialize)]
struct Hop {
    gateway: Option<IpAddr>,
}

/// The wired ports and their virtual LANs in the output of `ip -j -d address show`.
pub(super) fn links(json: &[u8]) -> serde_json::Result<Vec<Link>> {
    let raw: Vec<RawLink> = serde_json::from_slice(json)?;
    let ours = raw.into_iter().filter(|link| link.link_type == "ether");
    Ok(ours
        .filter(|link| is_wired(&link.ifname) || link.linkinfo.info_kind == "vlan")
        .map(link_of)
        .collect())
}

/// The routers in the output of `ip -j route show default`, each once.
pub(super) fn gateways(json: &[u8]) -> serde_json::Result<Vec<IpAddr>> {
    // No route at all is printed as nothing at all.
    if json.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let raw: Vec<RawRoute> = serde_json::from_slice(json)?;
    let mut found = Vec::new();
    for route in raw {
        let hops = route.nexthops.into_iter().filter_map(|hop| hop.gateway);
        for gateway in route.gateway.into_iter().chain(hops) {
            if !found.contains(&gateway) {
                found.push(gateway);
            }
        }
    }
    Ok(found)
}

/// As the shipped network file matches them.
fn is_wired(name: &str) -> bool {
    name.starts_with("en") || name.starts_with("eth")
}

fn link_of(raw: RawLink) -> Link {
    let is_vlan = raw.linkinfo.info_kind == "vlan";
    Link {
        name: raw.ifname,
        index: raw.ifindex,
        hardware_address: raw.address,
        has_carrier: raw.flags.iter().any(|flag| flag == "LOWER_UP"),
        mtu: raw.mtu,
        vlan: raw.linkinfo.info_data.id.filter(|_| is_vlan),
        parent: raw.link.filter(|_| is_vlan),
        addresses: raw.addr_info.iter().filter_map(address_of).collect(),
    }
}

fn address_of(raw: &RawAddress) -> Option<Address> {
    Some(Address {
        net: IpNet::new(raw.local?, raw.prefixlen).ok()?,
        is_dynamic: raw.dynamic,
        is_duplicate: raw.dadfailed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = r#"[
        {"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"link_type":"loopback",
         "address":"00:00:00:00:00:00","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8}]},
        {"ifindex":2,"link":"lan0","ifname":"eth0","flags":["BROADCAST","UP","LOWER_UP"],"mtu":1500,
         "link_type":"ether","address":"aa:c0:38:89:a5:01","linkinfo":{"info_kind":"veth"},"addr_info":[
           {"family":"inet","local":"192.0.2.7","prefixlen":24,"scope":"global","dynamic":true},
           {"family":"inet6","local":"2001:db8::7","prefixlen":64,"scope":"global","dadfailed":true},
           {"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link"}]},
        {"ifindex":3,"ifname":"docker0","flags":["UP"],"mtu":1500,"link_type":"ether","address":"02:42:00:00:00:01",
         "linkinfo":{"info_kind":"bridge","info_data":{"forward_delay":1500}},"addr_info":[]},
        {"ifindex":4,"link":"eth0","ifname":"vlan7","flags":["UP"],"mtu":1496,"link_type":"ether",
         "address":"aa:c0:38:89:a5:01","linkinfo":{"info_kind":"vlan","info_data":{"protocol":"802.1Q","id":7}},"addr_info":[]}
    ]"#;

    #[test]
    fn wired_ports_and_virtual_lans_are_shown_and_nothing_else() {
        let links = links(SHOWN.as_bytes()).unwrap();
        let names: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
        assert_eq!(names, ["eth0", "vlan7"]);
        assert!(links[0].has_carrier && !links[1].has_carrier);
        assert_eq!((links[0].vlan, links[0].parent.as_deref()), (None, None));
        assert_eq!(
            (links[1].vlan, links[1].parent.as_deref()),
            (Some(7), Some("eth0"))
        );
        assert!(links[0].addresses[0].is_dynamic && links[0].addresses[1].is_duplicate);
        assert_eq!(links[0].reachable(), ["192.0.2.7/24".parse::<IpNet>().unwrap()]);
    }

    #[test]
    fn each_router_is_named_once() {
        let shown = r#"[{"dst":"default","gateway":"fe80::1","dev":"eth0"},{"dst":"default","dev":"eth1"},
            {"dst":"default","nexthops":[{"gateway":"fe80::1"},{"gateway":"fe80::2"}]}]"#;
        let expected: Vec<IpAddr> = vec!["fe80::1".parse().unwrap(), "fe80::2".parse().unwrap()];
        assert_eq!(gateways(shown.as_bytes()).unwrap(), expected);
        assert!(gateways(b"\n").unwrap().is_empty());
    }
}
