"""What is packed piece by piece is what Envoy would have been given whole, by its own messages."""

from __future__ import annotations

import pytest
from compiled_specs import ADDRESSES, SPECS
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf import json_format

from skerry.envoy.messages import Messages
from skerry.gateway import GatewaySpec
from skerry.gateway.envoy import compile as compiled


@pytest.mark.parametrize("value", SPECS[:-1])
def test_routes_put_together_from_bytes_are_what_the_whole_would_be(value: GatewaySpec) -> None:
    """Packed one by one, by identity and by text, they are read by Envoy as if they had been packed at once."""
    messages = Messages()
    for made in (compiled(value, addresses=ADDRESSES), compiled(value, addresses=ADDRESSES)):
        for _ in range(2):
            packed = messages.packed("routes", made.resources.routes)
        for name, plain in made.resources.routes.items():
            whole, parts = RouteConfiguration(), RouteConfiguration()
            json_format.ParseDict(plain, whole)
            assert packed[name].Unpack(parts)
            assert parts == whole
