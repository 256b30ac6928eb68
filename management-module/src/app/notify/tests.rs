//! Two modules over one store: one of them tells, and the other does when that one is gone.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use http_body_util::Empty;
use hyper::Response;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::app::runs::tests::configuration;
use crate::config::Config;
use crate::fleet::Fleet;
use crate::installation;
use crate::plan::outcome::RunState;
use crate::store::{Cause, RunRow, Store};

/// How long anything may take on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// Ids of the messages that were taken, in their order.
type Told = Arc<Mutex<Vec<String>>>;

/// Somebody who takes every message.
async fn receiver() -> (String, Told) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let told = Told::default();
    let taken = Arc::clone(&told);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let taken = Arc::clone(&taken);
            let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let id = request.headers()["x-event-id"].to_str().unwrap().to_owned();
                taken.lock().unwrap().push(id);
                async { Ok::<_, std::convert::Infallible>(Response::new(Empty::<bytes::Bytes>::new())) }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    (url, told)
}

/// A module of its own: its own threads, its own connections to the store that all share.
struct Module {
    runtime: Runtime,
    store: Store,
}

impl Module {
    fn start(store: &Path, own: PathBuf, url: &str) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let app = runtime.block_on(app(store, own, url));
        let store = app.store.clone();
        runtime.spawn(run(app, CancellationToken::new()));
        Self { runtime, store }
    }

    /// Ends it as a power cut does: nothing is given back.
    fn kill(self) {
        self.runtime.shutdown_background();
    }
}

async fn app(store: &Path, own: PathBuf, url: &str) -> App {
    std::fs::create_dir(&own).unwrap();
    let store = Store::open(store).await.unwrap();
    let installation = installation::load_or_make(&own.join("installation")).unwrap();
    let (fleet, _) = Fleet::new(installation::issue_leaf(&installation, "pbx").unwrap());
    let webhook = format!("url = {url:?}\nretry-first = \"100ms\"\nretry-longest = \"1s\"");
    let mut config = Config {
        state_dir: own.clone(),
        trust_anchors: own.join("trust.toml"),
        webhook: Some(toml::from_str(&webhook).unwrap()),
        ..Config::default()
    };
    // The one that tells is not woken by what the other has written.
    config.warnings.interval = Duration::from_millis(100);
    let way = satellite_host::disks::Way::Direct;
    App {
        config: Arc::new(config),
        disks: satellite_host::disks::Disks::new(own.join("disks"), way),
        jobs: crate::app::Jobs::open(store.clone()).await.unwrap(),
        audit: crate::app::Audit::new(store.clone()),
        rollouts: crate::app::rollout::Bell::default(),
        desk: crate::app::join::Desk::default(),
        runs: crate::app::runs::Desk::default(),
        page: crate::app::page::Page::default(),
        reconciler: crate::app::Reconciler::new(1),
        store,
        fleet,
        installation: Arc::new(installation),
        started_at: Timestamp::now(),
    }
}

/// A run that has failed: what happened that is to be told.
async fn fails(store: &Store) {
    let plan = configuration("Nightly", "");
    let run = RunRow::queued(plan, Cause::Schedule, "scheduler", Timestamp::now());
    store.add_run(&run).await.unwrap();
    let ended = store
        .end_waiting_run(&run.id, RunState::Failed, "it broke", Timestamp::now())
        .await;
    assert!(ended.unwrap());
}

async fn lease(store: &Store) -> Option<u64> {
    let lease = store.lease(LEASE, Timestamp::MIN).await.unwrap();
    lease.map(|lease| lease.fence)
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, wait)
        .await
        .unwrap_or_else(|_| panic!("still not so: {what}"));
}

/// Waits until as many messages were taken and none waits: then each has come once.
async fn come(store: &Store, told: &Told, count: usize) {
    until("all are told", async || {
        let waits = store
            .due_mails(Channel::Webhook, Timestamp::MAX, 1)
            .await
            .unwrap();
        let events = store.events(1).await.unwrap();
        told.lock().unwrap().len() >= count && waits.is_empty() && events.is_empty()
    })
    .await;
    let mut ids = told.lock().unwrap().clone();
    ids.sort();
    let all = ids.len();
    ids.dedup();
    assert_eq!((all, ids.len()), (count, count), "{ids:?}");
}

#[test]
fn of_two_modules_on_one_store_one_tells_and_the_other_does_when_it_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store.db");
    let here = Runtime::new().unwrap();
    let (url, told) = here.block_on(receiver());

    let first = Module::start(&store, dir.path().join("first"), &url);
    here.block_on(until("the first tells", async || {
        lease(&first.store).await == Some(1)
    }));
    let second = Module::start(&store, dir.path().join("second"), &url);
    here.block_on(async {
        // Whichever of them learns of it.
        for module in [&first, &second, &first, &second] {
            fails(&module.store).await;
        }
        come(&second.store, &told, 4).await;
        assert_eq!(lease(&second.store).await, Some(1), "the first still has it");
    });

    first.kill();
    here.block_on(async {
        fails(&second.store).await;
        // Its heart has not beaten for as long as makes a lease another's; the minute itself is not waited for.
        let options = SqliteConnectOptions::new().filename(&store);
        let pool = SqlitePoolOptions::new().connect_with(options).await.unwrap();
        sqlx::query("UPDATE leases SET heartbeat = heartbeat - 61000 WHERE holder <> ''")
            .execute(&pool)
            .await
            .unwrap();
        pool.close().await;
        come(&second.store, &told, 5).await;
        assert_eq!(lease(&second.store).await, Some(2), "the second has it now");
    });
    second.kill();
}
