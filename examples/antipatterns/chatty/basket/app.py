"""Baskets, shown with the names and prices of today."""

import os

import catalogue_pb2
import catalogue_pb2_grpc
import grpc
import pybreaker
import redis
from fastapi import FastAPI

app = FastAPI(title="basket")
baskets = redis.Redis.from_url(os.environ["REDIS_URL"], socket_timeout=1, socket_connect_timeout=1)
channel = grpc.insecure_channel(os.environ["CATALOGUE_ADDRESS"])
catalogue = catalogue_pb2_grpc.CatalogueStub(channel)
breaker = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=30)


@breaker
def product_of(sku):
    return catalogue.GetProduct(catalogue_pb2.ProductRequest(sku=sku), timeout=1.0)


@app.get("/baskets/{customer}")
def show(customer: str):
    lines = []
    for sku, quantity in baskets.hgetall(f"basket:{customer}").items():
        product = product_of(sku.decode())
        lines.append({"name": product.name, "amount": product.amount * int(quantity)})
    return {"lines": lines, "total": sum(line["amount"] for line in lines)}
