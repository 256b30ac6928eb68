//! Settings from and to the wire. Every field is doubted here and nowhere else.

use std::time::SystemTime;

use satellite_proto::wire::bridge::v1 as wire;
use wire::AddressMethod;

use super::check::{self, Fault, Field};
use super::{Finding, Ipv4, Ipv6, Mtu, Observed, Open, Opener, Settings, Severity, VlanId};

/// The longest text that is looked at in a field; nothing that is right is as long.
const LONGEST: usize = 300;

/// Checked settings.
///
/// # Errors
///
/// The first fault.
pub fn from_wire(settings: wire::NetworkSettings) -> Result<Settings, Fault> {
    let ipv4 = settings.ipv4.unwrap_or_default();
    let ipv6 = settings.ipv6.unwrap_or_default();
    let checked = Settings {
        host_name: check::host_name(bounded(&settings.host_name, Fault::HostName)?)?,
        port: check::port(bounded(&settings.port, Fault::Port)?)?,
        ipv4: four(&ipv4)?,
        ipv6: six(&ipv6)?,
        dns: check::dns(&listed(&settings.dns, Field::Dns)?)?,
        ntp: check::ntp(&listed(&settings.ntp, Field::Ntp)?)?,
        vlan: Some(settings.vlan)
            .filter(|vlan| *vlan != 0)
            .map(VlanId::try_from)
            .transpose()?,
        mtu: Some(settings.mtu)
            .filter(|mtu| *mtu != 0)
            .map(Mtu::try_from)
            .transpose()?,
        proxy: check::proxy(bounded(&settings.proxy, Fault::Proxy)?)?,
    };
    check::whole(&checked)?;
    Ok(checked)
}

fn bounded(text: &str, fault: Fault) -> Result<&str, Fault> {
    (text.len() <= LONGEST).then_some(text).ok_or(fault)
}

fn listed(servers: &[String], field: Field) -> Result<String, Fault> {
    if servers.len() > check::MOST_SERVERS {
        return Err(Fault::TooManyServers(field));
    }
    if servers.iter().any(|server| server.len() > LONGEST) {
        let value = "…".to_owned();
        return Err(Fault::NotAServer { field, value });
    }
    Ok(servers.join(","))
}

fn four(settings: &wire::AddressSettings) -> Result<Ipv4, Fault> {
    const FIELD: Field = Field::Ipv4Address;
    match settings.method() {
        AddressMethod::Unspecified | AddressMethod::Automatic => Ok(Ipv4::Dhcp),
        AddressMethod::Off => Err(Fault::Empty(FIELD)),
        AddressMethod::Static => {
            let address = check::ipv4_address(bounded(&settings.address, Fault::NotAnAddress(FIELD))?)?;
            let gateway = bounded(&settings.gateway, Fault::NotAnAddress(Field::Ipv4Gateway))?;
            let gateway = check::ipv4_gateway(gateway, address)?;
            Ok(Ipv4::Static { address, gateway })
        }
    }
}

fn six(settings: &wire::AddressSettings) -> Result<Ipv6, Fault> {
    const FIELD: Field = Field::Ipv6Address;
    match settings.method() {
        AddressMethod::Unspecified | AddressMethod::Automatic => Ok(Ipv6::Automatic),
        AddressMethod::Off => Ok(Ipv6::Off),
        AddressMethod::Static => {
            let address = check::ipv6_address(bounded(&settings.address, Fault::NotAnAddress(FIELD))?)?;
            let gateway = bounded(&settings.gateway, Fault::NotAnAddress(Field::Ipv6Gateway))?;
            let gateway = check::ipv6_gateway(gateway, address)?;
            Ok(Ipv6::Static { address, gateway })
        }
    }
}

/// Settings for the wire.
#[must_use]
pub fn to_wire(settings: &Settings) -> wire::NetworkSettings {
    let ipv4 = match settings.ipv4 {
        Ipv4::Dhcp => addresses(AddressMethod::Automatic, None::<String>, None::<String>),
        Ipv4::Static { address, gateway } => addresses(AddressMethod::Static, Some(address), gateway),
    };
    let ipv6 = match settings.ipv6 {
        Ipv6::Automatic => addresses(AddressMethod::Automatic, None::<String>, None::<String>),
        Ipv6::Off => addresses(AddressMethod::Off, None::<String>, None::<String>),
        Ipv6::Static { address, gateway } => addresses(AddressMethod::Static, Some(address), gateway),
    };
    wire::NetworkSettings {
        host_name: text(settings.host_name.as_ref()),
        port: text(settings.port.as_ref()),
        ipv4: Some(ipv4),
        ipv6: Some(ipv6),
        dns: settings.dns.iter().map(ToString::to_string).collect(),
        ntp: settings.ntp.iter().map(ToString::to_string).collect(),
        vlan: settings.vlan.map_or(0, u32::from),
        mtu: settings.mtu.map_or(0, u32::from),
        proxy: text(settings.proxy.as_ref()),
    }
}

fn text(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn addresses(
    method: AddressMethod,
    address: Option<impl ToString>,
    gateway: Option<impl ToString>,
) -> wire::AddressSettings {
    wire::AddressSettings {
        method: method.into(),
        address: text(address),
        gateway: text(gateway),
    }
}

/// An open change for the wire.
#[must_use]
pub fn change_to_wire(open: &Open) -> wire::NetworkChange {
    wire::NetworkChange {
        id: open.id.to_string(),
        expire_time: Some(SystemTime::from(open.expire_time).into()),
        remaining_seconds: u32::try_from(open.remaining.as_secs()).unwrap_or(u32::MAX),
        in_force: open.is_in_force,
        from_console: open.opener == Opener::Console,
        settings: Some(to_wire(&open.settings)),
    }
}

/// A finding for the wire.
#[must_use]
pub fn finding_to_wire(finding: &Finding) -> wire::Finding {
    let kind = match finding {
        Finding::AddressTaken { .. } => "address-taken",
        Finding::GatewayDoesNotAnswer { .. } => "gateway-does-not-answer",
        Finding::NoCarrier { .. } => "no-carrier",
        Finding::NoSuchPort { .. } => "no-such-port",
        Finding::NoPort => "no-port",
        Finding::NotTriedInVlan { .. } | Finding::NotTried { .. } => "not-tried",
    };
    let severity = match finding.severity() {
        Severity::Note => wire::Severity::Note,
        Severity::Warning => wire::Severity::Warning,
        Severity::Error => wire::Severity::Error,
    };
    wire::Finding {
        kind: kind.to_owned(),
        severity: severity.into(),
        text: finding.to_string(),
    }
}

/// The network for the wire.
#[must_use]
pub fn state_to_wire(
    settings: &Settings,
    open: Option<&Open>,
    observed: &Observed,
) -> wire::GetNetworkResponse {
    let links = observed.links.iter().map(|link| {
        let shown = |is_duplicate: bool| {
            let some = link
                .addresses
                .iter()
                .filter(|one| one.is_duplicate == is_duplicate);
            some.map(|one| one.net.to_string()).collect()
        };
        wire::NetworkLink {
            name: link.name.clone(),
            hardware_address: link.hardware_address.clone(),
            has_carrier: link.has_carrier,
            mtu: link.mtu,
            addresses: shown(false),
            duplicate_addresses: shown(true),
        }
    });
    wire::GetNetworkResponse {
        settings: Some(to_wire(settings)),
        open_change: open.map(change_to_wire),
        host_name: observed.host_name.clone(),
        links: links.collect(),
        gateways: observed.gateways.iter().map(ToString::to_string).collect(),
        dns: observed.dns.iter().map(ToString::to_string).collect(),
        ntp: observed.ntp.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_back_as_they_went() {
        for json in [
            "{}",
            r#"{"host-name":"berlin","port":"eth0","ipv4":{"method":"static","address":"192.0.2.7/24","gateway":"192.0.2.1"},
                "ipv6":{"method":"static","address":"2001:db8::7/64","gateway":"fe80::1"},"dns":["192.0.2.53"],
                "ntp":["ntp.example.com"],"vlan":7,"mtu":1400,"proxy":"http://proxy:3128"}"#,
            r#"{"ipv6":{"method":"off"},"mtu":600}"#,
        ] {
            let settings: Settings = serde_json::from_str(json).unwrap();
            assert_eq!(from_wire(to_wire(&settings)).unwrap(), settings, "{json}");
        }
        assert_eq!(
            from_wire(wire::NetworkSettings::default()).unwrap(),
            Settings::default()
        );
    }

    #[test]
    fn what_is_wrong_is_refused_by_its_field() {
        let mut settings = wire::NetworkSettings {
            host_name: "x".repeat(100_000),
            ..Default::default()
        };
        assert_eq!(from_wire(settings.clone()), Err(Fault::HostName));
        settings.host_name.clear();
        settings.vlan = 5000;
        assert_eq!(from_wire(settings.clone()), Err(Fault::Vlan));
        settings.vlan = 0;
        settings.dns = vec!["192.0.2.1".to_owned(); 10_000];
        assert_eq!(
            from_wire(settings.clone()),
            Err(Fault::TooManyServers(Field::Dns))
        );
        settings.dns.clear();
        settings.ipv4 = Some(wire::AddressSettings {
            method: AddressMethod::Off.into(),
            ..Default::default()
        });
        assert_eq!(from_wire(settings), Err(Fault::Empty(Field::Ipv4Address)));
    }
}
