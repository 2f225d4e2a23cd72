CREATE TABLE skerry_outbox (
  id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  event_id TEXT NOT NULL,
  type     TEXT NOT NULL,
  key      TEXT NOT NULL,
  body     TEXT NOT NULL,
  sequence BIGINT NOT NULL,
  due_at   DOUBLE PRECISION
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 10000);

CREATE UNIQUE INDEX skerry_outbox_by_sequence ON skerry_outbox (key, sequence) WHERE sequence > 0;
CREATE INDEX skerry_outbox_by_due ON skerry_outbox (due_at) WHERE due_at IS NOT NULL;

-- The number of the last event of each key. It counts on without gaps while the key is used; see `record`.
CREATE TABLE skerry_sequences (key TEXT PRIMARY KEY, last BIGINT NOT NULL) WITH (fillfactor = 70);

-- How far each group has come in each source's log, committed with the effect of the event at that position.
CREATE TABLE skerry_positions (
  consumer TEXT NOT NULL,
  source   TEXT NOT NULL,
  offset_  BIGINT NOT NULL,
  epoch    TEXT NOT NULL,
  PRIMARY KEY (consumer, source)
) WITH (fillfactor = 50);

-- Events a group could not handle yet: waiting for another try, held behind an earlier event of their key, or dead.
CREATE TABLE skerry_parked (
  id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  consumer  TEXT NOT NULL,
  event_id  TEXT NOT NULL,
  type      TEXT NOT NULL,
  key       TEXT NOT NULL,
  body      TEXT NOT NULL,
  state     TEXT NOT NULL CHECK (state IN ('retry', 'held', 'dead')),
  attempts  INTEGER NOT NULL,
  due_at    DOUBLE PRECISION NOT NULL,
  reason    TEXT NOT NULL,
  parked_at DOUBLE PRECISION NOT NULL,
  UNIQUE (consumer, event_id)
);

CREATE INDEX skerry_parked_by_key ON skerry_parked (consumer, key, id);
CREATE INDEX skerry_parked_by_due ON skerry_parked (consumer, due_at) WHERE state = 'retry';

-- Present while a group runs. Found at start it means: the process died, perhaps of the event after its position.
CREATE TABLE skerry_running (consumer TEXT PRIMARY KEY);

-- How often a process died with this event in hand. Counted before the event is handled again.
CREATE TABLE skerry_suspects (
  consumer TEXT NOT NULL,
  event_id TEXT NOT NULL,
  deaths   INTEGER NOT NULL,
  PRIMARY KEY (consumer, event_id)
);

-- Which generation of a projection's tables is read, and which one is being built beside it; 0 for none. `made` is the last one
-- whose tables exist.
CREATE TABLE skerry_projections (
  name     TEXT NOT NULL,
  version  INTEGER NOT NULL,
  live     INTEGER NOT NULL,
  building INTEGER NOT NULL,
  made     INTEGER NOT NULL,
  PRIMARY KEY (name, version)
);
