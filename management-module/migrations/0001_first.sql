-- Times are milliseconds since 1970-01-01 UTC. Plain SQL that PostgreSQL reads too, but for BLOB (there: BYTEA).

CREATE TABLE satellites (
    name        TEXT PRIMARY KEY NOT NULL,
    address     TEXT NOT NULL,
    fingerprint TEXT NOT NULL UNIQUE,
    paired_at   BIGINT NOT NULL,
    observed    BLOB,
    seen_at     BIGINT
);

CREATE TABLE desired_workloads (
    satellite TEXT NOT NULL REFERENCES satellites (name) ON DELETE CASCADE,
    workload  TEXT NOT NULL,
    version   TEXT,
    running   BOOLEAN NOT NULL,
    PRIMARY KEY (satellite, workload)
);

CREATE TABLE desired_firewalls (
    satellite TEXT PRIMARY KEY NOT NULL REFERENCES satellites (name) ON DELETE CASCADE,
    ruleset   BLOB NOT NULL
);

CREATE TABLE bundles (
    manifest_digest TEXT PRIMARY KEY NOT NULL,
    workload        TEXT NOT NULL,
    version         TEXT NOT NULL,
    release_number  BIGINT NOT NULL,
    channel         TEXT NOT NULL,
    architecture    TEXT NOT NULL,
    size_bytes      BIGINT NOT NULL,
    payload_bytes   BIGINT NOT NULL,
    key_ids         TEXT NOT NULL,
    manifest        BLOB NOT NULL,
    added_at        BIGINT NOT NULL
);
CREATE INDEX bundles_by_release ON bundles (workload, release_number);

CREATE TABLE update_attempts (
    satellite       TEXT NOT NULL REFERENCES satellites (name) ON DELETE CASCADE,
    workload        TEXT NOT NULL,
    manifest_digest TEXT NOT NULL,
    ended_at        BIGINT NOT NULL,
    outcome         TEXT NOT NULL,
    problem         TEXT NOT NULL,
    PRIMARY KEY (satellite, workload)
);

CREATE TABLE jobs (
    id               TEXT PRIMARY KEY NOT NULL,
    kind             TEXT NOT NULL,
    satellite        TEXT NOT NULL,
    idempotency_key  TEXT NOT NULL,
    remote_operation TEXT NOT NULL,
    state            TEXT NOT NULL,
    event            BLOB NOT NULL,
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL
);
CREATE UNIQUE INDEX jobs_by_key ON jobs (kind, idempotency_key) WHERE idempotency_key <> '';
CREATE INDEX jobs_by_creation ON jobs (created_at);

CREATE TABLE centrals (
    name      TEXT PRIMARY KEY NOT NULL,
    address   TEXT NOT NULL,
    tenant    TEXT NOT NULL,
    profile   TEXT NOT NULL,
    satellite TEXT NOT NULL,
    added_at  BIGINT NOT NULL
);

CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    time     BIGINT NOT NULL,
    actor    TEXT NOT NULL,
    action   TEXT NOT NULL,
    subject  TEXT NOT NULL,
    result   TEXT NOT NULL
);
