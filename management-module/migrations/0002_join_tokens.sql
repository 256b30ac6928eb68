-- Tokens by which satellites join unattended. The verifier can check a token and cannot be used as one.
CREATE TABLE join_tokens (
    id          TEXT PRIMARY KEY NOT NULL,
    verifier    BLOB NOT NULL,
    address     TEXT NOT NULL,
    wished_name TEXT NOT NULL,
    workloads   TEXT NOT NULL,
    bare        BOOLEAN NOT NULL,
    created_at  BIGINT NOT NULL,
    created_by  TEXT NOT NULL,
    expires_at  BIGINT NOT NULL,
    revoked_at  BIGINT,
    used_at     BIGINT,
    used_by     TEXT,
    satellite   TEXT
);
CREATE INDEX join_tokens_by_expiry ON join_tokens (expires_at);
