//! The pages with a thousand satellites and a hundred thousand runs: how large they are, and how much they ask the store.
//!
//! What takes long is reading much. So no time is measured here, which a busy machine would decide, but no statement may
//! read a table whole that grows with the years, and no page may ask one question for each of many things.

use std::time::Instant;

use satellite_proto::wire::management::v1 as wire;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use super::World;
use super::asked::{self, Asked};
use super::client::Browser;
use crate::store::Store;

const SATELLITES: u32 = 1000;
const RUNS: u32 = 100_000;
/// Rows of each other table that grows.
const OTHERS: u32 = 10_000;
/// What a browser loads for the first page at most, in bytes: the page, the style sheet and the script.
const LARGEST: usize = 100_000;

/// Questions that a page asks the store at most: about its session, and about what it shows.
const QUESTIONS: usize = 20;

/// Each page that shows what is stored, and some of what it is asked.
const PAGES: &[&str] = &[
    "/",
    "/satellites",
    "/satellites?find=satellite-0777",
    "/satellites/satellite-0777",
    "/satellites/pair",
    "/satellites/tokens",
    "/bundles",
    "/rollouts",
    "/rollouts/new",
    "/backups",
    "/backups?find=central-0777&page=1",
    "/backups/of/Backup%200777",
    "/destinations",
    "/destinations/new",
    "/warnings",
    "/warnings/of/tenant-07",
    "/centrals",
    "/centrals/new",
    "/centrals/central-0777",
    "/archives",
    "/restores",
    "/users",
    "/users/anna",
    "/audit",
    "/account",
];

/// The same as a customer sees them, who has two tenants.
const OF_CUSTOMER: &[&str] = &[
    "/",
    "/backups",
    "/backups/of/Backup%200007",
    "/warnings",
    "/centrals",
    "/restores",
];

/// Tables that grow with the years; of jobs only the newest are kept.
const LARGE: &[&str] = &[
    "runs",
    "run_destinations",
    "restores",
    "audit",
    "update_history",
    "mails",
    "events",
];

/// Reading to the end what is the answer itself: what is there now by a covering index of just that, or the newest of all,
/// of which the store stops after as many as are asked for.
const MAY_SCAN: &[(&str, &str)] = &[
    (
        "COALESCE(SUM(",
        "SCAN runs USING COVERING INDEX runs_on_satellites",
    ),
    (
        "COALESCE(SUM(",
        "SCAN run_destinations USING COVERING INDEX run_destinations_there",
    ),
    (
        "FROM runs WHERE $1 = '' ORDER BY id DESC LIMIT $2",
        "SCAN runs USING INDEX sqlite_autoindex_runs_1",
    ),
    (
        "FROM restores WHERE $1 = '' ORDER BY started_at DESC, id DESC LIMIT $2",
        "SCAN restores USING INDEX restores_by_start",
    ),
    ("FROM audit ORDER BY sequence DESC LIMIT $1", "SCAN audit"),
    (
        "FROM update_history WHERE $1 = '' AND ($2 = '' OR workload = $2) ORDER BY id DESC LIMIT $3",
        "SCAN update_history",
    ),
    // What has happened and was not told yet.
    ("FROM events ORDER BY id LIMIT $1", "SCAN events"),
    (
        "SELECT state, COUNT(*) FROM mails GROUP BY state",
        "SCAN mails USING COVERING INDEX mails_by_state",
    ),
];

/// A store as years leave it behind. Each satellite has a central, which has a configuration, which ran a hundred times.
async fn years(path: &std::path::Path) {
    Store::open(path).await.unwrap().close().await;
    let pool = SqlitePoolOptions::new()
        .connect_with(SqliteConnectOptions::new().filename(path))
        .await
        .unwrap();
    let many = |count: u32| {
        format!("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count}) ")
    };
    let (satellites, runs, others) = (many(SATELLITES), many(RUNS), many(OTHERS));
    // Port 9 of the loopback: refused at once.
    let statements = [
        format!(
            "{satellites} INSERT INTO satellites (name, address, fingerprint, paired_at) SELECT \
             printf('satellite-%04d', i), '127.0.0.1:9', printf('%064x', i), 0 FROM n"
        ),
        format!(
            "{satellites} INSERT INTO desired_workloads (satellite, workload, running) SELECT printf('satellite-%04d', i), \
             'backup-service', TRUE FROM n"
        ),
        format!(
            "{satellites} INSERT INTO centrals (name, address, tenant, profile, satellite, added_at) SELECT \
             printf('central-%04d', i), '192.0.2.1', printf('tenant-%02d', i % 50), '', printf('satellite-%04d', i), 0 FROM n"
        ),
        format!(
            "{satellites} INSERT INTO accounts (name, source, document, created_at, updated_at) SELECT \
             printf('tenant-%02d', i), 'built-in', json_object('name', printf('tenant-%02d', i), 'tenant', \
             printf(CASE WHEN i < 10 THEN 'tenant-%02d' ELSE 'other-%02d' END, i)), 0, 0 FROM n WHERE i < 50"
        ),
        format!(
            "{satellites} INSERT INTO backup_configurations (name, folded, kind, central, report_to, language, schedule, \
             data_sets, retention, directory, older_than, enabled, next_due, created_at, updated_at) SELECT \
             printf('Backup %04d', i), printf('backup %04d', i), 'backup', printf('central-%04d', i), '[]', 'en', \
             '{{\"start\":\"2026-01-01T02:00:00\",\"time-zone\":\"Europe/Zurich\",\"every\":\"daily\"}}', '[]', '{{}}', \
             'starface-backup', 0, 1, 4102444800000, 0, 0 FROM n"
        ),
        format!(
            "{runs} INSERT INTO runs (id, kind, configuration, central, cause, plan, actor, job, planned_at, not_before, \
             started_at, ended_at, state, missed, attempts, fence, error, deferred_because, archive_id, archive_name, \
             satellite, bytes, left_out) SELECT printf('%08x-0000-7000-8000-000000000000', i), 'backup', \
             printf('Backup %04d', i % {SATELLITES}), printf('central-%04d', i % {SATELLITES}), 'schedule', json_object( \
             'name', printf('Backup %04d', i % {SATELLITES}), 'central', printf('central-%04d', i % {SATELLITES}), 'schedule', \
             json('{{\"start\":\"2026-01-01T02:00:00\",\"time-zone\":\"Europe/Zurich\",\"every\":\"daily\"}}')), \
             'scheduler', '', i * 86400, i * 86400, i * 86400, i * 86400 + 60000, CASE WHEN i % 97 = 0 THEN 'failed' ELSE \
             'succeeded' END, 0, 1, 1, '', '', printf('a%d', i), printf('a%d.sar', i), \
             printf('satellite-%04d', i % {SATELLITES}), 1000000, 0 FROM n"
        ),
        // Of a tenth the archives are still there, on the satellite and at a destination.
        format!("UPDATE runs SET spool_removed_at = 0 WHERE rowid <= {RUNS} / 10 * 9"),
        format!(
            "{runs} INSERT INTO run_destinations (run, destination, state, path, size_bytes, sha256, error, ended_at, \
             verified_at, removed_at) SELECT printf('%08x-0000-7000-8000-000000000000', i), 'nas', 'done', 'p', 1000000, '', \
             '', 0, 0, CASE WHEN i < {RUNS} / 10 * 9 THEN 0 END FROM n"
        ),
        format!(
            "{others} INSERT INTO audit (time, actor, action, subject, result) SELECT i, 'anna', 'A/B', 'c', 'ok' FROM n"
        ),
        format!(
            "{others} INSERT INTO restores (id, job, started_at, ended_at, archive_id, archive_name, central, target, \
             target_central, url, data_sets, outcome, error, actor, safety_archive) SELECT printf('%08x', i), '', i, i, \
             printf('a%d', i), printf('a%d.sar', i), printf('central-%04d', i % {SATELLITES}), '/restored', '', '', '', \
             'succeeded', '', 'anna', '' FROM n"
        ),
        format!(
            "{others} INSERT INTO update_history (satellite, workload, manifest_digest, from_version, version, outcome, \
             problem, started_at, ended_at, bytes_sent, bytes_saved) SELECT printf('satellite-%04d', i % {SATELLITES}), \
             'backup-service', '', '1.0.0', '1.0.1', 'succeeded', '', i, i, 0, 0 FROM n"
        ),
    ];
    for statement in statements {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&pool)
            .await
            .unwrap();
    }
    pool.close().await;
}

#[test]
fn with_a_thousand_satellites_and_a_hundred_thousand_runs_pages_stay_small_and_read_no_large_table_whole() {
    asked::alone(|| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(pages_stay_small_and_read_no_large_table_whole());
    });
}

async fn pages_stay_small_and_read_no_large_table_whole() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("state")).unwrap();
    let path = dir.path().join("state/store.db");
    years(&path).await;
    let asked = Asked::listen();
    let world = World::in_directory(dir).await;
    world.add_user("anna", wire::WebRole::Administrator, &[]).await;
    world
        .add_user("carla", wire::WebRole::Customer, &["tenant-07", "tenant-08"])
        .await;
    let mut browser = world.signed_in("anna").await;
    asked.quiet().await;
    for place in PAGES {
        stays_small(&mut browser, &asked, place).await;
    }
    let mut customer = world.signed_in("carla").await;
    for place in OF_CUSTOMER {
        stays_small(&mut customer, &asked, place).await;
    }
    let mut faults = Vec::new();
    for (statement, steps) in asked.plans(&path).await {
        for step in steps {
            let is_of =
                |table: &&str| step == format!("SCAN {table}") || step.starts_with(&format!("SCAN {table} "));
            let may = |(part, scan): &(&str, &str)| statement.contains(part) && step == *scan;
            if LARGE.iter().any(is_of) && !MAY_SCAN.iter().any(may) {
                faults.push(format!("{step}: {statement}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let page = browser.get("/satellites").await.text;
    assert!(page.contains("1 to 50 of 1,000"), "{page}");
    assert!(
        page.contains(r#"data-live="/satellites/events?find=&amp;page=1""#),
        "{page}"
    );
    let last = browser.get("/satellites?page=20").await.text;
    assert!(
        last.contains("satellite-0999") && !last.contains("satellite-0949"),
        "{last}"
    );
    let found = browser.get("/satellites?find=SATELLITE-0777").await.text;
    assert!(
        found.contains("/satellites/satellite-0777") && !found.contains("/satellites/satellite-0778"),
        "{found}"
    );
    let nothing = browser.get("/backups?find=%3Cb%3E").await.text;
    assert!(
        nothing.contains("Nothing in the list has “&lt;b&gt;”."),
        "{nothing}"
    );
    let page = browser.get("/").await;
    let mut whole = page.text.len();
    for piece in page.text.split('"').filter(|piece| piece.starts_with("/static/")) {
        let part = browser.get(piece).await;
        assert_eq!(part.status, 200, "{piece}");
        whole += part.text.len();
    }
    assert!(page.text.contains("1,000"), "{}", page.text);
    assert!(whole <= LARGEST, "{whole} bytes");
    world.end().await;
}

/// The page is there, is not large, and asks few questions, whatever the module does by itself meanwhile.
async fn stays_small(browser: &mut Browser, asked: &Asked, place: &str) {
    let mut fewest = usize::MAX;
    for _ in 0..3 {
        let (before, began) = (asked.count(), Instant::now());
        let page = browser.get(place).await;
        fewest = fewest.min(asked.count() - before);
        println!(
            "{place}: {} bytes, {fewest} questions, {:?}",
            page.text.len(),
            began.elapsed()
        );
        assert_eq!(page.status, 200, "{place}: {}", page.text);
        assert!(page.text.len() <= LARGEST, "{place}: {} bytes", page.text.len());
        if fewest <= QUESTIONS {
            return;
        }
    }
    panic!("{place}: {fewest} questions to the store");
}
