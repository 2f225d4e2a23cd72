CREATE TABLE rooms (room TEXT PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE bookings (room TEXT NOT NULL, n INTEGER NOT NULL, memo TEXT, PRIMARY KEY (room, n));
CREATE TABLE handled (room TEXT, n INTEGER, recorded_by TEXT, handled_by TEXT);
CREATE TABLE effects (key TEXT, step TEXT, driven_by TEXT, PRIMARY KEY (key, step));
