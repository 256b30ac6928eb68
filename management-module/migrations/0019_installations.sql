-- The key of the installation that was begun for an update and whose end is not recorded yet; empty: none.
ALTER TABLE update_history ADD COLUMN begun TEXT NOT NULL DEFAULT '';
