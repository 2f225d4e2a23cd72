-- The receipts that a group has among some events; and '' when it has parked anything. A function, because a session plans what
-- is in it once, also where the question travels as text with the BEGIN.
CREATE FUNCTION skerry_doubt(scope TEXT, ids JSONB, consumer TEXT) RETURNS SETOF TEXT LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN QUERY SELECT r.key FROM skerry_receipts r WHERE r.scope = $1 AND r.key IN (SELECT jsonb_array_elements_text($2));
  IF EXISTS (SELECT 1 FROM skerry_parked p WHERE p.consumer = $3) THEN
    RETURN NEXT '';
  END IF;
END
$$;
