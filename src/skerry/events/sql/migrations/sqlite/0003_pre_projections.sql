-- Which generation of a projection's tables is read, and which one is being built beside it; 0 for none. `made` is the last one
-- whose tables exist.
CREATE TABLE skerry_projections (
  name     TEXT NOT NULL,
  version  INTEGER NOT NULL,
  live     INTEGER NOT NULL,
  building INTEGER NOT NULL,
  made     INTEGER NOT NULL,
  PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;
