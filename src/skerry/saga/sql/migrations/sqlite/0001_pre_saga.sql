CREATE TABLE skerry_sagas (
  id          TEXT PRIMARY KEY,
  name        TEXT NOT NULL,
  version     INTEGER NOT NULL,
  key         TEXT NOT NULL,
  steps       TEXT NOT NULL,
  input       TEXT NOT NULL,
  traceparent TEXT NOT NULL,
  status      TEXT NOT NULL CHECK (status IN ('running', 'compensating', 'completed', 'compensated', 'stuck')),
  reason      TEXT NOT NULL,
  started_at  REAL NOT NULL,
  changed_at  REAL NOT NULL,
  UNIQUE (name, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX skerry_sagas_open ON skerry_sagas (id) WHERE status IN ('running', 'compensating');
CREATE INDEX skerry_sagas_stuck ON skerry_sagas (id) WHERE status = 'stuck';

-- One row for what happened to a step: done, rejected, failed (surely no effect), unknown (perhaps one) or undone.
CREATE TABLE skerry_saga_log (
  saga_id TEXT NOT NULL REFERENCES skerry_sagas (id) ON DELETE CASCADE,
  step    TEXT NOT NULL,
  what    TEXT NOT NULL CHECK (what IN ('done', 'rejected', 'failed', 'unknown', 'undone')),
  result  TEXT,
  at      REAL NOT NULL,
  PRIMARY KEY (saga_id, step, what)
) STRICT, WITHOUT ROWID;
