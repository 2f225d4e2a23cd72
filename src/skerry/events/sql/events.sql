-- name: outbox_next
INSERT INTO skerry_sequences (key, last) VALUES (?, 1)
ON CONFLICT (key) DO UPDATE SET last = skerry_sequences.last + 1;

-- name: outbox_insert
INSERT INTO skerry_outbox (event_id, type, key, body, sequence)
SELECT ?1, ?2, ?3, ?4, last FROM skerry_sequences WHERE key = ?3;

-- Both in one; see the migration that makes it.
-- name: outbox_insert (postgresql)
SELECT skerry_record(?, ?, ?, ?);

-- name: outbox_delay
INSERT INTO skerry_outbox (event_id, type, key, body, sequence, due_at) VALUES (?, ?, ?, ?, 0, ?);

-- Their order is the relay's: to sort rows that are this wide costs an engine a fifth of the reading.
-- name: outbox_read
SELECT id, event_id, type, key, body, sequence, due_at FROM (
  SELECT * FROM (SELECT * FROM skerry_outbox WHERE due_at IS NULL ORDER BY id LIMIT ?1) waiting
  UNION ALL SELECT * FROM (SELECT * FROM skerry_outbox WHERE due_at <= ?2 ORDER BY due_at, id LIMIT ?1) due
) every LIMIT ?1;

-- The same for some of the four parts only, a bit for each. Which one a key is in, the engine itself says, so that all processes
-- on a database agree, also about rows of a release that knew no parts.
-- name: outbox_read_parts
SELECT id, event_id, type, key, body, sequence, due_at FROM (
  SELECT * FROM (
    SELECT * FROM skerry_outbox
    WHERE due_at IS NULL AND (1 << (skerry_hash(CAST(key AS BLOB)) & 3)) & ?3 <> 0 ORDER BY id LIMIT ?1
  ) waiting UNION ALL SELECT * FROM (
    SELECT * FROM skerry_outbox
    WHERE due_at <= ?2 AND (1 << (skerry_hash(CAST(key AS BLOB)) & 3)) & ?3 <> 0 ORDER BY due_at, id LIMIT ?1
  ) due
) every LIMIT ?1;

-- name: outbox_read_parts (postgresql)
SELECT id, event_id, type, key, body, sequence, due_at FROM (
  SELECT * FROM (
    SELECT * FROM skerry_outbox
    WHERE due_at IS NULL AND (1 << (hashtext(key) & 3)) & ?3 <> 0 ORDER BY id LIMIT ?1
  ) waiting UNION ALL SELECT * FROM (
    SELECT * FROM skerry_outbox
    WHERE due_at <= ?2 AND (1 << (hashtext(key) & 3)) & ?3 <> 0 ORDER BY due_at, id LIMIT ?1
  ) due
) every LIMIT ?1;

-- By their ids, never a range: a lower one may have been committed meanwhile.
-- name: outbox_delete
DELETE FROM skerry_outbox WHERE id IN (SELECT value FROM json_each(?));

-- name: outbox_delete (postgresql)
DELETE FROM skerry_outbox WHERE id = ANY (translate(?, '[]', '{}')::bigint[]);

-- As many at most wait, for ids are given without gaps but for what was rolled back.
-- name: outbox_most
SELECT coalesce(max(id) - min(id) + 1, 0) FROM skerry_outbox WHERE due_at IS NULL;

-- name: outbox_counted
SELECT count(*) FROM (SELECT 1 FROM skerry_outbox WHERE due_at IS NULL LIMIT ?) counted;

-- name: outbox_count
SELECT count(*) FROM skerry_outbox;

-- name: positions
SELECT source, offset_, epoch FROM skerry_positions WHERE consumer = ?;

-- name: move
INSERT INTO skerry_positions (consumer, source, offset_, epoch) VALUES (?, ?, ?, ?)
ON CONFLICT (consumer, source) DO UPDATE SET offset_ = excluded.offset_, epoch = excluded.epoch;

-- name: park
INSERT INTO skerry_parked (consumer, event_id, type, key, body, state, attempts, due_at, reason, parked_at, sequence)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (consumer, event_id) DO NOTHING;

-- name: parked_body
SELECT body FROM skerry_parked WHERE consumer = ? AND event_id = ?;

-- An empty text stands for: something is parked.
-- name: known_or_parked
SELECT key FROM skerry_receipts WHERE scope = ?1 AND key IN (SELECT value FROM json_each(?2))
UNION ALL SELECT '' WHERE EXISTS (SELECT 1 FROM skerry_parked WHERE consumer = ?3);

-- name: known_or_parked (postgresql)
SELECT skerry_doubt(?, ?::jsonb, ?);

-- The same for one event: to unfold a list of one takes longer than all else here.
-- name: one_known_or_parked
SELECT key FROM skerry_receipts WHERE scope = ? AND key = ?
UNION ALL SELECT '' WHERE EXISTS (SELECT 1 FROM skerry_parked WHERE consumer = ?);

-- name: one_known_or_parked (postgresql)
SELECT skerry_doubt(?, jsonb_build_array(?::text), ?);

-- What has no key waits for nobody.
-- name: is_held
SELECT 1 FROM skerry_parked WHERE consumer = ? AND key = ? AND key <> '' AND (? = 1 OR state <> 'dead')
UNION ALL SELECT 1 FROM skerry_parked WHERE consumer = ? AND event_id = ? LIMIT 1;

-- The lock keeps what it found until this transaction ends: else an operator could drop it meanwhile, see nothing behind it, and
-- the event that is held now would wait for nobody, for ever.
-- name: is_held (postgresql)
SELECT 1 FROM skerry_parked
WHERE (consumer = ?1 AND key = ?2 AND key <> '' AND (?3 = 1 OR state <> 'dead')) OR (consumer = ?4 AND event_id = ?5) LIMIT 1 FOR SHARE;

-- A time further off than any delay was written before the clock was set back.
-- name: due
SELECT id, event_id, type, key, body, attempts, parked_at FROM skerry_parked
WHERE consumer = ? AND state = 'retry' AND (due_at <= ? OR due_at > ?) ORDER BY due_at, id LIMIT 1;

-- Where dead letters hold their key, nothing overtakes one that came before it.
-- name: next_held
SELECT id FROM skerry_parked held WHERE consumer = ?1 AND key = ?2 AND state = 'held' AND NOT EXISTS (
  SELECT 1 FROM skerry_parked WHERE consumer = ?1 AND key = ?2
  AND (state = 'retry' OR (?3 = 1 AND state = 'dead' AND id < held.id))
) ORDER BY id LIMIT 1;

-- name: number
SELECT last FROM skerry_numbers WHERE consumer = ? AND source = ? AND key = ?;

-- An event that was overtaken does not set it back.
-- name: number_passed
INSERT INTO skerry_numbers (consumer, source, key, last) VALUES (?, ?, ?, ?)
ON CONFLICT (consumer, source, key) DO UPDATE SET last = excluded.last WHERE excluded.last > skerry_numbers.last;

-- name: lowest_parked
SELECT min(sequence) FROM skerry_parked WHERE consumer = ? AND key = ?;

-- name: next_goes
UPDATE skerry_parked SET state = 'retry', due_at = ?1
WHERE consumer = ?2 AND key = ?3 AND sequence = ?4 AND (state = 'held' OR (state = 'retry' AND attempts = 0));

-- name: lower_first
UPDATE skerry_parked SET state = 'retry', due_at = ?1 WHERE id = (
  SELECT id FROM skerry_parked WHERE consumer = ?2 AND key = ?3 AND sequence > 0 AND sequence < ?4 AND state <> 'dead'
  ORDER BY sequence LIMIT 1
);

-- name: lower_dead
SELECT 1 FROM skerry_parked WHERE consumer = ? AND key = ? AND state = 'dead' AND sequence > 0 AND sequence < ? LIMIT 1;

-- name: next_due
SELECT min(due_at) FROM skerry_parked WHERE consumer = ? AND state = 'retry';

-- name: unpark
DELETE FROM skerry_parked WHERE id = ?;

-- name: repark
UPDATE skerry_parked SET state = ?, attempts = ?, due_at = ?, reason = ? WHERE id = ?;

-- name: parked_find
SELECT id, consumer, event_id, type, key, body, state, attempts, reason, parked_at FROM skerry_parked WHERE id = ?;

-- name: parked_filtered
SELECT id, consumer, event_id, type, key, body, state, attempts, reason, parked_at FROM skerry_parked
WHERE state <> 'retry' AND consumer = coalesce(?1, consumer) AND type = coalesce(?2, type) AND key = coalesce(?3, key)
ORDER BY id LIMIT ?4;

-- Behind a dead one: nothing of their key is about to be tried again.
-- name: dead_list
SELECT id, consumer, event_id, type, key, attempts, reason, parked_at, (
  SELECT count(*) FROM skerry_parked held WHERE held.consumer = dead.consumer AND held.key = dead.key AND held.state = 'held'
  AND NOT EXISTS (
    SELECT 1 FROM skerry_parked next WHERE next.consumer = dead.consumer AND next.key = dead.key AND next.state = 'retry'
  )
) AS held FROM skerry_parked dead
WHERE state = 'dead' AND consumer = coalesce(?1, consumer) AND type = coalesce(?2, type) AND key = coalesce(?3, key)
ORDER BY id LIMIT ?4;

-- name: dead_count
SELECT count(*) FROM skerry_parked
WHERE state = 'dead' AND consumer = coalesce(?1, consumer) AND type = coalesce(?2, type) AND key = coalesce(?3, key);

-- name: held_behind
SELECT count(*) FROM skerry_parked held JOIN skerry_parked dead ON dead.consumer = held.consumer AND dead.key = held.key
WHERE dead.id = ? AND dead.state = 'dead' AND held.state = 'held' AND NOT EXISTS (
  SELECT 1 FROM skerry_parked next WHERE next.consumer = dead.consumer AND next.key = dead.key AND next.state = 'retry'
);

-- name: dead_retry
UPDATE skerry_parked SET state = 'retry', attempts = 0, due_at = ?, reason = 'retried by an operator'
WHERE id = ? AND state = 'dead';

-- name: dead_drop
DELETE FROM skerry_parked WHERE id = ? AND state = 'dead' RETURNING consumer, key;

-- name: outbox_backlog
SELECT count(CASE WHEN due_at IS NULL OR due_at <= ?1 THEN 1 END) AS waiting, count(CASE WHEN due_at > ?1 THEN 1 END) AS delayed,
  min(CASE WHEN due_at <= ?1 THEN due_at END) AS due_at FROM skerry_outbox;

-- name: outbox_oldest
SELECT body FROM skerry_outbox WHERE due_at IS NULL ORDER BY id LIMIT 1;

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
