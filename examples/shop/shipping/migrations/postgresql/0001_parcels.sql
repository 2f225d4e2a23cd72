CREATE TABLE parcels (
  id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  order_id TEXT NOT NULL,
  address  TEXT NOT NULL
);

CREATE TABLE contents (
  parcel_id BIGINT NOT NULL REFERENCES parcels (id),
  sku       TEXT NOT NULL,
  quantity  BIGINT NOT NULL CHECK (quantity > 0),
  PRIMARY KEY (parcel_id, sku)
);

CREATE INDEX parcels_by_order ON parcels (order_id);
