CREATE TABLE orders (
  id          TEXT PRIMARY KEY,
  customer_id TEXT NOT NULL,
  lines       TEXT NOT NULL,
  amount      INTEGER NOT NULL CHECK (amount > 0),
  currency    TEXT NOT NULL,
  status      TEXT NOT NULL CHECK (status IN ('pending', 'confirmed', 'cancelled')),
  placed_at   REAL NOT NULL
) STRICT;

-- What became of each order, in its order.
CREATE TABLE changes (
  id       TEXT PRIMARY KEY,
  order_id TEXT NOT NULL REFERENCES orders (id),
  place    INTEGER NOT NULL,
  state    TEXT NOT NULL,
  at       TEXT NOT NULL,
  UNIQUE (order_id, place)
) STRICT;
