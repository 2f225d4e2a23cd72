"""What is often bought together, from a table that a nightly job makes."""

import json
from pathlib import Path

from flask import Flask, jsonify, request

app = Flask(__name__)
PAIRS = json.loads(Path("pairs.json").read_text())


@app.get("/recommendations")
def beside():
    wanted = request.args["with"].split(",")
    found = {other for sku in wanted for other in PAIRS.get(sku, ())}
    return jsonify(skus=sorted(found - set(wanted))[:5])
