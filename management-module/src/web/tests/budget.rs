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

/// What makes of an empty store one as years leave it behind; `make bench` measures pages with it, too.
const YEARS: &str = include_str!("years.sql");
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

/// A store as years leave it behind.
async fn years(path: &std::path::Path) {
    Store::open(path).await.unwrap().close().await;
    let pool = SqlitePoolOptions::new()
        .connect_with(SqliteConnectOptions::new().filename(path))
        .await
        .unwrap();
    sqlx::raw_sql(YEARS).execute(&pool).await.unwrap();
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
        asked.quiet().await;
    }
    panic!("{place}: {fewest} questions to the store");
}
