-- Messages to customers, written with what they tell of.
CREATE TABLE messages (
  channel  TEXT NOT NULL CHECK (channel IN ('email', 'sms', 'push')),
  order_id TEXT NOT NULL,
  text     TEXT NOT NULL,
  sent     INTEGER NOT NULL CHECK (sent IN (0, 1)),
  PRIMARY KEY (channel, order_id)
) STRICT;
CREATE INDEX messages_to_send ON messages (order_id) WHERE sent = 0;
