"""Reserved ports."""

from __future__ import annotations

import socket

import pytest

from skerry.clock import SYSTEM
from skerry.deploy import ports
from skerry.errors import ConfigurationError


def child_socket(port: int) -> socket.socket:
    """Bound as a supervised service binds."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    server.bind((ports.HOST, port))
    server.listen()
    return server


def test_reserved_port_is_refused_until_the_child_listens_again_and_again() -> None:
    """A reservation alone refuses connections; a child that comes and goes keeps the port."""
    with ports.reserve_free(SYSTEM) as reserved:
        address = reserved.getsockname()
        assert ports.LOWEST <= address[1] <= ports.HIGHEST
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address)
            with child_socket(address[1]) as server, socket.create_connection(address), server.accept()[0]:
                pass


def test_reserved_port_is_taken_for_everybody_else() -> None:
    """Nobody can reserve it a second time or bind it in the usual way, whether or not a child listens."""
    with ports.reserve_free(SYSTEM) as reserved:
        port = reserved.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} .* in use"):
            ports.reserve(port)
        with child_socket(port), pytest.raises(ConfigurationError, match="in use"):
            ports.reserve(port)


def test_port_is_free_again_after_connections_that_linger() -> None:
    """Closed connections of the run before (TIME_WAIT) do not make a port busy."""
    with ports.reserve_free(SYSTEM) as reserved:
        address = reserved.getsockname()
        with child_socket(address[1]) as server, socket.create_connection(address) as client:
            server.accept()[0].close()
            assert client.recv(1) == b""
    ports.reserve(address[1]).close()


def test_two_reservations_differ() -> None:
    """Even with the same luck, two reservations are two ports."""

    class Same(type(SYSTEM)):
        def random(self) -> float:
            return 0.5

    with ports.reserve_free(Same()) as one, ports.reserve_free(Same()) as two:
        assert one.getsockname() != two.getsockname()
