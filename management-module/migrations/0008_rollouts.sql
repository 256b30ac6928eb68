-- Rollouts, where satellites stand, and what became of each update.

ALTER TABLE satellites ADD COLUMN site TEXT NOT NULL DEFAULT '';
-- Not taken for the newest by itself: a rollout or a person brings it.
ALTER TABLE bundles ADD COLUMN held BOOLEAN NOT NULL DEFAULT FALSE;

CREATE TABLE rollouts (
    id         TEXT PRIMARY KEY NOT NULL,
    workload   TEXT NOT NULL,
    version    TEXT NOT NULL,
    terms      TEXT NOT NULL,
    state      TEXT NOT NULL,
    problem    TEXT NOT NULL,
    forgiven   BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX rollouts_one_open ON rollouts (workload) WHERE state IN ('running', 'paused', 'halted');

CREATE TABLE rollout_targets (
    rollout    TEXT NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
    satellite  TEXT NOT NULL REFERENCES satellites (name) ON DELETE CASCADE,
    place      BIGINT NOT NULL,
    wave       BIGINT NOT NULL,
    state      TEXT NOT NULL,
    problem    TEXT NOT NULL,
    -- What was wanted there before; NULL: the newest.
    version    TEXT,
    started_at BIGINT,
    ended_at   BIGINT,
    PRIMARY KEY (rollout, satellite)
);

CREATE TABLE update_history (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    satellite       TEXT NOT NULL REFERENCES satellites (name) ON DELETE CASCADE,
    workload        TEXT NOT NULL,
    manifest_digest TEXT NOT NULL,
    from_version    TEXT NOT NULL,
    version         TEXT NOT NULL,
    outcome         TEXT NOT NULL,
    problem         TEXT NOT NULL,
    started_at      BIGINT NOT NULL,
    ended_at        BIGINT,
    bytes_sent      BIGINT NOT NULL,
    bytes_saved     BIGINT NOT NULL
);
CREATE UNIQUE INDEX update_history_one_open ON update_history (satellite, workload) WHERE ended_at IS NULL;
