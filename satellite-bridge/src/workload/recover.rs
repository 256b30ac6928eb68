//! What a satellite does about its workloads when it starts: it ends what was interrupted, then starts what is meant to
//! run.

use satellite_host::files;
use satellite_proto::bundle::WorkloadName;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::claim::{Outcome, Work};
use super::install::{Installer, tidy_versions, work_of};
use super::record::{Installation, Removal, chain};
use super::{Workloads, power, state};
use crate::journal;

impl Workloads {
    /// Takes up what was interrupted and starts what is enabled. The work itself goes on in the background; operations are
    /// adopted before this returns.
    pub fn recover(&self) {
        let names = match self.inner.on_disk() {
            Ok(names) => names,
            Err(err) => {
                error!(error = %chain(&err), "Workloads cannot be read, none is started");
                return;
            }
        };
        for name in names {
            self.recover_one(&name);
        }
    }

    fn recover_one(&self, name: &WorkloadName) {
        let home = self.inner.places.home(name);
        if let Some(removal) = read_or_set_aside::<Removal>(&home.removal()) {
            info!(workload = name.as_str(), "Going on with an interrupted removal");
            let work = Work {
                kind: "remove",
                name,
                key: "",
                target: None,
            };
            return self.resume(&work, &removal.operation, move |claim| {
                power::remove(claim, removal.state)
            });
        }
        if let Some(record) = read_or_set_aside::<Installation>(&home.journal()) {
            info!(
                workload = name.as_str(),
                step = record.step.word(),
                "Going on with an interrupted installation"
            );
            let operation = record.operation.clone();
            let work = work_of(name, &record);
            return self.resume(&work, &operation, move |claim| {
                Installer {
                    claim,
                    home,
                    record,
                    resumed: true,
                }
                .run(None)
            });
        }
        let Some(installed) = self.installed(name) else {
            if home.pointed(&home.current()).is_some() {
                error!(
                    workload = name.as_str(),
                    "Installed version has no manifest that can be read and is not started: install it again"
                );
                return;
            }
            // Killed before the first record, or after the last: nothing is installed here.
            if let Err(err) = files::remove_tree(home.root()) {
                warn!(error = %chain(&err), "What an interrupted installation left cannot be removed");
            }
            return;
        };
        let kept = [Some(installed.digest), home.pointed(&home.previous())];
        if let Err(err) = tidy_versions(&home, &kept).and_then(|()| state::forget(&home)) {
            warn!(error = %chain(&err), "What an interrupted installation left cannot be removed");
        }
        if !installed.enabled {
            return;
        }
        let work = Work {
            kind: "start",
            name,
            key: "",
            target: None,
        };
        self.resume(&work, "", |claim| async move {
            let outcome = match claim.inner.launch(&claim.name, &CancellationToken::new()).await {
                Ok(()) => Outcome::Done,
                Err(fault) => {
                    error!(fault = fault.message, "Workload is enabled and cannot be started");
                    Outcome::Failed {
                        fault,
                        rolled_back: false,
                    }
                }
            };
            claim.finish(&outcome, || {});
        });
    }
}

fn read_or_set_aside<T: serde::de::DeserializeOwned>(path: &std::path::Path) -> Option<T> {
    match journal::read(path) {
        Ok(record) => record,
        Err(err) => {
            error!(error = %chain(&err), "Damaged record set aside");
            if let Err(err) = files::rename(path, &path.with_extension("damaged")) {
                warn!(error = %chain(&err), "Damaged record stays");
            }
            None
        }
    }
}
