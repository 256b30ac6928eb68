-- A store as years leave it behind: a thousand satellites, each with a central that has a configuration that ran a hundred times;
-- of a tenth the archives are still there, on the satellite and at a destination. Port 9 of the loopback refuses at once.

WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < 1000) INSERT INTO satellites (name, address, fingerprint,
    paired_at) SELECT printf('satellite-%04d', i), '127.0.0.1:9', printf('%064x', i), 0 FROM n;

WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < 1000) INSERT INTO desired_workloads (satellite, workload,
    running) SELECT printf('satellite-%04d', i), 'backup-service', TRUE FROM n;

WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < 1000) INSERT INTO centrals (name, address, tenant, profile,
    satellite, added_at) SELECT printf('central-%04d', i), '192.0.2.1', printf('tenant-%02d', i % 50), '', printf('satellite-%04d', i), 0 FROM
    n;

WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < 1000) INSERT INTO accounts (name, source, document, created_at,
    updated_at) SELECT printf('tenant-%02d', i), 'built-in', json_object('name', printf('tenant-%02d', i), 'tenant', printf(CASE WHEN i < 10
    THEN 'tenant-%02d' ELSE 'other-%02d' END, i)), 0, 0 FROM n WHERE i < 50;

WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < 1000) INSERT INTO backup_configurations (name, folded, kind,
    central, report_to, language, schedule, data_sets, retention, directory, older_than, enabled, next_due, created_at, updated_at) SELECT
    printf('Backup %04d', i), printf('backup %04d', i), 'backup', printf('central-%04d', i), '[]', 'en',
    '{"start":"2026-01-01T02:00:00","time-zone":"Europe/Zurich","every":"daily"}', '[]', '{}', 'starface-backup', 0, 1,
    4102444800000, 0, 0 FROM n;

WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < 100000) INSERT INTO runs (id, kind, configuration, central,
    cause, plan, actor, job, planned_at, not_before, started_at, ended_at, state, missed, attempts, fence, error, deferred_because, archive_id,
    archive_name, satellite, bytes, left_out) SELECT printf('%08x-0000-7000-8000-000000000000', i), 'backup', printf('Backup %04d', i % 1000),
    printf('central-%04d', i % 1000), 'schedule', json_object( 'name', printf('Backup %04d', i % 1000), 'central', printf('central-%04d', i %
    1000), 'schedule', json('{"start":"2026-01-01T02:00:00","time-zone":"Europe/Zurich","every":"daily"}')), 'scheduler', '', i *
    86400, i * 86400, i * 86400, i * 86400 + 60000, CASE WHEN i % 97 = 0 THEN 'failed' ELSE 'succeeded' END, 0, 1, 1, '', '', printf('a%d', i),
    printf('a%d.sar', i), printf('satellite-%04d', i % 1000), 1000000, 0 FROM n;

UPDATE runs SET spool_removed_at = 0 WHERE rowid <= 100000 / 10 * 9;

WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < 100000) INSERT INTO run_destinations (run, destination, state,
    path, size_bytes, sha256, error, ended_at, verified_at, removed_at) SELECT printf('%08x-0000-7000-8000-000000000000', i), 'nas', 'done',
    'p', 1000000, '', '', 0, 0, CASE WHEN i < 100000 / 10 * 9 THEN 0 END FROM n;

WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < 10000) INSERT INTO audit (time, actor, action, subject, result)
    SELECT i, 'anna', 'A/B', 'c', 'ok' FROM n;

WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < 10000) INSERT INTO restores (id, job, started_at, ended_at,
    archive_id, archive_name, central, target, target_central, url, data_sets, outcome, error, actor, safety_archive) SELECT printf('%08x', i),
    '', i, i, printf('a%d', i), printf('a%d.sar', i), printf('central-%04d', i % 1000), '/restored', '', '', '', 'succeeded', '', 'anna', ''
    FROM n;

WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < 10000) INSERT INTO update_history (satellite, workload,
    manifest_digest, from_version, version, outcome, problem, started_at, ended_at, bytes_sent, bytes_saved) SELECT printf('satellite-%04d', i %
    1000), 'backup-service', '', '1.0.0', '1.0.1', 'succeeded', '', i, i, 0, 0 FROM n;
