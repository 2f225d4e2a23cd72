"""A provider's keys from its URL: fetched before anybody needs them, kept while they cannot be fetched again."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from skerry import context, signals
from skerry.clock import Clock
from skerry.errors import CallError, ConfigurationError, SkerryError
from skerry.gateway.auth import keys
from skerry.gateway.auth.keys import KeySet
from skerry.gateway.strict_json import loads
from skerry.resilience import Policy, Retry, RetryBudget

Fetch = Callable[[], Awaitable[bytes]]

COOLDOWN = 30.0
"""Seconds between two fetches that tokens ask for: with key ids of their own making, strangers cause one in that time."""
FIRST_RETRY = 1.0
"""Seconds after a failed fetch, doubled each time up to `COOLDOWN`."""


class FetchedKeys:
    """The set at one URL, never older than `every` seconds while it can be fetched, and the last good one while it cannot.

    Whoever asks while a fetch is under way shares it. Nothing ever waits for keys in order to verify: the set that is there is
    used until another one is.
    """

    def __init__(
        self,
        provider: str,
        *,
        every: float,
        read: Callable[[bytes], KeySet],
        changed: Callable[[], None],
        fetch: Fetch,
        clock: Clock,
    ) -> None:
        self.set: KeySet | None = None
        self._provider = provider
        self._every = every
        self._read = read
        self._changed = changed
        self._fetch = fetch
        self._clock = clock
        self._document = b""
        self._under_way: asyncio.Task[bool] | None = None
        self._last = -COOLDOWN

    async def refresh(self, *, at_once: bool = False) -> bool:
        """Fetch them, unless that was done in the last seconds and not `at_once`. Returns whether they are up to date."""
        task = self._begun(at_once=at_once)
        return self.set is not None if task is None else await asyncio.shield(task)

    def want(self) -> None:
        """Begin a refresh if one is due, without waiting. Outside of an event loop nothing is begun."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        self._begun(at_once=False)

    async def keep(self) -> None:
        """Refresh them for ever, until cancelled."""
        retry = FIRST_RETRY
        while True:
            if await self.refresh(at_once=True):
                retry = FIRST_RETRY
                await self._clock.sleep(self._every)
            else:
                await self._clock.sleep(min(retry, self._every))
                retry = min(retry * 2.0, COOLDOWN)

    async def aclose(self) -> None:
        """End the fetch under way."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.gather(self._under_way, return_exceptions=True)

    def _begun(self, *, at_once: bool) -> asyncio.Task[bool] | None:
        if self._under_way is not None and not self._under_way.done():
            return self._under_way
        now = self._clock.monotonic()
        if not at_once and now - self._last < COOLDOWN:
            return None
        self._last = now
        with context.use(context.EMPTY):  # the keys are for all: no request's deadline ends the fetch
            self._under_way = asyncio.create_task(self._fetched())
        return self._under_way

    async def _fetched(self) -> bool:
        try:
            document = await self._fetch()
            if document != self._document or self.set is None:
                found = self._read(document)
                self._document, self.set = document, found
                self._changed()
                told = "; ".join(found.unusable)[:500]
                signals.emit(signals.KeysChanged(provider=self._provider, count=found.count, unusable=told))
        except Exception as error:  # whatever it is, the last good keys go on to be used
            reason = str(error)[:500] if isinstance(error, SkerryError) else type(error).__name__
            signals.emit(signals.KeysUnavailable(provider=self._provider, reason=reason))
            return False
        return True


class KeysByUrl:
    """Fetches a set of keys: over https, or from this very machine; no redirect is followed, at most `keys.MAX_SET` bytes are
    read, and it ends within ten seconds. Raises `ConfigurationError` for other URLs; when called, what `ServiceClient` raises.
    """

    def __init__(self, provider: str, url: str, *, clock: Clock) -> None:
        from skerry.client import ServiceClient  # a gateway whose keys are in files does without a client

        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and _here(parts.hostname or "")):
            raise ConfigurationError(f"provider {provider!r}: keys come over https, or from a loopback address")
        if parts.username is not None or parts.password is not None or parts.fragment or not parts.hostname:
            raise ConfigurationError(f"provider {provider!r}: jwks_url has a host, and neither a user nor a fragment")
        name = f"keys of {provider}"
        policy = Policy(name, total=10.0, attempt=4.0, retry=Retry(2, budget=RetryBudget(ratio=0.1)), clock=clock)
        base = f"{parts.scheme}://{parts.netloc}"
        self._client = ServiceClient(name, url=base, policy=policy, max_reply=keys.MAX_SET, clock=clock)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    async def __call__(self) -> bytes:
        reply = await self._client.get(self._path, headers={"accept": "application/jwk-set+json, application/json"})
        if reply.status != 200:
            raise CallError(self._client.service, f"answered {reply.status} instead of keys")
        return reply.content

    async def aclose(self) -> None:
        """Close its connection."""
        await self._client.aclose()


class KeysByIssuer:
    """Asks an issuer where its keys are, each time anew, and fetches them there (OpenID Connect Discovery 1.0, section 4).

    The issuer's document has to name that very issuer, or anybody who can put up a page below its address would be believed.
    Bounds and errors are those of `KeysByUrl`.
    """

    def __init__(self, provider: str, issuer: str, *, clock: Clock) -> None:
        self._provider = provider
        self._issuer = issuer
        self._clock = clock
        self._document = KeysByUrl(provider, f"{issuer.rstrip('/')}/.well-known/openid-configuration", clock=clock)
        self._keys: KeysByUrl | None = None
        self._where = ""

    async def __call__(self) -> bytes:
        try:
            told = loads(await self._document(), unique=True)
        except ValueError as error:
            raise CallError(self._issuer, f"its discovery document is no JSON: {error}") from error
        if not isinstance(told, dict) or told.get("issuer") != self._issuer:
            raise CallError(self._issuer, "its discovery document is another issuer's")
        where = told.get("jwks_uri")
        if not isinstance(where, str):
            raise CallError(self._issuer, "its discovery document has no jwks_uri")
        if self._keys is None or where != self._where:
            fresh = KeysByUrl(self._provider, where, clock=self._clock)
            if self._keys is not None:
                await self._keys.aclose()
            self._keys, self._where = fresh, where
        return await self._keys()

    async def aclose(self) -> None:
        """Close its connections."""
        await self._document.aclose()
        if self._keys is not None:
            await self._keys.aclose()


def _here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
