//! After a factory reset: the system that the machine came with is started again.
//!
//! Data that nobody has used yet says so by a file in it. Found by a system that the machine did not come with, it means that
//! the data was erased: the loader is told to start the shipped system. If that one does not come up after as many starts as
//! any new one has, the system that asked for it runs on.
//!
//! **Invariant:** the word in the data goes last, so that what was cut off goes on at the next start.

use std::path::Path;

use satellite_host::fail_point;
use satellite_host::files;
use tracing::{info, warn};

use super::slots::{Machine, SlotError, shipped};

/// Every point at which a test may kill the way back.
pub const FAIL_POINTS: &[&str] = &["shipped.renewed", "shipped.noted", "shipped.preferred"];

/// The file at the root of a data partition that nobody has used yet.
pub const UNUSED: &str = ".unused";

/// What it says once the shipped system was given its starts.
const TRIED: &[u8] = b"the shipped system was called\n";

/// What is to be done about data that nobody has used yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing any more.
    Stay,
    /// The machine is to be started anew.
    Restart,
}

impl Machine {
    /// Has the loader start the shipped system if the data at `data` was erased by another one.
    ///
    /// # Errors
    ///
    /// [`SlotError`]: the system that runs is started next time too, and tries it again.
    pub async fn return_to_shipped(&self, data: &Path) -> Result<Next, SlotError> {
        let word = data.join(UNUSED);
        let Some(said) = files::read(&word, 1024)? else {
            return Ok(Next::Stay);
        };
        let settled = || -> Result<Next, SlotError> {
            files::remove(&word)?;
            Ok(Next::Stay)
        };
        let slots = self.slots().await?;
        let Some(slot) = shipped(&slots).filter(|slot| slot.name != self.ground.slot) else {
            return settled();
        };
        let entries = self.entries();
        let Some(entry) = entries.of_slot(&slot.name)? else {
            warn!(
                slot = slot.name,
                "The shipped system has no kernel image: this one stays"
            );
            return settled();
        };
        if said != TRIED {
            entries.renew(&entry.version)?;
            fail_point("shipped.renewed");
            files::write_atomic(&word, TRIED, 0o600)?;
            fail_point("shipped.noted");
        } else if entry.left == Some(0) {
            warn!(
                version = entry.version,
                "The shipped system does not come up: this one stays"
            );
            entries.keep(&self.ground.version, Some(&slot.name))?;
            return settled();
        }
        entries.give_up_all_but(&entry.version)?;
        fail_point("shipped.preferred");
        info!(
            version = entry.version,
            "Factory reset goes back to the shipped system"
        );
        Ok(Next::Restart)
    }
}
