//! Rows that a test puts into the store, as satellites and people would in time.

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

use crate::store::Store;

/// The store's file, opened beside the module.
pub(super) struct Stored(SqlitePool);

impl Stored {
    /// Of a module that begins, or has begun, in `dir`.
    pub(super) async fn open(dir: &tempfile::TempDir) -> Self {
        let state = dir.path().join("state");
        let file = state.join("store.db");
        if !file.exists() {
            std::fs::create_dir_all(&state).unwrap();
            Store::open(&file).await.unwrap().close().await;
        }
        let options = SqliteConnectOptions::new()
            .filename(file)
            .busy_timeout(std::time::Duration::from_secs(30));
        Self(SqlitePoolOptions::new().connect_with(options).await.unwrap())
    }

    pub(super) async fn run(&self, statement: &str) {
        let run = sqlx::query(sqlx::AssertSqlSafe(statement.to_owned()))
            .execute(&self.0)
            .await;
        run.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    /// A satellite at which nobody answers: port 9 of the loopback is refused at once.
    pub(super) async fn satellite(&self, name: &str) {
        let pin = satellite_proto::bundle::Digest::of(name.as_bytes());
        self.run(&format!(
            "INSERT INTO satellites (name, address, fingerprint, paired_at) VALUES ('{name}', '127.0.0.1:9', '{pin}', 0)"
        ))
        .await;
    }

    /// A version of the backup-service, without its file.
    pub(super) async fn bundle(&self, version: &str, channel: &str) {
        let digest = satellite_proto::bundle::Digest::of(version.as_bytes());
        self.run(&format!(
            "INSERT INTO bundles (manifest_digest, workload, version, release_number, channel, architecture, size_bytes, \
             payload_bytes, key_ids, manifest, added_at, held) VALUES ('{digest}', 'backup-service', '{version}', 2, {channel}, \
             'x86_64', 1, 1, '', x'00', 0, TRUE)",
            channel = quoted(channel)
        ))
        .await;
    }

    /// A central with a configuration that ran once and failed with `error`, and a restore of its archive. Its profile has
    /// `error` in a comment.
    pub(super) async fn central(&self, name: &str, tenant: &str, error: &str) {
        let profile = format!(
            "name = \"{name}\"\naddress = \"here\" # {error}\n[[data-set]]\nname = \"core\"\npaths = [\"/etc/hostname\"]\n"
        );
        let (tenant, error, profile) = (quoted(tenant), quoted(error), quoted(&profile));
        let schedule = r#"{"start":"2026-01-01T02:00:00","time-zone":"Europe/Zurich","every":"daily"}"#;
        for statement in [
            format!(
                "INSERT INTO centrals (name, address, tenant, profile, satellite, added_at) VALUES ('{name}', \
                 'address of {name}', {tenant}, {profile}, 'server', 0)"
            ),
            format!(
                "INSERT INTO backup_configurations (name, folded, kind, central, report_to, language, schedule, data_sets, \
                 retention, directory, older_than, enabled, next_due, created_at, updated_at) VALUES ('Nightly {name}', \
                 'nightly {name}', 'backup', '{name}', '[]', 'en', '{schedule}', '[]', '{{}}', 'starface-backup', 0, 1, \
                 4102444800000, 0, 0)"
            ),
            format!(
                "INSERT INTO runs (id, kind, configuration, central, cause, plan, actor, job, planned_at, not_before, started_at, \
                 ended_at, state, missed, attempts, fence, error, deferred_because, archive_id, archive_name, satellite, bytes, \
                 left_out) VALUES ('run of {name}', 'backup', 'Nightly {name}', '{name}', 'schedule', json_object('name', \
                 'Nightly {name}', 'central', '{name}', 'schedule', json('{schedule}')), 'scheduler', '', 1000, 1000, 1000, \
                 2000, 'failed', 0, 1, 1, {error}, {error}, '', '', 'server', 0, 0)"
            ),
            restore(&format!("restore of {name}"), name, 1000, &error),
        ] {
            self.run(&statement).await;
        }
    }

    /// As many restores of a central's archives, all of them newer than others.
    pub(super) async fn restores(&self, central: &str, count: u32) {
        for number in 0..count {
            let id = format!("restore {number} of {central}");
            self.run(&restore(&id, central, 5000 + i64::from(number), "''"))
                .await;
        }
    }
}

fn restore(id: &str, central: &str, at: i64, error: &str) -> String {
    format!(
        "INSERT INTO restores (id, job, started_at, ended_at, archive_id, archive_name, central, target, target_central, url, \
         data_sets, outcome, error, actor, safety_archive) VALUES ('{id}', '', {at}, {at}, 'x', '{id}.sar', '{central}', '', \
         '{central}', {error}, 'core', 'failed', {error}, 'anna', '')"
    )
}

/// A text as SQL has it.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
