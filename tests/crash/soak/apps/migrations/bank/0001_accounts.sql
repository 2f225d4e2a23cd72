CREATE TABLE accounts (name TEXT PRIMARY KEY, amount INTEGER NOT NULL) STRICT;
INSERT INTO accounts VALUES ('held', 0), ('ann', 1000000), ('bob', 1000000), ('cid', 1000000), ('dee', 1000000);
CREATE TABLE notes (saga TEXT NOT NULL) STRICT;
-- No key is unique: an effect that happens twice has to show.
CREATE TABLE actions (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, saga TEXT NOT NULL, step TEXT NOT NULL, t REAL NOT NULL) STRICT;
