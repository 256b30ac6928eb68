-- What happened that somebody may have to hear of: written in the transaction of what happened, gone when its mails are filed.
CREATE TABLE events (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    time    BIGINT NOT NULL
);

-- Mails, each to one address. `id` is the Message-ID: it follows from what is told to whom, so that nothing is filed twice.
CREATE TABLE mails (
    id         TEXT PRIMARY KEY NOT NULL,
    recipient  TEXT NOT NULL,
    subject    TEXT NOT NULL,
    plain      TEXT NOT NULL,
    html       TEXT NOT NULL,
    state      TEXT NOT NULL,
    attempts   BIGINT NOT NULL,
    next_try   BIGINT NOT NULL,
    error      TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    ended_at   BIGINT
);
CREATE INDEX mails_by_state ON mails (state, next_try);
