CREATE TABLE orders (
  id          TEXT PRIMARY KEY,
  customer_id TEXT NOT NULL,
  lines       TEXT NOT NULL,
  amount      BIGINT NOT NULL CHECK (amount > 0),
  currency    TEXT NOT NULL,
  status      TEXT NOT NULL CHECK (status IN ('pending', 'confirmed', 'cancelled')),
  reason      TEXT NOT NULL DEFAULT '',
  placed_at   DOUBLE PRECISION NOT NULL
);

-- This service's own copy of the prices, fed by shop.product.priced.
CREATE TABLE prices (
  sku      TEXT PRIMARY KEY,
  amount   BIGINT NOT NULL,
  currency TEXT NOT NULL
);
