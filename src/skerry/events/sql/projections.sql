-- name: find
SELECT live, building FROM skerry_projections WHERE name = ? AND version = ?;

-- name: begin
INSERT INTO skerry_projections (name, version, live, building, made) VALUES (?, ?, 0, 1, 0) ON CONFLICT DO NOTHING;

-- name: set_up
UPDATE skerry_projections SET made = ?3 WHERE name = ?1 AND version = ?2 AND made < ?4;

-- name: rebuild
UPDATE skerry_projections SET building = live + 1 WHERE name = ? AND version = ? AND building = 0;

-- Until this transaction ends no group moves on; see `switch`. On SQLite it is the one writer.
-- name: hold_positions
SELECT 1;

-- name: hold_positions (postgresql)
LOCK TABLE skerry_positions IN SHARE ROW EXCLUSIVE MODE;

-- Not to a generation that lacks an event which the one in use shows.
-- name: switch
UPDATE skerry_projections SET live = building, building = 0 WHERE name = ?1 AND version = ?2 AND building = ?3
AND (live = 0 OR NOT EXISTS (
  SELECT 1 FROM skerry_parked AS lacking WHERE lacking.consumer = ?5 AND NOT EXISTS (
    SELECT 1 FROM skerry_parked AS shown WHERE shown.consumer = ?4 AND shown.event_id = lacking.event_id
  )
));

-- name: list
SELECT name, version, live, building FROM skerry_projections ORDER BY name, version;

-- name: delete
DELETE FROM skerry_projections WHERE name = ? AND version = ?;

-- name: tables
SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, length(?1)) = ?1 ORDER BY name;

-- name: tables (postgresql)
SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND starts_with(tablename, ?1) ORDER BY tablename;

-- name: forget_positions
DELETE FROM skerry_positions WHERE consumer = ?;

-- name: forget_parked
DELETE FROM skerry_parked WHERE consumer = ?;

-- name: forget_running
DELETE FROM skerry_running WHERE consumer = ?;

-- name: forget_suspects
DELETE FROM skerry_suspects WHERE consumer = ?;

-- name: forget_receipts
DELETE FROM skerry_receipts WHERE (scope, key) IN (SELECT scope, key FROM skerry_receipts WHERE scope = ? LIMIT ?);

-- name: parked
SELECT state, reason FROM skerry_parked WHERE consumer = ? AND event_id = ?;
