//! The listener of the page: takes connections, as many as are good for the machine, and speaks TLS and HTTP.
//!
//! **Invariant:** no source can take all connections, and none is held by somebody who says nothing.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::{debug, error, info, warn};

use super::certificate::{self, Loaded};
use super::{Web, challenge, routes};
use crate::app::App;
use crate::app::backup::Backups;
use crate::app::page::{Offer, Page};

/// Connections at a time, of all and of one address.
const CONNECTIONS: usize = 1024;
const OF_ONE: usize = 64;

/// How long a handshake, and the head of a request, may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEAD: Duration = Duration::from_secs(20);

/// Requests over one connection at a time.
const STREAMS: u32 = 64;

/// The wait after the page could not be offered.
const AGAIN: Duration = Duration::from_secs(15);

/// How often it is looked whether the certificate is another one.
const LOOK: Duration = Duration::from_mins(1);

/// From where a request comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remote(pub(super) IpAddr);

/// Offers the page until `stop`; what keeps it from that is published, and tried again.
pub async fn offer(app: App, backups: Backups, stop: CancellationToken) {
    let Some(address) = app.config.web_listen else {
        app.page.publish(Offer {
            problem: "`web-listen` is off".into(),
            ..Offer::default()
        });
        return;
    };
    let router = routes::router(&Web::new(app.clone(), backups, stop.clone()));
    loop {
        let tried = async {
            match open(&app, address).await {
                Ok((listener, loaded)) => serve(&app, listener, loaded, router.clone(), &stop).await,
                Err(problem) => {
                    error!(problem, "The web page is not offered");
                    app.page.publish(Offer {
                        problem,
                        ..Offer::default()
                    });
                }
            }
            tokio::time::sleep(AGAIN).await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tried => {}
        }
    }
}

async fn open(app: &App, address: SocketAddr) -> Result<(TcpListener, Loaded), String> {
    let loaded = load(app).await?;
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    app.page.publish(offered(address, &loaded));
    info!(%address, fingerprint = loaded.fingerprint, "The web page is offered");
    Ok((listener, loaded))
}

async fn load(app: &App) -> Result<Loaded, String> {
    let config = Arc::clone(&app.config);
    let loaded = tokio::task::spawn_blocking(move || certificate::load(&config)).await;
    loaded
        .map_err(|error| error.to_string())?
        .map_err(|error| crate::error_chain(&error))
}

fn offered(address: SocketAddr, loaded: &Loaded) -> Offer {
    Offer {
        address: Some(address),
        problem: String::new(),
        fingerprint: loaded.fingerprint.clone(),
        expires_at: loaded.expires_at,
    }
}

async fn serve(app: &App, listener: TcpListener, loaded: Loaded, router: Router, stop: &CancellationToken) {
    let address = listener.local_addr().ok();
    let (certificate, current) = watch::channel(loaded);
    let all = Arc::new(Semaphore::new(CONNECTIONS));
    let sources = Sources::default();
    let accept = async {
        loop {
            let Ok(slot) = Arc::clone(&all).acquire_owned().await else {
                return;
            };
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Too many open files, for instance: it passes.
                    warn!(%error, "A connection to the web page was not taken");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            let remote = Remote(peer.ip().to_canonical());
            let Some(place) = sources.take(remote.0) else {
                debug!(ip = %remote.0, "Too many connections to the web page from one address");
                continue;
            };
            let tls = current.borrow().tls.clone();
            let (router, stop, page) = (router.clone(), stop.clone(), app.page.clone());
            tokio::spawn(async move {
                one((stream, remote), (tls, page), router, stop).await;
                drop((slot, place));
            });
        }
    };
    let renew = async {
        let mut known = certificate::changed(&app.config);
        loop {
            let is_told = tokio::select! {
                () = tokio::time::sleep(LOOK) => false,
                () = app.page.renewed() => true,
            };
            let now = certificate::changed(&app.config);
            if now == known && !is_told {
                continue;
            }
            match load(app).await {
                Ok(loaded) => {
                    known = now;
                    info!(
                        fingerprint = loaded.fingerprint,
                        "The web page has another certificate"
                    );
                    if let Some(address) = address {
                        app.page.publish(offered(address, &loaded));
                    }
                    certificate.send_replace(loaded);
                }
                Err(problem) => warn!(problem, "The web page keeps its certificate"),
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = renew => {}
        () = stop.cancelled() => {}
    }
}

async fn one(
    (stream, remote): (TcpStream, Remote),
    (tls, page): (Arc<ServerConfig>, Page),
    router: Router,
    stop: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let Ok(Some(stream)) = tokio::time::timeout(HANDSHAKE, shake_hands(stream, tls, &page)).await else {
        return;
    };
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(remote);
        let router = router.clone();
        async move { Ok::<_, Infallible>(answer(router, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(32 * 1024)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(HEAD);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(ip = %remote.0, %error, "A connection to the web page ended with an error");
    }
}

/// Speaks TLS; none: it came to nothing, or it was an authority that has seen now what it wanted to.
async fn shake_hands(stream: TcpStream, tls: Arc<ServerConfig>, page: &Page) -> Option<TlsStream<TcpStream>> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await.ok()?;
    let Some(name) = challenge::asked_for(&start.client_hello()) else {
        return start.into_stream(tls).await.ok();
    };
    let shown = challenge::tls(&name, page.answer_to(&name)?)?;
    let mut stream = start.into_stream(shown).await.ok()?;
    let _ = stream.shutdown().await;
    None
}

async fn answer(router: Router, request: hyper::Request<Incoming>) -> hyper::Response<Body> {
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Connections of each address.
#[derive(Debug, Clone, Default)]
struct Sources(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of them; it is given back when dropped.
struct Place(Sources, IpAddr);

impl Sources {
    fn take(&self, ip: IpAddr) -> Option<Place> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(ip).or_default();
        if *count >= OF_ONE {
            return None;
        }
        *count += 1;
        Some(Place(self.clone(), ip))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_take_the_connections_of_all() {
        let sources = Sources::default();
        let (villain, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut places: Vec<_> = (0..OF_ONE).filter_map(|_| sources.take(villain)).collect();
        assert_eq!(places.len(), OF_ONE);
        assert!(sources.take(villain).is_none());
        assert!(sources.take(other).is_some());
        places.pop();
        assert!(sources.take(villain).is_some());
        places.clear();
        assert!(sources.0.lock().unwrap().is_empty());
    }
}
