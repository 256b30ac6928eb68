-- Users of the web page and their sessions. Tokens of sessions and devices are kept as SHA-256 only.
CREATE TABLE web_users (
    name          TEXT PRIMARY KEY NOT NULL,
    role          TEXT NOT NULL,
    tenants       TEXT NOT NULL,
    password      TEXT NOT NULL,
    second_factor BLOB,
    factor_step   BIGINT NOT NULL DEFAULT 0,
    language      TEXT NOT NULL DEFAULT '',
    disabled      BOOLEAN NOT NULL DEFAULT FALSE,
    created_at    BIGINT NOT NULL,
    signed_in_at  BIGINT
);

CREATE TABLE web_sessions (
    token_hash TEXT PRIMARY KEY NOT NULL,
    user_name  TEXT NOT NULL REFERENCES web_users (name) ON DELETE CASCADE,
    form_token TEXT NOT NULL,
    is_proved  BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL
);
CREATE INDEX web_sessions_by_user ON web_sessions (user_name);

CREATE TABLE web_devices (
    token_hash TEXT PRIMARY KEY NOT NULL,
    user_name  TEXT NOT NULL REFERENCES web_users (name) ON DELETE CASCADE,
    created_at BIGINT NOT NULL
);
