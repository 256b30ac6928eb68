//! The listener for satellites that come with a token: there only while tokens are out.
//!
//! **Invariant:** while no token was given out that is good or has ended within a day, nothing listens.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use satellite_proto::tls::{Connections, ServerTls, TlsError, Trust, incoming};
use satellite_proto::wire::join::v1::join_service_server::JoinServiceServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::app::App;
use crate::app::join::Listening;
use crate::rpc::join::Join;

/// How long after the end of the last token the listener stays: who comes late is told so, instead of finding nobody.
const LINGER: SignedDuration = SignedDuration::from_hours(24);
/// The wait after the port could not be had.
const AGAIN: Duration = Duration::from_secs(30);
/// How long a call and a connection may take: one call is all that is wanted.
const CALL: Duration = Duration::from_secs(20);
const CONNECTION: Duration = Duration::from_secs(45);
/// The largest message that is read, in bytes.
const MESSAGE: usize = 4096;

/// Why nothing is offered.
#[derive(Debug, thiserror::Error)]
enum JoinsError {
    #[error("cannot listen on {address} for satellites with tokens")]
    Listen {
        address: std::net::SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("the server's own key cannot be used")]
    Tls(#[source] TlsError),
}

/// Listens while tokens are out, until `stop`.
pub(super) async fn receive(app: App, stop: CancellationToken) {
    let mut wishes = app.desk.wishes();
    loop {
        wishes.mark_unchanged();
        let listening = async {
            let Some(left) = left(&app).await else {
                app.desk.publish(Listening::Closed);
                return std::future::pending().await;
            };
            match open(&app).await {
                Ok((listener, tls)) => {
                    let closed = serve(&app, listener, tls, stop.child_token());
                    // Looked at again when the last token has ended; it only may have become later.
                    let _ = tokio::time::timeout(left, closed).await;
                }
                Err(problem) => {
                    let problem = crate::error_chain(&problem);
                    error!(problem, "Satellites with tokens are not received");
                    app.desk.publish(Listening::Failed(problem));
                    tokio::time::sleep(AGAIN).await;
                }
            }
        };
        // A token that was made while it listens already changes nothing but the end.
        let changed = async {
            loop {
                if wishes.changed().await.is_err() {
                    return;
                }
                let is_open = matches!(app.desk.listening(), Listening::Open(_));
                if is_open != left(&app).await.is_some() || !is_open {
                    return;
                }
            }
        };
        tokio::select! {
            () = listening => {}
            () = changed => {}
            () = stop.cancelled() => return,
        }
    }
}

/// How long it is worth to listen; none if it is not.
async fn left(app: &App) -> Option<Duration> {
    let end = match app.store.tokens_end().await {
        Ok(end) => end?,
        Err(error) => {
            warn!(error = %crate::error_chain(&error), "Join tokens not read");
            return Some(AGAIN);
        }
    };
    let left = end.duration_since(Timestamp::now()).saturating_add(LINGER);
    (left > SignedDuration::ZERO).then(|| left.unsigned_abs())
}

async fn open(app: &App) -> Result<(TcpListener, Arc<ServerTls>), JoinsError> {
    let address = app.config.join_listen;
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|source| JoinsError::Listen { address, source })?;
    let tls = ServerTls::new(&app.fleet.identity(), &Trust::Anyone).map_err(JoinsError::Tls)?;
    Ok((listener, tls))
}

async fn serve(app: &App, listener: TcpListener, tls: Arc<ServerTls>, stop: CancellationToken) {
    let _closed = Closed(app.clone());
    match listener.local_addr() {
        Ok(address) => app.desk.publish(Listening::Open(address)),
        Err(error) => warn!(%error, "Listener without an address"),
    }
    info!(address = %app.config.join_listen, "Receiving satellites with tokens");
    let connections = Connections::default();
    let mut identities = app.fleet.identities();
    let renew = async {
        while identities.changed().await.is_ok() {
            let identity = identities.borrow_and_update().clone();
            if let Err(error) = tls.reload(&identity, &Trust::Anyone) {
                error!(error = %crate::error_chain(&error), "Key of the listener not renewed");
            }
        }
        std::future::pending::<()>().await;
    };
    let service = JoinServiceServer::new(Join(app.clone()))
        .max_decoding_message_size(MESSAGE)
        .max_encoding_message_size(MESSAGE);
    let server = tonic::transport::Server::builder()
        .timeout(CALL)
        .max_concurrent_streams(2)
        .http2_max_header_list_size(4096)
        .max_connection_age(CONNECTION)
        .max_connection_age_grace(CALL)
        .add_service(service)
        .serve_with_incoming_shutdown(
            incoming(listener, tls.clone(), connections.clone()),
            stop.cancelled_owned(),
        );
    tokio::select! {
        ended = server => if let Err(error) = ended {
            error!(error = %crate::error_chain(&error), "Receiving satellites ended");
        },
        () = renew => {}
    }
    connections.cut(|_| true);
}

/// Says that nothing listens any more, however that came.
struct Closed(App);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.desk.publish(Listening::Closed);
        info!("No more satellites with tokens are received");
    }
}
