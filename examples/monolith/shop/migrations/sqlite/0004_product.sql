CREATE TABLE products (
  sku      TEXT PRIMARY KEY,
  name     TEXT NOT NULL,
  amount   INTEGER NOT NULL CHECK (amount > 0),
  currency TEXT NOT NULL DEFAULT 'EUR',
  category TEXT NOT NULL
) STRICT;

INSERT INTO products (sku, name, amount, category) VALUES
  ('LAMP-1', 'Storm lantern', 3950, 'light'), ('ROPE-10', 'Mooring rope, 10 m', 1890, 'deck'),
  ('BELL-2', 'Brass bell', 5400, 'deck'), ('MAP-7', 'Chart of the skerries', 1250, 'paper'),
  ('MUG-3', 'Enamel mug', 990, 'galley'), ('COAT-5', 'Oilskin coat', 12900, 'clothing'),
  ('KNIFE-4', 'Rigging knife', 4400, 'deck'), ('LIMITED-1', 'Lighthouse print, signed, sold out', 25000, 'paper');
