//! What ends a pairing window: time, and wrong proofs.

use std::time::Duration;

use satellite_proto::tls::Peer;

use super::{Pairing, PairingError, State, TRIES};

impl Pairing {
    /// Closes windows and drops candidates in time, until it is dropped.
    pub async fn keep_time(&self) {
        let mut changes = self.changes();
        loop {
            let next = {
                let state = self.lock();
                state
                    .window
                    .as_ref()
                    .map(|window| window.until)
                    .or(state.candidate_until)
            };
            let wait = next.map(|next| next.saturating_duration_since(self.shared.clock.now()));
            let elapsed = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait + Duration::from_millis(10)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = elapsed => {}
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    pub(super) fn count_wrong_proof(&self, state: &mut State, peer: &Peer) -> Result<(), PairingError> {
        let Some(window) = state.window.as_mut() else {
            return Ok(());
        };
        window.tries_left = window.tries_left.saturating_sub(1);
        tracing::warn!(peer = %peer.address, tries_left = window.tries_left, "Wrong pairing proof");
        state.last_error = format!("a wrong code was tried from {}", peer.address.ip());
        if window.tries_left == 0 {
            state.window = None;
            state.last_error = format!("{TRIES} wrong codes were tried: open another window");
            self.reload(state)?;
            self.cut_strangers(Some(peer.connection));
            self.part_from(Some(peer.connection));
        }
        self.note();
        Ok(())
    }
}
