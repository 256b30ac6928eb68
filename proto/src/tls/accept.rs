//! The side that is dialled: accepts, does the handshake, says who came, and can cut them off.
//!
//! Handshakes run in their own tasks, bounded in number and time, so that a slow peer holds up nobody.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin as Pinned;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::{EXPORTER_LABEL, TlsError, Trust, server_config};
use crate::identity::{Identity, Pin, Role, lifetime_after, role_of, time_for};

/// How long a peer may take for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Connections and handshakes at a time. A satellite has one server with a few replicas; more is an attack.
const MOST_CONNECTIONS: usize = 512;

/// Handshakes under way from one address: whoever opens connections and says nothing must not keep others out.
const MOST_HANDSHAKES: usize = 32;

/// The satellite's key and trust as they are now; exchanged without a restart.
pub struct ServerTls {
    current: ArcSwap<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    trusted: bool,
    epoch: u64,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls")
            .field("epoch", &self.current.load().epoch)
            .finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Starts with this key and trust.
    ///
    /// # Errors
    /// [`TlsError`] if they are unusable.
    pub fn new(identity: &Identity, trust: &Trust) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self {
            current: ArcSwap::from_pointee(Current::new(identity, trust, 0)?),
        }))
    }

    /// Uses another key or trust for every handshake that is not finished yet. Connections that exist are the
    /// caller's to cut.
    ///
    /// # Errors
    /// [`TlsError`] if they are unusable; what was in use stays.
    pub fn reload(&self, identity: &Identity, trust: &Trust) -> Result<(), TlsError> {
        let epoch = self.current.load().epoch + 1;
        self.current
            .store(Arc::new(Current::new(identity, trust, epoch)?));
        Ok(())
    }
}

impl Current {
    fn new(identity: &Identity, trust: &Trust, epoch: u64) -> Result<Self, TlsError> {
        let trusted = matches!(trust, Trust::Installation { .. });
        Ok(Self {
            config: Arc::new(server_config(identity, trust)?),
            trusted,
            epoch,
        })
    }
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// The pin of its leaf.
    pub pin: Pin,
    /// Its role in the installation; none while a pairing window is open to anyone.
    pub role: Option<Role>,
    /// The certificates that it sent, the leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The value that only the two ends of this connection share, for pairing.
    pub exporter: [u8; 32],
    /// Number of the connection, rising.
    pub connection: u64,
    /// When the handshake ended.
    pub established: Instant,
}

/// The connections that exist.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    inner: Arc<Registry>,
}

#[derive(Debug, Default)]
struct Registry {
    live: Mutex<HashMap<u64, (Peer, CancellationToken)>>,
    next: AtomicU64,
}

impl Registry {
    fn live(&self) -> MutexGuard<'_, HashMap<u64, (Peer, CancellationToken)>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    /// Cuts the connections whose peer fits, and answers how many. Calls under way end with an error at once.
    #[allow(
        clippy::must_use_candidate,
        reason = "cutting is the point, the number is extra"
    )]
    pub fn cut(&self, which: impl Fn(&Peer) -> bool) -> usize {
        let mut cut = 0;
        for (peer, token) in self.inner.live().values() {
            if which(peer) {
                token.cancel();
                cut += 1;
            }
        }
        cut
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.inner.live().len()
    }

    fn register(&self, peer: &Peer) -> Registered {
        let token = CancellationToken::new();
        self.inner
            .live()
            .insert(peer.connection, (peer.clone(), token.clone()));
        Registered {
            registry: self.inner.clone(),
            connection: peer.connection,
            token,
        }
    }

    fn number(&self) -> u64 {
        self.inner.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// Takes the connection out of the registry when it ends, however it ends.
struct Registered {
    registry: Arc<Registry>,
    connection: u64,
    token: CancellationToken,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.live().remove(&self.connection);
    }
}

/// Handshakes under way, by where they come from.
#[derive(Debug, Clone, Default)]
struct Waiting {
    from: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Waiting {
    /// Counts one more; none if there are enough from there.
    fn enter(&self, address: IpAddr) -> Option<Turn> {
        // A host has a whole /64 of IPv6 to itself.
        let place = match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
            v4 @ IpAddr::V4(_) => v4,
        };
        let mut from = self.from.lock().unwrap_or_else(PoisonError::into_inner);
        let count = from.entry(place).or_default();
        if *count >= MOST_HANDSHAKES {
            return None;
        }
        *count += 1;
        drop(from);
        let waiting = self.clone();
        Some(Turn { waiting, place })
    }
}

/// A handshake that counts until this is dropped.
#[derive(Debug)]
struct Turn {
    waiting: Waiting,
    place: IpAddr,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut from = self.waiting.from.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = from.get_mut(&self.place) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                from.remove(&self.place);
            }
        }
    }
}

/// A connection whose handshake is done. A handler finds the [`Peer`] in the request's extensions.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    /// Ready when the peer is no longer trusted: cut off, or its certificate has run out.
    cut: Pinned<Box<dyn Future<Output = ()> + Send>>,
    _registered: Registered,
    _permit: OwnedSemaphorePermit,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl Connection {
    fn check_cut(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.cut.as_mut().poll(context).is_ready() {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the peer is no longer trusted",
            ));
        }
        Ok(())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pinned<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_cut(context)?;
        Pinned::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pinned<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_cut(context)?;
        Pinned::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pinned<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_cut(context)?;
        Pinned::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pinned<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pinned::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pinned<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pinned::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The connections that `listener` takes from now on, each with its handshake done.
///
/// The stream never ends by itself; dropping it closes the listener.
pub fn incoming(
    listener: TcpListener,
    tls: Arc<ServerTls>,
    connections: Connections,
) -> impl Stream<Item = io::Result<Connection>> + Send + 'static {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let waiting = Waiting::default();
        loop {
            let Ok(permit) = permits.clone().acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = sender.closed() => return,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors or a peer that left: neither is worth the listener.
                    tracing::warn!(%error, "Connection not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Some(turn) = waiting.enter(address.ip()) else {
                tracing::debug!(%address, "Too many handshakes from there");
                continue;
            };
            let (tls, connections, sender) = (tls.clone(), connections.clone(), sender.clone());
            tokio::spawn(async move {
                let handshake = handshake(stream, address, &tls, &connections, permit);
                let ended = tokio::time::timeout(HANDSHAKE, handshake).await;
                drop(turn);
                match ended {
                    Ok(Ok(connection)) => drop(sender.send(Ok(connection)).await),
                    Ok(Err(error)) => tracing::info!(%address, %error, "Handshake refused"),
                    Err(_) => tracing::info!(%address, "Handshake took too long"),
                }
            });
        }
    });
    ReceiverStream::new(receiver)
}

async fn handshake(
    stream: TcpStream,
    address: SocketAddr,
    tls: &ServerTls,
    connections: &Connections,
    permit: OwnedSemaphorePermit,
) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    let current = tls.current.load_full();
    let stream = TlsAcceptor::from(current.config.clone()).accept(stream).await?;
    let (_, session) = stream.get_ref();
    let chain: Vec<_> = session
        .peer_certificates()
        .unwrap_or_default()
        .iter()
        .map(|c| c.clone().into_owned())
        .collect();
    let leaf = chain
        .first()
        .ok_or_else(|| io::Error::other("the peer sent no certificate"))?;
    let exporter = session
        .export_keying_material([0; 32], EXPORTER_LABEL, None)
        .map_err(io::Error::other)?;
    // A clock that is behind makes no connection last longer.
    let lifetime = lifetime_after(leaf, time_for(leaf, SystemTime::now()));
    let peer = Peer {
        address,
        pin: Pin::of_certificate(leaf).map_err(io::Error::other)?,
        role: if current.trusted { role_of(leaf) } else { None },
        exporter,
        connection: connections.number(),
        established: Instant::now(),
        chain,
    };
    let registered = connections.register(&peer);
    // Trust may have been exchanged during the handshake, and the cut that goes with it came before we were there.
    if tls.current.load().epoch != current.epoch {
        return Err(io::Error::new(
            io::ErrorKind::ConnectionAborted,
            "trust changed during the handshake",
        ));
    }
    let token = registered.token.clone();
    let lifetime = lifetime.filter(|_| peer.role.is_some());
    let cut = Box::pin(async move {
        match lifetime {
            Some(lifetime) => drop(tokio::time::timeout(lifetime, token.cancelled()).await),
            None => token.cancelled().await,
        }
    });
    Ok(Connection {
        stream,
        peer,
        cut,
        _registered: registered,
        _permit: permit,
    })
}
