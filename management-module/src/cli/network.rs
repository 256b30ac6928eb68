//! `network …`

use clap::{Args, Subcommand};
use satellite_proto::wire::bridge::v1::{
    AddressMethod, AddressSettings, Finding, GetNetworkResponse, NetworkSettings, Severity,
};
use satellite_proto::wire::management::v1 as pb;
use serde::Serialize;

use super::texts::Text;
use super::{CliError, Global, client, prompt, render, texts};

/// What takes a setting back to how it is shipped.
const NONE: &str = "none";
/// What lets the network say it.
const AUTO: &str = "auto";

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Network {
    /// Shows the network settings of a satellite and what is in force.
    Show(Show),
    /// Tries settings in a satellite's network without applying them.
    Probe(Set),
    /// Changes the network settings that are named, reaches the satellite at its new address and confirms; else it goes back.
    Set(Set),
    /// Takes an open change of a satellite back.
    Rollback(Rollback),
    /// Reaches a satellite at another address from now on, once it has answered there.
    Address(Address),
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Name of the satellite.
    satellite: String,
}

#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// Name of the satellite.
    satellite: String,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct Address {
    /// Name of the satellite.
    satellite: String,
    /// Host name or IP address, with the port if it is not 7640.
    address: String,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// Name of the satellite.
    satellite: String,
    #[command(flatten)]
    changes: Changes,
    /// Where the satellite is reached then, if that is neither a static address nor the present one.
    #[arg(long, value_name = "ADDRESS")]
    reached_at: Option<String>,
    /// Seconds to reach it, 10 to 600; without it as the satellite is configured, usually 120.
    #[arg(long, value_name = "SECONDS")]
    confirm_seconds: Option<u32>,
    /// Also if a probe finds a fault.
    #[arg(long)]
    force: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// What is to be different; the rest stays.
#[derive(Debug, Args)]
pub(super) struct Changes {
    /// Host name, `none` for the shipped one.
    #[arg(long, value_name = "NAME")]
    host_name: Option<String>,
    /// Network port that the settings are for, `none` for the one in use.
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// IPv4 address with prefix length, or `auto` for DHCP.
    #[arg(long, value_name = "ADDRESS/LENGTH|auto")]
    ipv4: Option<String>,
    /// IPv4 gateway, or `none`.
    #[arg(long, value_name = "ADDRESS")]
    gateway: Option<String>,
    /// IPv6 address with prefix length, `auto` for router advertisements and DHCPv6, or `off`.
    #[arg(long, value_name = "ADDRESS/LENGTH|auto|off")]
    ipv6: Option<String>,
    /// IPv6 gateway, or `none` for the one that advertises itself.
    #[arg(long, value_name = "ADDRESS")]
    ipv6_gateway: Option<String>,
    /// Name servers, separated by commas, or `none` for those that the network offers.
    #[arg(long, value_name = "ADDRESSES")]
    dns: Option<String>,
    /// Time servers, separated by commas, or `none` for those that the network offers.
    #[arg(long, value_name = "SERVERS")]
    ntp: Option<String>,
    /// Virtual LAN, 1 to 4094, or `none`.
    #[arg(long, value_name = "NUMBER")]
    vlan: Option<String>,
    /// Largest packet in bytes, or `none` for that of the port.
    #[arg(long, value_name = "BYTES")]
    mtu: Option<String>,
    /// Proxy that workloads are told of: http://HOST:PORT, or `none`.
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
}

#[derive(Debug, Serialize)]
struct View {
    satellite: String,
    host_name: String,
    port: String,
    ipv4: String,
    ipv4_gateway: String,
    ipv6: String,
    ipv6_gateway: String,
    dns: Vec<String>,
    ntp: Vec<String>,
    vlan: u32,
    mtu: u32,
    proxy: String,
    open_change_id: String,
    open_change_seconds: u32,
    in_force: InForce,
}

#[derive(Debug, Serialize)]
struct InForce {
    host_name: String,
    addresses: Vec<String>,
    duplicate_addresses: Vec<String>,
    gateways: Vec<String>,
    dns: Vec<String>,
    ntp: Vec<String>,
    links: Vec<LinkView>,
}

#[derive(Debug, Serialize)]
struct LinkView {
    name: String,
    hardware_address: String,
    has_carrier: bool,
    mtu: u32,
}

#[derive(Debug, Serialize)]
struct FindingView {
    kind: String,
    severity: &'static str,
    text: String,
}

impl From<Finding> for FindingView {
    fn from(finding: Finding) -> Self {
        let severity = match finding.severity() {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note | Severity::Unspecified => "note",
        };
        Self {
            kind: finding.kind,
            severity,
            text: finding.text,
        }
    }
}

/// The method in one word, or the address.
fn address(settings: Option<&AddressSettings>) -> String {
    let Some(settings) = settings else {
        return AUTO.to_owned();
    };
    match settings.method() {
        AddressMethod::Unspecified | AddressMethod::Automatic => AUTO.to_owned(),
        AddressMethod::Off => "off".to_owned(),
        AddressMethod::Static => settings.address.clone(),
    }
}

fn gateway(settings: Option<&AddressSettings>) -> String {
    settings
        .map(|settings| settings.gateway.clone())
        .unwrap_or_default()
}

impl View {
    fn of(satellite: String, network: GetNetworkResponse) -> Self {
        let settings = network.settings.unwrap_or_default();
        let open = network.open_change.unwrap_or_default();
        let of_links = |some: fn(&satellite_proto::wire::bridge::v1::NetworkLink) -> &Vec<String>| {
            network.links.iter().flat_map(some).cloned().collect()
        };
        let in_force = InForce {
            addresses: of_links(|link| &link.addresses),
            duplicate_addresses: of_links(|link| &link.duplicate_addresses),
            host_name: network.host_name,
            gateways: network.gateways,
            dns: network.dns,
            ntp: network.ntp,
            links: network
                .links
                .into_iter()
                .map(|link| LinkView {
                    name: link.name,
                    hardware_address: link.hardware_address,
                    has_carrier: link.has_carrier,
                    mtu: link.mtu,
                })
                .collect(),
        };
        Self {
            satellite,
            ipv4: address(settings.ipv4.as_ref()),
            ipv4_gateway: gateway(settings.ipv4.as_ref()),
            ipv6: address(settings.ipv6.as_ref()),
            ipv6_gateway: gateway(settings.ipv6.as_ref()),
            host_name: settings.host_name,
            port: settings.port,
            dns: settings.dns,
            ntp: settings.ntp,
            vlan: settings.vlan,
            mtu: settings.mtu,
            proxy: settings.proxy,
            open_change_id: open.id,
            open_change_seconds: open.remaining_seconds,
            in_force,
        }
    }

    fn properties(&self) -> Vec<(Text, String)> {
        let number = |number: u32| match number {
            0 => String::new(),
            number => number.to_string(),
        };
        let links = self.in_force.links.iter().map(|link| {
            let state = if link.has_carrier {
                texts::LINK_UP
            } else {
                texts::LINK_DOWN
            };
            format!("{} ({}, {})", link.name, link.hardware_address, state.say())
        });
        let open = match self.open_change_seconds {
            0 => self.open_change_id.clone(),
            seconds => format!("{} ({seconds} s)", self.open_change_id),
        };
        vec![
            (texts::SATELLITE, self.satellite.clone()),
            (texts::HOST_NAME, self.host_name.clone()),
            (texts::PORT, self.port.clone()),
            (texts::IPV4, self.ipv4.clone()),
            (texts::IPV4_GATEWAY, self.ipv4_gateway.clone()),
            (texts::IPV6, self.ipv6.clone()),
            (texts::IPV6_GATEWAY, self.ipv6_gateway.clone()),
            (texts::DNS, self.dns.join(", ")),
            (texts::NTP, self.ntp.join(", ")),
            (texts::VLAN, number(self.vlan)),
            (texts::MTU, number(self.mtu)),
            (texts::PROXY, self.proxy.clone()),
            (texts::OPEN_CHANGE, open),
            (texts::HOST_NAME_NOW, self.in_force.host_name.clone()),
            (texts::LINKS_NOW, links.collect::<Vec<_>>().join(", ")),
            (texts::ADDRESSES_NOW, self.in_force.addresses.join(", ")),
            (
                texts::DUPLICATE_ADDRESSES,
                self.in_force.duplicate_addresses.join(", "),
            ),
            (texts::GATEWAYS_NOW, self.in_force.gateways.join(", ")),
            (texts::DNS_NOW, self.in_force.dns.join(", ")),
            (texts::NTP_NOW, self.in_force.ntp.join(", ")),
        ]
    }
}

impl Network {
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        match self {
            Self::Show(command) => command.run(global).await,
            Self::Probe(command) => command.probe(global).await,
            Self::Set(command) => command.run(global).await,
            Self::Rollback(command) => command.run(global).await,
            Self::Address(command) => command.run(global).await,
        }
    }
}

async fn get(client: &mut client::Client, satellite: &str) -> Result<GetNetworkResponse, CliError> {
    let request = pb::GetNetworkRequest {
        satellite: satellite.to_owned(),
    };
    Ok(client
        .network
        .get_network(request)
        .await?
        .into_inner()
        .network
        .unwrap_or_default())
}

impl Show {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let network = get(&mut client, &self.satellite).await?;
        render::one(
            global.output,
            &View::of(self.satellite, network),
            View::properties,
        )
    }
}

impl Changes {
    /// `present` with what was named.
    fn over(&self, present: NetworkSettings) -> Result<NetworkSettings, CliError> {
        let mut settings = present;
        let text = |value: &str| {
            if value == NONE {
                String::new()
            } else {
                value.to_owned()
            }
        };
        let list = |value: &str| -> Vec<String> {
            let servers = text(value);
            let servers = servers.split([',', ' ']).filter(|server| !server.is_empty());
            servers.map(str::to_owned).collect()
        };
        let number = |name: &str, value: &str| -> Result<u32, CliError> {
            if value == NONE {
                return Ok(0);
            }
            let parsed = value.parse().ok().filter(|number| *number != 0);
            parsed
                .ok_or_else(|| CliError::Usage(format!("--{name} takes a number or `{NONE}`, not {value:?}")))
        };
        if let Some(name) = &self.host_name {
            settings.host_name = text(name);
        }
        if let Some(port) = &self.port {
            settings.port = text(port);
        }
        settings.ipv4 = Some(family(
            settings.ipv4,
            self.ipv4.as_deref(),
            self.gateway.as_deref(),
        ));
        settings.ipv6 = Some(family(
            settings.ipv6,
            self.ipv6.as_deref(),
            self.ipv6_gateway.as_deref(),
        ));
        if let Some(dns) = &self.dns {
            settings.dns = list(dns);
        }
        if let Some(ntp) = &self.ntp {
            settings.ntp = list(ntp);
        }
        if let Some(vlan) = &self.vlan {
            settings.vlan = number("vlan", vlan)?;
        }
        if let Some(mtu) = &self.mtu {
            settings.mtu = number("mtu", mtu)?;
        }
        if let Some(proxy) = &self.proxy {
            settings.proxy = text(proxy);
        }
        Ok(settings)
    }
}

/// One family as it was, with another address or gateway. A gateway does not outlive its subnet.
fn family(present: Option<AddressSettings>, address: Option<&str>, gateway: Option<&str>) -> AddressSettings {
    let mut settings = present.unwrap_or_default();
    if let Some(address) = address {
        let method = match address {
            AUTO => AddressMethod::Automatic,
            "off" => AddressMethod::Off,
            _ => AddressMethod::Static,
        };
        settings = AddressSettings {
            method: method.into(),
            address: if method == AddressMethod::Static {
                address.to_owned()
            } else {
                String::new()
            },
            gateway: String::new(),
        };
    }
    if let Some(gateway) = gateway {
        settings.gateway = if gateway == NONE {
            String::new()
        } else {
            gateway.to_owned()
        };
    }
    settings
}

impl Set {
    async fn probe(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let present = get(&mut client, &self.satellite)
            .await?
            .settings
            .unwrap_or_default();
        let request = pb::ProbeNetworkRequest {
            settings: Some(self.changes.over(present)?),
            satellite: self.satellite,
        };
        let findings = client.network.probe_network(request).await?.into_inner().findings;
        let findings: Vec<_> = findings.into_iter().map(FindingView::from).collect();
        let heading = [texts::SEVERITY, texts::KIND, texts::DESCRIPTION];
        render::list(global.output, &findings, &heading, |finding| {
            vec![
                finding.severity.to_owned(),
                finding.kind.clone(),
                finding.text.clone(),
            ]
        })
    }

    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let present = get(&mut client, &self.satellite)
            .await?
            .settings
            .unwrap_or_default();
        let settings = self.changes.over(present)?;
        let question = format!(
            "Change the network of `{}`? It is unreachable for a moment",
            self.satellite
        );
        if !prompt::confirm(&question, self.yes)? {
            return Err(CliError::said(texts::NOTHING_CHANGED.say()));
        }
        let request = pb::SetNetworkRequest {
            satellite: self.satellite,
            settings: Some(settings),
            address: self.reached_at.unwrap_or_default(),
            confirm_seconds: self.confirm_seconds.unwrap_or_default(),
            force: self.force,
        };
        let answer = client.network.set_network(request).await?.into_inner();
        for finding in answer.findings {
            render::warning(&finding.text);
        }
        render::note("the settings are in force and confirmed");
        render::word(global.output, "address", &answer.address)
    }
}

impl Rollback {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let question = format!("Take the open network change of `{}` back?", self.satellite);
        if !prompt::confirm(&question, self.yes)? {
            return Err(CliError::said(texts::NOTHING_CHANGED.say()));
        }
        let request = pb::RollbackNetworkRequest {
            satellite: self.satellite,
        };
        client.network.rollback_network(request).await?;
        render::done(global.output, texts::DONE.say())
    }
}

impl Address {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let mut client = client::connect(global).await?;
        let request = pb::MoveSatelliteRequest {
            satellite: self.satellite,
            address: self.address,
        };
        let answer = client.network.move_satellite(request).await?.into_inner();
        render::note("it answers there");
        render::word(global.output, "address", &answer.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(present: &NetworkSettings, options: &[&str]) -> NetworkSettings {
        use clap::Parser as _;

        #[derive(Debug, clap::Parser)]
        struct Line {
            #[command(flatten)]
            changes: Changes,
        }
        let words = ["x"].iter().chain(options);
        Line::try_parse_from(words)
            .unwrap()
            .changes
            .over(present.clone())
            .unwrap()
    }

    #[test]
    fn what_is_not_named_stays() {
        let first = changed(
            &NetworkSettings::default(),
            &[
                "--ipv4",
                "192.0.2.7/24",
                "--gateway",
                "192.0.2.1",
                "--dns",
                "192.0.2.53,192.0.2.54",
                "--mtu",
                "1400",
            ],
        );
        assert_eq!((first.dns.len(), first.mtu), (2, 1400));
        let second = changed(&first, &["--mtu", "none", "--ipv6", "off"]);
        assert_eq!(second.ipv4, first.ipv4);
        assert_eq!((second.dns, second.mtu), (first.dns.clone(), 0));
        assert_eq!(second.ipv6.unwrap().method(), AddressMethod::Off);
        let third = changed(&first, &["--ipv4", "auto"]);
        assert_eq!(gateway(third.ipv4.as_ref()), "", "a gateway without its subnet");
    }
}
