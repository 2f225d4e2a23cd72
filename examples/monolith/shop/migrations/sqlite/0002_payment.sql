CREATE TABLE payments (
  order_id TEXT PRIMARY KEY,
  amount   INTEGER NOT NULL CHECK (amount > 0),
  currency TEXT NOT NULL,
  status   TEXT NOT NULL CHECK (status IN ('captured', 'declined', 'refunded'))
) STRICT;

-- The ledger is only ever added to: captured money is positive, refunded money negative.
CREATE TABLE ledger (
  id       INTEGER PRIMARY KEY,
  order_id TEXT NOT NULL,
  amount   INTEGER NOT NULL,
  currency TEXT NOT NULL
) STRICT;
