CREATE TABLE orders (
  id          TEXT PRIMARY KEY,
  customer_id TEXT NOT NULL,
  lines       TEXT NOT NULL,
  amount      INTEGER NOT NULL CHECK (amount > 0),
  currency    TEXT NOT NULL,
  status      TEXT NOT NULL CHECK (status IN ('pending', 'confirmed', 'cancelled')),
  reason      TEXT NOT NULL DEFAULT '',
  placed_at   REAL NOT NULL
) STRICT;

-- This service's own copy of the prices, fed by shop.product.priced.
CREATE TABLE prices (
  sku      TEXT PRIMARY KEY,
  amount   INTEGER NOT NULL,
  currency TEXT NOT NULL
) STRICT;
