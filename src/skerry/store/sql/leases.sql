-- name: has_leases (postgresql)
SELECT 1 WHERE to_regclass('skerry_leases') IS NOT NULL;

-- A server that only reads refuses it.
-- name: may_write (postgresql)
UPDATE skerry_leases SET pid = pid WHERE false;

-- name: create_leases (postgresql)
CREATE TABLE IF NOT EXISTS skerry_leases (
  role       TEXT PRIMARY KEY,
  epoch      BIGINT NOT NULL,
  pid        INTEGER NOT NULL,
  begun_at   TIMESTAMPTZ NOT NULL,
  expires_at TIMESTAMPTZ NOT NULL
);

-- Free, run out, or held by a session that has ended. A process id alone would not do: the server uses them again.
-- name: take (postgresql)
INSERT INTO skerry_leases AS held (role, epoch, pid, begun_at, expires_at)
SELECT ?1, 1, me.pid, me.backend_start, clock_timestamp() + make_interval(secs => ?2)
FROM pg_stat_activity me WHERE me.pid = pg_backend_pid()
ON CONFLICT (role) DO UPDATE SET
  epoch = held.epoch + 1, pid = excluded.pid, begun_at = excluded.begun_at, expires_at = excluded.expires_at
WHERE held.expires_at < clock_timestamp() OR NOT EXISTS (
  SELECT FROM pg_stat_activity other WHERE other.pid = held.pid AND other.backend_start = held.begun_at
)
RETURNING epoch;

-- name: renew (postgresql)
UPDATE skerry_leases held
SET pid = me.pid, begun_at = me.backend_start, expires_at = clock_timestamp() + make_interval(secs => ?3)
FROM pg_stat_activity me
WHERE me.pid = pg_backend_pid() AND held.role = ?1 AND held.epoch = ?2;

-- name: give_back (postgresql)
UPDATE skerry_leases SET expires_at = '-infinity' WHERE role = ? AND epoch = ?;

-- name: is_held (postgresql)
SELECT 1 FROM skerry_leases WHERE role = ? AND epoch = ?;

-- One row when it is not held. More questions may follow.
-- name: begin_held (postgresql)
BEGIN; SELECT WHERE NOT EXISTS (SELECT FROM skerry_leases WHERE role = ? AND epoch = ?);

-- Goes to the server in one message with COMMIT, and fails it when the role is somebody else's by then.
-- name: end_held (postgresql)
SELECT 1 / count(*) FROM skerry_leases WHERE role = ? AND epoch = ?;

-- name: lock (postgresql)
SELECT pg_advisory_xact_lock(hashtextextended(?, 0));
