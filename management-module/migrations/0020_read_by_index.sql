-- What pages, schedules and warnings ask for is found by an index, however many runs, restores and updates there are.

-- Covering: a sum of what is there reads the index alone.
DROP INDEX runs_on_satellites;
CREATE INDEX runs_on_satellites ON runs (archive_id, spool_removed_at, bytes) WHERE archive_id <> '' AND spool_removed_at IS NULL;
CREATE INDEX runs_with_archives ON runs (central, id, spool_removed_at, bytes, archive_id) WHERE archive_id <> '';
CREATE INDEX run_destinations_there ON run_destinations (verified_at, state, removed_at, size_bytes)
    WHERE state = 'done' AND removed_at IS NULL;

CREATE INDEX restores_by_central ON restores (central);
CREATE INDEX restores_by_target ON restores (target_central);
CREATE INDEX restores_under_way ON restores (outcome) WHERE outcome = 'running';
CREATE INDEX update_history_of ON update_history (satellite, id);
CREATE INDEX mails_by_end ON mails (ended_at);
CREATE INDEX mails_by_creation ON mails (created_at);
