-- name: find
SELECT live, building FROM skerry_projections WHERE name = ? AND version = ?;

-- name: begin
INSERT INTO skerry_projections (name, version, live, building, made) VALUES (?, ?, 0, 1, 0) ON CONFLICT DO NOTHING;

-- name: set_up
UPDATE skerry_projections SET made = ?3 WHERE name = ?1 AND version = ?2 AND made < ?4;

-- name: rebuild
UPDATE skerry_projections SET building = live + 1 WHERE name = ? AND version = ? AND building = 0;

-- name: switch
UPDATE skerry_projections SET live = building, building = 0 WHERE name = ? AND version = ? AND building = ?;

-- name: list
SELECT name, version, live, building FROM skerry_projections ORDER BY name, version;

-- name: forget_positions
DELETE FROM skerry_positions WHERE consumer = ?;

-- name: forget_parked
DELETE FROM skerry_parked WHERE consumer = ?;

-- name: parked
SELECT state, reason FROM skerry_parked WHERE consumer = ? AND event_id = ?;
