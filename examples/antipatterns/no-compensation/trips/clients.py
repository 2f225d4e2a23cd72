"""The services that a trip is made of."""

import os

import httpx
from circuitbreaker import circuit

flights = httpx.AsyncClient(base_url=os.environ["FLIGHTS_URL"], timeout=3.0)
payments = httpx.AsyncClient(base_url=os.environ["PAYMENTS_URL"], timeout=5.0)


@circuit(failure_threshold=5, recovery_timeout=30)
async def book_flight(flight, traveller):
    response = await flights.post("/bookings", json={"flight": flight, "traveller": traveller})
    response.raise_for_status()
    return response.json()


@circuit(failure_threshold=5, recovery_timeout=30)
async def charge(card, amount):
    response = await payments.post("/charges", json={"card": card, "amount": amount})
    response.raise_for_status()
    return response.json()
