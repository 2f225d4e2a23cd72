CREATE TABLE accounts (name TEXT PRIMARY KEY, amount BIGINT NOT NULL);
CREATE TABLE papers (saga TEXT NOT NULL, step TEXT NOT NULL);
-- No key is unique: an effect that happens twice has to show.
CREATE TABLE effects (kind TEXT NOT NULL, saga TEXT NOT NULL, step TEXT NOT NULL, t DOUBLE PRECISION NOT NULL);
