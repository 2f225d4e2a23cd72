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

-- Each that is free, run out, or held by a session that has ended; a process id alone would not do, for the server uses them
-- again. The epochs of those that are ours now, by their roles.
-- name: take (postgresql)
WITH taken AS (
  INSERT INTO skerry_leases AS held (role, epoch, pid, begun_at, expires_at)
  SELECT wanted.role, 1, me.pid, me.backend_start, clock_timestamp() + make_interval(secs => ?2)
  FROM jsonb_array_elements_text(?1::jsonb) AS wanted (role), pg_stat_activity me WHERE me.pid = pg_backend_pid() ORDER BY 1
  ON CONFLICT (role) DO UPDATE SET
    epoch = held.epoch + 1, pid = excluded.pid, begun_at = excluded.begun_at, expires_at = excluded.expires_at
  WHERE held.expires_at < clock_timestamp() OR NOT EXISTS (
    SELECT FROM pg_stat_activity other WHERE other.pid = held.pid AND other.backend_start = held.begun_at
  )
  RETURNING role, epoch
)
SELECT coalesce(jsonb_object_agg(role, epoch), '{}')::text FROM taken;

-- Of the roles and epochs given: which are ours still, for longer now; and which of some roles somebody else holds.
-- name: renew (postgresql)
WITH renewed AS (
  UPDATE skerry_leases held
  SET pid = me.pid, begun_at = me.backend_start, expires_at = clock_timestamp() + make_interval(secs => ?2)
  FROM pg_stat_activity me, jsonb_each_text(?1::jsonb) AS ours (role, epoch)
  WHERE me.pid = pg_backend_pid() AND held.role = ours.role AND held.epoch = ours.epoch::bigint
  RETURNING held.role
), others AS (
  SELECT role FROM skerry_leases held
  WHERE role IN (SELECT jsonb_array_elements_text(?3::jsonb)) AND expires_at >= clock_timestamp() AND EXISTS (
    SELECT FROM pg_stat_activity other WHERE other.pid = held.pid AND other.backend_start = held.begun_at
  ) AND role NOT IN (SELECT role FROM renewed)
)
SELECT jsonb_build_array((SELECT jsonb_agg(role) FROM renewed), (SELECT jsonb_agg(role) FROM others))::text;

-- Of the roles and epochs given: free from now on.
-- name: give_back (postgresql)
UPDATE skerry_leases held SET expires_at = '-infinity' FROM jsonb_each_text(?::jsonb) AS ours (role, epoch)
WHERE held.role = ours.role AND held.epoch = ours.epoch::bigint;

-- name: is_held (postgresql)
SELECT 1 FROM skerry_leases WHERE role = ? AND epoch = ?;

-- One row when it is not held. More questions may follow.
-- name: begin_held (postgresql)
BEGIN; SELECT WHERE NOT EXISTS (SELECT FROM skerry_leases WHERE role = ? AND epoch = ?);

-- Goes to the server in one message with COMMIT, and fails it when the role is somebody else's by then.
-- name: end_held (postgresql)
SELECT 1 / count(*) FROM skerry_leases WHERE role = ? AND epoch = ?;

-- The same for several: how many, and an array of role and epoch for each. It is planned with every COMMIT, so the array is written
-- as one: to make it of lines took a sixth of the check.
-- name: end_share (postgresql)
SELECT 1 / (count(*) = ?)::int FROM skerry_leases WHERE role || ' ' || epoch = ANY (?::text[]);

-- name: lock (postgresql)
SELECT pg_advisory_xact_lock(hashtextextended(?, 0));
