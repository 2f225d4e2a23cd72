-- name: start
INSERT INTO skerry_sagas
  (id, name, version, key, steps, input, traceparent, parent, redact, status, reason, started_at, changed_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'running', '', ?, ?) ON CONFLICT (name, key) DO NOTHING;

-- Many at once; the ids of those that are new.
-- name: start_many
INSERT INTO skerry_sagas
  (id, name, version, key, steps, input, traceparent, parent, redact, status, reason, started_at, changed_at)
SELECT
  json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]'),
  json_extract(value, '$[4]'), json_extract(value, '$[5]'), json_extract(value, '$[6]'), json_extract(value, '$[7]'),
  json_extract(value, '$[8]'), 'running', '', ?2, ?2
FROM json_each(?1) WHERE true
ON CONFLICT (name, key) DO NOTHING RETURNING id;

-- name: start_many (postgresql)
INSERT INTO skerry_sagas
  (id, name, version, key, steps, input, traceparent, parent, redact, status, reason, started_at, changed_at)
SELECT
  value ->> 0, value ->> 1, (value ->> 2)::integer, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
  value ->> 8, 'running', '', ?2, ?2
FROM json_array_elements(?1::json) value
ON CONFLICT (name, key) DO NOTHING RETURNING id;

-- name: by_key
SELECT id, name, version, key, steps, input, traceparent, status, reason, started_at, parent, redact FROM skerry_sagas
WHERE name = ? AND key = ?;

-- name: by_id
SELECT id, name, version, key, steps, input, traceparent, status, reason, started_at, parent, redact FROM skerry_sagas
WHERE id = ?;

-- name: log
SELECT step, what, result FROM (
  SELECT step, what, result FROM skerry_saga_log WHERE saga_id = ?1
  UNION ALL SELECT step, 'waits', CAST(until AS TEXT) FROM skerry_saga_waits WHERE saga_id = ?1
) entries ORDER BY what = 'undone', what <> 'waits';

-- name: open
SELECT id FROM skerry_sagas WHERE status IN ('running', 'compensating') AND due_at IS NULL AND id > ? ORDER BY id LIMIT ?;

-- Those whose wait is over.
-- name: due
SELECT id FROM skerry_sagas WHERE due_at <= ? AND status IN ('running', 'compensating') ORDER BY due_at LIMIT ?;

-- name: count
SELECT status, count(*) FROM skerry_sagas GROUP BY status;

-- name: count_stuck
SELECT count(*) FROM skerry_sagas WHERE status = 'stuck';

-- name: count_open
SELECT count(*) FROM skerry_sagas WHERE status IN ('running', 'compensating');

-- name: append
INSERT INTO skerry_saga_log (saga_id, step, what, result, at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (saga_id, step, what) DO NOTHING;

-- name: append_many
INSERT INTO skerry_saga_log (saga_id, step, what, result, at)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]'), ?2
FROM json_each(?1) WHERE true
ON CONFLICT (saga_id, step, what) DO NOTHING;

-- name: append_many (postgresql)
INSERT INTO skerry_saga_log (saga_id, step, what, result, at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, ?2 FROM json_array_elements(?1::json) value
ON CONFLICT (saga_id, step, what) DO NOTHING;

-- What has ended stays so, whoever still writes.
-- name: change_many
UPDATE skerry_sagas SET status = new.status, reason = new.reason, changed_at = ?2, due_at = NULL FROM (
  SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS status, json_extract(value, '$[2]') AS reason
  FROM json_each(?1)
) new WHERE skerry_sagas.id = new.id AND skerry_sagas.status IN ('running', 'compensating');

-- The ids are said twice, for by the first the planner would rather read all sagas that are open, and all that were since the
-- last vacuum, than look up these.
-- name: change_many (postgresql)
UPDATE skerry_sagas SET status = new.status, reason = new.reason, changed_at = ?2, due_at = NULL FROM (
  SELECT value ->> 0 AS id, value ->> 1 AS status, value ->> 2 AS reason FROM json_array_elements(?1::json) value
) new WHERE skerry_sagas.id = new.id AND skerry_sagas.status IN ('running', 'compensating')
AND skerry_sagas.id = ANY(ARRAY(SELECT value ->> 0 FROM json_array_elements(?1::json) value));

-- A step begins to wait; one that waited before goes on with the end it had.
-- name: wait
INSERT INTO skerry_saga_waits (saga_id, step, until, at) VALUES (?, ?, ?, ?) ON CONFLICT (saga_id, step) DO NOTHING;

-- name: park
UPDATE skerry_sagas SET due_at = ? WHERE id = ? AND status IN ('running', 'compensating');

-- What it waits for has come meanwhile; whoever tells a saga something holds the same lock.
-- name: told_already
UPDATE skerry_sagas SET due_at = NULL WHERE id = ?1 AND EXISTS (
  SELECT 1 FROM skerry_saga_signals t
  WHERE t.name = skerry_sagas.name AND t.key = skerry_sagas.key AND t.signal = ?2
);

-- The child that it waits for has ended meanwhile, or has turned back where that is what it waits for.
-- name: ended_already
UPDATE skerry_sagas SET due_at = NULL WHERE id = ?1 AND EXISTS (
  SELECT 1 FROM skerry_sagas c WHERE c.id = ?2 AND c.status IN ('compensated', ?3)
);

-- name: unpark
UPDATE skerry_sagas SET due_at = NULL WHERE id = ? AND due_at IS NOT NULL;

-- Without a look at whether it waits: one that is about to is waited for.
-- name: unpark_parent
UPDATE skerry_sagas SET due_at = NULL WHERE id = ?;

-- A child that runs is asked to turn back, once.
-- name: ask_back
INSERT INTO skerry_saga_acts (saga_id, act, step, note, at)
SELECT id, 'cancel', '', ?2, ?3 FROM skerry_sagas s WHERE s.id = ?1 AND s.status = 'running'
AND NOT EXISTS (SELECT 1 FROM skerry_saga_acts a WHERE a.saga_id = s.id AND a.act = 'cancel');

-- The entry of a saga that turns back although it had completed; it is about no step.
-- name: take_back
INSERT INTO skerry_saga_log (saga_id, step, what, result, at)
SELECT id, '', 'failed', NULL, ?2 FROM skerry_sagas WHERE id = ?1 AND status = 'completed'
ON CONFLICT (saga_id, step, what) DO NOTHING;

-- name: turn_back
UPDATE skerry_sagas SET status = 'compensating', reason = ?2, changed_at = ?3, due_at = NULL
WHERE id = ?1 AND status = 'completed';

-- A saga and its children, and theirs.
-- name: family
WITH RECURSIVE family (id) AS (
  SELECT ?1 UNION ALL SELECT s.id FROM skerry_sagas s JOIN family f ON s.parent = f.id
)
SELECT s.id, s.name, s.key, s.input, s.redact FROM skerry_sagas s JOIN family f ON f.id = s.id WHERE s.redact <> '';

-- name: results
SELECT step, result FROM skerry_saga_log WHERE saga_id = ? AND what = 'done' AND result IS NOT NULL;

-- name: redact_input
UPDATE skerry_sagas SET input = ? WHERE id = ?;

-- name: redact_result
UPDATE skerry_saga_log SET result = ? WHERE saga_id = ? AND step = ? AND what = 'done';

-- name: redact_signal
UPDATE skerry_saga_signals SET value = ? WHERE name = ? AND key = ? AND signal = ? AND id = ?;

-- name: wait_anew
DELETE FROM skerry_saga_waits WHERE saga_id = ?;

-- name: tell
INSERT INTO skerry_saga_signals (name, key, signal, id, value, at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (name, key, signal, id) DO NOTHING;

-- name: unpark_told
UPDATE skerry_sagas SET due_at = NULL WHERE name = ? AND key = ? AND due_at IS NOT NULL;

-- name: told
SELECT value FROM skerry_saga_signals WHERE name = ? AND key = ? AND signal = ? ORDER BY at, id LIMIT 1;

-- name: all_told
SELECT signal, id, at, value FROM skerry_saga_signals WHERE name = ? AND key = ? ORDER BY at, id LIMIT 1000;

-- What nobody waited for, and what was told to sagas that are long over.
-- name: forget
DELETE FROM skerry_saga_signals WHERE at < ?1 AND NOT EXISTS (
  SELECT 1 FROM skerry_sagas s WHERE s.name = skerry_saga_signals.name AND s.key = skerry_saga_signals.key
  AND s.status IN ('running', 'compensating', 'stuck')
);

-- What a person decides about a saga that is stuck; nobody drives it meanwhile.
-- name: settle
UPDATE skerry_sagas SET status = ?, reason = ?, changed_at = ?, due_at = NULL WHERE id = ? AND status = 'stuck';

-- name: act
INSERT INTO skerry_saga_acts (saga_id, act, step, note, at) VALUES (?, ?, ?, ?, ?);

-- name: acts
SELECT act, step, note, at FROM skerry_saga_acts WHERE saga_id = ? ORDER BY id;

-- name: cancelled
SELECT s.id, min(a.note) FROM skerry_saga_acts a JOIN skerry_sagas s ON s.id = a.saga_id
WHERE a.act = 'cancel' AND s.status = 'running' GROUP BY s.id;

-- name: history
SELECT step, what, at FROM (
  SELECT step, what, at FROM skerry_saga_log WHERE saga_id = ?1
  UNION ALL SELECT step, 'waits', at FROM skerry_saga_waits WHERE saga_id = ?1
) entries ORDER BY at, what = 'undone', what <> 'waits';

-- name: times
SELECT started_at, changed_at FROM skerry_sagas WHERE id = ?;

-- name: listed
SELECT id, name, version, key, status, reason, started_at, changed_at FROM skerry_sagas
WHERE status IN (SELECT value FROM json_each(?1)) AND (?2 = '' OR name = ?2) AND (?3 = '' OR key = ?3)
ORDER BY status <> 'stuck', started_at, id LIMIT ?4;

-- name: listed (postgresql)
SELECT id, name, version, key, status, reason, started_at, changed_at FROM skerry_sagas
WHERE status IN (SELECT jsonb_array_elements_text(?1::jsonb)) AND (?2 = '' OR name = ?2) AND (?3 = '' OR key = ?3)
ORDER BY status <> 'stuck', started_at, id LIMIT ?4;

-- name: children
SELECT id, name, version, key, status, reason, started_at, changed_at FROM skerry_sagas
WHERE parent = ? AND parent <> '' ORDER BY started_at, id LIMIT 1000;

-- name: stats
SELECT name, version, status, count(*) AS sagas, min(started_at) AS oldest FROM skerry_sagas
GROUP BY name, version, status ORDER BY name, version, status;
