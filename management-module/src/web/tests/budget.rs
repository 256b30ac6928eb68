//! The first page with a thousand satellites and a hundred thousand runs: how large it is, and how long it takes.

use std::time::Instant;

use satellite_proto::wire::management::v1 as wire;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use super::World;
use crate::store::Store;

const SATELLITES: u32 = 1000;
const RUNS: u32 = 100_000;
/// What a browser loads for the first page at most, in bytes: the page, the style sheet and the script.
const LARGEST: usize = 100_000;

/// Pages whose length could grow with what there is.
const LISTS: [&str; 9] = [
    "/",
    "/",
    "/satellites",
    "/backups",
    "/warnings",
    "/centrals",
    "/archives",
    "/restores",
    "/audit",
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
    let (satellites, runs) = (many(SATELLITES), many(RUNS));
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
             printf('tenant-%02d', i)), 0, 0 FROM n WHERE i < 50"
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
    ];
    for statement in statements {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&pool)
            .await
            .unwrap();
    }
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_page_stays_small_with_a_thousand_satellites_and_a_hundred_thousand_runs() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("state")).unwrap();
    let began = Instant::now();
    years(&dir.path().join("state/store.db")).await;
    println!("store filled: {:?}", began.elapsed());
    let began = Instant::now();
    let world = World::in_directory(dir).await;
    println!("served: {:?}", began.elapsed());
    world.add_user("anna", wire::WebRole::Administrator, &[]).await;
    let mut browser = world.signed_in("anna").await;
    for place in LISTS {
        let began = Instant::now();
        let page = browser.get(place).await;
        println!("{place}: {} bytes in {:?}", page.text.len(), began.elapsed());
        assert_eq!(page.status, 200, "{place}: {}", page.text);
        assert!(page.text.len() <= LARGEST, "{place}: {} bytes", page.text.len());
    }
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
