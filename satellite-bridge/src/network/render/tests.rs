//! What is written for systemd-networkd, compared with files that were read by people.

use proptest::prelude::*;

use super::*;
use crate::network::check;

fn shown(settings: &Settings) -> String {
    let files = render(settings);
    files
        .into_iter()
        .map(|file| format!("==> {}\n{}", file.name, file.text))
        .collect()
}

fn settings(json: &str) -> Settings {
    let settings = serde_json::from_str(json).unwrap();
    check::whole(&settings).unwrap();
    settings
}

/// `SATELLITE_BLESS=1` writes the golden files anew, to be read before they are kept.
fn check(name: &str, json: &str) {
    let path = format!("{}/src/network/testdata/{name}", env!("CARGO_MANIFEST_DIR"));
    let shown = shown(&settings(json));
    if std::env::var_os("SATELLITE_BLESS").is_some() {
        satellite_host::files::write_atomic(path.as_ref(), shown.as_bytes(), 0o644).unwrap();
    }
    assert_eq!(shown, std::fs::read_to_string(path).unwrap(), "{name}");
}

#[test]
fn as_shipped_nothing_is_written() {
    assert_eq!(render(&Settings::default()), []);
    let named = settings(r#"{"host-name":"berlin","proxy":"http://proxy:3128"}"#);
    assert_eq!(render(&named), []);
}

#[test]
fn dhcp_with_servers_of_ones_own_is_for_every_port() {
    check(
        "dhcp.txt",
        r#"{"dns":["192.0.2.53","2001:db8::53"],"ntp":["ntp.example.com"],"mtu":1400}"#,
    );
}

#[test]
fn dhcp_alone_differs_from_the_shipped_file_in_nothing() {
    let ours = file(ALL_PORTS, "Type=ether\nName=en* eth*\n", &Settings::default()).text;
    let shipped = include_str!("../../../../image/skeleton/usr/lib/systemd/network/10-lan.network");
    let said = |text: &str| -> Vec<String> {
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(said(&ours), said(shipped));
}

#[test]
fn static_addresses_are_for_one_port() {
    check(
        "static4.txt",
        r#"{"port":"eth0","ipv4":{"method":"static","address":"192.0.2.7/24","gateway":"192.0.2.1"},"dns":["192.0.2.53"]}"#,
    );
    check(
        "static6.txt",
        r#"{"port":"ens18","ipv6":{"method":"static","address":"2001:db8::7/64","gateway":"fe80::1"}}"#,
    );
    check(
        "both.txt",
        r#"{"port":"eth0","ipv4":{"method":"static","address":"192.0.2.7/24","gateway":null},
            "ipv6":{"method":"static","address":"2001:db8::7/64","gateway":null},"ntp":["192.0.2.1","ntp.example.com"]}"#,
    );
}

#[test]
fn without_ipv6_nothing_of_it_is_left_on() {
    check(
        "no6.txt",
        r#"{"port":"eth0","ipv4":{"method":"static","address":"192.0.2.7/24","gateway":"192.0.2.1"},"ipv6":{"method":"off"},"mtu":1000}"#,
    );
}

#[test]
fn a_virtual_lan_carries_the_addresses_and_its_port_none() {
    check("vlan.txt", r#"{"port":"eth0","vlan":7,"mtu":1400}"#);
    check(
        "vlan-static.txt",
        r#"{"port":"eth0","vlan":4094,"ipv4":{"method":"static","address":"192.0.2.7/24","gateway":"192.0.2.1"}}"#,
    );
}

#[test]
fn workloads_find_the_proxy_under_each_of_its_names() {
    let proxy: Proxy = "http://proxy.example.com:3128".parse().unwrap();
    let text = environment(Some(&proxy)).unwrap();
    for line in [
        "https_proxy=http://proxy.example.com:3128",
        "HTTP_PROXY=http://proxy.example.com:3128",
        "no_proxy=localhost,127.0.0.1,::1",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}");
    }
    assert_eq!(environment(None), None);
}

#[test]
fn every_file_is_one_that_is_known_and_sorts_before_that_of_the_image_or_replaces_it() {
    for name in FILES {
        assert!(name <= ALL_PORTS || name.starts_with("10-vlan."), "{name}");
        assert!(name.starts_with("10-"), "{name}");
    }
}

proptest! {
    #[test]
    fn no_setting_adds_a_line_of_its_own(name in ".{0,20}", server in ".{0,20}", proxy in ".{0,30}") {
        let typed = Settings {
            host_name: check::host_name(&name).unwrap_or_default(),
            ntp: check::ntp(&server).unwrap_or_default(),
            proxy: check::proxy(&proxy).unwrap_or_default(),
            ..Settings::default()
        };
        for file in render(&typed) {
            for line in file.text.lines().filter(|line| !line.is_empty()) {
                let known = ["#", "[", "Type=", "Name=", "DHCP=", "IPv6AcceptRA=", "LinkLocal", "LLMNR=", "Multicast",
                    "NTP=", "ClientId", "UseDomains=no", "UseNTP=no"];
                prop_assert!(known.iter().any(|start| line.starts_with(start)), "{line}");
            }
        }
        for line in environment(typed.proxy.as_ref()).unwrap_or_default().lines() {
            prop_assert!(line.starts_with('#') || line.to_ascii_lowercase().contains("_proxy="), "{line}");
        }
    }
}
