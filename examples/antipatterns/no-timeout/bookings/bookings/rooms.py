"""The client of the rooms service."""

import pybreaker
import requests
from django.conf import settings

breaker = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=30)


@breaker
def free_rooms(day):
    """Numbers of the rooms that are free on a day."""
    answer = requests.get(f"{settings.ROOMS_URL}/rooms", params={"free": day})
    answer.raise_for_status()
    return [room["number"] for room in answer.json()]
