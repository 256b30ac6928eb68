-- One central of an installation is the master, the others are secondary: the oldest, until a person says another.
ALTER TABLE centrals ADD COLUMN is_master BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE centrals SET is_master = TRUE WHERE name = (SELECT name FROM centrals ORDER BY added_at, name LIMIT 1);
CREATE UNIQUE INDEX one_master ON centrals (is_master) WHERE is_master;
