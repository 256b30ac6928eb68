//! The side that dials: one connection, or a channel that dials again by itself.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::{EXPORTER_LABEL, KEEPALIVE};
use crate::identity::Pin;
use crate::wire;

/// How long a channel may take to reach a satellite before a call on it fails.
const CONNECT: Duration = Duration::from_secs(10);

/// Why a satellite could not be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// Nothing answers there.
    #[error("{address} cannot be reached")]
    Connect {
        /// What was dialled.
        address: String,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// Something answers and the handshake fails.
    #[error("the TLS handshake with {address} failed")]
    Handshake {
        /// What was dialled.
        address: String,
        /// What TLS says; see [`super::is_refusal`] and [`super::is_wrong_peer`].
        #[source]
        source: io::Error,
    },
    /// Nothing came in time.
    #[error("{address} did not answer within {deadline:?}")]
    Deadline {
        /// What was dialled.
        address: String,
        /// How long was waited.
        deadline: Duration,
    },
    /// The session gives no value to bind a pairing to, or the peer sent no certificate.
    #[error("the TLS session with {address} is unusable")]
    Session {
        /// What was dialled.
        address: String,
    },
}

/// A connection that was dialled, with its handshake done.
#[derive(Debug)]
pub struct Dialled {
    /// The connection.
    pub stream: TlsStream<TcpStream>,
    /// The pin of the one who answered.
    pub peer: Pin,
    /// The certificates that it sent, the leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The value that only the two ends of this connection share, for pairing.
    pub exporter: [u8; 32],
}

/// Dials `address` (`host:port`, an IPv6 address in brackets).
///
/// With TLS 1.3 the other side judges our certificate only after our handshake is done: that it refuses us shows at the
/// first call.
///
/// # Errors
/// [`DialError`].
///
/// # Cancel safety
/// Dropping the future closes the connection.
pub async fn dial(
    address: &str,
    config: Arc<ClientConfig>,
    deadline: Duration,
) -> Result<Dialled, DialError> {
    let owned = || address.to_owned();
    let dialled = async {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|source| DialError::Connect {
                address: owned(),
                source,
            })?;
        stream.set_nodelay(true).map_err(|source| DialError::Connect {
            address: owned(),
            source,
        })?;
        let name = ServerName::try_from("satellite").map_err(|_| DialError::Session { address: owned() })?;
        let stream = TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(|source| DialError::Handshake {
                address: owned(),
                source,
            })?;
        let (_, session) = stream.get_ref();
        let chain = session.peer_certificates().unwrap_or_default();
        let chain: Vec<_> = chain.iter().map(|one| one.clone().into_owned()).collect();
        let peer = chain
            .first()
            .and_then(|leaf| Pin::of_certificate(leaf).ok())
            .ok_or_else(|| DialError::Session { address: owned() })?;
        let exporter = session
            .export_keying_material([0; 32], EXPORTER_LABEL, None)
            .map_err(|_| DialError::Session { address: owned() })?;
        Ok(Dialled {
            stream,
            peer,
            chain,
            exporter,
        })
    };
    tokio::time::timeout(deadline, dialled)
        .await
        .map_err(|_| DialError::Deadline {
            address: owned(),
            deadline,
        })?
}

fn endpoint() -> Endpoint {
    Endpoint::from_static("http://satellite")
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .http2_max_header_list_size(16 * 1024)
        .max_frame_size(wire::MAX_FRAME)
}

/// A channel to `address` that dials at the first call and again after a connection was lost.
#[must_use]
pub fn channel(address: String, config: Arc<ClientConfig>) -> Channel {
    let address: Arc<str> = address.into();
    endpoint().connect_with_connector_lazy(service_fn(move |_| {
        let (address, config) = (address.clone(), config.clone());
        async move {
            let dialled = dial(&address, config, CONNECT).await.map_err(io::Error::other)?;
            Ok::<_, io::Error>(TokioIo::new(dialled.stream))
        }
    }))
}

/// A channel over this one connection: when it is lost, so is the channel.
///
/// # Errors
/// The connection was lost before HTTP/2 was set up, which is also how a peer that refuses us shows.
pub async fn channel_over(dialled: Dialled) -> Result<Channel, tonic::transport::Error> {
    let slot = Arc::new(Mutex::new(Some(dialled.stream)));
    endpoint()
        .connect_with_connector(service_fn(move |_| {
            let stream = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            async move {
                stream
                    .map(TokioIo::new)
                    .ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "the connection was lost"))
            }
        }))
        .await
}
