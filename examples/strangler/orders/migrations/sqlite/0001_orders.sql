-- An order with what the monolith still decides of it: payment, reservation and shipment are kept as it tells them.
CREATE TABLE orders (
  id          TEXT PRIMARY KEY,
  customer_id TEXT NOT NULL,
  lines       TEXT NOT NULL,
  amount      INTEGER NOT NULL CHECK (amount > 0),
  currency    TEXT NOT NULL,
  status      TEXT NOT NULL CHECK (status IN ('pending', 'confirmed', 'cancelled')),
  placed_at   REAL NOT NULL,
  own         INTEGER NOT NULL CHECK (own IN (0, 1)),
  payment     TEXT NOT NULL DEFAULT 'null',
  reservation TEXT NOT NULL DEFAULT 'null',
  shipment    TEXT NOT NULL DEFAULT 'null'
) STRICT;

CREATE TABLE changes (
  id       TEXT PRIMARY KEY,
  order_id TEXT NOT NULL REFERENCES orders (id),
  place    INTEGER NOT NULL,
  state    TEXT NOT NULL,
  at       TEXT NOT NULL,
  UNIQUE (order_id, place)
) STRICT;

-- Our own copy of the prices, whoever sets them.
CREATE TABLE prices (
  sku      TEXT PRIMARY KEY,
  amount   INTEGER NOT NULL,
  currency TEXT NOT NULL,
  revision INTEGER NOT NULL
) STRICT;
