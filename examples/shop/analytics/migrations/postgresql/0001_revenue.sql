CREATE TABLE revenue (
  day      TEXT NOT NULL,
  sku      TEXT NOT NULL,
  currency TEXT NOT NULL,
  amount   BIGINT NOT NULL,
  orders   BIGINT NOT NULL,
  PRIMARY KEY (day, sku, currency)
);
