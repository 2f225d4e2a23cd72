"""One provider's tokens: each verified once, and then known until it ends or the keys change."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError
from skerry.gateway.auth import keys
from skerry.gateway.auth.compact import Token, read
from skerry.gateway.auth.fetched import Fetch, FetchedKeys, KeysByIssuer, KeysByUrl
from skerry.gateway.auth.identity import Identity, judged
from skerry.gateway.auth.keys import KeySet
from skerry.gateway.auth.refusal import UnknownKey, Wrong, invalid_token, keys_unavailable
from skerry.gateway.model import JwtProvider

MAX_KNOWN = 8192
"""Verified tokens that are known again. Each takes some 600 bytes; of the token itself only a digest is kept."""
_FIELD = re.compile(r"[A-Za-z0-9!#$%&'*+.^`|~-]+")
_TAKEN = frozenset(
    b"authorization connection content-length content-encoding content-type cookie expect forwarded host keep-alive te"
    b" trailer transfer-encoding upgrade via".split()
)


class Verifier:
    """Verifies tokens of `provider`.

    A token is believed when a key of the provider's own set, named by the token or not, has signed it with an algorithm that is
    both the key's and among the provider's; when it is from this issuer, for one of these audiences, and of now; and when there
    is one way only to read it. What the token itself says about keys is passed over. A token that was believed is known again in
    about a microsecond, until it ends, or the keys change.

    Keys of a file are read once, here. Keys of a URL are fetched by `refresh` or by `keep`; until then `verify` raises a 503.
    `fetch` replaces the way to the URL. For one event loop. Raises `ConfigurationError` for a provider that nobody should trust.

        verifier = Verifier(provider)
        identity = verifier.verify(token)
    """

    def __init__(self, provider: JwtProvider, *, clock: Clock = SYSTEM, fetch: Fetch | None = None) -> None:
        _check(provider)
        self.provider: JwtProvider = provider
        self.headers: frozenset[bytes] = frozenset(header.lower().encode("ascii") for _, header in provider.claims)
        self._now: Callable[[], float] = clock.now
        # verified tokens and their ends; those unused since `old` was the young one are forgotten next
        self._young: dict[bytes, tuple[float, Identity]] = {}
        self._old: dict[bytes, tuple[float, Identity]] = {}
        self._set: KeySet | None = None
        self._fetched: FetchedKeys | None = None
        self._by_url: KeysByUrl | KeysByIssuer | None = None
        if provider.jwks_file is not None:
            self._set = _from_file(provider, provider.jwks_file)
        else:
            if fetch is None and provider.jwks_url is not None:
                fetch = self._by_url = KeysByUrl(provider.name, provider.jwks_url, clock=clock)
            elif fetch is None:
                fetch = self._by_url = KeysByIssuer(provider.name, provider.issuer, clock=clock)
            self._fetched = FetchedKeys(
                provider.name,
                every=provider.cache_for,
                read=lambda document: _read(provider, document),
                changed=self._use_new_keys,
                fetch=fetch,
                clock=clock,
            )

    @property
    def ready(self) -> bool:
        """Whether there are keys to verify with."""
        return self._set is not None

    def verify(self, token: str) -> Identity:
        """Whom it names. Raises `Problem`: 401 for one not to be believed (`UnknownKey` when other keys might do), 503 while
        there are no keys.
        """
        return self.known(token) or self._verified(token, None)

    def known(self, token: str) -> Identity | None:
        """Whom a token names that was verified before; None for one that was not, or has ended."""
        known = self._young.get(_digest(token))
        return known[1] if known is not None and self._now() < known[0] else None

    def verify_read(self, token: str, said: Token) -> Identity:
        """The same for a token that was read already, for those who looked for its issuer."""
        return self._verified(token, said)

    async def refresh(self) -> bool:
        """Fetch the keys of a URL, unless that was done moments ago. Returns whether there are keys. Never raises."""
        return self.ready if self._fetched is None else await self._fetched.refresh()

    async def keep(self) -> None:
        """Keep the keys of a URL up to date until cancelled; returns at once for keys of a file."""
        if self._fetched is not None:
            await self._fetched.keep()

    async def aclose(self) -> None:
        """End what is under way, and close the connection to the URL."""
        if self._fetched is not None:
            await self._fetched.aclose()
        if self._by_url is not None:
            await self._by_url.aclose()

    def _verified(self, token: str, said: Token | None) -> Identity:
        now = self._now()
        digest = _digest(token)
        known = self._old.pop(digest, None)
        if known is None or now >= known[0]:
            try:
                identity = self._judged(read(token) if said is None else said, now)
            except Wrong as wrong:
                raise invalid_token(self.provider.name, wrong.check) from None
            known = (identity.until, identity)
        if len(self._young) >= MAX_KNOWN // 2:
            self._old, self._young = self._young, {}
        self._young[digest] = known
        return known[1]

    def _judged(self, said: Token, now: float) -> Identity:
        if said.algorithm not in self.provider.algorithms:
            raise Wrong("algorithm")
        if self._set is None:
            if self._fetched is not None:
                self._fetched.want()
            raise keys_unavailable(self.provider.name)
        fitting = self._set.fitting(said.algorithm, said.key_id)
        if not fitting:
            if self._fetched is not None:
                self._fetched.want()
            raise UnknownKey(self.provider.name)
        if not any(key.verify(said.signed, said.signature) for key in fitting):
            raise Wrong("signature")
        return judged(said.claims, self.provider, now)

    def _use_new_keys(self) -> None:
        assert self._fetched is not None
        self._set = self._fetched.set
        self._young, self._old = {}, {}  # a token is no better than the key that vouched for it


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def _check(provider: JwtProvider) -> None:
    where = f"provider {provider.name!r}"
    names = set(provider.algorithms)
    if not provider.name.isprintable() or not provider.name:
        raise ConfigurationError(f"{where}: its name is empty or cannot be printed")
    if not provider.issuer or not provider.audiences or not all(provider.audiences):
        raise ConfigurationError(f"{where}: without an issuer and an audience it would believe tokens made for others")
    if not names or names - keys.ALGORITHMS:
        told = ", ".join(sorted(names - keys.ALGORITHMS)) or "none"
        raise ConfigurationError(
            f"{where}: unknown algorithms ({told}); there are {', '.join(sorted(keys.ALGORITHMS))}"
        )
    if names & keys.HMAC and (names - keys.HMAC or provider.jwks_file is None):
        raise ConfigurationError(f"{where}: HMAC stands alone, never beside public keys, and its secret is in a file")
    if provider.jwks_file is not None and provider.jwks_url is not None:
        raise ConfigurationError(f"{where}: give one of jwks_file and jwks_url, or neither")
    if not 1.0 <= provider.cache_for <= 86_400.0 or not 0.0 <= provider.leeway <= 300.0:
        raise ConfigurationError(f"{where}: cache_for is 1 to 86400 seconds, leeway 0 to 300")
    for _, header in provider.claims:
        if not _FIELD.fullmatch(header) or header.lower().encode() in _TAKEN or header.lower().startswith("skerry-"):
            raise ConfigurationError(f"{where}: no claim can go on as {header!r}; take a name such as X-User-Id")


def _from_file(provider: JwtProvider, file: str) -> KeySet:
    try:
        with Path(file).open("rb") as stream:
            document = stream.read(keys.MAX_SET + 1)
    except OSError as error:
        raise ConfigurationError(f"provider {provider.name!r}: {error.strerror}", source=file) from error
    try:
        return _read(provider, document)
    except ConfigurationError as error:
        raise ConfigurationError(f"provider {provider.name!r}: {error}", source=file) from None


def _read(provider: JwtProvider, document: bytes) -> KeySet:
    names = frozenset(provider.algorithms)
    return keys.read(document, algorithms=names, secret=bool(names & keys.HMAC))
