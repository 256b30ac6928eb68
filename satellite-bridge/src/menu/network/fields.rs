//! The network settings as a form, and the words for what is wrong with them.
//!
//! **Invariant:** pure. A form without faults makes settings that the network takes.

use ipnet::IpNet;

use super::super::{
    form::{Field, Form},
    text::{Language, Text, network as t},
};
use crate::network::{Fault, Field as Place, Finding, Ipv4, Ipv6, Observed, Settings, Severity, check};

const HOST_NAME: usize = 0;
const PORT: usize = 1;
const IPV4: usize = 2;
const IPV4_ADDRESS: usize = 3;
const IPV4_GATEWAY: usize = 4;
const IPV6: usize = 5;
const IPV6_ADDRESS: usize = 6;
const IPV6_GATEWAY: usize = 7;
const DNS: usize = 8;
const NTP: usize = 9;
const VLAN: usize = 10;
const MTU: usize = 11;
const PROXY: usize = 12;

/// The form that shows `settings`; `ports` are the names of the wired ports.
pub(in crate::menu) fn form(language: Language, settings: &Settings, ports: &[String]) -> Form {
    let (ipv4_address, ipv4_gateway) = match settings.ipv4 {
        Ipv4::Dhcp => (String::new(), String::new()),
        Ipv4::Static { address, gateway } => (address.to_string(), or_empty(gateway)),
    };
    let (ipv6_address, ipv6_gateway) = match settings.ipv6 {
        Ipv6::Automatic | Ipv6::Off => (String::new(), String::new()),
        Ipv6::Static { address, gateway } => (address.to_string(), or_empty(gateway)),
    };
    let say = |text: Text| language.say(text).to_owned();
    let mut names = vec![say(t::PORT_AUTOMATIC)];
    names.extend(ports.iter().cloned());
    let port = settings.port.as_ref().map_or(0, |port| {
        let known = names.iter().position(|name| name == port.as_str());
        known.unwrap_or_else(|| {
            // One that is not there now is not forgotten.
            names.push(port.to_string());
            names.len() - 1
        })
    });
    let mut port_field = Field::choice(t::PORT, t::PORT_HINT, names, port);
    port_field.is_hidden = ports.len() < 2 && port == 0;
    let ipv4 = usize::from(settings.ipv4 != Ipv4::Dhcp);
    let ipv6 = match settings.ipv6 {
        Ipv6::Automatic => 0,
        Ipv6::Static { .. } => 1,
        Ipv6::Off => 2,
    };
    let fields = vec![
        Field::text(
            t::HOST_NAME,
            t::HOST_NAME_HINT,
            &or_empty(settings.host_name.as_ref()),
            63,
        ),
        port_field,
        Field::choice(t::IPV4, t::IPV4_HINT, vec![say(t::DHCP), say(t::BY_HAND)], ipv4),
        Field::text(t::IPV4_ADDRESS, t::IPV4_ADDRESS_HINT, &ipv4_address, 40),
        Field::text(t::IPV4_GATEWAY, t::IPV4_GATEWAY_HINT, &ipv4_gateway, 15),
        Field::choice(
            t::IPV6,
            t::IPV6_HINT,
            vec![say(t::AUTOMATIC), say(t::BY_HAND), say(t::OFF)],
            ipv6,
        ),
        Field::text(t::IPV6_ADDRESS, t::IPV6_ADDRESS_HINT, &ipv6_address, 43),
        Field::text(t::IPV6_GATEWAY, t::IPV6_GATEWAY_HINT, &ipv6_gateway, 39),
        Field::text(t::DNS, t::DNS_HINT, &joined(&settings.dns), 160),
        Field::text(t::NTP, t::NTP_HINT, &joined(&settings.ntp), 300),
        Field::text(t::VLAN, t::VLAN_HINT, &or_empty(settings.vlan), 4),
        Field::text(t::MTU, t::MTU_HINT, &or_empty(settings.mtu), 4),
        Field::text(t::PROXY, t::PROXY_HINT, &or_empty(settings.proxy.as_ref()), 255),
    ];
    Form::new(language.say(t::SETTINGS), fields, t::TRY)
}

/// Fills in what DHCP gave: whoever goes on to set the address by hand most often means that one, or changes a digit of it.
pub(in crate::menu) fn suggest(form: &mut Form, observed: &Observed) {
    let leased = observed.addresses().into_iter().find(|net| net.addr().is_ipv4());
    let gateway = observed.gateways.iter().find(|address| address.is_ipv4());
    let Some(leased) = leased else { return };
    for (index, value) in [
        (IPV4_ADDRESS, leased.to_string()),
        (IPV4_GATEWAY, or_empty(gateway)),
    ] {
        if let Some(field) = form.fields.get_mut(index)
            && field.value.is_empty()
        {
            field.value = value;
        }
    }
}

/// Hides what does not apply and notes what is wrong, after each key.
pub(in crate::menu) fn check(language: Language, form: &mut Form) {
    let by_hand = |form: &Form, index: usize| form.fields.get(index).is_some_and(|field| field.chosen() == 1);
    let (ipv4, ipv6) = (by_hand(form, IPV4), by_hand(form, IPV6));
    for (index, shown) in [
        (IPV4_ADDRESS, ipv4),
        (IPV4_GATEWAY, ipv4),
        (IPV6_ADDRESS, ipv6),
        (IPV6_GATEWAY, ipv6),
    ] {
        if let Some(field) = form.fields.get_mut(index) {
            field.is_hidden = !shown;
        }
    }
    let faults = match read(form) {
        Ok(_) => Vec::new(),
        Err(faults) => faults,
    };
    for field in &mut form.fields {
        field.error = None;
    }
    for fault in faults {
        if let Some(field) = form.fields.get_mut(index_of(fault.field())) {
            field.error.get_or_insert_with(|| fault_text(language, &fault));
        }
    }
}

/// What the form says.
///
/// # Errors
///
/// All that is wrong with it.
pub(in crate::menu) fn read(form: &Form) -> Result<Settings, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut settings = Settings::default();
    take(
        check::host_name(form.value(HOST_NAME)),
        &mut settings.host_name,
        &mut faults,
    );
    let port = form.fields.get(PORT).filter(|field| field.chosen() > 0);
    let port = port.map_or_else(String::new, Field::option);
    take(check::port(&port), &mut settings.port, &mut faults);
    if form.fields.get(IPV4).is_some_and(|field| field.chosen() == 1) {
        match check::ipv4_address(form.value(IPV4_ADDRESS)) {
            Ok(address) => match check::ipv4_gateway(form.value(IPV4_GATEWAY), address) {
                Ok(gateway) => settings.ipv4 = Ipv4::Static { address, gateway },
                Err(fault) => faults.push(fault),
            },
            Err(fault) => faults.push(fault),
        }
    }
    match form.fields.get(IPV6).map_or(0, Field::chosen) {
        1 => match check::ipv6_address(form.value(IPV6_ADDRESS)) {
            Ok(address) => match check::ipv6_gateway(form.value(IPV6_GATEWAY), address) {
                Ok(gateway) => settings.ipv6 = Ipv6::Static { address, gateway },
                Err(fault) => faults.push(fault),
            },
            Err(fault) => faults.push(fault),
        },
        2 => settings.ipv6 = Ipv6::Off,
        _ => {}
    }
    take(check::dns(form.value(DNS)), &mut settings.dns, &mut faults);
    take(check::ntp(form.value(NTP)), &mut settings.ntp, &mut faults);
    take(check::vlan(form.value(VLAN)), &mut settings.vlan, &mut faults);
    take(check::mtu(form.value(MTU)), &mut settings.mtu, &mut faults);
    take(check::proxy(form.value(PROXY)), &mut settings.proxy, &mut faults);
    if faults.is_empty()
        && let Err(fault) = check::whole(&settings)
    {
        faults.push(fault);
    }
    if faults.is_empty() {
        Ok(settings)
    } else {
        Err(faults)
    }
}

/// What is wrong, in words for a person.
pub(in crate::menu) fn fault_text(language: Language, fault: &Fault) -> String {
    let say = |text: Text| language.say(text).to_owned();
    match fault {
        Fault::Empty(_) => say(t::FAULT_EMPTY),
        Fault::HostName => say(t::FAULT_HOST_NAME),
        Fault::Port => say(t::FAULT_PORT),
        Fault::NotAnAddress(_) => say(t::FAULT_ADDRESS),
        Fault::PrefixMissing(_) => say(t::FAULT_PREFIX_MISSING),
        Fault::Prefix(_) => say(t::FAULT_PREFIX),
        Fault::NotForMachines(_) => say(t::FAULT_NOT_FOR_MACHINES),
        Fault::NamesTheSubnet(_) => say(t::FAULT_SUBNET),
        Fault::Broadcast(_) => say(t::FAULT_BROADCAST),
        Fault::GatewayOutside { gateway, subnet, .. } => {
            let subnet: IpNet = *subnet;
            language.fill(
                t::FAULT_GATEWAY_OUTSIDE,
                &[&gateway.to_string(), &subnet.to_string()],
            )
        }
        Fault::GatewayIsSelf(_) => say(t::FAULT_GATEWAY_SELF),
        Fault::NotAServer { value, .. } => {
            language.fill(t::FAULT_SERVER, &[&super::super::page::fit(value, 30)])
        }
        Fault::TooManyServers(_) => language.fill(t::FAULT_SERVERS, &[&check::MOST_SERVERS.to_string()]),
        Fault::Vlan => say(t::FAULT_VLAN),
        Fault::Mtu => say(t::FAULT_MTU),
        Fault::MtuTooSmallForIpv6 => say(t::FAULT_MTU_IPV6),
        Fault::Proxy => say(t::FAULT_PROXY),
        Fault::ProxyWithPassword => say(t::FAULT_PROXY_PASSWORD),
    }
}

/// What a probe found out, in words for a person.
pub(in crate::menu) fn finding_text(language: Language, finding: &Finding) -> String {
    let mark = match finding.severity() {
        Severity::Error => language.say(t::SEVERITY_ERROR),
        Severity::Warning => language.say(t::SEVERITY_WARNING),
        Severity::Note => language.say(t::SEVERITY_NOTE),
    };
    let text = match finding {
        Finding::AddressTaken { address, by } => {
            language.fill(t::FOUND_TAKEN, &[&address.to_string(), &by.to_string()])
        }
        Finding::GatewayDoesNotAnswer { gateway } => language.fill(t::FOUND_GATEWAY, &[&gateway.to_string()]),
        Finding::NoCarrier { port } => language.fill(t::FOUND_NO_CARRIER, &[port.as_str()]),
        Finding::NoSuchPort { port } => language.fill(t::FOUND_NO_SUCH_PORT, &[port.as_str()]),
        Finding::NoPort => language.say(t::FOUND_NO_PORT).to_owned(),
        Finding::NotTriedInVlan { vlan } => language.fill(t::FOUND_VLAN, &[&vlan.to_string()]),
        Finding::NotTried { port } => language.fill(t::FOUND_NOT_TRIED, &[port.as_str()]),
    };
    format!("{mark} {text}")
}

fn take<T>(checked: Result<T, Fault>, into: &mut T, faults: &mut Vec<Fault>) {
    match checked {
        Ok(value) => *into = value,
        Err(fault) => faults.push(fault),
    }
}

fn index_of(place: Place) -> usize {
    match place {
        Place::HostName => HOST_NAME,
        Place::Port => PORT,
        Place::Ipv4Address => IPV4_ADDRESS,
        Place::Ipv4Gateway => IPV4_GATEWAY,
        Place::Ipv6Address => IPV6_ADDRESS,
        Place::Ipv6Gateway => IPV6_GATEWAY,
        Place::Dns => DNS,
        Place::Ntp => NTP,
        Place::Vlan => VLAN,
        Place::Mtu => MTU,
        Place::Proxy => PROXY,
    }
}

fn or_empty<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn joined<T: ToString>(values: &[T]) -> String {
    let words: Vec<_> = values.iter().map(ToString::to_string).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Address, Link};

    fn settings() -> Settings {
        Settings {
            host_name: Some("satellite-3".parse().unwrap()),
            port: Some("eth1".parse().unwrap()),
            ipv4: Ipv4::Static {
                address: "192.0.2.7/24".parse().unwrap(),
                gateway: Some("192.0.2.1".parse().unwrap()),
            },
            ipv6: Ipv6::Static {
                address: "2001:db8::7/64".parse().unwrap(),
                gateway: None,
            },
            dns: vec!["192.0.2.53".parse().unwrap(), "2001:db8::53".parse().unwrap()],
            ntp: vec!["ntp.example.com".parse().unwrap()],
            vlan: Some(12.try_into().unwrap()),
            mtu: Some(1400.try_into().unwrap()),
            proxy: Some("http://proxy.example.com:3128".parse().unwrap()),
        }
    }

    #[test]
    fn settings_come_back_from_the_form_as_they_went_in() {
        for settings in [
            Settings::default(),
            settings(),
            Settings {
                ipv6: Ipv6::Off,
                ..Settings::default()
            },
        ] {
            for ports in [&[][..], &["eth0".to_owned(), "eth1".to_owned()]] {
                let mut form = form(Language::English, &settings, ports);
                check(Language::English, &mut form);
                assert!(form.is_right());
                assert_eq!(read(&form).unwrap(), settings);
            }
        }
    }

    #[test]
    fn what_is_wrong_is_noted_at_its_field_in_every_language() {
        for (index, value) in [
            (HOST_NAME, "-no"),
            (IPV4_ADDRESS, "192.0.2.7"),
            (IPV4_GATEWAY, "10.0.0.1"),
            (IPV6_ADDRESS, "fe80::1/64"),
            (DNS, "not-an-address"),
            (NTP, "a b c d e"),
            (VLAN, "4095"),
            (MTU, "1000"),
            (PROXY, "http://user:secret@proxy:3128"),
        ] {
            for language in Language::ALL {
                let mut form = form(language, &settings(), &["eth1".to_owned()]);
                form.fields[index].value = value.into();
                check(language, &mut form);
                assert!(form.fields[index].error.is_some(), "{value}");
                let wrong = form.fields.iter().filter(|field| field.error.is_some()).count();
                assert_eq!(wrong, 1, "{value}");
                assert!(!form.is_right());
            }
        }
    }

    #[test]
    fn what_dhcp_gave_is_there_for_who_sets_it_by_hand_and_changes_nothing_else() {
        let observed = Observed {
            links: vec![Link {
                name: "eth0".to_owned(),
                addresses: vec![Address {
                    net: "192.0.2.107/24".parse().unwrap(),
                    is_dynamic: true,
                    is_duplicate: false,
                }],
                ..Link::default()
            }],
            gateways: vec!["fe80::1".parse().unwrap(), "192.0.2.1".parse().unwrap()],
            ..Observed::default()
        };
        let mut form = form(Language::English, &Settings::default(), &[]);
        suggest(&mut form, &observed);
        assert_eq!(read(&form).unwrap(), Settings::default());
        form.fields[IPV4].choose(1);
        let by_hand = Ipv4::Static {
            address: "192.0.2.107/24".parse().unwrap(),
            gateway: Some("192.0.2.1".parse().unwrap()),
        };
        assert_eq!(read(&form).unwrap().ipv4, by_hand);
    }

    #[test]
    fn an_address_that_is_not_used_is_neither_shown_nor_wrong() {
        let mut form = form(Language::English, &settings(), &[]);
        form.fields[IPV4].choose(0);
        form.fields[IPV4_ADDRESS].value = "nonsense".into();
        check(Language::English, &mut form);
        assert!(form.fields[IPV4_ADDRESS].is_hidden && form.is_right());
        assert_eq!(read(&form).unwrap().ipv4, Ipv4::Dhcp);
    }
}
