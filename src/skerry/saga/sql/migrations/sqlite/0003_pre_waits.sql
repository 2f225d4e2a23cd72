-- Until when nobody has to look at a saga, because it waits; NULL for one that goes on.
ALTER TABLE skerry_sagas ADD COLUMN due_at REAL;

CREATE INDEX skerry_sagas_ready ON skerry_sagas (id) WHERE status IN ('running', 'compensating') AND due_at IS NULL;
CREATE INDEX skerry_sagas_due ON skerry_sagas (due_at) WHERE due_at IS NOT NULL;

-- Until when a step waits; written once, so that a restart does not begin anew.
CREATE TABLE skerry_saga_waits (
  saga_id TEXT NOT NULL REFERENCES skerry_sagas (id) ON DELETE CASCADE,
  step    TEXT NOT NULL,
  until   REAL NOT NULL,
  at      REAL NOT NULL,
  PRIMARY KEY (saga_id, step)
) STRICT, WITHOUT ROWID;

-- What sagas are told from outside. By key, for a signal may come before its saga has begun.
CREATE TABLE skerry_saga_signals (
  name   TEXT NOT NULL,
  key    TEXT NOT NULL,
  signal TEXT NOT NULL,
  id     TEXT NOT NULL,
  value  TEXT NOT NULL,
  at     REAL NOT NULL,
  PRIMARY KEY (name, key, signal, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX skerry_saga_signals_at ON skerry_saga_signals (at);
