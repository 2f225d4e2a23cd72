CREATE TABLE sales (
  day      TEXT NOT NULL,
  sku      TEXT NOT NULL,
  currency TEXT NOT NULL,
  amount   INTEGER NOT NULL,
  orders   INTEGER NOT NULL,
  PRIMARY KEY (day, sku, currency)
) STRICT;
