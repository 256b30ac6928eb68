-- For whom the copies of a configuration are encrypted, as JSON; a passphrase in it is sealed by the vault.
ALTER TABLE backup_configurations ADD COLUMN encryption TEXT NOT NULL DEFAULT '{}';
