-- What the server remembers of its meetings with a satellite, as JSON: counter, boots, copies.
ALTER TABLE satellites ADD COLUMN trail TEXT NOT NULL DEFAULT '';
