"""Trips: a flight and the payment for it."""

from clients import book_flight, charge
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI(title="trips")


class Wanted(BaseModel):
    traveller: str
    flight: str
    amount: int
    card: str


@app.post("/trips", status_code=201)
async def book_trip(wanted: Wanted):
    booking = await book_flight(wanted.flight, wanted.traveller)
    payment = await charge(wanted.card, wanted.amount)
    return {"booking": booking["id"], "payment": payment["id"]}
