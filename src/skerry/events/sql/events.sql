-- The number comes first: on PostgreSQL its row lock makes the writers of one key wait for each other, so the ids of a key
-- are given in the order of its commits.
-- name: outbox_next
INSERT INTO skerry_sequences (key, last) VALUES (?, 1)
ON CONFLICT (key) DO UPDATE SET last = skerry_sequences.last + 1;

-- name: outbox_insert
INSERT INTO skerry_outbox (event_id, type, key, body, sequence)
SELECT ?1, ?2, ?3, ?4, last FROM skerry_sequences WHERE key = ?3;

-- Both in one.
-- name: outbox_insert (postgresql)
WITH next AS (
  INSERT INTO skerry_sequences AS known (key, last) VALUES (?3, 1)
  ON CONFLICT (key) DO UPDATE SET last = known.last + 1 RETURNING last
)
INSERT INTO skerry_outbox (event_id, type, key, body, sequence) SELECT ?1, ?2, ?3, ?4, last FROM next;

-- name: outbox_delay
INSERT INTO skerry_outbox (event_id, type, key, body, sequence, due_at) VALUES (?, ?, ?, ?, 0, ?);

-- name: outbox_read
SELECT id, event_id, type, key, body, sequence FROM skerry_outbox WHERE due_at IS NULL ORDER BY id LIMIT ?;

-- name: outbox_due
SELECT id, event_id, type, key, body, sequence FROM skerry_outbox WHERE due_at <= ? ORDER BY due_at, id LIMIT ?;

-- By their ids, never a range: a lower one may have been committed meanwhile.
-- name: outbox_delete
DELETE FROM skerry_outbox WHERE id IN (SELECT value FROM json_each(?));

-- name: outbox_delete (postgresql)
DELETE FROM skerry_outbox WHERE id IN (SELECT jsonb_array_elements_text(?::jsonb)::bigint);

-- name: outbox_count
SELECT count(*) FROM skerry_outbox;

-- name: positions
SELECT source, offset_, epoch FROM skerry_positions WHERE consumer = ?;

-- name: move
INSERT INTO skerry_positions (consumer, source, offset_, epoch) VALUES (?, ?, ?, ?)
ON CONFLICT (consumer, source) DO UPDATE SET offset_ = excluded.offset_, epoch = excluded.epoch;

-- name: park
INSERT INTO skerry_parked (consumer, event_id, type, key, body, state, attempts, due_at, reason, parked_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (consumer, event_id) DO NOTHING;

-- An empty text stands for: something is parked.
-- name: known_or_parked
SELECT key FROM skerry_receipts WHERE scope = ?1 AND key IN (SELECT value FROM json_each(?2))
UNION ALL SELECT '' WHERE EXISTS (SELECT 1 FROM skerry_parked WHERE consumer = ?3);

-- name: known_or_parked (postgresql)
SELECT key FROM skerry_receipts WHERE scope = ?1 AND key IN (SELECT jsonb_array_elements_text(?2::jsonb))
UNION ALL SELECT '' WHERE EXISTS (SELECT 1 FROM skerry_parked WHERE consumer = ?3);

-- name: is_held
SELECT 1 FROM skerry_parked WHERE consumer = ? AND key = ? AND (? = 1 OR state <> 'dead')
UNION ALL SELECT 1 FROM skerry_parked WHERE consumer = ? AND event_id = ? LIMIT 1;

-- A time further off than any delay was written before the clock was set back.
-- name: due
SELECT id, event_id, type, key, body, attempts FROM skerry_parked
WHERE consumer = ? AND state = 'retry' AND (due_at <= ? OR due_at > ?) ORDER BY due_at, id LIMIT 1;

-- name: next_held
SELECT id FROM skerry_parked WHERE consumer = ? AND key = ? AND state = 'held'
AND NOT EXISTS (SELECT 1 FROM skerry_parked WHERE consumer = ? AND key = ? AND state = 'retry') ORDER BY id LIMIT 1;

-- name: next_due
SELECT min(due_at) FROM skerry_parked WHERE consumer = ? AND state = 'retry';

-- name: unpark
DELETE FROM skerry_parked WHERE id = ?;

-- name: repark
UPDATE skerry_parked SET state = ?, attempts = ?, due_at = ?, reason = ? WHERE id = ?;

-- name: parked_list
SELECT id, consumer, event_id, type, key, body, state, attempts, reason, parked_at FROM skerry_parked
WHERE state <> 'retry' ORDER BY id LIMIT ?;

-- name: parked_find
SELECT id, consumer, event_id, type, key, body, state, attempts, reason, parked_at FROM skerry_parked WHERE id = ?;

-- name: run_begin
INSERT INTO skerry_running (consumer) VALUES (?) ON CONFLICT DO NOTHING;

-- name: run_end
DELETE FROM skerry_running WHERE consumer = ?;

-- name: suspect
INSERT INTO skerry_suspects (consumer, event_id, deaths) VALUES (?, ?, 1)
ON CONFLICT (consumer, event_id) DO UPDATE SET deaths = skerry_suspects.deaths + 1 RETURNING deaths;

-- name: acquit
DELETE FROM skerry_suspects WHERE consumer = ? AND event_id = ?;

-- name: acquit_all
DELETE FROM skerry_suspects WHERE consumer = ?;
