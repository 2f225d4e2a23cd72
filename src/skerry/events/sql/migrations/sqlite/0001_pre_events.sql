CREATE TABLE skerry_outbox (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  event_id TEXT NOT NULL UNIQUE,
  type     TEXT NOT NULL,
  key      TEXT NOT NULL,
  body     TEXT NOT NULL
) STRICT;

-- How far each group has come in each source's log, committed with the effect of the event at that position.
CREATE TABLE skerry_positions (
  consumer TEXT NOT NULL,
  source   TEXT NOT NULL,
  offset_  INTEGER NOT NULL,
  epoch    TEXT NOT NULL,
  PRIMARY KEY (consumer, source)
) STRICT, WITHOUT ROWID;

-- Events a group could not handle yet: waiting for another try, held behind an earlier event of their key, or dead.
CREATE TABLE skerry_parked (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  consumer  TEXT NOT NULL,
  event_id  TEXT NOT NULL,
  type      TEXT NOT NULL,
  key       TEXT NOT NULL,
  body      TEXT NOT NULL,
  state     TEXT NOT NULL CHECK (state IN ('retry', 'held', 'dead')),
  attempts  INTEGER NOT NULL,
  due_at    REAL NOT NULL,
  reason    TEXT NOT NULL,
  parked_at REAL NOT NULL,
  UNIQUE (consumer, event_id)
) STRICT;

CREATE INDEX skerry_parked_by_key ON skerry_parked (consumer, key, id);
CREATE INDEX skerry_parked_by_due ON skerry_parked (consumer, due_at) WHERE state = 'retry';

-- Present while a group runs. Found at start it means: the process died, perhaps of the event after its position.
CREATE TABLE skerry_running (consumer TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

-- How often a process died with this event in hand. Counted before the event is handled again.
CREATE TABLE skerry_suspects (
  consumer TEXT NOT NULL,
  event_id TEXT NOT NULL,
  deaths   INTEGER NOT NULL,
  PRIMARY KEY (consumer, event_id)
) STRICT, WITHOUT ROWID;
