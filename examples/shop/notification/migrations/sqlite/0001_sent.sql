CREATE TABLE sent (
  channel  TEXT NOT NULL CHECK (channel IN ('email', 'sms', 'push')),
  order_id TEXT NOT NULL,
  file     TEXT NOT NULL,
  PRIMARY KEY (channel, order_id)
) STRICT;
