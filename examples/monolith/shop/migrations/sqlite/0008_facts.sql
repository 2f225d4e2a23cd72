-- What others are told, a fact a row, so that they can say how far they are. `own` is 0 where another service told us.
CREATE TABLE order_facts (
  order_id TEXT PRIMARY KEY REFERENCES orders (id),
  own      INTEGER NOT NULL CHECK (own IN (0, 1))
) STRICT;

CREATE TABLE price_facts (
  sku      TEXT NOT NULL REFERENCES products (sku),
  revision INTEGER NOT NULL,
  own      INTEGER NOT NULL CHECK (own IN (0, 1)),
  PRIMARY KEY (sku, revision)
) STRICT;

-- Counts the prices of a product, whoever sets them: a later one has a higher number.
ALTER TABLE products ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;
