-- No key is unique: an effect that happens twice has to show.
CREATE TABLE effects (
  id INTEGER PRIMARY KEY, event_id TEXT NOT NULL, aggregate TEXT NOT NULL, seq INTEGER NOT NULL, t REAL NOT NULL
) STRICT;
