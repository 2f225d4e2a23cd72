-- Plain enough for SQLite and PostgreSQL alike. A migration that was applied is never changed: add the next one.
CREATE TABLE entries (
  id   TEXT PRIMARY KEY,
  text TEXT NOT NULL
);

CREATE TABLE totals (
  name    TEXT PRIMARY KEY,
  entries BIGINT NOT NULL CHECK (entries >= 0)
);

INSERT INTO totals (name, entries) VALUES ('all', 0);
