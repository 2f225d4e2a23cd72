CREATE TABLE handled (room TEXT, n INTEGER, recorded_by TEXT, handled_by TEXT);
