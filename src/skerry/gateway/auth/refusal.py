"""What a bearer is told, which is no more than RFC 6750 says, and what our own log is told, which is the check that failed."""

from __future__ import annotations

from skerry import signals
from skerry.service.problem import Problem

REALM = "gateway"
_CHALLENGE = b"www-authenticate"


class Wrong(Exception):
    """A token fails a check. `check` is a stable word."""

    def __init__(self, check: str) -> None:
        self.check = check
        super().__init__(check)


class UnknownKey(Problem):
    """401, for a key that is not in the set, which may be older than the key: a refresh is under way or was a moment ago.

    Who can wait awaits `Verifier.refresh` and asks once more; it costs nothing when there was one just before.
    """

    def __init__(self, provider: str) -> None:
        self.provider = provider
        told = invalid_token(provider, "unknown_key")
        super().__init__(told.status, told.code, told.detail, headers=told.headers)


def invalid_token(provider: str, check: str) -> Problem:
    """401 for a token that is not believed, whatever the check; the check is told to our own log."""
    signals.emit(signals.TokenRefused(provider=provider, check=check))
    value = f'Bearer realm="{REALM}", error="invalid_token"'.encode()
    return Problem(401, "invalid_token", "The access token is not valid.", headers=[(_CHALLENGE, value)])


def no_token() -> Problem:
    """401 for a request without one; it names no error, for there was nothing to be wrong."""
    value = f'Bearer realm="{REALM}"'.encode()
    return Problem(401, "token_required", "An access token is needed.", headers=[(_CHALLENGE, value)])


def insufficient_scope(provider: str, scopes: tuple[str, ...]) -> Problem:
    """403 for a good token that does not reach so far; it says what would."""
    signals.emit(signals.TokenRefused(provider=provider, check="scope"))
    value = f'Bearer realm="{REALM}", error="insufficient_scope", scope="{" ".join(scopes)}"'.encode()
    detail = "The access token does not allow this."
    return Problem(403, "insufficient_scope", detail, headers=[(_CHALLENGE, value)])


def keys_unavailable(provider: str) -> Problem:
    """503 while there has never been a set of keys: nothing can be said about the token."""
    signals.emit(signals.TokenRefused(provider=provider, check="no_keys"))
    detail = "Access tokens cannot be checked right now."
    return Problem(503, "keys_unavailable", detail, headers=[(b"retry-after", b"1")])
