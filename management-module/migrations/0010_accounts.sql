-- Accounts: whose backups they are and who is warned. `document` is JSON; `source` is where it comes from.
CREATE TABLE accounts (
    name       TEXT PRIMARY KEY NOT NULL,
    source     TEXT NOT NULL,
    document   TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- Warnings that stand. `told` counts how often; `finding` and `concerns` are JSON.
CREATE TABLE warnings (
    account  TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE,
    kind     TEXT NOT NULL,
    since    BIGINT NOT NULL,
    told_at  BIGINT,
    told     BIGINT NOT NULL,
    finding  TEXT NOT NULL,
    concerns TEXT NOT NULL,
    PRIMARY KEY (account, kind)
);
