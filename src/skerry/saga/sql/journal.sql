-- name: start
INSERT INTO skerry_sagas (id, name, version, key, steps, input, traceparent, status, reason, started_at, changed_at)
VALUES (?, ?, ?, ?, ?, ?, ?, 'running', '', ?, ?) ON CONFLICT (name, key) DO NOTHING;

-- name: by_key
SELECT id, name, version, key, steps, input, traceparent, status, reason FROM skerry_sagas WHERE name = ? AND key = ?;

-- name: by_id
SELECT id, name, version, key, steps, input, traceparent, status, reason FROM skerry_sagas WHERE id = ?;

-- name: log
SELECT step, what, result FROM skerry_saga_log WHERE saga_id = ? ORDER BY what = 'undone';

-- name: open
SELECT id FROM skerry_sagas WHERE status IN ('running', 'compensating') AND id > ? ORDER BY id LIMIT ?;

-- name: count
SELECT status, count(*) FROM skerry_sagas GROUP BY status;

-- name: count_stuck
SELECT count(*) FROM skerry_sagas WHERE status = 'stuck';

-- name: count_open
SELECT count(*) FROM skerry_sagas WHERE status IN ('running', 'compensating');

-- name: append
INSERT INTO skerry_saga_log (saga_id, step, what, result, at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (saga_id, step, what) DO NOTHING;

-- What has ended stays so, whoever still writes.
-- name: change
UPDATE skerry_sagas SET status = ?, reason = ?, changed_at = ? WHERE id = ? AND status IN ('running', 'compensating');

-- name: reopen
UPDATE skerry_sagas SET status = ?, reason = '', changed_at = ? WHERE id = ? AND status = 'stuck';
