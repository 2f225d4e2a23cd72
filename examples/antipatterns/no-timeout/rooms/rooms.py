"""Rooms, and when they are taken."""

import os

from fastapi import FastAPI
from pymongo import MongoClient

app = FastAPI(title="rooms")
database = MongoClient(os.environ["MONGO_URL"], timeoutMS=2000).get_default_database()


@app.get("/rooms")
def rooms(free: str):
    return list(database.rooms.find({"taken": {"$ne": free}}, {"_id": 0, "number": 1}).limit(200))
