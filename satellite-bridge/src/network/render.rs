//! Settings as files for systemd-networkd.
//!
//! **Invariant:** pure, and the same settings give the same bytes. As shipped means no file of ours at all: the image's
//! own `10-lan.network` then holds. A file of ours with that name replaces it, one that sorts before it goes first.

use std::fmt::Write as _;

use super::settings::{Ipv4, Ipv6, PortName, Proxy, Settings, VlanId};

/// Every file that we may write; whichever of them is not rendered must not be there.
pub const FILES: [&str; 4] = [PORT, ALL_PORTS, VLAN_DEVICE, VLAN];

/// The one port that the settings are for. Sorts before the one of the image.
const PORT: &str = "10-address.network";
/// All wired ports, as in the image.
const ALL_PORTS: &str = "10-lan.network";
/// Makes the virtual LAN.
const VLAN_DEVICE: &str = "10-vlan.netdev";
/// The virtual LAN.
const VLAN: &str = "10-vlan.network";

const HEAD: &str = "# Written by the satellite's bridge from its network settings, and written again at each change and start.\n";

/// A file for systemd-networkd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// One of [`FILES`].
    pub name: &'static str,
    /// What is in it.
    pub text: String,
}

/// How the kernel calls a virtual LAN.
#[must_use]
pub fn vlan_name(vlan: VlanId) -> String {
    format!("vlan{vlan}")
}

/// The files of `settings`. Settings for one port must name it; without a name they are for all.
#[must_use]
pub fn render(settings: &Settings) -> Vec<Rendered> {
    let Some(vlan) = settings.vlan else {
        return match &settings.port {
            Some(port) => vec![file(PORT, &port_match(port), settings)],
            None if is_shipped(settings) => Vec::new(),
            None => vec![file(ALL_PORTS, "Type=ether\nName=en* eth*\n", settings)],
        };
    };
    let name = vlan_name(vlan);
    let mtu = mtu(settings);
    let port = match &settings.port {
        Some(port) => port_match(port),
        None => "Type=ether\nName=en* eth*\n".to_owned(),
    };
    let carrier = format!(
        "{HEAD}[Match]\n{port}{mtu}\n[Network]\nVLAN={name}\nDHCP=no\nLinkLocalAddressing=no\nIPv6AcceptRA=no\nLLMNR=no\nMulticastDNS=no\n"
    );
    let device = format!("{HEAD}[NetDev]\nName={name}\nKind=vlan\n\n[VLAN]\nId={vlan}\n");
    vec![
        Rendered {
            name: PORT,
            text: carrier,
        },
        Rendered {
            name: VLAN_DEVICE,
            text: device,
        },
        file(VLAN, &format!("Name={name}\n"), settings),
    ]
}

/// The environment in which workloads find the proxy; `None` without one.
#[must_use]
pub fn environment(proxy: Option<&Proxy>) -> Option<String> {
    let proxy = proxy?;
    let mut text = String::from("# Written by the satellite's bridge from its network settings.\n");
    // Programs do not agree on the case.
    for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
        text += &format!("{name}={proxy}\n");
    }
    for name in ["no_proxy", "NO_PROXY"] {
        text += &format!("{name}=localhost,127.0.0.1,::1\n");
    }
    Some(text)
}

fn is_shipped(settings: &Settings) -> bool {
    let bare = Settings {
        host_name: settings.host_name.clone(),
        proxy: settings.proxy.clone(),
        ..Settings::default()
    };
    *settings == bare
}

fn port_match(port: &PortName) -> String {
    format!("Name={port}\n")
}

fn mtu(settings: &Settings) -> String {
    settings
        .mtu
        .map(|mtu| format!("\n[Link]\nMTUBytes={mtu}\n"))
        .unwrap_or_default()
}

fn file(name: &'static str, matches: &str, settings: &Settings) -> Rendered {
    let dhcp = match (settings.ipv4, settings.ipv6) {
        (Ipv4::Dhcp, Ipv6::Automatic) => "yes",
        (Ipv4::Dhcp, _) => "ipv4",
        (_, Ipv6::Automatic) => "ipv6",
        _ => "no",
    };
    // A router that was named is the only one; without one those that advertise themselves are asked.
    let listens = match settings.ipv6 {
        Ipv6::Automatic | Ipv6::Static { gateway: None, .. } => "yes",
        Ipv6::Static { .. } | Ipv6::Off => "no",
    };
    let link_local = if settings.ipv6 == Ipv6::Off { "no" } else { "ipv6" };
    let mut text = format!(
        "{HEAD}[Match]\n{matches}{}\n[Network]\nDHCP={dhcp}\nIPv6AcceptRA={listens}\nLinkLocalAddressing={link_local}\n\
         LLMNR=no\nMulticastDNS=no\n",
        mtu(settings)
    );
    text += &addresses(settings);
    for server in &settings.dns {
        text += &format!("DNS={server}\n");
    }
    for server in &settings.ntp {
        text += &format!("NTP={server}\n");
    }
    text += &offers(settings);
    Rendered { name, text }
}

fn addresses(settings: &Settings) -> String {
    let mut text = String::new();
    let mut add = |address: &dyn std::fmt::Display, gateway: Option<String>| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "Address={address}");
        if let Some(gateway) = gateway {
            let _ = writeln!(text, "Gateway={gateway}");
        }
    };
    if let Ipv4::Static { address, gateway } = settings.ipv4 {
        add(&address, gateway.map(|gateway| gateway.to_string()));
    }
    if let Ipv6::Static { address, gateway } = settings.ipv6 {
        add(&address, gateway.map(|gateway| gateway.to_string()));
    }
    text
}

/// What of the network's offers is taken: servers that were set replace those that are offered.
fn offers(settings: &Settings) -> String {
    let mut servers = String::new();
    if !settings.dns.is_empty() {
        servers += "UseDNS=no\n";
    }
    let by_router = servers.clone();
    if !settings.ntp.is_empty() {
        servers += "UseNTP=no\n";
    }
    let mut text = format!(
        "\n[DHCPv4]\n# A clone must not claim the lease of the machine it was copied from.\nClientIdentifier=mac\n\
         UseDomains=no\n{servers}\n[DHCPv6]\nUseDomains=no\n{servers}"
    );
    let takes_address = match settings.ipv6 {
        Ipv6::Static { .. } => "UseAutonomousPrefix=no\nDHCPv6Client=no\n",
        Ipv6::Automatic | Ipv6::Off => "",
    };
    if !(by_router.is_empty() && takes_address.is_empty()) {
        text += &format!("\n[IPv6AcceptRA]\n{takes_address}{by_router}");
    }
    text
}

#[cfg(test)]
mod tests;
