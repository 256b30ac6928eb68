//! Stores what is remembered of the meetings with satellites, and has it in the audit log when one was set back or copied.

use std::collections::HashMap;

use tracing::warn;

use crate::app::{Actor, App};
use crate::fleet::{Link, Trail};
use crate::names::SatelliteName;
use crate::store::SatelliteRow;

/// What was stored last.
#[derive(Debug, Default)]
pub(super) struct Trails {
    noted: HashMap<SatelliteName, Trail>,
}

impl Trails {
    /// Begins with what is stored.
    pub(super) fn of(satellites: &[SatelliteRow]) -> Self {
        let noted = satellites.iter();
        let noted = noted.map(|row| (row.name.clone(), parsed(&row.trail)));
        Self {
            noted: noted.collect(),
        }
    }

    /// Forgets a satellite that was forgotten: another may get its name.
    pub(super) fn forget(&mut self, name: &SatelliteName) {
        self.noted.remove(name);
    }

    /// Stores the trail of a satellite if it has changed.
    pub(super) async fn note(&mut self, app: &App, name: &SatelliteName, link: &Link) {
        let trail = &link.trail;
        let known = match self.noted.get(name) {
            Some(known) => known.clone(),
            None => stored(app, name).await,
        };
        if known == *trail {
            // One that does not answer reports each try: the store is not asked each time.
            self.noted.entry(name.clone()).or_insert(known);
            return;
        }
        if trail.reverts > known.reverts {
            record(
                app,
                name,
                "set back",
                "the satellite was set back to an earlier state and is synchronised",
            )
            .await;
        }
        if trail.twin_at.is_some() && trail.twin_at != known.twin_at {
            record(
                app,
                name,
                "twin",
                "another machine with its key is alive and is quarantined",
            )
            .await;
        }
        let text = serde_json::to_string(trail).unwrap_or_default();
        match app.store.note_trail(name, &text).await {
            Ok(()) => {
                self.noted.insert(name.clone(), trail.clone());
            }
            Err(error) => {
                warn!(satellite = %name, error = %crate::error_chain(&error), "Meetings not stored");
            }
        }
    }
}

async fn stored(app: &App, name: &SatelliteName) -> Trail {
    let row = app.store.satellite(name).await.ok().flatten();
    row.map(|row| parsed(&row.trail)).unwrap_or_default()
}

fn parsed(trail: &str) -> Trail {
    serde_json::from_str(trail).unwrap_or_default()
}

async fn record(app: &App, name: &SatelliteName, what: &str, text: &str) {
    let action = format!("Fleet/{what}");
    let actor = Actor::reconciler();
    app.audit
        .record(&actor, &action, name.as_str(), Err(text.to_owned()))
        .await;
}
