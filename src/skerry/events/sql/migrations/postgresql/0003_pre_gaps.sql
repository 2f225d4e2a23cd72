-- The number of the last event that a group has handled of each producer and key, for groups that wait for missing ones.
CREATE TABLE skerry_numbers (
  consumer TEXT NOT NULL,
  source   TEXT NOT NULL,
  key      TEXT NOT NULL,
  last     BIGINT NOT NULL,
  PRIMARY KEY (consumer, source, key)
) WITH (fillfactor = 50);

-- 0 where nobody looks at it.
ALTER TABLE skerry_parked ADD COLUMN sequence BIGINT NOT NULL DEFAULT 0;
