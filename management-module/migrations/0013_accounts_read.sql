-- When an account was last seen in the directory; `updated_at` is when it last changed.
ALTER TABLE accounts ADD COLUMN read_at BIGINT NOT NULL DEFAULT 0;
