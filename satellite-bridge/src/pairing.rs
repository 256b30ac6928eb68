//! The pairing window and the installation that the satellite belongs to.
//!
//! Every change is on the disk before trust is exchanged, and trust is exchanged before connections are cut, all under
//! one short lock, so that there is one winner.
//!
//! **Invariant:** the code is in memory only, is compared in constant time, and is gone with success, expiry or the
//! fifth wrong proof.

mod clock;
mod error;
mod identity;
mod join;
mod leave;
mod membership;
mod record;
mod view;
mod window;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use satellite_proto::{
    identity::{Identity, Pin},
    pairing::{Code, PROTOCOL_VERSION, Transcript},
    tls::{Connections, Peer, ServerTls, Trust},
};
use tokio::sync::{Notify, watch};

pub use self::clock::Clock;
pub use self::error::PairingError;
pub use self::identity::{LoadError, load_or_make, remove as remove_identity};
use self::join::{Candidate, is_name};
use self::leave::Tombstone;
pub use self::leave::{disconnect_on_disk, finish_disconnection, is_paired_on_disk};
pub(crate) use self::membership::time_of_day;
use self::membership::{Membership, installation_of};
pub use self::view::{Overview, WindowView};
use crate::{generation::Generations, journal};

/// How long a window is open, and how long a candidate may take for its first call.
const WINDOW: Duration = Duration::from_secs(600);
/// Wrong proofs that close the window.
const TRIES: u32 = 5;
/// Leaves that can be revoked.
const MOST_REVOKED: usize = 1000;
/// What an answer needs to leave before its connection is cut.
const PARTING: Duration = Duration::from_millis(300);

/// Where pairing stands, as far as rights depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The satellite belongs to nobody.
    Unpaired,
    /// The proofs were right; the installation's first call is awaited.
    Candidate,
    /// It belongs to an installation.
    Paired,
    /// It belongs to an installation, and is or may be a copy of another satellite: it does nothing.
    Quarantined,
}

/// The satellite's side of pairing and trust. A cheap handle.
#[derive(Debug, Clone)]
pub struct Pairing {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    identity: Identity,
    tls: Arc<ServerTls>,
    connections: Connections,
    path: PathBuf,
    clock: Clock,
    state: Mutex<State>,
    version: watch::Sender<u64>,
    generations: Generations,
    renewal: Notify,
}

#[derive(Debug, Default)]
struct State {
    membership: Option<Membership>,
    /// Until when the candidate may make its first call.
    candidate_until: Option<Instant>,
    window: Option<Window>,
    seen: Option<Timestamp>,
    last_error: String,
    /// Whom the satellite was disconnected from at its console.
    tombstone: Option<Tombstone>,
}

#[derive(Debug)]
struct Window {
    code: Code,
    until: Instant,
    expires: Timestamp,
    tries_left: u32,
}

impl Pairing {
    /// Reads who the satellite belongs to from `path` and trusts them from now on.
    ///
    /// # Errors
    ///
    /// [`PairingError::Tls`] if the identity is unusable. A damaged record is no error: it is set aside, nobody is trusted,
    /// and the console says so.
    pub fn open(
        path: PathBuf,
        identity: Identity,
        connections: Connections,
        clock: Clock,
        generations: Generations,
    ) -> Result<Self, PairingError> {
        let tls = ServerTls::new(&identity, &Trust::Nobody).map_err(PairingError::Tls)?;
        let tombstone = leave::finish(&path, &identity);
        let found = record::read(&path, &identity);
        let mut state = State {
            membership: found.membership,
            last_error: found.problem,
            tombstone,
            ..State::default()
        };
        if state.tombstone.as_ref().is_some_and(Tombstone::is_pending) {
            state.membership = None;
        } else if state.membership.is_some() {
            state.tombstone = None;
        }
        if let Some(until) = state.membership.as_ref().and_then(|known| known.candidate_until) {
            let left = until
                .duration_since(clock.wall())
                .clamp(SignedDuration::ZERO, window_length());
            state.candidate_until = Some(clock.now() + left.unsigned_abs());
        }
        let version = watch::Sender::new(0);
        let state = Mutex::new(state);
        let shared = Shared {
            identity,
            tls,
            connections,
            path,
            clock,
            state,
            version,
            generations,
            renewal: Notify::new(),
        };
        let pairing = Self {
            shared: Arc::new(shared),
        };
        let state = pairing.lock();
        pairing.reload(&state)?;
        drop(state);
        Ok(pairing)
    }

    /// What TLS is told through: for the accept loop.
    #[must_use]
    pub fn tls(&self) -> Arc<ServerTls> {
        self.shared.tls.clone()
    }

    /// The satellite's own pin.
    #[must_use]
    pub fn pin(&self) -> Pin {
        self.shared.identity.pin()
    }

    /// Opens a window, or another one in place of the open one.
    ///
    /// # Errors
    ///
    /// [`PairingError::Paired`] also while a candidate is awaited.
    pub fn open_window(&self) -> Result<WindowView, PairingError> {
        let mut state = self.lock();
        if state.membership.is_some() {
            return Err(PairingError::Paired);
        }
        let code = Code::generate().map_err(|_| PairingError::NoRandomness)?;
        let clock = &self.shared.clock;
        let expires = clock
            .wall()
            .saturating_add(window_length())
            .map_err(|_| PairingError::NoRandomness)?;
        let window = Window {
            code,
            until: clock.now() + WINDOW,
            expires,
            tries_left: TRIES,
        };
        let view = window.view();
        state.window = Some(window);
        state.last_error.clear();
        self.cut_strangers(None);
        self.reload(&state)?;
        self.note();
        tracing::info!("Pairing window opened");
        Ok(view)
    }

    /// Closes the window, if one is open.
    ///
    /// # Errors
    ///
    /// [`PairingError::Tls`].
    pub fn close_window(&self) -> Result<(), PairingError> {
        let mut state = self.lock();
        if state.window.take().is_some() {
            self.reload(&state)?;
            self.cut_strangers(None);
            self.note();
        }
        Ok(())
    }

    /// Checks the manager's proof and answers the satellite's; the manager's installation is a candidate then.
    ///
    /// # Errors
    ///
    /// [`PairingError::Proof`] uses up a try; the others change nothing.
    pub fn pair(
        &self,
        peer: &Peer,
        version: u32,
        manager_proof: &[u8],
        server_name: &str,
    ) -> Result<[u8; 32], PairingError> {
        if version != PROTOCOL_VERSION {
            return Err(PairingError::Version(version));
        }
        if !is_name(server_name) {
            return Err(PairingError::Name);
        }
        let installation = installation_of(&peer.chain).ok_or(PairingError::Chain)?;
        let transcript = Transcript {
            version,
            exporter: peer.exporter,
            manager: peer.pin,
            satellite: self.pin(),
            installation: Pin::of_certificate(&installation).map_err(|_| PairingError::Chain)?,
        };
        let mut state = self.lock();
        if state.membership.is_some() {
            return Err(PairingError::Paired);
        }
        let window = state.window.as_ref().ok_or(PairingError::NoWindow)?;
        if !transcript.verify_manager(&window.code, manager_proof) {
            self.count_wrong_proof(&mut state, peer)?;
            return Err(PairingError::Proof);
        }
        let proof = transcript.satellite_proof(&window.code);
        let candidate = Candidate {
            installation,
            server_name: server_name.to_owned(),
            until: window.until,
            expires: window.expires,
        };
        self.keep_candidate(&mut state, candidate, Some(peer.connection))?;
        tracing::info!(peer = %peer.address, "Proofs were right, the installation is a candidate");
        Ok(proof)
    }

    /// Whether this peer still has its role, which its connection had when it was made. The first peer that has makes a
    /// candidate final.
    ///
    /// # Errors
    ///
    /// [`PairingError::Record`] if that cannot be recorded: the installation stays a candidate.
    pub fn admit(&self, peer: &Peer) -> Result<bool, PairingError> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(membership) = state.membership.as_mut() else {
            return Ok(false);
        };
        if peer.role.is_none() || membership.revoked.contains(&peer.pin) {
            return Ok(false);
        }
        state.seen = Some(self.shared.clock.wall());
        if membership.candidate_until.is_some() {
            let confirmed = Membership {
                candidate_until: None,
                ..membership.clone()
            };
            journal::write(&self.shared.path, &confirmed).map_err(PairingError::Record)?;
            *membership = confirmed;
            state.candidate_until = None;
            self.cut_strangers(None);
            self.note();
            tracing::info!(peer = %peer.address, "Paired");
        }
        Ok(true)
    }

    /// Lets go of the installation: on the disk, then in TLS, then its connections are cut, that of `caller` a moment
    /// later so that the answer arrives.
    ///
    /// # Errors
    ///
    /// [`PairingError::NotPaired`]; [`PairingError::Record`]: the satellite is still paired.
    pub fn unpair(&self, caller: Option<&Peer>) -> Result<(), PairingError> {
        let mut state = self.lock();
        let is_there = state.membership.is_some() || record::is_there(&self.shared.path);
        if !is_there {
            return Err(PairingError::NotPaired);
        }
        journal::remove(&self.shared.path)
            .and_then(|()| record::forget_damaged(&self.shared.path))
            .map_err(PairingError::Record)?;
        *state = State::default();
        self.reload(&state)?;
        drop(state);
        let caller = caller.map(|peer| peer.connection);
        self.shared
            .connections
            .cut(|peer| Some(peer.connection) != caller);
        self.part_from(caller);
        self.note();
        tracing::info!("Unpaired");
        Ok(())
    }

    /// Refuses a leaf from now on and cuts its connections; answers how many.
    ///
    /// # Errors
    ///
    /// [`PairingError::NotPaired`], [`PairingError::TooManyRevoked`], [`PairingError::Record`]: nothing changed.
    pub fn revoke(&self, leaf: Pin, caller: Option<&Peer>) -> Result<usize, PairingError> {
        let mut state = self.lock();
        let membership = state.membership.as_mut().ok_or(PairingError::NotPaired)?;
        if membership.revoked.len() >= MOST_REVOKED {
            return Err(PairingError::TooManyRevoked);
        }
        let mut changed = membership.clone();
        changed.revoked.insert(leaf);
        journal::write(&self.shared.path, &changed).map_err(PairingError::Record)?;
        *membership = changed;
        self.reload(&state)?;
        drop(state);
        let own = caller.filter(|peer| peer.pin == leaf).map(|peer| peer.connection);
        let cut = self
            .shared
            .connections
            .cut(|peer| peer.pin == leaf && Some(peer.connection) != own);
        self.part_from(own);
        self.note();
        tracing::info!(%leaf, cut, "Key revoked");
        Ok(cut + usize::from(own.is_some()))
    }

    /// Where pairing stands.
    #[must_use]
    pub fn stage(&self) -> Stage {
        let stage = self.lock().stage();
        match (stage, self.shared.generations.quarantine()) {
            (Stage::Paired, Some(_)) => Stage::Quarantined,
            (stage, _) => stage,
        }
    }

    /// How often the satellite was met, and whether it is a copy.
    #[must_use]
    pub fn generations(&self) -> &Generations {
        &self.shared.generations
    }

    /// What the console shows.
    #[must_use]
    pub fn overview(&self) -> Overview {
        let state = self.lock();
        let name = state
            .membership
            .as_ref()
            .map(|membership| membership.server_name.clone());
        Overview {
            stage: state.stage(),
            server_name: name.unwrap_or_default(),
            window: state.window.as_ref().map(Window::view),
            seen: state.seen,
            last_error: state.last_error.clone(),
        }
    }

    /// Wakes at each change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }

    /// The state as it is at this moment: what has run out is gone.
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.shared.clock.now();
        let window_is_over = state.window.as_ref().is_some_and(|window| window.until <= now);
        let candidate_is_over = state.candidate_until.is_some_and(|until| until <= now);
        if window_is_over {
            state.window = None;
            "the pairing window ran out: open another one".clone_into(&mut state.last_error);
        }
        if candidate_is_over {
            match journal::remove(&self.shared.path) {
                Ok(()) => tracing::warn!("Candidate dropped, it made no call in time"),
                Err(error) => tracing::error!(%error, "Candidate dropped, but not on the disk"),
            }
            state.membership = None;
            state.candidate_until = None;
            "the server made no call after pairing: pair again".clone_into(&mut state.last_error);
        }
        if window_is_over || candidate_is_over {
            if let Err(error) = self.reload(&state) {
                tracing::error!(%error, "Trust not exchanged");
            }
            self.shared.connections.cut(|_| true);
            self.note();
        }
        state
    }

    fn reload(&self, state: &State) -> Result<(), PairingError> {
        let trust = match (&state.membership, &state.window) {
            (Some(membership), _) => membership.trust(),
            (None, Some(_)) => Trust::Anyone,
            (None, None) => state.tombstone.as_ref().map_or(Trust::Nobody, Tombstone::trust),
        };
        self.shared
            .tls
            .reload(&self.shared.identity, &trust)
            .map_err(PairingError::Tls)
    }

    fn cut_strangers(&self, except: Option<u64>) {
        self.shared
            .connections
            .cut(|peer| peer.role.is_none() && Some(peer.connection) != except);
    }

    /// Cuts a connection once the answer on it had time to leave. Rights are gone already.
    fn part_from(&self, connection: Option<u64>) {
        let Some(connection) = connection else { return };
        let connections = self.shared.connections.clone();
        tokio::spawn(async move {
            tokio::time::sleep(PARTING).await;
            connections.cut(|peer| peer.connection == connection);
        });
    }

    fn note(&self) {
        self.shared.version.send_modify(|version| *version += 1);
    }
}

impl State {
    fn stage(&self) -> Stage {
        match (&self.membership, self.candidate_until) {
            (None, _) => Stage::Unpaired,
            (Some(_), Some(_)) => Stage::Candidate,
            (Some(_), None) => Stage::Paired,
        }
    }
}

impl Window {
    fn view(&self) -> WindowView {
        WindowView {
            code: self.code.clone(),
            expires: self.expires,
            tries_left: self.tries_left,
        }
    }
}

fn window_length() -> SignedDuration {
    SignedDuration::try_from(WINDOW).unwrap_or(SignedDuration::ZERO)
}
