CREATE TABLE parcels (
  id       INTEGER PRIMARY KEY,
  order_id TEXT NOT NULL,
  address  TEXT NOT NULL
) STRICT;

CREATE TABLE contents (
  parcel_id INTEGER NOT NULL REFERENCES parcels (id),
  sku       TEXT NOT NULL,
  quantity  INTEGER NOT NULL CHECK (quantity > 0),
  PRIMARY KEY (parcel_id, sku)
) STRICT;

CREATE INDEX parcels_by_order ON parcels (order_id);
