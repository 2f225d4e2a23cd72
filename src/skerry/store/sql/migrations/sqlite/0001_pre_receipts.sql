-- One mechanism for "only once": inbox, saga participants and idempotent endpoints all write here,
-- in the transaction of the effect they guard.
CREATE TABLE skerry_receipts (
  scope       TEXT NOT NULL,
  key         TEXT NOT NULL,
  state       TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  result      TEXT,
  expires_at  REAL NOT NULL,
  PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX skerry_receipts_by_expiry ON skerry_receipts (expires_at);
