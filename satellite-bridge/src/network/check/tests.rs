//! What is taken and what is refused, field by field.

use proptest::prelude::*;

use super::*;

#[test]
fn an_ipv4_address_is_taken_with_a_prefix_or_a_mask() {
    let expected = "192.0.2.7/24".parse().unwrap();
    for text in [
        "192.0.2.7/24",
        " 192.0.2.7 / 24 ",
        "192.0.2.7 255.255.255.0",
        "192.0.2.7/255.255.255.0",
    ] {
        assert_eq!(ipv4_address(text), Ok(expected), "{text}");
    }
    assert!(ipv4_address("192.0.2.0/31").is_ok());
}

#[test]
fn an_ipv4_address_that_no_machine_can_have_is_refused() {
    use Field::Ipv4Address as F;
    for (text, fault) in [
        ("", Fault::Empty(F)),
        ("192.0.2.7", Fault::PrefixMissing(F)),
        ("192.0.2/24", Fault::NotAnAddress(F)),
        ("192.0.2.256/24", Fault::NotAnAddress(F)),
        ("192.0.2.7/33", Fault::Prefix(F)),
        ("192.0.2.7/0", Fault::Prefix(F)),
        ("192.0.2.7 255.0.255.0", Fault::Prefix(F)),
        ("192.0.2.0/24", Fault::NamesTheSubnet(F)),
        ("192.0.2.255/24", Fault::Broadcast(F)),
        ("127.0.0.1/8", Fault::NotForMachines(F)),
        ("169.254.3.4/16", Fault::NotForMachines(F)),
        ("224.0.0.1/8", Fault::NotForMachines(F)),
        ("0.0.0.0/8", Fault::NotForMachines(F)),
        ("2001:db8::1/64", Fault::NotAnAddress(F)),
    ] {
        assert_eq!(ipv4_address(text), Err(fault), "{text}");
    }
}

#[test]
fn a_gateway_must_be_a_neighbour() {
    let address = "192.0.2.7/24".parse().unwrap();
    assert_eq!(ipv4_gateway("", address), Ok(None));
    assert_eq!(
        ipv4_gateway("192.0.2.1", address),
        Ok(Some(Ipv4Addr::new(192, 0, 2, 1)))
    );
    assert!(matches!(
        ipv4_gateway("192.0.3.1", address),
        Err(Fault::GatewayOutside { .. })
    ));
    let itself = ipv4_gateway("192.0.2.7", address);
    assert_eq!(itself, Err(Fault::GatewayIsSelf(Field::Ipv4Gateway)));
    let address = "2001:db8::7/64".parse().unwrap();
    assert!(ipv6_gateway("fe80::1", address).unwrap().is_some());
    assert!(ipv6_gateway("2001:db8::1", address).unwrap().is_some());
    assert!(matches!(
        ipv6_gateway("2001:db8:1::1", address),
        Err(Fault::GatewayOutside { .. })
    ));
}

#[test]
fn an_ipv6_address_needs_its_prefix_and_a_machine() {
    use Field::Ipv6Address as F;
    assert!(ipv6_address("2001:db8::7/64").is_ok());
    for (text, fault) in [
        ("2001:db8::7", Fault::PrefixMissing(F)),
        ("2001:db8::/64", Fault::NamesTheSubnet(F)),
        ("fe80::1/64", Fault::NotForMachines(F)),
        ("ff02::1/64", Fault::NotForMachines(F)),
        ("::1/128", Fault::NotForMachines(F)),
        ("2001:db8::7/129", Fault::Prefix(F)),
        ("192.0.2.7/24", Fault::NotAnAddress(F)),
    ] {
        assert_eq!(ipv6_address(text), Err(fault), "{text}");
    }
}

#[test]
fn servers_are_lists_with_a_bound_and_without_doubles() {
    let two: Vec<IpAddr> = vec!["192.0.2.53".parse().unwrap(), "2001:db8::53".parse().unwrap()];
    assert_eq!(dns("192.0.2.53, 2001:db8::53 192.0.2.53"), Ok(two));
    assert_eq!(dns(" "), Ok(Vec::new()));
    assert!(matches!(dns("example.com"), Err(Fault::NotAServer { .. })));
    assert_eq!(
        dns("9.0.0.1 9.0.0.2 9.0.0.3 9.0.0.4 9.0.0.5"),
        Err(Fault::TooManyServers(Field::Dns))
    );
    let names: Vec<String> = ntp("ntp.Example.com 192.0.2.1")
        .unwrap()
        .into_iter()
        .map(String::from)
        .collect();
    assert_eq!(names, ["ntp.example.com", "192.0.2.1"]);
    for wrong in ["192.0.2.300", "a..b", "-x", "x y_z"] {
        assert!(matches!(ntp(wrong), Err(Fault::NotAServer { .. })), "{wrong}");
    }
}

#[test]
fn numbers_are_bounded_and_may_be_left_out() {
    assert_eq!(vlan(""), Ok(None));
    assert_eq!(vlan("4094").unwrap().unwrap().get(), 4094);
    for wrong in ["0", "4095", "x", "-1", "70000"] {
        assert_eq!(vlan(wrong), Err(Fault::Vlan), "{wrong}");
    }
    assert_eq!(mtu("1400").unwrap().unwrap().get(), 1400);
    for wrong in ["575", "9217", "1,4"] {
        assert_eq!(mtu(wrong), Err(Fault::Mtu), "{wrong}");
    }
}

#[test]
fn a_small_packet_and_ipv6_exclude_each_other() {
    let mut settings = Settings {
        mtu: mtu("1000").unwrap(),
        ..Settings::default()
    };
    assert_eq!(whole(&settings), Err(Fault::MtuTooSmallForIpv6));
    settings.ipv6 = Ipv6::Off;
    assert_eq!(whole(&settings), Ok(()));
}

#[test]
fn a_proxy_has_a_host_and_a_port_and_no_password() {
    for right in [
        "http://proxy.example.com:3128",
        "https://192.0.2.8:8080",
        "http://[2001:db8::8]:80/",
    ] {
        assert!(proxy(right).unwrap().is_some(), "{right}");
    }
    for wrong in [
        "proxy:3128",
        "ftp://proxy:21",
        "http://proxy",
        "http://proxy:0",
        "http://pro xy:80",
        "http://a\nb:1",
    ] {
        assert_eq!(proxy(wrong), Err(Fault::Proxy), "{wrong}");
    }
    assert_eq!(
        proxy("http://me:secret@proxy:3128"),
        Err(Fault::ProxyWithPassword)
    );
}

#[test]
fn a_host_name_is_one_label() {
    assert_eq!(host_name(" Berlin-1 ").unwrap().unwrap().as_str(), "berlin-1");
    assert_eq!(host_name(""), Ok(None));
    for wrong in ["a.b", "-a", "a-", "ä", "a b", &"x".repeat(64)] {
        assert_eq!(host_name(wrong), Err(Fault::HostName), "{wrong}");
    }
}

#[test]
fn what_is_read_from_the_disk_is_checked_too() {
    let right = r#"{"ipv4":{"method":"static","address":"192.0.2.7/24","gateway":null},"vlan":7}"#;
    let settings: Settings = serde_json::from_str(right).unwrap();
    assert_eq!(whole(&settings), Ok(()));
    for wrong in [
        r#"{"vlan":4095}"#,
        r#"{"host-name":"a\nb"}"#,
        r#"{"proxy":"x"}"#,
        r#"{"other":1}"#,
    ] {
        assert!(serde_json::from_str::<Settings>(wrong).is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic_or_lets_a_control_character_through(text in ".{0,80}") {
        let _ = (ipv4_address(&text), ipv6_address(&text), dns(&text), vlan(&text), mtu(&text));
        let shown = [
            host_name(&text).ok().flatten().map(String::from),
            port(&text).ok().flatten().map(String::from),
            proxy(&text).ok().flatten().map(String::from),
        ];
        let servers = ntp(&text).unwrap_or_default().into_iter().map(String::from);
        for shown in shown.into_iter().flatten().chain(servers) {
            prop_assert!(shown.bytes().all(|b| b.is_ascii_graphic()), "{shown:?}");
        }
    }
}
