"""Rates of tax by category."""

from flask import Flask, jsonify

app = Flask(__name__)
RATES = {"goods": 24, "books": 10, "food": 14}


@app.get("/rates/<category>")
def rate(category):
    if category not in RATES:
        return jsonify(error="no such category"), 404
    return jsonify(percent=RATES[category])
