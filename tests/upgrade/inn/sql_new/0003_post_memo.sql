UPDATE bookings SET note = memo WHERE note IS NULL;
ALTER TABLE bookings DROP COLUMN memo;
