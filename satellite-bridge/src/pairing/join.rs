//! How an installation becomes a candidate, by a code or by a token, and the satellite's side of a call to a server.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use jiff::Timestamp;
use rustls::{ClientConfig, pki_types::CertificateDer};
use satellite_proto::{
    identity::Pin,
    tls::{Expect, TlsError, client_config},
};

use super::{
    Clock, Membership, Pairing, PairingError, State, WINDOW, leave, membership::floor, window_length,
};
use crate::journal;

/// An installation that has proved itself.
pub(super) struct Candidate {
    pub(super) installation: CertificateDer<'static>,
    pub(super) server_name: String,
    /// Until when it must have made its first call, by a clock that nobody sets,
    pub(super) until: Instant,
    /// and by the time of day.
    pub(super) expires: Timestamp,
}

/// Whether a server's name can be shown.
pub(super) fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

impl Pairing {
    /// The configuration with which the satellite calls a server of the installation whose key has `pin`.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the satellite's identity is unusable.
    pub fn calling(&self, pin: Pin) -> Result<Arc<ClientConfig>, TlsError> {
        let floor = floor();
        client_config(&self.shared.identity, Expect::Installation { pin, floor })
    }

    /// The clock that windows and candidates are measured by.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Keeps an installation as a candidate that has proved itself over a connection which the satellite made. It has as
    /// long for its first call as after a pairing by code.
    ///
    /// # Errors
    ///
    /// [`PairingError::Paired`], [`PairingError::Name`]; [`PairingError::Record`]: nothing changed.
    pub fn adopt(
        &self,
        installation: CertificateDer<'static>,
        server_name: &str,
    ) -> Result<(), PairingError> {
        if !is_name(server_name) {
            return Err(PairingError::Name);
        }
        let mut state = self.lock();
        if state.membership.is_some() {
            return Err(PairingError::Paired);
        }
        let clock = &self.shared.clock;
        let wall = clock.wall();
        let candidate = Candidate {
            installation,
            server_name: server_name.to_owned(),
            until: clock.now() + WINDOW,
            expires: wall.saturating_add(window_length()).unwrap_or(wall),
        };
        self.keep_candidate(&mut state, candidate, None)
    }

    /// On the disk first, then in TLS; then everybody else is cut, but for `except`.
    pub(super) fn keep_candidate(
        &self,
        state: &mut State,
        candidate: Candidate,
        except: Option<u64>,
    ) -> Result<(), PairingError> {
        let membership = Membership {
            installation: candidate.installation,
            server_name: candidate.server_name,
            candidate_until: Some(candidate.expires),
            revoked: BTreeSet::new(),
        };
        journal::write(&self.shared.path, &membership).map_err(PairingError::Record)?;
        leave::forget(&self.shared.path);
        state.tombstone = None;
        state.window = None;
        state.membership = Some(membership);
        state.candidate_until = Some(candidate.until);
        self.reload(state)?;
        self.cut_strangers(except);
        self.note();
        Ok(())
    }
}
