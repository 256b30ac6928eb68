//! Passes calls for a workload's own API on to its unix socket, and the answers back, as they come.
//!
//! One HTTP/2 connection a socket, made when needed and again after it was lost.
//!
//! **Invariant:** no body is buffered or looked into, and no caller decides what the workload reads in
//! [`ROLE_HEADER`].

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{HeaderValue, Request, Response, Uri, header, uri::PathAndQuery};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use satellite_proto::{
    identity::Role,
    wire::{MAX_FRAME, ROLE_HEADER},
};
use tokio::net::UnixStream;
use tonic::{Status, body::Body};

/// How long a workload may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Bytes in flight before a slow reader stops the writer, per call and per socket.
const WINDOW: u32 = 1024 * 1024;
/// Packages that the bridge serves itself: no workload can take them over.
const OWN_PACKAGES: &[&str] = &["satellite.bridge.v1"];

/// Where the API of a package is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The workload, for messages.
    pub workload: String,
    /// Its socket.
    pub socket: PathBuf,
    /// What the workload does at the moment, for messages: "healthy", "stopped".
    pub state: String,
}

/// Knows which workload declares which package in its manifest.
pub trait Routes: Send + Sync + 'static {
    /// The route to `package`, also while the workload does not run.
    fn route(&self, package: &str) -> Option<Route>;
}

/// Passes calls on. A cheap handle.
#[derive(Clone)]
pub struct Proxy {
    routes: Arc<dyn Routes>,
    pool: Arc<Mutex<HashMap<PathBuf, SendRequest<Body>>>>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy")
            .field("sockets", &self.lock().len())
            .finish_non_exhaustive()
    }
}

impl Proxy {
    /// A proxy along these routes.
    #[must_use]
    pub fn new(routes: Arc<dyn Routes>) -> Self {
        Self {
            routes,
            pool: Arc::default(),
        }
    }

    /// Whether the method at `path` belongs to a workload, as far as the bridge's own services go.
    #[must_use]
    pub fn is_foreign(path: &str) -> bool {
        !package_of(path).is_some_and(|package| OWN_PACKAGES.contains(&package))
    }

    /// Passes a call on. The answer is always a gRPC answer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or the answer's body, resets the call at the workload.
    pub async fn pass(&self, request: Request<Body>, role: Role) -> Response<Body> {
        self.try_pass(request, role)
            .await
            .unwrap_or_else(Status::into_http)
    }

    async fn try_pass(&self, mut request: Request<Body>, role: Role) -> Result<Response<Body>, Status> {
        let package = package_of(request.uri().path());
        let package = package.ok_or_else(|| Status::unimplemented("no such method"))?;
        let route = self.routes.route(package).ok_or_else(|| {
            Status::unimplemented(format!(
                "no installed workload offers `{package}`: install it first"
            ))
        })?;
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = workload_uri(path)?;
        let headers = request.headers_mut();
        headers.remove(header::HOST);
        headers.remove(ROLE_HEADER);
        headers.insert(ROLE_HEADER, role_value(role));
        let unavailable = |error: &dyn std::error::Error| {
            tracing::warn!(workload = %route.workload, state = %route.state, %error, "Call not passed on");
            let Route { workload, state, .. } = &route;
            Status::unavailable(format!(
                "workload `{workload}` does not answer, it is {state}: see its log"
            ))
        };
        let mut sender = self
            .sender(&route.socket)
            .await
            .map_err(|error| unavailable(&error))?;
        let answer = match sender.try_send_request(request).await {
            Ok(answer) => answer,
            Err(mut failed) => {
                self.lock().remove(&route.socket);
                // The request comes back only if nothing of it was sent: the workload was restarted meanwhile.
                let Some(request) = failed.take_message() else {
                    return Err(unavailable(failed.error()));
                };
                let mut sender = self
                    .sender(&route.socket)
                    .await
                    .map_err(|error| unavailable(&error))?;
                sender
                    .send_request(request)
                    .await
                    .map_err(|error| unavailable(&error))?
            }
        };
        Ok(answer.map(Body::new))
    }

    async fn sender(&self, socket: &Path) -> io::Result<SendRequest<Body>> {
        if let Some(sender) = self.lock().get(socket).filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let connect = async {
            let stream = UnixStream::connect(socket).await?;
            http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(4 * WINDOW)
                .max_frame_size(MAX_FRAME)
                .handshake::<_, Body>(TokioIo::new(stream))
                .await
                .map_err(io::Error::other)
        };
        let (sender, connection) = tokio::time::timeout(CONNECT, connect)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "Connection to a workload ended");
            }
        });
        let mut pool = self.lock();
        pool.retain(|_, sender| !sender.is_closed());
        pool.insert(socket.to_owned(), sender.clone());
        Ok(sender)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, SendRequest<Body>>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `/package.Service/Method` gives `package`.
fn package_of(path: &str) -> Option<&str> {
    let (service, _) = path.strip_prefix('/')?.split_once('/')?;
    service.rsplit_once('.').map(|(package, _)| package)
}

fn workload_uri(path: Option<PathAndQuery>) -> Result<Uri, Status> {
    let path = path.ok_or_else(|| Status::unimplemented("no such method"))?;
    let uri = Uri::builder()
        .scheme("http")
        .authority("workload")
        .path_and_query(path)
        .build();
    uri.map_err(|_| Status::invalid_argument("the method's path is malformed"))
}

fn role_value(role: Role) -> HeaderValue {
    HeaderValue::from_static(match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_read_from_a_path() {
        assert_eq!(
            package_of("/satellite.backup.v1.ArchiveService/Get"),
            Some("satellite.backup.v1")
        );
        for path in ["", "/", "//", "/Service/Get", "/a.b.C", "a.b.C/D"] {
            assert_eq!(package_of(path), None, "{path}");
        }
    }

    #[test]
    fn the_role_is_written_as_it_is_read() {
        for role in [Role::Viewer, Role::Operator, Role::Admin] {
            assert_eq!(role_value(role).to_str().unwrap().parse::<Role>().unwrap(), role);
        }
    }
}
