CREATE TABLE products (
  sku      TEXT PRIMARY KEY,
  name     TEXT NOT NULL,
  category TEXT NOT NULL,
  amount   INTEGER NOT NULL CHECK (amount > 0),
  currency TEXT NOT NULL,
  revision INTEGER NOT NULL
) STRICT;

-- The prices of the monolith that are known here (`own` 0), and those that were set here (`own` 1).
CREATE TABLE prices (
  sku      TEXT NOT NULL,
  revision INTEGER NOT NULL,
  own      INTEGER NOT NULL CHECK (own IN (0, 1)),
  PRIMARY KEY (sku, revision)
) STRICT;
