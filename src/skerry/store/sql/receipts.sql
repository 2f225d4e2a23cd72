-- name: find
SELECT scope, key, state, fingerprint, result FROM skerry_receipts WHERE scope = ? AND key = ?;

-- name: insert
INSERT INTO skerry_receipts (scope, key, state, fingerprint, result, expires_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (scope, key) DO NOTHING;

-- name: update
UPDATE skerry_receipts SET state = ?, result = ? WHERE scope = ? AND key = ?;

-- name: delete
DELETE FROM skerry_receipts WHERE scope = ? AND key = ? AND fingerprint = ?;

-- name: prune
DELETE FROM skerry_receipts WHERE (scope, key) IN
  (SELECT scope, key FROM skerry_receipts WHERE expires_at < ? ORDER BY expires_at LIMIT ?);

-- name: insert_new
INSERT INTO skerry_receipts (scope, key, state, fingerprint, result, expires_at) VALUES (?, ?, ?, ?, ?, ?);

-- The same for many keys. SQLite has no way to its server, and reads a NUL in a JSON text as its end.
-- name: insert_new_ones (postgresql)
INSERT INTO skerry_receipts (scope, key, state, fingerprint, result, expires_at)
SELECT ?1, key, ?2, '', NULL, ?3 FROM jsonb_array_elements_text(?4::jsonb) AS new (key);
