"""Django's settings: no database, for what is booked lives with rooms."""

import os

SECRET_KEY = os.environ["DJANGO_SECRET_KEY"]
ROOT_URLCONF = "bookings.urls"
ALLOWED_HOSTS = ["*"]
ROOMS_URL = os.environ["ROOMS_URL"]
