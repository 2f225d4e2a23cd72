"""Who may take a route: the token in the Authorization header (RFC 6750), its provider, and its scopes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError
from skerry.gateway.auth.compact import read
from skerry.gateway.auth.identity import Identity
from skerry.gateway.auth.refusal import Wrong, insufficient_scope, invalid_token, no_token
from skerry.gateway.auth.verifier import Verifier
from skerry.gateway.model import Auth, JwtProvider
from skerry.service.problem import Problem

_SCOPE = frozenset(map(chr, [0x21, *range(0x23, 0x5C), *range(0x5D, 0x7F)]))


class Guard:
    """Stands before one route. Asked without waiting, and for a token that was seen before in about a microsecond.

    Of several providers the one whose issuer the token names verifies it; what else the token says is believed only then. Raises
    `ConfigurationError` for a provider that is not there, or a scope that is none.

    Example: `identity = guard.admit(b"Bearer eyJ...")`
    """

    __slots__ = ("_by_issuer", "_one", "_required", "_scopes", "_told")

    def __init__(self, auth: Auth, verifiers: Iterable[Verifier]) -> None:
        found = {verifier.provider.name: verifier for verifier in verifiers}
        missing = [name for name in auth.providers if name not in found]
        if missing or not auth.providers:
            raise ConfigurationError(f"auth: there is no provider {', '.join(missing) or 'at all'}")
        if not all(scope and set(scope) <= _SCOPE for scope in auth.scopes):
            raise ConfigurationError("auth: a scope is a word without spaces, quotes and backslashes")
        chosen = [found[name] for name in dict.fromkeys(auth.providers)]
        self._one = chosen[0] if len(chosen) == 1 else None
        self._by_issuer: dict[str, list[Verifier]] = {}
        for verifier in chosen:
            self._by_issuer.setdefault(verifier.provider.issuer, []).append(verifier)
        self._required = auth.required
        self._scopes = frozenset(auth.scopes)
        self._told = auth.scopes

    def admit(self, authorization: bytes | None) -> Identity | None:
        """Whom the header's value names; None for nobody, where that is allowed.

        A value of another scheme is no token. Of two Authorization headers none is to be believed: refuse those before.
        Raises `Problem`: 401, 403 for a good token without the scopes, 503 while there are no keys.
        """
        if authorization is None or authorization[:7].lower() != b"bearer ":
            if self._required:
                raise no_token()
            return None
        token = authorization[7:].decode("latin-1").strip(" ")
        identity = self._one.verify(token) if self._one is not None else self._by_any(token)
        if not self._scopes <= identity.scopes:
            raise insufficient_scope(identity.provider, self._told)
        return identity

    def _by_any(self, token: str) -> Identity:
        for verifiers in self._by_issuer.values():
            for verifier in verifiers:
                identity = verifier.known(token)
                if identity is not None:
                    return identity
        try:
            said = read(token)
        except Wrong as wrong:
            raise invalid_token("", wrong.check) from None
        issuer = said.claims.get("iss")
        named = self._by_issuer.get(issuer, []) if isinstance(issuer, str) else []
        if not named:
            raise invalid_token("", "issuer")
        for verifier in named[:-1]:
            try:
                return verifier.verify_read(token, said)
            except Problem:  # the next one of this issuer, which has other audiences or keys
                continue
        return named[-1].verify_read(token, said)


class Providers:
    """All providers of a specification, and the task that keeps their keys.

    With `before`, at a reload, a provider that has not changed keeps its fetched keys and its known tokens. Raises
    `ConfigurationError`.

        providers = Providers(spec.providers)
        await providers.refresh()
        task = asyncio.create_task(providers.keep())
    """

    def __init__(self, specs: Iterable[JwtProvider], *, clock: Clock = SYSTEM, before: Providers | None = None) -> None:
        kept = {} if before is None else {v.provider: v for v in before.verifiers if v.provider.jwks_file is None}
        self.verifiers: tuple[Verifier, ...] = tuple(kept.get(spec) or Verifier(spec, clock=clock) for spec in specs)
        names = [verifier.provider.name for verifier in self.verifiers]
        if len(set(names)) < len(names):
            raise ConfigurationError("providers: two of them have the same name")
        self.headers: frozenset[bytes] = frozenset().union(*(verifier.headers for verifier in self.verifiers))
        """Names of the headers that claims go on as, in lower case: from a client they are forged, on every route."""

    def guard(self, auth: Auth) -> Guard:
        """What stands before a route with `auth`. Raises `ConfigurationError`."""
        return Guard(auth, self.verifiers)

    def verifier(self, name: str) -> Verifier:
        """The verifier of the provider of that name, such as `UnknownKey.provider`. Raises `KeyError`."""
        return {each.provider.name: each for each in self.verifiers}[name]

    @property
    def lacking(self) -> tuple[str, ...]:
        """The names of the providers without keys: their tokens get a 503."""
        return tuple(verifier.provider.name for verifier in self.verifiers if not verifier.ready)

    async def refresh(self) -> None:
        """Fetch the keys that are missing, all at the same time; what cannot be fetched is left to `keep`. Never raises."""
        await asyncio.gather(*(verifier.refresh() for verifier in self.verifiers if not verifier.ready))

    async def keep(self) -> None:
        """Keep all fetched keys up to date, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for verifier in self.verifiers:
                group.create_task(verifier.keep())

    async def aclose(self, *, but: Providers | None = None) -> None:
        """Close the connections, those excepted that `but`, made with this one as `before`, goes on to use."""
        used = set() if but is None else {id(verifier) for verifier in but.verifiers}
        for verifier in self.verifiers:
            if id(verifier) not in used:
                await verifier.aclose()
