//! What the proxy and the logs ask about workloads.

use std::sync::Arc;

use satellite_proto::wire::bridge::v1::Workload;

use crate::{
    logs::{WorkloadLog, WorkloadLogs},
    proxy::{Route, Routes},
    workload::{Workloads, unit_name},
};

/// The installed workloads, and for tests routes to ones that are not.
#[derive(Clone)]
pub(super) struct Installed {
    pub(super) workloads: Workloads,
    pub(super) others: Option<Arc<dyn Routes>>,
}

impl std::fmt::Debug for Installed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Installed")
            .field("names", &self.workloads.names())
            .finish_non_exhaustive()
    }
}

impl Routes for Installed {
    fn route(&self, package: &str) -> Option<Route> {
        if let Some(socket) = self.workloads.api_socket(package) {
            let directory = socket
                .parent()
                .and_then(|parent| parent.file_name())
                .unwrap_or_default();
            let workload = directory.to_string_lossy().into_owned();
            let known = self
                .workloads
                .list()
                .into_iter()
                .find(|known| known.name == workload);
            let state = known
                .as_ref()
                .map_or_else(|| "not known yet".to_owned(), state_word);
            return Some(Route {
                workload,
                socket,
                state,
            });
        }
        self.others.as_ref()?.route(package)
    }
}

impl WorkloadLogs for Installed {
    fn workload_logs(&self) -> Vec<WorkloadLog> {
        let logs = self.workloads.names().into_iter().filter_map(|name| {
            let manifest = self.workloads.manifest(&name)?;
            Some(WorkloadLog {
                unit: unit_name(&name),
                state: self.workloads.state_dir(&name),
                files: manifest.logs.clone(),
                name: name.to_string(),
            })
        });
        logs.collect()
    }
}

fn state_word(workload: &Workload) -> String {
    workload
        .state()
        .as_str_name()
        .trim_start_matches("WORKLOAD_STATE_")
        .to_lowercase()
}
