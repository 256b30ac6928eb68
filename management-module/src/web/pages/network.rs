//! The network of a satellite: as it is, and changed with a way back.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use maud::{Markup, html};
use satellite_proto::wire::bridge::v1::{
    AddressMethod, AddressSettings, Finding, GetNetworkResponse, NetworkSettings, Severity,
};

use super::satellite::head;
use crate::app::later::{self, Task};
use crate::app::network::{self, Wanted};
use crate::names::SatelliteName;
use crate::web::access::Need;
use crate::web::ask::{Answer, Ask, escaped};
use crate::web::failure::{Failure, status_of};
use crate::web::live::live;
use crate::web::look::{self, Field, Tone};
use crate::web::pages::jobs;
use crate::web::text::{Text, common, machine};

/// How often a look is taken.
const EVERY: Duration = Duration::from_secs(1);

pub(in crate::web) async fn show(ask: Ask) -> Answer {
    shown(&ask, StatusCode::OK, &html! {}, None).await
}

async fn shown(ask: &Ask, status: StatusCode, said: &Markup, typed: Option<&NetworkSettings>) -> Answer {
    let name: SatelliteName = ask.named("name")?;
    let there = network::show(ask.app(), &name).await?;
    let place = format!("/satellites/{}/network", escaped(name.as_str()));
    let settings = typed.cloned().or(there.settings.clone()).unwrap_or_default();
    let content = html! {
        (head(ask, &name, "/network"))
        (said)
        div data-live={ (place) "/events" } { (state(ask, &there)) }
        @if ask.may(Need::ChangeFleet) { (form(ask, &place, &settings)) }
    };
    Ok(look::page_with(ask, status, ask.say(machine::NETWORK), &content))
}

pub(in crate::web) async fn events(ask: Ask) -> Answer {
    live(ask, Need::SeeFleet, EVERY, |ask: Arc<Ask>| async move {
        let html = match network::show(ask.app(), &ask.named("name")?).await {
            Ok(there) => state(&ask, &there),
            // While its address changes it may not answer: that passes, or the network goes back.
            Err(error) => look::problem(&ask, &error),
        };
        Ok(html.into())
    })
}

fn state(ask: &Ask, there: &GetNetworkResponse) -> Markup {
    html! {
        @if let Some(open) = &there.open_change { (look::countdown(ask, open.remaining_seconds.into())) }
        div.card {
            h2 { (ask.say(machine::IN_FORCE)) }
            dl {
                dt { (ask.say(machine::HOST_NAME)) } dd { (there.host_name) }
                @for link in &there.links {
                    dt { (link.name) }
                    dd {
                        (link.addresses.join(", ")) " "
                        @if link.has_carrier { (look::badge(Tone::Good, ask.say(machine::CONNECTED))) }
                        @else { (look::badge(Tone::Bad, ask.say(machine::NO_CARRIER))) }
                        div.small.soft { (link.hardware_address) ", MTU " (link.mtu) }
                    }
                }
                dt { (ask.say(machine::GATEWAY)) } dd { (there.gateways.join(", ")) }
                dt { "DNS" } dd { (there.dns.join(", ")) }
                dt { "NTP" } dd { (there.ntp.join(", ")) }
            }
        }
    }
}

fn form(ask: &Ask, place: &str, settings: &NetworkSettings) -> Markup {
    let field = |name: &'static str, label: &str, value: &str| {
        let field = Field {
            name,
            label,
            value,
            ..Field::default()
        };
        field.show()
    };
    let number = |number: u32| {
        if number == 0 {
            String::new()
        } else {
            number.to_string()
        }
    };
    html! {
        form.card method="post" action=(place) {
            h2 { (ask.say(machine::CHANGE_NETWORK)) }
            (look::token(ask))
            input type="hidden" name="key" value=(uuid::Uuid::new_v4().to_string());
            input type="hidden" name="port" value=(settings.port);
            div.columns {
                (family(ask, "ipv4", "IPv4", settings.ipv4.as_ref()))
                (family(ask, "ipv6", "IPv6", settings.ipv6.as_ref()))
            }
            div.row {
                (field("host-name", ask.say(machine::HOST_NAME), &settings.host_name))
                (field("dns", "DNS", &settings.dns.join(", ")))
                (field("ntp", "NTP", &settings.ntp.join(", ")))
            }
            div.row {
                (field("vlan", "VLAN", &number(settings.vlan)))
                (field("mtu", "MTU", &number(settings.mtu)))
                (field("proxy", ask.say(machine::PROXY), &settings.proxy))
            }
            (look::tick("force", "yes", &html! { (ask.say(machine::FORCE)) }, ask.form.is_set("force")))
            p { (ask.say(machine::NETWORK_WAY_BACK)) }
            div.actions {
                button.main { (ask.say(machine::APPLY)) }
                button formaction={ (place) "/probe" } { (ask.say(machine::PROBE)) }
            }
        }
    }
}

fn family(ask: &Ask, name: &str, title: &str, settings: Option<&AddressSettings>) -> Markup {
    let settings = settings.cloned().unwrap_or_default();
    let methods: [(AddressMethod, Text); 3] = [
        (AddressMethod::Automatic, machine::AUTOMATIC),
        (AddressMethod::Static, machine::BY_HAND),
        (AddressMethod::Off, common::OFF),
    ];
    let choices = methods.map(|(method, text)| (i32::from(method).to_string(), ask.say(text).to_owned()));
    let method = match settings.method() {
        AddressMethod::Unspecified => AddressMethod::Automatic,
        method => method,
    };
    html! {
        fieldset {
            legend { (title) }
            (look::select(&format!("{name}-method"), ask.say(machine::METHOD), &i32::from(method).to_string(), &choices))
            (Field { name: &format!("{name}-address"), label: ask.say(machine::ADDRESS_AND_PREFIX), value: &settings.address,
                ..Field::default() }.show())
            (Field { name: &format!("{name}-gateway"), label: ask.say(machine::GATEWAY), value: &settings.gateway,
                ..Field::default() }.show())
        }
    }
}

/// The settings that were typed.
fn typed(ask: &Ask) -> NetworkSettings {
    let text = |name: &str| ask.form.text(name).to_owned();
    let list = |name: &str| {
        let all = ask.form.text(name).split([',', ' ']);
        all.filter(|one| !one.is_empty()).map(str::to_owned).collect()
    };
    let number = |name: &str| {
        let typed = ask.form.text(name);
        // What is no number is refused by the satellite, with its reason.
        if typed.is_empty() {
            0
        } else {
            typed.parse().unwrap_or(u32::MAX)
        }
    };
    let family = |name: &str| {
        let method = ask.form.text(&format!("{name}-method")).parse().ok();
        let method = method
            .and_then(|method: i32| AddressMethod::try_from(method).ok())
            .unwrap_or_default();
        let is_static = method == AddressMethod::Static;
        let of = |end: &str| {
            if is_static {
                text(&format!("{name}-{end}"))
            } else {
                String::new()
            }
        };
        Some(AddressSettings {
            method: method.into(),
            address: of("address"),
            gateway: of("gateway"),
        })
    };
    NetworkSettings {
        host_name: text("host-name"),
        port: text("port"),
        ipv4: family("ipv4"),
        ipv6: family("ipv6"),
        dns: list("dns"),
        ntp: list("ntp"),
        vlan: number("vlan"),
        mtu: number("mtu"),
        proxy: text("proxy"),
    }
}

fn finding(ask: &Ask, finding: &Finding) -> Markup {
    let (tone, text) = match finding.severity() {
        Severity::Error => (Tone::Bad, machine::ERROR),
        Severity::Warning => (Tone::Warn, machine::WARNING),
        _ => (Tone::Quiet, machine::NOTE),
    };
    html! { li { (look::badge(tone, ask.say(text))) " " (look::said(ask, &finding.text)) } }
}

pub(in crate::web) async fn probe(ask: Ask) -> Answer {
    let name: SatelliteName = ask.named("name")?;
    let settings = typed(&ask);
    match network::probe(ask.app(), &name, settings.clone()).await {
        Ok(findings) => {
            let said = html! {
                div.note role="status" {
                    p { b { (ask.say(machine::PROBED)) } }
                    @if findings.is_empty() { p { (ask.say(machine::NOTHING_FOUND)) } }
                    ul { @for one in &findings { (finding(&ask, one)) } }
                }
            };
            shown(&ask, StatusCode::OK, &said, Some(&settings)).await
        }
        Err(error) => {
            shown(
                &ask,
                status_of(&error),
                &look::problem(&ask, &error),
                Some(&settings),
            )
            .await
        }
    }
}

pub(in crate::web) async fn apply(ask: Ask) -> Answer {
    let name: SatelliteName = ask.named("name")?;
    let wanted = Wanted {
        settings: typed(&ask),
        address: None,
        confirm_seconds: 0,
        force: ask.form.is_set("force"),
    };
    let task = task(&ask, &name)?;
    let (app, satellite) = (ask.app().clone(), name.clone());
    let work = Box::pin(async move { network::set(&app, &satellite, wanted).await });
    let begun = later::begin(ask.app(), task, work).await;
    jobs::begun(
        &ask,
        begun,
        &format!("/satellites/{}/network", escaped(name.as_str())),
    )
}

fn task(ask: &Ask, name: &SatelliteName) -> Result<Task, Failure> {
    Ok(Task {
        actor: ask.actor()?,
        action: "Web/SetNetwork",
        subject: name.to_string(),
        kind: "network",
        satellite: name.to_string(),
        step: "changing the network, then looking for the satellite at its new address",
        key: ask.form.text("key").chars().take(64).collect(),
    })
}
