//! What is installed, as the disk says: for who reads logs without the daemon.

use super::WorkloadLog;
use crate::config::Config;
use crate::workload::{Places, unit_name};

/// The workloads whose logs can be read, and what their manifests declare; nothing if the disk cannot be read.
#[must_use]
pub fn on_disk(config: &Config) -> Vec<WorkloadLog> {
    let places = Places::of(config);
    let entries = std::fs::read_dir(places.workloads())
        .into_iter()
        .flatten()
        .flatten();
    let names = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    names
        .map(|name| {
            let home = places.home(&name);
            let manifest = home
                .pointed(&home.current())
                .and_then(|digest| home.manifest(digest));
            WorkloadLog {
                unit: unit_name(&name),
                state: places.state(&name),
                files: manifest.map(|manifest| manifest.logs).unwrap_or_default(),
                name: name.to_string(),
            }
        })
        .collect()
}
