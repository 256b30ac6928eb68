//! The gate in front of every service: who calls, may they, and where does the call go.
//!
//! **Invariant:** no handler and no workload is reached before [`access::decide`] has said yes.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use nix::unistd::Uid;
use satellite_proto::{
    identity::Role,
    tls::Peer,
    wire::{DISCONNECTED, ROLE_HEADER, STATE_HEADER},
};
use tonic::{Status, body::Body, metadata::MetadataValue, transport::server::UdsConnectInfo};
use tower::Service;

use crate::{
    access::{self, Asking},
    contact::Contact,
    network::Network,
    pairing::Pairing,
    proxy::Proxy,
};

/// How long the bridge may take to begin an answer; what takes longer is an operation or a stream.
const DEADLINE: Duration = Duration::from_secs(120);
/// The one call of the bridge whose answer comes after a long stream.
const LONG_CALL: &str = "/satellite.bridge.v1.UpdateService/PutChunks";

/// The gate, over the services behind it.
#[derive(Debug, Clone)]
pub struct Gate<S> {
    services: S,
    pairing: Pairing,
    proxy: Proxy,
    network: Option<Network>,
    contact: Option<Contact>,
}

impl<S> Gate<S> {
    /// Puts the gate in front of `services` and of the workloads behind `proxy`.
    #[must_use]
    pub fn new(services: S, pairing: Pairing, proxy: Proxy) -> Self {
        Self {
            services,
            pairing,
            proxy,
            network: None,
            contact: None,
        }
    }

    /// Tells `network` and `contact` when the installation has reached the satellite.
    #[must_use]
    pub fn telling(mut self, network: Option<Network>, contact: Contact) -> Self {
        self.network = network;
        self.contact = Some(contact);
        self
    }
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.services.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let spare = self.services.clone();
        let mut services = std::mem::replace(&mut self.services, spare);
        let admitted = admit(&self.pairing, &request);
        let (proxy, network) = (self.proxy.clone(), self.network.clone());
        let peer = request.extensions().get::<Peer>();
        if let (Some(contact), Some(peer), Ok(Some(_))) = (&self.contact, peer, &admitted) {
            contact.heard(peer.established);
        }
        Box::pin(async move {
            let role = match admitted {
                Ok(role) => role,
                Err(status) => return Ok(status.into_http()),
            };
            if let (Some(network), Some(_)) = (network, role) {
                tell(network, &request);
            }
            request.headers_mut().remove(ROLE_HEADER);
            let path = request.uri().path();
            if let (true, Some(role)) = (Proxy::is_foreign(path), role) {
                return Ok(proxy.pass(request, role).await);
            }
            if path == LONG_CALL {
                return services.call(request).await;
            }
            let answer = tokio::time::timeout(DEADLINE, services.call(request)).await;
            answer.unwrap_or_else(|_| {
                Ok(Status::deadline_exceeded("the satellite took too long: try again").into_http())
            })
        })
    }
}

/// A member is here: the network may be as good as it has to be.
fn tell(network: Network, request: &Request<Body>) {
    let established = request.extensions().get::<Peer>().map(|peer| peer.established);
    if let Some(established) = established
        && network.is_any_change_open()
    {
        tokio::spawn(async move { network.reached(established).await });
    }
}

/// The role with which the call may go on; none for a stranger who pairs and for the console.
fn admit(pairing: &Pairing, request: &Request<Body>) -> Result<Option<Role>, Status> {
    let path = request.uri().path();
    let peer = request.extensions().get::<Peer>();
    let asking = match (peer, request.extensions().get::<UdsConnectInfo>()) {
        (Some(peer), _) => match peer.role {
            Some(role) if pairing.admit(peer)? => Asking::Member(role),
            _ => Asking::Stranger,
        },
        (None, Some(console)) if is_ours(console) => Asking::Console,
        (None, _) => Asking::Stranger,
    };
    if let Err(denied) = access::decide(path, asking, pairing.stage()) {
        // The one thing that the former installation may do is what any other may: to pair while a window is open.
        if let Some(peer) = peer
            && asking == Asking::Stranger
            && pairing.is_disconnected_from(peer)
        {
            return Err(disconnected());
        }
        tracing::info!(method = path, peer = ?peer.map(|peer| peer.address), %denied, "Call refused");
        return Err(denied.into());
    }
    match asking {
        Asking::Member(role) => Ok(Some(role)),
        Asking::Stranger | Asking::Console => Ok(None),
    }
}

/// What the former server is told, whatever it asks.
pub(crate) fn disconnected() -> Status {
    let mut status =
        Status::failed_precondition("the satellite was disconnected from this server at its console");
    status
        .metadata_mut()
        .insert(STATE_HEADER, MetadataValue::from_static(DISCONNECTED));
    status
}

/// Whether root, or the user that the daemon runs as, is at the other end.
fn is_ours(console: &UdsConnectInfo) -> bool {
    let uid = console
        .peer_cred
        .as_ref()
        .map(|credentials| Uid::from_raw(credentials.uid()));
    uid.is_some_and(|uid| uid.is_root() || uid == Uid::effective())
}
