//! Satellites and networks that the screens show.

use satellite_host::usb::Disk;
use satellite_proto::wire::bridge::v1::{JoinState, PairingState, WorkloadState};

use super::super::{
    check,
    overview::{Data, Link, Overview, Window, Workload},
};
use crate::network::{Finding, HardwareAddress, Ipv4, Ipv6, Settings};

pub(super) fn overview() -> Overview {
    Overview {
        name: "satellite-3".into(),
        addresses: vec![
            "192.168.100.200/24".into(),
            "2001:db8:1234:5678:9abc:def0:1234:5678/64".into(),
        ],
        links: vec![Link {
            name: "eth0".into(),
            has_carrier: true,
        }],
        port: 7640,
        daemon_answers: true,
        pairing: PairingState::Unpaired,
        server_name: String::new(),
        server_silence: None,
        window: None,
        workloads: Vec::new(),
        bridge_version: "0.1.0".into(),
        os_version: "Debian GNU/Linux 13 (trixie)".into(),
        last_error: String::new(),
        fingerprint: "0123456789abcdef".repeat(4),
        data: Data::Fine,
        join: None,
        open_change: false,
    }
}

pub(super) fn with_code() -> Overview {
    Overview {
        pairing: PairingState::WindowOpen,
        window: Some(Window {
            code: "ABCD-EFGH-JKMN-PQRS".into(),
            seconds_left: 598,
            tries_left: 5,
        }),
        last_error: "a wrong code was tried from 192.168.100.1".into(),
        ..overview()
    }
}

pub(super) fn paired() -> Overview {
    Overview {
        pairing: PairingState::Paired,
        server_name: "pbx.example.com".into(),
        server_silence: Some(12),
        workloads: vec![
            Workload {
                name: "backup-service".into(),
                version: "1.4.0".into(),
                state: WorkloadState::Healthy,
                problem: String::new(),
            },
            Workload {
                name: "xcc".into(),
                version: "2.0.1".into(),
                state: WorkloadState::Failed,
                problem: "ended with status 1, is started again in 30 s".into(),
            },
        ],
        open_change: true,
        ..overview()
    }
}

pub(super) fn broken() -> Overview {
    Overview {
        addresses: Vec::new(),
        links: vec![Link {
            name: "eth0".into(),
            has_carrier: false,
        }],
        daemon_answers: false,
        pairing: PairingState::Unspecified,
        os_version: String::new(),
        fingerprint: String::new(),
        data: Data::Unreadable,
        ..overview()
    }
}

/// Names and errors that somebody chose to do harm.
pub(super) fn hostile() -> Overview {
    let evil = format!("\u{1b}[2J\u{202e}{}\r\n\u{9b}31m", "W".repeat(300));
    Overview {
        name: evil.clone(),
        addresses: vec![evil.clone(); 9],
        server_name: evil.clone(),
        last_error: evil.clone(),
        fingerprint: evil.clone(),
        bridge_version: evil.clone(),
        workloads: vec![
            Workload {
                name: evil.clone(),
                version: evil.clone(),
                state: WorkloadState::Unspecified,
                problem: evil,
            };
            4
        ],
        ..with_code()
    }
}

pub(super) fn joining(state: JoinState) -> Overview {
    Overview {
        join: Some((state, "pbx.example.com:7601".into())),
        ..overview()
    }
}

pub(super) fn by_hand() -> Settings {
    Settings {
        host_name: Some("satellite-3".parse().unwrap()),
        ipv4: Ipv4::Static {
            address: "192.168.100.200/24".parse().unwrap(),
            gateway: Some("192.168.100.1".parse().unwrap()),
        },
        ipv6: Ipv6::Static {
            address: "2001:db8:1234:5678::200/64".parse().unwrap(),
            gateway: None,
        },
        dns: vec![
            "192.168.100.1".parse().unwrap(),
            "2001:db8:1234:5678::1".parse().unwrap(),
        ],
        ntp: vec!["ntp.example.com".parse().unwrap()],
        vlan: Some(12.try_into().unwrap()),
        mtu: Some(1400.try_into().unwrap()),
        proxy: Some("http://proxy.example.com:3128".parse().unwrap()),
        ..Settings::default()
    }
}

pub(super) fn findings() -> Vec<Finding> {
    vec![
        Finding::AddressTaken {
            address: "192.168.100.200".parse().unwrap(),
            by: HardwareAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]),
        },
        Finding::GatewayDoesNotAnswer {
            gateway: "192.168.100.1".parse().unwrap(),
        },
        Finding::NoCarrier {
            port: "eth1".parse().unwrap(),
        },
        Finding::NoSuchPort {
            port: "eth2".parse().unwrap(),
        },
        Finding::NotTriedInVlan {
            vlan: 12.try_into().unwrap(),
        },
        Finding::NotTried {
            port: "eth1".parse().unwrap(),
        },
    ]
}

pub(super) fn disks() -> Vec<Disk> {
    let disk = |device: &str, model: &str, size| Disk {
        device: device.to_owned(),
        model: model.to_owned(),
        size,
    };
    vec![
        disk("sdb1", "DataTraveler 3.0", 31_000_000_000),
        disk("sdc", "", 4_000_000_000),
    ]
}

pub(super) fn tested(is_fine: bool) -> Vec<check::Tested> {
    use super::super::text::check as k;
    let one = |what, detail: &str, advice| check::Tested {
        what,
        detail: detail.to_owned(),
        outcome: if is_fine {
            check::Outcome::Fine
        } else {
            check::Outcome::Wrong(advice)
        },
    };
    vec![
        one(k::LINK, "eth0", k::LINK_ADVICE),
        one(k::ADDRESS, "192.168.100.200/24", k::ADDRESS_ADVICE),
        one(k::GATEWAY, "192.168.100.1", k::GATEWAY_ADVICE),
        one(k::DNS, "192.168.100.1", k::DNS_ADVICE),
        one(k::CLOCK, "2026-11-22 07:30 UTC", k::CLOCK_ADVICE),
        one(k::PORT, "7640/tcp", k::PORT_ADVICE),
        one(k::SERVER, "pbx.example.com", k::SERVER_ADVICE),
    ]
}
