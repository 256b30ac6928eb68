//! After a change the server must still reach the satellite.

use std::time::{Duration, Instant};

use satellite_host::fail_point;
use tonic::Code;

use super::{Installer, STEPS};
use crate::workload::record::Fault;

impl Installer {
    /// Waits until the server has made a call over a connection that it made after the new version was healthy. A server
    /// that asked for this is told by the operation that it is awaited.
    pub(super) async fn be_reached(&self) -> Result<(), Fault> {
        let seconds = self.record.contact_seconds;
        if seconds == 0 {
            return Ok(());
        }
        let (healthy, limit) = (Instant::now(), Duration::from_secs(seconds.into()));
        self.claim
            .progress(STEPS, STEPS, "steps", "waiting for the server");
        self.claim.await_contact(true);
        fail_point("install.contact-awaited");
        let stop = self.claim.stop();
        let reached = tokio::select! {
            reached = self.claim.inner.contact.after(healthy, limit) => reached,
            () = stop.cancelled() => {
                self.claim.await_contact(false);
                return Err(Fault::cancelled());
            }
        };
        self.claim.await_contact(false);
        if reached {
            return Ok(());
        }
        let text = format!(
            "the server did not reach the satellite within {seconds} s after the new version was healthy: see that it \
             is not the version that keeps it away"
        );
        Err(Fault::new(Code::Unavailable, text))
    }
}
