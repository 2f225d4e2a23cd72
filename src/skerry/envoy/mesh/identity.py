"""Who a sidecar is: a SPIFFE name, and the certificate and key that prove it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from skerry.errors import ConfigurationError, MissingExtra

if TYPE_CHECKING:
    from cryptography import x509

MAX_BYTES = 256 * 1024
"""Of a file of certificates."""


def spiffe_name(system: str, service: str) -> str:
    """The name of a service of a system. Source: SPIFFE ID and X.509-SVID, version 1: it stands in the certificate as a URI.

    spiffe_name("shop", "order") == "spiffe://shop/order"
    """
    return f"spiffe://{system}/{service}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A certificate with what led to it (`chain`, PEM, the own one first) and its private key (PEM).

    `begins` and `ends` are seconds since 1970. `serial` is the certificate's number in hexadecimal: it tells one from the next.
    """

    name: str
    chain: str = field(repr=False)
    key: str = field(repr=False)
    begins: float
    ends: float
    serial: str

    @property
    def half(self) -> float:
        """The instant at which half of its life is over: when it is replaced."""
        return (self.begins + self.ends) / 2


class Source(Protocol):
    """Where identities come from. Both may block for some milliseconds, and raise `ConfigurationError`."""

    def identity(self, service: str) -> Identity:
        """A valid one for `service`; each time another one, where it is made here."""
        ...

    def authorities(self) -> str:
        """The certificates (PEM) of the authorities that are believed."""
        ...


def read_chain(text: str, *, source: str) -> list[x509.Certificate]:
    """The certificates in `text`. Raises `ConfigurationError` when there is none."""
    try:
        from cryptography import x509
    except ImportError as error:
        raise MissingExtra("Certificates", "envoy") from error
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        raise ConfigurationError("holds no certificate that can be read (PEM)", source=source) from None


def identity_of(chain: Sequence[x509.Certificate], key: str, *, source: str) -> Identity:
    """The identity that a chain and its key are. Raises `ConfigurationError` when the first certificate has not exactly
    one URI.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    leaf = chain[0]
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound:
        uris = []
    if len(uris) != 1:
        raise ConfigurationError(f"has {len(uris)} URIs as its names; a SPIFFE identity has exactly one", source=source)
    return Identity(
        name=uris[0],
        chain="".join(one.public_bytes(Encoding.PEM).decode() for one in chain),
        key=key,
        begins=leaf.not_valid_before_utc.timestamp(),
        ends=leaf.not_valid_after_utc.timestamp(),
        serial=f"{leaf.serial_number:x}",
    )
