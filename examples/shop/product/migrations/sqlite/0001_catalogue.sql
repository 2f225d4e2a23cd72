CREATE TABLE products (
  sku      TEXT PRIMARY KEY,
  name     TEXT NOT NULL,
  amount   INTEGER NOT NULL CHECK (amount > 0),
  currency TEXT NOT NULL
) STRICT;
