-- The saga that a saga is a step of; '' for one that stands for itself.
ALTER TABLE skerry_sagas ADD COLUMN parent TEXT NOT NULL DEFAULT '';

CREATE INDEX skerry_sagas_parent ON skerry_sagas (parent) WHERE parent <> '';

-- Paths of fields that nobody is shown and that are erased at the end, by the step whose result they are in, '' for the input.
ALTER TABLE skerry_sagas ADD COLUMN redact TEXT NOT NULL DEFAULT '';
