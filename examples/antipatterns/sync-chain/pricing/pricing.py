"""Net prices and what the state adds."""

import os

import pybreaker
import requests
from flask import Flask, jsonify

app = Flask(__name__)
breaker = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=30)
NET = {"LAMP-1": 3950, "BELL-2": 5400, "MUG-3": 990}


@breaker
def rate(category):
    answer = requests.get(f"{os.environ['TAXES_URL']}/rates/{category}", timeout=1)
    answer.raise_for_status()
    return answer.json()["percent"]


@app.get("/prices/<sku>")
def price(sku):
    net = NET.get(sku)
    if net is None:
        return jsonify(error="no such product"), 404
    return jsonify(net=net, gross=net + net * rate("goods") // 100)
