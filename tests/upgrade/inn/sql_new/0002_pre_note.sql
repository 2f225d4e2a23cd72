ALTER TABLE bookings ADD note TEXT;
