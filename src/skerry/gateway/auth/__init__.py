"""Who is asking: JSON Web Tokens, verified with keys that the gateway knows, never with keys that a token brings.

providers = Providers(spec.providers)
guard = providers.guard(route.auth)
identity = guard.admit(authorization)

Sources: RFC 6750, 7515, 7517, 7518, 7519, 8725.
"""

from __future__ import annotations

from skerry.errors import MissingExtra

try:
    import cryptography
    import jwt  # noqa: F401 - looked for here, once, so that their absence has one message

    del cryptography
except ImportError as _error:
    raise MissingExtra("Verifying tokens", "gateway") from _error

from skerry.gateway.auth.guard import Guard, Providers
from skerry.gateway.auth.identity import Identity
from skerry.gateway.auth.refusal import UnknownKey
from skerry.gateway.auth.verifier import Verifier

__all__ = ["Guard", "Identity", "Providers", "UnknownKey", "Verifier"]
