"""What a route asks of a request before anybody sees it, and what it adds to the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.gateway import compression, cors, rate
from skerry.gateway.model import Route
from skerry.service.problem import Answer, Problem

if TYPE_CHECKING:
    from skerry.gateway.auth import Guard as TokenGuard
    from skerry.gateway.engine.exchange import Exchange
    from skerry.gateway.engine.plan import Fields
    from skerry.gateway.wire import ReplyHead


class Guard:
    """In this order: a preflight is answered, the rate is taken from, the token is looked at.

    A rate by bearer can be taken only after that; a token that is refused counts for its peer, so guessing is limited too.
    """

    __slots__ = ("_cors", "_limiter", "_spoken", "_tokens", "compress")

    def __init__(
        self, route: Route, tokens: TokenGuard | None, limiter: rate.Limiter | None, spoken: frozenset[bytes]
    ) -> None:
        self.compress: bool = route.compress
        self._cors = None if route.cors is None else cors.Rules(route.cors)
        self._limiter = limiter
        self._spoken = spoken
        """Headers in which a service hears of a token: nobody else may send them."""
        self._tokens = tokens

    @classmethod
    def of(
        cls, route: Route, tokens: TokenGuard | None, limiter: rate.Limiter | None, spoken: frozenset[bytes]
    ) -> Guard | None:
        """None for a route that asks for nothing, so that it costs nothing."""
        asks = tokens is not None or limiter is not None or route.cors is not None or route.compress or bool(spoken)
        return cls(route, tokens, limiter, spoken) if asks else None

    def check(self, exchange: Exchange) -> Answer | None:
        """An answer that ends the request, None to go on. Raises `Problem` for one that may not."""
        head = exchange.head
        if self._cors is not None and head.method == "OPTIONS":
            preflight = self._cors.preflight(head.headers)
            if preflight is not None:
                return preflight
        if self._spoken:
            head.headers = [field for field in head.headers if field[0] not in self._spoken]
        limiter = self._limiter
        by_bearer = limiter is not None and limiter.spec.key == "identity"
        if limiter is not None and not by_bearer and not exchange.retold:
            _take(limiter, "" if limiter.spec.key == "all" else rate.peer_key(exchange.peer))
        if self._tokens is not None:
            try:
                self._authenticate(exchange, self._tokens)
            except Problem:
                if limiter is not None and by_bearer:  # who guesses tokens has no name to be counted by
                    _take(limiter, rate.peer_key(exchange.peer))
                raise
        if limiter is not None and by_bearer:
            _take(limiter, exchange.identity_key or rate.peer_key(exchange.peer))
        return None

    def _authenticate(self, exchange: Exchange, tokens: TokenGuard) -> None:
        head = exchange.head
        told = [value for name, value in head.headers if name == b"authorization"]
        if len(told) > 1:
            raise Problem(400, "authorization", "The request has two Authorization headers.")
        identity = tokens.admit(told[0] if told else None)
        if identity is not None:
            exchange.identity, exchange.identity_key = identity.subject, identity.key
            head.headers = [*head.headers, *identity.headers]

    def local(self, exchange: Exchange, status: int, fields: Fields, body: bytes) -> tuple[Fields, bytes]:
        """The headers and the body of an answer of the gateway's own."""
        # a preflight's has said it all
        if self._cors is not None and not any(name in cors.REPLACED for name, _ in fields):
            fields = [*fields, *self._cors.headers_for(_origin(exchange))]
        if not self.compress:
            return fields, body
        fields, encoder = self._encoder(exchange, status, fields, len(body))
        return fields, body if encoder is None else encoder.feed(body) + encoder.finish()

    def dress(self, exchange: Exchange, head: ReplyHead, fields: Fields) -> tuple[Fields, compression.Encoder | None]:
        """The headers of a service's answer, and what makes its body smaller."""
        if self._cors is not None:
            kept = [field for field in fields if field[0] not in cors.REPLACED]
            fields = [*kept, *self._cors.headers_for(_origin(exchange))]
        if not self.compress:
            return fields, None
        return self._encoder(exchange, head.status, fields, head.length if head.length >= 0 else None)

    def _encoder(
        self, exchange: Exchange, status: int, fields: Fields, length: int | None
    ) -> tuple[Fields, compression.Encoder | None]:
        asked = exchange.head
        wanted = asked.header(b"accept-encoding")
        told = [] if length is None else [(b"content-length", b"%d" % length)]
        encoder, fields = compression.apply(
            asked.method.encode("ascii"),
            None if wanted is None else wanted.encode("latin-1"),
            status,
            [*fields, *told],
        )
        return [field for field in fields if field[0] != b"content-length"], encoder


def _origin(exchange: Exchange) -> bytes | None:
    told = exchange.head.header(b"origin")
    return None if told is None else told.encode("latin-1")


def _take(limiter: rate.Limiter, key: rate.Key) -> None:
    wait = limiter.take(key)
    if wait:
        raise rate.refused(wait)
