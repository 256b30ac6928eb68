//! What the store is asked, as the database driver tells it: which statements, how often, and how they are answered.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, filter};

/// How the driver's events are called.
const DRIVER: &str = "sqlx::query";

/// How long nobody asks anything before it is taken for quiet.
const QUIET: Duration = Duration::from_millis(300);

/// Says that the process has one test only; nextest says so too.
const ALONE: &str = "SATELLITE_TEST_ALONE";

/// Runs a test in a process of its own: where tests share one, this one is started anew, for itself.
#[expect(
    clippy::disallowed_methods,
    reason = "the test itself is started, by its own name"
)]
pub(super) fn alone(test: impl FnOnce()) {
    let is_alone = [ALONE, "NEXTEST"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    if is_alone {
        return test();
    }
    let name = std::thread::current().name().unwrap().to_owned();
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    let status = again
        .args([&name, "--exact", "--nocapture"])
        .env(ALONE, "yes")
        .status();
    assert!(status.unwrap().success(), "{name}");
}

/// Remembers every statement of this process.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    statements: Arc<Mutex<BTreeSet<String>>>,
    count: Arc<AtomicUsize>,
}

impl Asked {
    /// Listens from now on, to the whole process: the driver answers on threads of its own.
    pub(super) fn listen() -> Self {
        let asked = Self::default();
        let layer = asked
            .clone()
            .with_filter(filter::Targets::new().with_target(DRIVER, tracing::Level::DEBUG));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::set_global_default(subscriber).unwrap();
        asked
    }

    /// Statements up to now.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until what the module does by itself has come to rest.
    pub(super) async fn quiet(&self) {
        let quiet = async {
            loop {
                let before = self.count();
                tokio::time::sleep(QUIET).await;
                if self.count() == before {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(120), quiet)
            .await
            .expect("the module comes to rest");
    }

    /// Each statement that reads or changes rows, with the steps by which the store at `path` answers it.
    pub(super) async fn plans(&self, path: &Path) -> Vec<(String, Vec<String>)> {
        let statements: Vec<String> = self.statements.lock().unwrap().iter().cloned().collect();
        let pool = SqlitePoolOptions::new()
            .connect_with(SqliteConnectOptions::new().filename(path))
            .await
            .unwrap();
        let mut plans = Vec::new();
        for statement in statements {
            let verb = statement.split_whitespace().next().unwrap_or_default();
            if !["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].contains(&verb) {
                continue;
            }
            let question = format!("EXPLAIN QUERY PLAN {statement}");
            let rows = sqlx::query(sqlx::AssertSqlSafe(question)).fetch_all(&pool).await;
            let rows = rows.unwrap_or_else(|error| panic!("{statement}: {error}"));
            let steps = rows.iter().map(|row| row.get::<String, _>("detail")).collect();
            plans.push((statement, steps));
        }
        pool.close().await;
        plans
    }
}

impl<S: Subscriber> Layer<S> for Asked {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut told = Told::default();
        event.record(&mut told);
        // A short statement is told as its own summary.
        let whole = if told.statement.trim().is_empty() {
            told.summary
        } else {
            told.statement
        };
        let words: Vec<&str> = whole.split_whitespace().collect();
        let statement = words.join(" ");
        self.count.fetch_add(1, Ordering::SeqCst);
        self.statements.lock().unwrap().insert(statement);
    }
}

#[derive(Default)]
struct Told {
    summary: String,
    statement: String,
}

impl Visit for Told {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.statement),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
