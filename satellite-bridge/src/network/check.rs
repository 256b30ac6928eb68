//! Each field of the network as a person types it, turned into a checked value, and all of them together.
//!
//! **Invariant:** pure. An empty answer means "as shipped" or "as the network says" where a field allows it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{Ipv4Net, Ipv6Net};

pub use super::fault::{Fault, Field};
use super::settings::{HostName, Ipv4, Ipv6, Mtu, PortName, Proxy, Settings, TimeServer, VlanId};

/// How many name servers or time servers may be set.
pub const MOST_SERVERS: usize = 4;

/// Smallest packet that IPv6 allows, in bytes.
pub(super) const IPV6_LEAST_MTU: u16 = 1280;

/// The host name; empty: the shipped one.
///
/// # Errors
///
/// [`Fault::HostName`].
pub fn host_name(text: &str) -> Result<Option<HostName>, Fault> {
    optional(text)
}

/// The wired port; empty: the one in use.
///
/// # Errors
///
/// [`Fault::Port`].
pub fn port(text: &str) -> Result<Option<PortName>, Fault> {
    optional(text)
}

/// An IPv4 address with prefix length or mask: `192.0.2.7/24`, `192.0.2.7 255.255.255.0`.
///
/// # Errors
///
/// What is wrong with it.
pub fn ipv4_address(text: &str) -> Result<Ipv4Net, Fault> {
    const FIELD: Field = Field::Ipv4Address;
    let (address, prefix) = split_prefix(text, FIELD)?;
    let address: Ipv4Addr = address.parse().map_err(|_| Fault::NotAnAddress(FIELD))?;
    let prefix = prefix.ok_or(Fault::PrefixMissing(FIELD))?;
    let length = match prefix.parse::<Ipv4Addr>() {
        Ok(mask) => ipnet::ipv4_mask_to_prefix(mask).map_err(|_| Fault::Prefix(FIELD))?,
        Err(_) => prefix.parse().map_err(|_| Fault::Prefix(FIELD))?,
    };
    let net = Ipv4Net::new(address, length).map_err(|_| Fault::Prefix(FIELD))?;
    ipv4_for_a_machine(net).map(|()| net)
}

/// An IPv4 router within the subnet of `address`; empty: none.
///
/// # Errors
///
/// What is wrong with it.
pub fn ipv4_gateway(text: &str, address: Ipv4Net) -> Result<Option<Ipv4Addr>, Fault> {
    const FIELD: Field = Field::Ipv4Gateway;
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let gateway: Ipv4Addr = text.parse().map_err(|_| Fault::NotAnAddress(FIELD))?;
    ipv4_router(gateway, address).map(|()| Some(gateway))
}

/// An IPv6 address with prefix length: `2001:db8::7/64`.
///
/// # Errors
///
/// What is wrong with it.
pub fn ipv6_address(text: &str) -> Result<Ipv6Net, Fault> {
    const FIELD: Field = Field::Ipv6Address;
    let (address, prefix) = split_prefix(text, FIELD)?;
    let address: Ipv6Addr = address.parse().map_err(|_| Fault::NotAnAddress(FIELD))?;
    let prefix = prefix.ok_or(Fault::PrefixMissing(FIELD))?;
    let length = prefix.parse().map_err(|_| Fault::Prefix(FIELD))?;
    let net = Ipv6Net::new(address, length).map_err(|_| Fault::Prefix(FIELD))?;
    ipv6_for_a_machine(net).map(|()| net)
}

/// An IPv6 router: link-local, or within the subnet of `address`; empty: the one that advertises itself.
///
/// # Errors
///
/// What is wrong with it.
pub fn ipv6_gateway(text: &str, address: Ipv6Net) -> Result<Option<Ipv6Addr>, Fault> {
    const FIELD: Field = Field::Ipv6Gateway;
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let gateway: Ipv6Addr = text.parse().map_err(|_| Fault::NotAnAddress(FIELD))?;
    ipv6_router(gateway, address).map(|()| Some(gateway))
}

/// Name servers, separated by commas or blanks; empty: those that the network offers.
///
/// # Errors
///
/// What is wrong with them.
pub fn dns(text: &str) -> Result<Vec<IpAddr>, Fault> {
    const FIELD: Field = Field::Dns;
    let servers = words(text)
        .map(|word| {
            word.parse::<IpAddr>()
                .ok()
                .filter(|address| is_server(*address))
                .ok_or_else(|| not_a_server(FIELD, word))
        })
        .collect::<Result<Vec<_>, _>>()?;
    few(FIELD, servers)
}

/// Time servers by address or name, separated by commas or blanks; empty: those that the network offers.
///
/// # Errors
///
/// What is wrong with them.
pub fn ntp(text: &str) -> Result<Vec<TimeServer>, Fault> {
    let servers = words(text).map(str::parse).collect::<Result<Vec<_>, _>>()?;
    few(Field::Ntp, servers)
}

/// A virtual LAN; empty: untagged.
///
/// # Errors
///
/// [`Fault::Vlan`].
pub fn vlan(text: &str) -> Result<Option<VlanId>, Fault> {
    number(text, Fault::Vlan)
}

/// The largest packet; empty: as the port has it.
///
/// # Errors
///
/// [`Fault::Mtu`].
pub fn mtu(text: &str) -> Result<Option<Mtu>, Fault> {
    number(text, Fault::Mtu)
}

/// The proxy; empty: none.
///
/// # Errors
///
/// [`Fault::Proxy`], [`Fault::ProxyWithPassword`].
pub fn proxy(text: &str) -> Result<Option<Proxy>, Fault> {
    optional(text)
}

/// All fields together: what can be right by itself and wrong beside the others.
///
/// # Errors
///
/// The first fault.
pub fn whole(settings: &Settings) -> Result<(), Fault> {
    if let Ipv4::Static { address, gateway } = settings.ipv4 {
        ipv4_for_a_machine(address)?;
        gateway.map_or(Ok(()), |gateway| ipv4_router(gateway, address))?;
    }
    if let Ipv6::Static { address, gateway } = settings.ipv6 {
        ipv6_for_a_machine(address)?;
        gateway.map_or(Ok(()), |gateway| ipv6_router(gateway, address))?;
    }
    if settings.dns.len() > MOST_SERVERS {
        return Err(Fault::TooManyServers(Field::Dns));
    }
    if let Some(wrong) = settings.dns.iter().find(|address| !is_server(**address)) {
        return Err(not_a_server(Field::Dns, &wrong.to_string()));
    }
    if settings.ntp.len() > MOST_SERVERS {
        return Err(Fault::TooManyServers(Field::Ntp));
    }
    let small = settings.mtu.is_some_and(|mtu| mtu.get() < IPV6_LEAST_MTU);
    if small && settings.ipv6 != Ipv6::Off {
        return Err(Fault::MtuTooSmallForIpv6);
    }
    Ok(())
}

fn ipv4_for_a_machine(net: Ipv4Net) -> Result<(), Fault> {
    const FIELD: Field = Field::Ipv4Address;
    let address = net.addr();
    // 224 and above: multicast, reserved, broadcast. 0: "this network".
    let unfit = address.is_loopback()
        || address.is_link_local()
        || address.octets()[0] == 0
        || address.octets()[0] >= 224;
    if unfit {
        return Err(Fault::NotForMachines(FIELD));
    }
    if net.prefix_len() == 0 {
        return Err(Fault::Prefix(FIELD));
    }
    // A subnet of two (RFC 3021) or of one has neither.
    if net.prefix_len() < 31 && address == net.network() {
        return Err(Fault::NamesTheSubnet(FIELD));
    }
    if net.prefix_len() < 31 && address == net.broadcast() {
        return Err(Fault::Broadcast(FIELD));
    }
    Ok(())
}

fn ipv4_router(gateway: Ipv4Addr, address: Ipv4Net) -> Result<(), Fault> {
    const FIELD: Field = Field::Ipv4Gateway;
    if gateway == address.addr() {
        return Err(Fault::GatewayIsSelf(FIELD));
    }
    if !address.contains(&gateway) {
        return Err(Fault::GatewayOutside {
            field: FIELD,
            gateway: gateway.into(),
            subnet: address.trunc().into(),
        });
    }
    if address.prefix_len() < 31 && gateway == address.network() {
        return Err(Fault::NamesTheSubnet(FIELD));
    }
    if address.prefix_len() < 31 && gateway == address.broadcast() {
        return Err(Fault::Broadcast(FIELD));
    }
    Ok(())
}

fn ipv6_for_a_machine(net: Ipv6Net) -> Result<(), Fault> {
    const FIELD: Field = Field::Ipv6Address;
    let address = net.addr();
    let unfit = address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unicast_link_local()
        || address.to_ipv4_mapped().is_some();
    if unfit {
        return Err(Fault::NotForMachines(FIELD));
    }
    if net.prefix_len() == 0 {
        return Err(Fault::Prefix(FIELD));
    }
    // The first address of a subnet is that of all its routers.
    if net.prefix_len() < 127 && address == net.network() {
        return Err(Fault::NamesTheSubnet(FIELD));
    }
    Ok(())
}

fn ipv6_router(gateway: Ipv6Addr, address: Ipv6Net) -> Result<(), Fault> {
    const FIELD: Field = Field::Ipv6Gateway;
    if gateway == address.addr() {
        return Err(Fault::GatewayIsSelf(FIELD));
    }
    if gateway.is_unicast_link_local() {
        return Ok(());
    }
    if gateway.is_multicast() || gateway.is_unspecified() || gateway.is_loopback() {
        return Err(Fault::NotForMachines(FIELD));
    }
    if address.contains(&gateway) {
        return Ok(());
    }
    Err(Fault::GatewayOutside {
        field: FIELD,
        gateway: gateway.into(),
        subnet: address.trunc().into(),
    })
}

pub(super) fn host_name_text(text: &str) -> Result<String, Fault> {
    let name = text.trim().to_ascii_lowercase();
    is_label(&name).then_some(name).ok_or(Fault::HostName)
}

pub(super) fn port_text(text: &str) -> Result<String, Fault> {
    let name = text.trim();
    // What the kernel takes is wider; what it names wired ports by itself is not.
    let clean = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let fits = (1..=15).contains(&name.len());
    (clean && fits).then(|| name.to_owned()).ok_or(Fault::Port)
}

pub(super) fn time_server_text(text: &str) -> Result<String, Fault> {
    let text = text.trim();
    let is_right = match text.parse::<IpAddr>() {
        Ok(address) => is_server(address),
        Err(_) => is_domain(text),
    };
    is_right
        .then(|| text.to_ascii_lowercase())
        .ok_or_else(|| not_a_server(Field::Ntp, text))
}

pub(super) fn proxy_text(text: &str) -> Result<String, Fault> {
    let text = text.trim().trim_end_matches('/');
    let (scheme, rest) = text.split_once("://").ok_or(Fault::Proxy)?;
    let scheme = scheme.to_ascii_lowercase();
    if !["http", "https"].contains(&scheme.as_str()) {
        return Err(Fault::Proxy);
    }
    if rest.contains('@') {
        return Err(Fault::ProxyWithPassword);
    }
    let (host, port) = rest.rsplit_once(':').ok_or(Fault::Proxy)?;
    port.parse::<u16>()
        .ok()
        .filter(|port| *port != 0)
        .ok_or(Fault::Proxy)?;
    let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_right = match in_brackets {
        Some(six) => six.parse::<Ipv6Addr>().is_ok_and(|six| is_server(six.into())),
        None => match host.parse::<Ipv4Addr>() {
            Ok(four) => is_server(four.into()),
            Err(_) => is_domain(host),
        },
    };
    is_right
        .then(|| format!("{scheme}://{}:{port}", host.to_ascii_lowercase()))
        .ok_or(Fault::Proxy)
}

pub(super) fn vlan_number(number: u32) -> Result<u16, Fault> {
    let number = u16::try_from(number).map_err(|_| Fault::Vlan)?;
    (1..=4094).contains(&number).then_some(number).ok_or(Fault::Vlan)
}

pub(super) fn mtu_number(number: u32) -> Result<u16, Fault> {
    let number = u16::try_from(number).map_err(|_| Fault::Mtu)?;
    (576..=9216).contains(&number).then_some(number).ok_or(Fault::Mtu)
}

fn optional<T: FromStr<Err = Fault>>(text: &str) -> Result<Option<T>, Fault> {
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some),
    }
}

fn number<T: TryFrom<u32, Error = Fault>>(text: &str, fault: Fault) -> Result<Option<T>, Fault> {
    match text.trim() {
        "" => Ok(None),
        text => {
            let number: u32 = text.parse().map_err(|_| fault)?;
            T::try_from(number).map(Some)
        }
    }
}

/// The address and, behind a slash or a blank, the prefix length or mask.
fn split_prefix(text: &str, field: Field) -> Result<(&str, Option<&str>), Fault> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Fault::Empty(field));
    }
    let found = text
        .split_once('/')
        .or_else(|| text.split_once(char::is_whitespace));
    let split =
        found.map(|(address, prefix)| (address.trim(), Some(prefix.trim()).filter(|p| !p.is_empty())));
    Ok(split.unwrap_or((text, None)))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c == ';' || c.is_whitespace())
        .filter(|word| !word.is_empty())
}

fn few<T: PartialEq>(field: Field, servers: Vec<T>) -> Result<Vec<T>, Fault> {
    let mut kept = Vec::new();
    for server in servers {
        if !kept.contains(&server) {
            kept.push(server);
        }
    }
    if kept.len() > MOST_SERVERS {
        return Err(Fault::TooManyServers(field));
    }
    Ok(kept)
}

fn is_server(address: IpAddr) -> bool {
    !(address.is_unspecified() || address.is_multicast() || address.is_loopback())
}

fn not_a_server(field: Field, value: &str) -> Fault {
    let value = value.chars().filter(|c| !c.is_control()).take(64).collect();
    Fault::NotAServer { field, value }
}

/// One label of a name; `text` is in small letters.
fn is_label(text: &str) -> bool {
    let clean = text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    (1..=63).contains(&text.len()) && clean && !text.starts_with('-') && !text.ends_with('-')
}

fn is_domain(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    // Four numbers that are no address are a mistyped address.
    let is_numeric = text
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= 253 && !is_numeric && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests;
