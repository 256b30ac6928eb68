-- Whose releases are taken, permits to go back, and how often a version was tried.

CREATE TABLE trust (
    id     BIGINT PRIMARY KEY NOT NULL,
    record TEXT NOT NULL
);

CREATE TABLE permits (
    manifest_digest TEXT PRIMARY KEY NOT NULL,
    signed          TEXT NOT NULL,
    added_at        BIGINT NOT NULL
);

ALTER TABLE update_attempts ADD COLUMN tries BIGINT NOT NULL DEFAULT 1;
