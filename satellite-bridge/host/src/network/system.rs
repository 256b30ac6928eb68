//! The machine's own network, through iproute2, networkctl and hostnamectl.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use super::{Answer, Link, Network, NetworkError, parse};
use crate::exec::{Exec, ExecError};
use crate::neighbour::{self, Hardware};

/// How long one of the programs may take.
const DEADLINE: Duration = Duration::from_secs(15);

/// Where the machine's name is looked up by those who ask for it. Gone at the next start.
const HOST_NAME: &str = "/etc/hostname";

/// The machine's own network.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemNetwork;

fn failed(action: &'static str) -> impl FnOnce(ExecError) -> NetworkError {
    move |source| NetworkError::Exec { action, source }
}

async fn run(action: &'static str, program: &str, args: &[&str]) -> Result<Vec<u8>, NetworkError> {
    let output = Exec::new(program).args(args).deadline(DEADLINE).run().await;
    output.map(|output| output.stdout).map_err(failed(action))
}

async fn links() -> Result<Vec<Link>, NetworkError> {
    const ACTION: &str = "list the network ports";
    let shown = run(ACTION, "ip", &["-j", "-d", "address", "show"]).await?;
    parse::links(&shown).map_err(|source| NetworkError::Answer {
        action: ACTION,
        program: "ip",
        source,
    })
}

async fn gateways() -> Result<Vec<IpAddr>, NetworkError> {
    const ACTION: &str = "list the routers";
    let mut found = Vec::new();
    for family in ["-4", "-6"] {
        let shown = run(ACTION, "ip", &["-j", family, "route", "show", "default"]).await?;
        let some = parse::gateways(&shown).map_err(|source| NetworkError::Answer {
            action: ACTION,
            program: "ip",
            source,
        });
        found.extend(some?);
    }
    Ok(found)
}

async fn reload() -> Result<(), NetworkError> {
    const ACTION: &str = "let systemd-networkd read its files";
    let Err(error) = run(ACTION, "networkctl", &["reload"]).await else {
        return Ok(());
    };
    // It does not answer, or does not run. A restart does the same; it leaves a stopped one alone.
    tracing::warn!(error = ?error, "The network manager did not reload; it is restarted");
    let restart = ["try-restart", "systemd-networkd.service"];
    run(ACTION, "systemctl", &restart).await.map(drop)
}

async fn set_host_name(name: &str) -> Result<(), NetworkError> {
    // A process that may not do it itself asks the service that may.
    let directly = nix::unistd::sethostname(name).is_ok() && remember_host_name(name).is_ok();
    if directly {
        return Ok(());
    }
    let words = ["--no-ask-password", "set-hostname", name];
    run("set the host name", "hostnamectl", &words).await.map(drop)
}

/// In place and not by renaming: the file alone may be all that the process can write to.
fn remember_host_name(name: &str) -> std::io::Result<()> {
    writeln!(
        File::options().write(true).truncate(true).open(HOST_NAME)?,
        "{name}"
    )
}

impl Network for SystemNetwork {
    fn links(&self) -> Answer<'_, Vec<Link>> {
        Box::pin(links())
    }

    fn gateways(&self) -> Answer<'_, Vec<IpAddr>> {
        Box::pin(gateways())
    }

    fn owners<'a>(
        &'a self,
        port: &'a str,
        addresses: &'a [IpAddr],
    ) -> Answer<'a, BTreeMap<IpAddr, Hardware>> {
        Box::pin(async move {
            let found = neighbour::owners(port, addresses).await;
            found.map_err(|source| NetworkError::Ask {
                port: port.to_owned(),
                source,
            })
        })
    }

    fn reload(&self) -> Answer<'_, ()> {
        Box::pin(reload())
    }

    fn remove_link<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            if !links().await?.iter().any(|link| link.name == name) {
                return Ok(());
            }
            run("remove a virtual LAN", "ip", &["link", "delete", "dev", name])
                .await
                .map(drop)
        })
    }

    fn drop_ipv6_offers<'a>(&'a self, name: &'a str, routes: bool) -> Answer<'a, ()> {
        const ACTION: &str = "take back what the network had offered";
        Box::pin(async move {
            let addresses = [
                "-6", "address", "flush", "dev", name, "scope", "global", "dynamic",
            ];
            run(ACTION, "ip", &addresses).await?;
            if routes {
                run(
                    ACTION,
                    "ip",
                    &["-6", "route", "flush", "dev", name, "proto", "ra"],
                )
                .await?;
            }
            Ok(())
        })
    }

    fn set_mtu<'a>(&'a self, name: &'a str, mtu: u32) -> Answer<'a, ()> {
        Box::pin(async move {
            let mtu = mtu.to_string();
            let words = ["link", "set", "dev", name, "mtu", &mtu];
            run("set the largest packet of a port", "ip", &words)
                .await
                .map(drop)
        })
    }

    fn set_host_name<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        Box::pin(set_host_name(name))
    }
}
