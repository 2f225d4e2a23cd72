-- The number of the last event that a group has handled of each producer and key, for groups that wait for missing ones.
CREATE TABLE skerry_numbers (
  consumer TEXT NOT NULL,
  source   TEXT NOT NULL,
  key      TEXT NOT NULL,
  last     INTEGER NOT NULL,
  PRIMARY KEY (consumer, source, key)
) STRICT;

-- 0 where nobody looks at it.
ALTER TABLE skerry_parked ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0;
