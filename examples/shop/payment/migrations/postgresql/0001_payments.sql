CREATE TABLE payments (
  order_id TEXT PRIMARY KEY,
  amount   BIGINT NOT NULL CHECK (amount > 0),
  currency TEXT NOT NULL,
  status   TEXT NOT NULL CHECK (status IN ('captured', 'declined', 'refunded'))
);

-- The ledger is only ever added to: captured money is positive, refunded money negative.
CREATE TABLE ledger (
  id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  order_id TEXT NOT NULL,
  amount   BIGINT NOT NULL,
  currency TEXT NOT NULL
);
