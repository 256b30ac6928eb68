//! Brings settings into force: files for systemd-networkd, and the little that it does not do.
//!
//! **Invariant:** doing it twice changes nothing, and doing it after it was cut off anywhere completes it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use satellite_host::files::{self, FileError};
use satellite_host::network::{Address, Network as Machine};
use satellite_host::{fail_point, net};

use super::render::{self, environment, render, vlan_name};
use super::{Ipv6, NetworkError, Settings};

/// The name of a satellite that nobody has given one.
pub const SHIPPED_HOST_NAME: &str = "satellite";

/// How often it is looked for what the network had offered, and how far apart.
const LOOKS: u32 = 6;
const LOOK_PAUSE: Duration = Duration::from_millis(300);

/// Largest file that is compared, in bytes.
const LIMIT: u64 = 64 * 1024;

/// Where the files are.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// Of systemd-networkd.
    pub(super) network_dir: PathBuf,
    /// Ours, that stay.
    pub(super) state_dir: PathBuf,
    /// Ours, gone at the next start.
    pub(super) run_dir: PathBuf,
}

impl Places {
    /// Packet sizes that ports had before we changed them.
    fn packet_sizes(&self) -> PathBuf {
        self.state_dir.join("network").join("packet-sizes.json")
    }

    /// What workloads are told of the proxy.
    fn environment(&self) -> PathBuf {
        self.run_dir.join("proxy.env")
    }
}

/// Before there is a network: the files only, and the name if one was set.
pub(super) async fn at_boot(
    places: &Places,
    machine: &dyn Machine,
    settings: &Settings,
) -> Result<(), NetworkError> {
    write(places, settings)?;
    match &settings.host_name {
        Some(name) => machine
            .set_host_name(name.as_str())
            .await
            .map_err(NetworkError::Machine),
        None => Ok(()),
    }
}

/// While the machine runs: the files, then everything that they change.
pub(super) async fn live(
    places: &Places,
    machine: &dyn Machine,
    settings: &Settings,
) -> Result<(), NetworkError> {
    keep_packet_sizes(places, machine, settings).await?;
    write(places, settings)?;
    fail_point("network.written");
    remove_other_vlans(machine, settings).await?;
    machine.reload().await.map_err(NetworkError::Machine)?;
    drop_ipv6_offers(machine, settings).await?;
    give_back_packet_sizes(places, machine, settings).await?;
    let name = settings
        .host_name
        .as_ref()
        .map_or(SHIPPED_HOST_NAME, |name| name.as_str());
    if net::hostname().is_ok_and(|present| present == name) {
        return Ok(());
    }
    machine.set_host_name(name).await.map_err(NetworkError::Machine)
}

fn write(places: &Places, settings: &Settings) -> Result<(), NetworkError> {
    let wanted = render(settings);
    let all = || -> Result<(), FileError> {
        files::create_dir(&places.network_dir, 0o755)?;
        for file in &wanted {
            replace(places.network_dir.join(file.name), &file.text)?;
            fail_point("network.half-written");
        }
        for name in render::FILES {
            if !wanted.iter().any(|file| file.name == name) {
                files::remove(&places.network_dir.join(name))?;
            }
        }
        match environment(settings.proxy.as_ref()) {
            Some(text) => replace(places.environment(), &text),
            None => files::remove(&places.environment()).map(drop),
        }
    };
    all().map_err(NetworkError::Files)
}

/// Leaves a file alone that says so already, for systemd-networkd acts on what is newer.
fn replace(path: PathBuf, text: &str) -> Result<(), FileError> {
    if files::read(&path, LIMIT)?.is_some_and(|present| present == text.as_bytes()) {
        return Ok(());
    }
    if let Some(dir) = path.parent() {
        files::create_dir(dir, 0o711)?;
    }
    files::write_atomic(&path, text.as_bytes(), 0o644)
}

/// systemd-networkd makes virtual LANs, but neither moves nor removes them.
async fn remove_other_vlans(machine: &dyn Machine, settings: &Settings) -> Result<(), NetworkError> {
    let wanted = settings.vlan.map(vlan_name);
    let port = settings.port.as_ref().map(|port| port.as_str());
    for link in machine.links().await.map_err(NetworkError::Machine)? {
        let ours = link.vlan.is_some_and(|id| link.name == format!("vlan{id}"));
        let kept = wanted.as_ref() == Some(&link.name) && (port.is_none() || link.parent.as_deref() == port);
        if ours && !kept {
            machine
                .remove_link(&link.name)
                .await
                .map_err(NetworkError::Machine)?;
        }
    }
    Ok(())
}

/// systemd-networkd keeps an address that a router's advertisement gave, as long as it was given for, also when such
/// addresses are wanted no more. It reads its files in its own time, and may until then take another one.
async fn drop_ipv6_offers(machine: &dyn Machine, settings: &Settings) -> Result<(), NetworkError> {
    if settings.ipv6 == Ipv6::Automatic {
        return Ok(());
    }
    for look in 0..LOOKS {
        let is_there = drop_present_ipv6_offers(machine, settings).await?;
        if look == 0 && !is_there {
            break;
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    Ok(())
}

/// Answers whether there were any.
async fn drop_present_ipv6_offers(machine: &dyn Machine, settings: &Settings) -> Result<bool, NetworkError> {
    let keeps_routes = matches!(settings.ipv6, Ipv6::Static { gateway: None, .. });
    let port = match settings.vlan {
        Some(vlan) => Some(vlan_name(vlan)),
        None => settings.port.as_ref().map(ToString::to_string),
    };
    let mut is_there = false;
    for link in machine.links().await.map_err(NetworkError::Machine)? {
        let is_meant = port
            .as_ref()
            .map_or(link.vlan.is_none(), |port| *port == link.name);
        let is_offered = |one: &Address| one.is_dynamic && one.net.addr().is_ipv6();
        if is_meant && link.addresses.iter().any(is_offered) {
            is_there = true;
            machine
                .drop_ipv6_offers(&link.name, !keeps_routes)
                .await
                .map_err(NetworkError::Machine)?;
        }
    }
    Ok(is_there)
}

type PacketSizes = BTreeMap<String, u32>;

fn packet_sizes(places: &Places) -> Result<PacketSizes, NetworkError> {
    let bytes = files::read(&places.packet_sizes(), LIMIT).map_err(NetworkError::Files)?;
    // What makes no sense was not written by us; without it the sizes stay as they are until the next start.
    Ok(bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default())
}

/// systemd-networkd sets a size and never takes it back, so it is remembered what was there before.
async fn keep_packet_sizes(
    places: &Places,
    machine: &dyn Machine,
    settings: &Settings,
) -> Result<(), NetworkError> {
    if settings.mtu.is_none() {
        return Ok(());
    }
    let mut kept = packet_sizes(places)?;
    let before = kept.clone();
    for link in machine.links().await.map_err(NetworkError::Machine)? {
        if link.vlan.is_none() {
            kept.entry(link.name).or_insert(link.mtu);
        }
    }
    if kept == before {
        return Ok(());
    }
    let text = serde_json::to_string(&kept).map_err(NetworkError::Encode)?;
    replace(places.packet_sizes(), &text).map_err(NetworkError::Files)
}

async fn give_back_packet_sizes(
    places: &Places,
    machine: &dyn Machine,
    settings: &Settings,
) -> Result<(), NetworkError> {
    let kept = packet_sizes(places)?;
    if kept.is_empty() {
        return Ok(());
    }
    let is_set = |name: &str| {
        settings.mtu.is_some() && settings.port.as_ref().is_none_or(|port| port.as_str() == name)
    };
    for link in machine.links().await.map_err(NetworkError::Machine)? {
        let Some(before) = kept.get(&link.name) else {
            continue;
        };
        if link.mtu != *before && !is_set(&link.name) {
            machine
                .set_mtu(&link.name, *before)
                .await
                .map_err(NetworkError::Machine)?;
        }
    }
    // Kept while a size is set, for the port keeps it over a restart of systemd-networkd, and some over one of ours.
    if settings.mtu.is_none() {
        files::remove(&places.packet_sizes()).map_err(NetworkError::Files)?;
    }
    Ok(())
}
