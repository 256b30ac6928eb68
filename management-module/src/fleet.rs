//! One task a satellite: its channel, whether it answers, what it runs.
//!
//! **Invariants:** what is published about a satellite comes from its newest session (`epoch`); a session that was
//! replaced changes nothing any more. Nothing here reads the store or decides what a satellite should run.

mod backoff;
mod link;
mod task;
mod trail;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use satellite_proto::identity::{Identity, Pin};
use satellite_proto::tls::{self, Expect};
use satellite_proto::wire::bridge::v1 as bridge;
use tokio::sync::{Notify, mpsc, watch};
use tonic::transport::Channel;

pub use backoff::Backoff;
pub use link::{Facts, Link, Reachability};
pub use trail::Trail;

use crate::names::{Address, SatelliteName};

/// How long a new connection may take.
pub const DIAL: Duration = Duration::from_secs(10);

/// Reports of satellites that may wait to be stored.
const REPORTS: usize = 1024;

/// Why there is no channel to a satellite.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// The fleet does not know it.
    #[error("there is no satellite {0}")]
    Unknown(String),
    /// The leaf key is unusable.
    #[error("the server's own key is unusable")]
    Tls(#[source] tls::TlsError),
    /// No new connection could be made.
    #[error("satellite {satellite} cannot be reached at {address}")]
    Dial {
        /// Which.
        satellite: String,
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: tls::DialError,
    },
    /// A connection was made and lost at once.
    #[error("the connection to satellite {satellite} was lost at once")]
    Lost {
        /// Which.
        satellite: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
}

/// The handle of the fleet; clones share it.
#[derive(Debug, Clone)]
pub struct Fleet {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    members: Mutex<HashMap<SatelliteName, Member>>,
    identity: watch::Sender<Arc<Identity>>,
    reports: mpsc::Sender<SatelliteName>,
}

#[derive(Debug)]
struct Member {
    address: watch::Sender<Address>,
    pin: Pin,
    channel: watch::Receiver<Channel>,
    link: watch::Receiver<Link>,
    trusted: watch::Sender<u64>,
    called: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What was known of a satellite before its task began.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// As it last described itself.
    pub observed: Option<bridge::Satellite>,
    /// When that was.
    pub seen_at: Option<Timestamp>,
    /// What is remembered of the meetings with it.
    pub trail: Trail,
}

impl Fleet {
    /// An empty fleet that presents itself by `identity`. The receiver names satellites that reported something.
    #[must_use]
    pub fn new(identity: Identity) -> (Self, mpsc::Receiver<SatelliteName>) {
        let (reports, reported) = mpsc::channel(REPORTS);
        let inner = Inner {
            members: Mutex::default(),
            identity: watch::Sender::new(Arc::new(identity)),
            reports,
        };
        (
            Self {
                inner: Arc::new(inner),
            },
            reported,
        )
    }

    /// The identity that connections made from now on present.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        self.inner.identity.borrow().clone()
    }

    /// The same, with every change.
    #[must_use]
    pub fn identities(&self) -> watch::Receiver<Arc<Identity>> {
        self.inner.identity.subscribe()
    }

    /// Presents another identity: every satellite is dialled anew.
    pub fn reload(&self, identity: Identity) {
        self.inner.identity.send_replace(Arc::new(identity));
    }

    /// Takes a satellite in and begins to hold contact with it.
    ///
    /// # Errors
    /// [`FleetError::Tls`].
    pub fn add(
        &self,
        name: &SatelliteName,
        address: &Address,
        pin: Pin,
        known: Known,
    ) -> Result<(), FleetError> {
        self.add_after(Duration::ZERO, (name, address, pin), known)
    }

    /// The same after a while: see [`Backoff::spread`].
    ///
    /// # Errors
    /// [`FleetError::Tls`].
    pub fn add_after(
        &self,
        wait: Duration,
        (name, address, pin): (&SatelliteName, &Address, Pin),
        known: Known,
    ) -> Result<(), FleetError> {
        let first = task::channel_to(address, pin, &self.identity())?;
        let (channel_sender, channel) = watch::channel(first);
        let (link_sender, link) = watch::channel(Link::first(known));
        let (address, dialled) = watch::channel(address.clone());
        let trusted = watch::Sender::new(0);
        let called = Arc::new(Notify::new());
        let task = task::Task {
            name: name.clone(),
            wait,
            address: dialled,
            pin,
            identity: self.inner.identity.subscribe(),
            channel: channel_sender,
            link: link_sender,
            trusted: trusted.subscribe(),
            called: called.clone(),
            reports: self.inner.reports.clone(),
        };
        let task = tokio::spawn(task.run());
        let member = Member {
            address,
            pin,
            channel,
            link,
            trusted,
            called,
            task,
        };
        self.lock().insert(name.clone(), member);
        Ok(())
    }

    /// Meets a satellite anew whose machine a person trusts: whatever was met under its name before is not it.
    ///
    /// # Errors
    /// [`FleetError::Unknown`].
    pub fn trust(&self, name: &SatelliteName) -> Result<(), FleetError> {
        self.with(name, |member| member.trusted.send_modify(|number| *number += 1))
    }

    /// Calls a satellite that did not answer now, and not only after the wait before the next try. The
    /// [`Link`] says what came of it.
    ///
    /// # Errors
    /// [`FleetError::Unknown`].
    pub fn call_now(&self, name: &SatelliteName) -> Result<(), FleetError> {
        self.with(name, |member| member.called.notify_one())
    }

    /// Lets go of a satellite; its task and its connection end.
    pub fn remove(&self, name: &SatelliteName) {
        self.lock().remove(name);
    }

    /// The channel to a satellite. It redials by itself; a call on it fails while there is no connection.
    ///
    /// # Errors
    /// [`FleetError::Unknown`].
    pub fn channel(&self, name: &SatelliteName) -> Result<Channel, FleetError> {
        self.with(name, |member| member.channel.borrow().clone())
    }

    /// A connection made now, and used for nothing else.
    ///
    /// # Errors
    /// [`FleetError::Unknown`], [`FleetError::Dial`], [`FleetError::Lost`].
    pub async fn fresh_channel(&self, name: &SatelliteName) -> Result<Channel, FleetError> {
        let address = self.address(name)?;
        self.fresh_channel_at(name, &address).await
    }

    /// A connection made now to a satellite that may be at another address, and used for nothing else.
    ///
    /// # Errors
    /// [`FleetError::Unknown`], [`FleetError::Dial`], [`FleetError::Lost`].
    pub async fn fresh_channel_at(
        &self,
        name: &SatelliteName,
        address: &Address,
    ) -> Result<Channel, FleetError> {
        let pin = self.with(name, |member| member.pin)?;
        let config = tls::client_config(&self.identity(), Expect::Pin(pin)).map_err(FleetError::Tls)?;
        let dialled = tls::dial(address.as_str(), config, DIAL)
            .await
            .map_err(|source| FleetError::Dial {
                satellite: name.to_string(),
                address: address.to_string(),
                source,
            })?;
        tls::channel_over(dialled)
            .await
            .map_err(|source| FleetError::Lost {
                satellite: name.to_string(),
                source,
            })
    }

    /// Where a satellite is dialled.
    ///
    /// # Errors
    /// [`FleetError::Unknown`].
    pub fn address(&self, name: &SatelliteName) -> Result<Address, FleetError> {
        self.with(name, |member| member.address.borrow().clone())
    }

    /// Dials a satellite at another address from now on.
    ///
    /// # Errors
    /// [`FleetError::Unknown`].
    pub fn move_to(&self, name: &SatelliteName, address: &Address) -> Result<(), FleetError> {
        self.with(name, |member| {
            member.address.send_replace(address.clone());
        })
    }

    /// How the server stands with a satellite at the moment.
    ///
    /// # Errors
    /// [`FleetError::Unknown`].
    pub fn observed(&self, name: &SatelliteName) -> Result<Link, FleetError> {
        self.with(name, |member| member.link.borrow().clone())
    }

    /// The same, with every change. It ends when the satellite is let go of.
    ///
    /// # Errors
    /// [`FleetError::Unknown`].
    pub fn watch(&self, name: &SatelliteName) -> Result<watch::Receiver<Link>, FleetError> {
        self.with(name, |member| member.link.clone())
    }

    fn with<T>(&self, name: &SatelliteName, read: impl FnOnce(&Member) -> T) -> Result<T, FleetError> {
        self.lock()
            .get(name)
            .map(read)
            .ok_or_else(|| FleetError::Unknown(name.to_string()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SatelliteName, Member>> {
        self.inner.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
