-- The space that archives take is added up each time somebody looks at the first page: of a hundred thousand runs without
-- reading them all.
CREATE INDEX runs_on_satellites ON runs (bytes) WHERE archive_id <> '' AND spool_removed_at IS NULL;
