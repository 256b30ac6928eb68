//! The task that holds contact with one satellite.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use satellite_proto::identity::{Identity, Pin};
use satellite_proto::tls::{self, Expect};
use satellite_proto::wire::bridge::v1::satellite_service_client::SatelliteServiceClient;
use satellite_proto::wire::bridge::v1::{
    self as bridge, QuarantineRequest, SynchroniseRequest, WatchSatelliteRequest,
};
use satellite_proto::wire::{DISCONNECTED, STATE_HEADER};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tracing::{Instrument, debug, info, info_span, warn};

use super::trail::{Met, Verdict};
use super::{Backoff, DIAL, FleetError, Link, Reachability};
use crate::names::{Address, SatelliteName};

/// A satellite reports at least every 30 seconds; after this it counts as silent.
const SILENCE: Duration = Duration::from_secs(75);

/// The wait before a satellite that answers is met anew.
const AGAIN: Duration = Duration::from_millis(200);

const BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(30),
};

/// One satellite's task.
pub(super) struct Task {
    pub(super) name: SatelliteName,
    /// How long it waits before it calls for the first time.
    pub(super) wait: Duration,
    pub(super) address: watch::Receiver<Address>,
    pub(super) pin: Pin,
    pub(super) identity: watch::Receiver<Arc<Identity>>,
    pub(super) channel: watch::Sender<Channel>,
    pub(super) link: watch::Sender<Link>,
    pub(super) trusted: watch::Receiver<u64>,
    /// Somebody knows a reason to call it now rather than after the wait.
    pub(super) called: Arc<Notify>,
    pub(super) reports: mpsc::Sender<SatelliteName>,
}

/// Why a session ended.
enum End {
    /// The identity was replaced, or the satellite has moved: dial anew at once.
    Reload,
    /// It has to be found out anew who it is.
    Meet,
    /// The satellite does not answer any more.
    Failed(Reachability, String),
}

/// The lazy channel to a satellite.
pub(super) fn channel_to(address: &Address, pin: Pin, identity: &Identity) -> Result<Channel, FleetError> {
    let config = tls::client_config(identity, Expect::Pin(pin)).map_err(FleetError::Tls)?;
    Ok(tls::channel(address.to_string(), config))
}

/// Waits until the satellite has to be dialled anew. False if nobody wants it dialled any more.
async fn replaced(
    identity: &mut watch::Receiver<Arc<Identity>>,
    address: &mut watch::Receiver<Address>,
) -> bool {
    tokio::select! {
        changed = identity.changed() => changed.is_ok(),
        changed = address.changed() => changed.is_ok(),
    }
}

impl Task {
    pub(super) async fn run(self) {
        tokio::time::sleep(self.wait).await;
        let span = info_span!("satellite", name = %self.name);
        self.hold().instrument(span).await;
    }

    async fn hold(mut self) {
        let mut attempt = 0;
        loop {
            let epoch = self.link.borrow().epoch + 1;
            self.link.send_modify(|link| link.epoch = epoch);
            let (heard, end) = self.session().await;
            if heard {
                attempt = 0;
            }
            let (reachability, problem) = match end {
                End::Failed(reachability, problem) => (reachability, problem),
                End::Reload => {
                    self.replace_channel();
                    continue;
                }
                End::Meet => {
                    // Not in a tight loop, whatever it says of itself.
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            };
            let is_gone = self.link.borrow().reachability == Reachability::Disconnected;
            let says_nothing_new = matches!(reachability, Reachability::Refused | Reachability::Unreachable);
            // Whoever said goodbye need not answer any more: a reset satellite has another key, or is switched off.
            let (reachability, problem) = if is_gone && says_nothing_new {
                (Reachability::Disconnected, self.goodbye())
            } else {
                (reachability, problem)
            };
            if self.link.borrow().reachability != reachability {
                warn!(address = %*self.address.borrow(), ?reachability, problem, "Satellite lost");
            }
            self.publish(|link| {
                link.trail.disconnected |= reachability == Reachability::Disconnected;
                link.reachability = reachability;
                link.problem = problem;
                link.failures += 1;
            })
            .await;
            let wait = BACKOFF.delay(attempt, rand::random());
            attempt = attempt.saturating_add(1);
            debug!(?wait, attempt, "Satellite is tried again");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.called.notified() => {}
                wanted = replaced(&mut self.identity, &mut self.address) => {
                    if !wanted {
                        return;
                    }
                    self.replace_channel();
                }
            }
        }
    }

    /// One session: from the call to its end. The flag says whether anything was heard.
    async fn session(&mut self) -> (bool, End) {
        let mut client = SatelliteServiceClient::new(self.channel.borrow().clone())
            .max_decoding_message_size(satellite_proto::wire::MAX_MESSAGE);
        let (mut identity, mut address) = (self.identity.clone(), self.address.clone());
        let met = tokio::select! {
            met = self.meet(&mut client) => met,
            _ = replaced(&mut identity, &mut address) => return (false, End::Reload),
        };
        let apart = match met {
            Ok(apart) => apart,
            Err(end) => return (false, end),
        };
        // Looked at here, taken note of when it is met.
        let mut trusted = self.trusted.clone();
        let opened = tokio::select! {
            opened = timeout(DIAL * 2, client.watch_satellite(WatchSatelliteRequest {})) => opened,
            _ = replaced(&mut self.identity, &mut self.address) => return (false, End::Reload),
        };
        let mut stream = match opened {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return (false, self.failed(&status)),
            Err(_) => return (false, self.silent()),
        };
        let mut heard = false;
        loop {
            let message = tokio::select! {
                message = timeout(SILENCE, stream.message()) => message,
                _ = replaced(&mut self.identity, &mut self.address) => return (heard, End::Reload),
                _ = trusted.changed() => return (heard, End::Meet),
            };
            let satellite = match message {
                Ok(Ok(Some(response))) => response.satellite,
                Ok(Ok(None)) => {
                    let problem = format!("{} ended the session", *self.address.borrow());
                    return (heard, End::Failed(Reachability::Unreachable, problem));
                }
                Ok(Err(status)) => return (heard, self.failed(&status)),
                Err(_) => return (heard, self.silent()),
            };
            let Some(satellite) = satellite else { continue };
            if !heard {
                info!(address = %*self.address.borrow(), "Satellite answers");
            }
            heard = true;
            if (satellite.quarantine != 0) != apart {
                return (heard, End::Meet);
            }
            self.note(satellite, apart).await;
        }
    }

    async fn note(&self, satellite: bridge::Satellite, apart: bool) {
        let problem = if apart { self.copied() } else { String::new() };
        self.publish(|link| {
            link.reachability = if apart {
                Reachability::Quarantined
            } else {
                Reachability::Reachable
            };
            link.satellite = Some(satellite);
            link.seen_at = Some(Timestamp::now());
            link.problem = problem;
        })
        .await;
    }

    /// Compares what both sides remember of each other; whether it is a copy with which nothing is done.
    async fn meet(&mut self, client: &mut SatelliteServiceClient<Channel>) -> Result<bool, End> {
        let generation = self.link.borrow().trail.generation;
        let asked = timeout(DIAL * 2, client.synchronise(SynchroniseRequest { generation })).await;
        let met = match asked {
            Ok(Ok(response)) => response.into_inner(),
            // A bridge that does not know of this keeps no counter; nothing can be said of it.
            Ok(Err(status)) if is_unknown(&status) => return Ok(false),
            Ok(Err(status)) => return Err(self.failed(&status)),
            Err(_) => return Err(self.silent()),
        };
        let met = Met {
            found: met.found,
            generation: met.generation,
            reverted: met.reverted,
            boot_id: met.boot_id,
            uptime_millis: met.uptime_millis,
            quarantined: met.quarantine != 0,
        };
        let is_trusted = self.trusted.has_changed().unwrap_or(false);
        self.trusted.mark_unchanged();
        let mut verdict = Verdict::Same;
        self.publish(|link| {
            if is_trusted {
                link.trail.trust(&met.boot_id);
            }
            verdict = link.trail.meet(&met, Timestamp::now());
        })
        .await;
        match verdict {
            Verdict::Same => Ok(false),
            Verdict::Reverted => {
                warn!(address = %*self.address.borrow(), found = met.found, generation, "Satellite was set back to an earlier state");
                Ok(false)
            }
            Verdict::TwinElsewhere => {
                warn!(address = %*self.address.borrow(), "Another machine with the satellite's key is alive");
                Ok(false)
            }
            Verdict::Quarantined => Ok(true),
            Verdict::Copy => {
                warn!(address = %*self.address.borrow(), "A copy of the satellite answers, and is told to keep still");
                match timeout(DIAL * 2, client.quarantine(QuarantineRequest {})).await {
                    Ok(Ok(_)) => Ok(true),
                    Ok(Err(status)) => Err(self.failed(&status)),
                    Err(_) => Err(self.silent()),
                }
            }
        }
    }

    fn copied(&self) -> String {
        format!(
            "the machine at {} is quarantined: it is a copy of this satellite, or runs in another machine than the one that \
             was paired. If it is to be the satellite from now on: `management-module satellite trust {}`. If not: disconnect \
             it at its console, and see that this address is the satellite's own",
            *self.address.borrow(),
            self.name
        )
    }

    async fn publish(&self, change: impl FnOnce(&mut Link)) {
        self.link.send_modify(change);
        // Nobody stores reports any more while the process stops.
        let _ = self.reports.send(self.name.clone()).await;
    }

    fn replace_channel(&mut self) {
        let identity = self.identity.borrow_and_update().clone();
        let address = self.address.borrow_and_update().clone();
        match channel_to(&address, self.pin, &identity) {
            Ok(channel) => {
                self.channel.send_replace(channel);
            }
            Err(error) => tracing::error!(error = %crate::error_chain(&error), "Channel not renewed"),
        }
    }

    fn silent(&self) -> End {
        End::Failed(
            Reachability::Unreachable,
            format!("{} does not answer", *self.address.borrow()),
        )
    }

    fn goodbye(&self) -> String {
        format!(
            "the satellite at {} was disconnected from this server at its console. Forget it, or forget it and pair it \
             again",
            *self.address.borrow()
        )
    }

    fn failed(&self, status: &Status) -> End {
        let address = self.address.borrow().clone();
        let state = status.metadata().get(STATE_HEADER);
        if state.is_some_and(|state| state == DISCONNECTED) {
            return End::Failed(Reachability::Disconnected, self.goodbye());
        }
        if tls::is_wrong_peer(status) {
            let problem = format!(
                "another machine answers at {address}: its key is not the one that was paired. If the satellite was set up \
                 anew, forget it and pair it again; if its address changed, name the new one by `network address`"
            );
            return End::Failed(Reachability::Refused, problem);
        }
        if tls::is_expiry(status) {
            let problem = format!(
                "the clock of the satellite at {address} is wrong, or this server's: by it this server's certificate has run \
                 out. Set the clock at its console, or let it reach a time server"
            );
            return End::Failed(Reachability::Refused, problem);
        }
        let refused = tls::is_refusal(status)
            || matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated);
        if refused {
            let problem = format!(
                "the satellite at {address} does not trust this server any more (it was disconnected at its console, or paired \
                 elsewhere). Forget it and pair it again"
            );
            return End::Failed(Reachability::Refused, problem);
        }
        // What lies beneath, if something does: the status itself is a text for programmers.
        let cause = status
            .source()
            .map_or_else(|| status.message().to_owned(), crate::error_chain);
        End::Failed(
            Reachability::Unreachable,
            format!("{address} cannot be reached: {cause}"),
        )
    }
}

/// Whether a bridge answers that it does not know the method.
fn is_unknown(status: &Status) -> bool {
    let is_refused = status.code() == Code::PermissionDenied && status.message().contains("no right to call");
    status.code() == Code::Unimplemented || is_refused
}
