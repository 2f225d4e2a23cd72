-- What people did about a saga. A `cancel` is asked here and done by the engine.
CREATE TABLE skerry_saga_acts (
  id      INTEGER PRIMARY KEY,
  saga_id TEXT NOT NULL REFERENCES skerry_sagas (id) ON DELETE CASCADE,
  act     TEXT NOT NULL CHECK (act IN ('retry', 'skip', 'cancel', 'resolve')),
  step    TEXT NOT NULL,
  note    TEXT NOT NULL,
  at      REAL NOT NULL
) STRICT;

CREATE INDEX skerry_saga_acts_saga ON skerry_saga_acts (saga_id);
CREATE INDEX skerry_saga_acts_cancel ON skerry_saga_acts (saga_id) WHERE act = 'cancel';
