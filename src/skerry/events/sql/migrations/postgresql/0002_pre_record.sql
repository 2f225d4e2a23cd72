-- Records one event. A function, because a session plans what is in it once, also where a statement travels as text with the COMMIT.
-- The number comes first: its row lock makes the writers of one key wait for each other, so the ids of a key are given in the
-- order of its commits.
CREATE FUNCTION skerry_record(event_id TEXT, type TEXT, key TEXT, body TEXT) RETURNS void LANGUAGE plpgsql AS $$
DECLARE number BIGINT;
BEGIN
  INSERT INTO skerry_sequences AS known (key, last) VALUES ($3, 1)
  ON CONFLICT ON CONSTRAINT skerry_sequences_pkey DO UPDATE SET last = known.last + 1 RETURNING known.last INTO number;
  INSERT INTO skerry_outbox (event_id, type, key, body, sequence) VALUES ($1, $2, $3, $4, number);
END
$$;
