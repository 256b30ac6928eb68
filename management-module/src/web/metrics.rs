//! Numbers for a monitoring system, as Prometheus reads them, at a listener of their own.
//!
//! **Invariant:** nothing is changed here, and no address, mail or secret is told: names and numbers only.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::app::configurations::{Configurations, Shown};
use crate::app::satellites::FleetMember;
use crate::app::{App, AppError, notify, satellites, warnings};
use crate::fleet::Reachability;
use crate::plan::outcome::RunState;

/// Connections at a time.
const CONNECTIONS: usize = 8;

/// How long a request may take, from its first byte to its answer.
const REQUEST: Duration = Duration::from_secs(20);

/// The wait after the listener could not be opened.
const AGAIN: Duration = Duration::from_secs(15);

/// Answers `GET /metrics` until `stop`, if that is configured.
pub async fn offer(app: App, stop: CancellationToken) {
    let Some(address) = app.config.metrics_listen else {
        return;
    };
    let serve = async {
        loop {
            match TcpListener::bind(address).await {
                Ok(listener) => accept(&app, listener).await,
                Err(error) => error!(%address, %error, "Metrics are not offered"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = serve => {}
    }
}

async fn accept(app: &App, listener: TcpListener) {
    match listener.local_addr() {
        Ok(address) => info!(%address, "Metrics are offered"),
        Err(error) => warn!(%error, "Metrics are offered at an address that cannot be told"),
    }
    let all = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&all).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let app = app.clone();
                tokio::spawn(async move {
                    one(stream, peer, app).await;
                    drop(slot);
                });
            }
            Err(error) => {
                warn!(%error, "A connection for metrics was not taken");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn one(stream: TcpStream, peer: SocketAddr, app: App) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let app = app.clone();
        async move { Ok::<_, Infallible>(answer(&app, &request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        // One request, so that nobody keeps a place.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(REQUEST, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%peer, %error, "A request for metrics ended with an error"),
        Err(_) => debug!(%peer, "A request for metrics took too long"),
    }
}

async fn answer(app: &App, request: &Request<Incoming>) -> Response<Body> {
    let with = |status: StatusCode, text: String| {
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        let kind = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
        response
    };
    if request.method() != Method::GET || request.uri().path() != "/metrics" {
        return with(StatusCode::NOT_FOUND, "GET /metrics\n".into());
    }
    match read(app).await {
        Ok(text) => with(StatusCode::OK, text),
        Err(error) => {
            warn!(error = %crate::error_chain(&error), "Metrics could not be read");
            with(
                StatusCode::SERVICE_UNAVAILABLE,
                "see the log of the server\n".into(),
            )
        }
    }
}

async fn read(app: &App) -> Result<String, AppError> {
    let mut page = Metrics::default();
    page.family("management_module_info", "The program that tells this.");
    page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.family(
        "management_module_start_time_seconds",
        "When it was started, in seconds since 1970.",
    );
    page.sample(&[], app.started_at.as_second());
    certificate(&mut page, app);
    fleet(&mut page, &satellites::list(app).await?);
    runs(&mut page, &Configurations::new(app.clone()).list().await?);
    page.family(
        "backup_warning_since_seconds",
        "Warnings that stand, and since when, in seconds since 1970.",
    );
    for warning in warnings::list(app).await? {
        let kind = warning.kind.code();
        page.sample(
            &[("account", warning.account.as_str()), ("kind", kind)],
            warning.raised.since.as_second(),
        );
    }
    page.family(
        "mails",
        "Mails of the last 90 days by what became of them; those that wait are the ones to look at.",
    );
    for (state, count) in notify::counts(app).await? {
        page.sample(&[("state", state)], count);
    }
    Ok(page.0)
}

fn certificate(page: &mut Metrics, app: &App) {
    if let Some(ends) = app.page.offer().expires_at {
        page.family(
            "web_certificate_expire_time_seconds",
            "When the certificate of the web page ends, in seconds since 1970.",
        );
        page.sample(&[], ends.as_second());
    }
    let renewal = app.page.renewal();
    if renewal.next_at.is_some() {
        page.family(
            "web_certificate_failed_tries",
            "How often in a row the authority gave no new certificate for the web page; 0: all is well.",
        );
        page.sample(&[], renewal.tries);
    }
}

fn fleet(page: &mut Metrics, members: &[FleetMember]) {
    page.family(
        "satellite_reachable",
        "Whether a satellite answers (1) or not (0).",
    );
    for member in members {
        let reaches = member.link.reachability == Reachability::Reachable;
        page.sample(&[("satellite", member.row.name.as_str())], i64::from(reaches));
    }
    page.family(
        "satellite_well",
        "Whether a satellite answers, is as it is meant to be, and has no problem (1) or not (0).",
    );
    for member in members {
        let is_well = super::pages::satellites::is_well(member);
        page.sample(&[("satellite", member.row.name.as_str())], i64::from(is_well));
    }
    page.family(
        "satellite_last_contact_seconds",
        "When a satellite last answered, in seconds since 1970.",
    );
    for member in members {
        if let Some(at) = member.link.seen_at {
            page.sample(&[("satellite", member.row.name.as_str())], at.as_second());
        }
    }
    page.family(
        "satellite_workload_healthy",
        "Whether a workload of a satellite is healthy (1) or not (0).",
    );
    for member in members {
        for workload in &member.workloads {
            use satellite_proto::wire::bridge::v1::WorkloadState::Healthy;
            let there = workload.observed.as_ref();
            let is_healthy = there.is_some_and(|there| there.state() == Healthy);
            page.sample(
                &[
                    ("satellite", member.row.name.as_str()),
                    ("workload", workload.name()),
                ],
                i64::from(is_healthy),
            );
        }
    }
}

fn runs(page: &mut Metrics, plans: &[Shown]) {
    let ended = || {
        plans.iter().filter_map(|shown| {
            let run = shown.last_result.as_ref()?;
            Some((shown.row.configuration.name.as_str(), run, run.ended_at?))
        })
    };
    page.family(
        "backup_last_run_ok",
        "Whether the newest run of a configuration is complete (1) or failed, incomplete or missed (0); none: none has ended.",
    );
    for (name, run, _) in ended() {
        let is_fine = run.state == RunState::Succeeded;
        page.sample(&[("configuration", name)], i64::from(is_fine));
    }
    page.family(
        "backup_last_run_end_seconds",
        "When the newest run of a configuration ended, in seconds since 1970.",
    );
    for (name, _, at) in ended() {
        page.sample(&[("configuration", name)], at.as_second());
    }
    page.family("backup_last_run_duration_seconds", "How long it took.");
    for (name, run, at) in ended() {
        let since = |start: Timestamp| at.duration_since(start).as_secs().max(0);
        if let Some(took) = run.started_at.map(since) {
            page.sample(&[("configuration", name)], took);
        }
    }
    page.family(
        "backup_last_run_bytes",
        "How large its archive is; 0: there is none.",
    );
    for (name, run, _) in ended() {
        page.sample(&[("configuration", name)], run.bytes);
    }
    page.family(
        "backup_next_run_seconds",
        "When a configuration is due next, in seconds since 1970.",
    );
    for shown in plans {
        if let Some(due) = super::pages::backups::next(&shown.row) {
            let name = shown.row.configuration.name.as_str();
            page.sample(&[("configuration", name)], due.as_second());
        }
    }
}

/// The text format of Prometheus, version 0.0.4.
#[derive(Default)]
struct Metrics(String, &'static str);

impl Metrics {
    /// Begins a metric: what follows are its values.
    fn family(&mut self, name: &'static str, help: &str) {
        self.1 = name;
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge");
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(self.1);
        for (number, (name, text)) in labels.iter().enumerate() {
            let before = if number == 0 { '{' } else { ',' };
            let text = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(self.0, "{before}{name}=\"{text}\"");
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{after} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_add_a_metric() {
        let mut page = Metrics::default();
        page.family("x", "An x.");
        page.sample(&[("name", "a\"} 1\nevil 2 \\"), ("kind", "b")], 3);
        page.sample(&[], 4);
        let wanted = "# HELP x An x.\n# TYPE x gauge\nx{name=\"a\\\"} 1\\nevil 2 \\\\\",kind=\"b\"} 3\nx 4\n";
        assert_eq!(page.0, wanted);
    }
}
