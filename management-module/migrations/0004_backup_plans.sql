-- Where archives are copied to. `settings` is the description without secrets, `sealed` the same with them, encrypted.
CREATE TABLE destinations (
    name             TEXT PRIMARY KEY NOT NULL,
    server_directory TEXT NOT NULL,
    settings         BLOB NOT NULL,
    secrets          TEXT NOT NULL,
    sealed           BLOB NOT NULL,
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL
);

-- What is done with a central, when and where to. `folded` is the name as a file system without upper case has it.
CREATE TABLE backup_configurations (
    name       TEXT PRIMARY KEY NOT NULL,
    folded     TEXT NOT NULL UNIQUE,
    kind       TEXT NOT NULL,
    central    TEXT NOT NULL REFERENCES centrals (name),
    report_to  TEXT NOT NULL,
    language   TEXT NOT NULL,
    schedule   TEXT NOT NULL,
    data_sets  TEXT NOT NULL,
    retention  TEXT NOT NULL,
    directory  TEXT NOT NULL,
    older_than BIGINT NOT NULL,
    enabled    BOOLEAN NOT NULL,
    last_due   BIGINT,
    next_due   BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX backup_configurations_by_due ON backup_configurations (next_due);

CREATE TABLE configuration_destinations (
    configuration TEXT NOT NULL REFERENCES backup_configurations (name) ON DELETE CASCADE,
    destination   TEXT NOT NULL REFERENCES destinations (name),
    position      BIGINT NOT NULL,
    PRIMARY KEY (configuration, destination)
);

-- Each try to make a backup or to archive. `plan` is the configuration as it was then: a run outlives it.
CREATE TABLE runs (
    id               TEXT PRIMARY KEY NOT NULL,
    kind             TEXT NOT NULL,
    configuration    TEXT NOT NULL,
    central          TEXT NOT NULL,
    cause            TEXT NOT NULL,
    plan             TEXT NOT NULL,
    actor            TEXT NOT NULL,
    job              TEXT NOT NULL,
    planned_at       BIGINT NOT NULL,
    not_before       BIGINT NOT NULL,
    started_at       BIGINT,
    ended_at         BIGINT,
    state            TEXT NOT NULL,
    missed           BIGINT NOT NULL,
    attempts         BIGINT NOT NULL,
    fence            BIGINT NOT NULL,
    error            TEXT NOT NULL,
    deferred_because TEXT NOT NULL,
    archive_id       TEXT NOT NULL,
    archive_name     TEXT NOT NULL,
    satellite        TEXT NOT NULL,
    bytes            BIGINT NOT NULL,
    left_out         BIGINT NOT NULL,
    spool_removed_at BIGINT
);
CREATE INDEX runs_by_plan ON runs (configuration, planned_at);
CREATE INDEX runs_by_state ON runs (state, not_before);
CREATE INDEX runs_by_archive ON runs (archive_id);

-- The copy of a run's archive at one destination, and what became of it.
CREATE TABLE run_destinations (
    run         TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    destination TEXT NOT NULL,
    state       TEXT NOT NULL,
    path        TEXT NOT NULL,
    size_bytes  BIGINT NOT NULL,
    sha256      TEXT NOT NULL,
    error       TEXT NOT NULL,
    ended_at    BIGINT,
    verified_at BIGINT,
    removed_at  BIGINT,
    PRIMARY KEY (run, destination)
);
CREATE INDEX run_destinations_by_state ON run_destinations (destination, state);

CREATE TABLE restores (
    id             TEXT PRIMARY KEY NOT NULL,
    job            TEXT NOT NULL,
    started_at     BIGINT NOT NULL,
    ended_at       BIGINT,
    archive_id     TEXT NOT NULL,
    archive_name   TEXT NOT NULL,
    central        TEXT NOT NULL,
    target         TEXT NOT NULL,
    target_central TEXT NOT NULL,
    url            TEXT NOT NULL,
    data_sets      TEXT NOT NULL,
    outcome        TEXT NOT NULL,
    error          TEXT NOT NULL,
    actor          TEXT NOT NULL,
    safety_archive TEXT NOT NULL
);
CREATE INDEX restores_by_start ON restores (started_at);

-- Who works on a central. The row stays when nobody does: `fence` never goes back, `holder` is empty then.
CREATE TABLE leases (
    central   TEXT PRIMARY KEY NOT NULL,
    holder    TEXT NOT NULL,
    kind      TEXT NOT NULL,
    taken_at  BIGINT NOT NULL,
    heartbeat BIGINT NOT NULL,
    fence     BIGINT NOT NULL
);
