CREATE TABLE stock (
  sku       TEXT PRIMARY KEY,
  available INTEGER NOT NULL CHECK (available >= 0),
  reserved  INTEGER NOT NULL DEFAULT 0 CHECK (reserved >= 0),
  shipped   INTEGER NOT NULL DEFAULT 0 CHECK (shipped >= 0)
) STRICT;

CREATE TABLE reservations (
  order_id TEXT NOT NULL,
  sku      TEXT NOT NULL REFERENCES stock (sku),
  quantity INTEGER NOT NULL CHECK (quantity > 0),
  state    TEXT NOT NULL CHECK (state IN ('reserved', 'released', 'shipped')),
  PRIMARY KEY (order_id, sku)
) STRICT;

-- Everything that came in, so that the books can be checked: received = available + reserved + shipped.
CREATE TABLE receipts_of_goods (
  id       INTEGER PRIMARY KEY,
  sku      TEXT NOT NULL REFERENCES stock (sku),
  quantity INTEGER NOT NULL CHECK (quantity > 0)
) STRICT;

INSERT INTO stock (sku, available) VALUES
  ('LAMP-1', 400), ('ROPE-10', 400), ('BELL-2', 400), ('MAP-7', 400),
  ('MUG-3', 400), ('COAT-5', 400), ('KNIFE-4', 400), ('LIMITED-1', 0);

INSERT INTO receipts_of_goods (sku, quantity) SELECT sku, available FROM stock WHERE available > 0;
