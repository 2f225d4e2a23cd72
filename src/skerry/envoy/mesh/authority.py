"""A certificate authority of one's own, for development and for systems of one machine.

Its key lies in a file of the data folder that only its owner may read. It is no replacement for an authority that is kept
apart from what it certifies: whoever reads the data folder can be any service.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from skerry.clock import SYSTEM, Clock
from skerry.envoy.mesh.identity import MAX_BYTES, Identity, identity_of, read_chain, spiffe_name
from skerry.errors import ConfigurationError, MissingExtra

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

FILE: Final = "authority.pem"
LIFETIME: Final = 365 * 86400.0
"""Seconds of an authority's life."""
LEAF_LIFETIME: Final = 3600.0
SHORTEST, LONGEST = 60.0, 30 * 86400.0
"""Bounds for the life of a service's certificate."""
EARLIER: Final = 60.0
"""Seconds by which a certificate is valid before it is made, for clocks that differ; of a short life a tenth at most."""
MOST_KEPT: Final = 4
"""Authorities that are believed at the same time."""
_WORN = 0.1
"""Of an authority's life; with less than that left, a new one takes over."""


class Authority:
    """The authority of `system`, made in `folder` the first time and read from there later.

    Keys are P-256. `lifetime` is how many seconds its certificates are valid, never longer than its own. After `replace`, new
    certificates are by the new authority while the old ones are still believed, until `forget`.

    Raises `ConfigurationError` when the file can be read by others, or is none of ours; `MissingExtra` without `cryptography`.

        authority = Authority(Path("var/mesh"), system="shop")
        authority.identity("order").name      # spiffe://shop/order
    """

    def __init__(self, folder: Path, *, system: str, lifetime: float = LEAF_LIFETIME, clock: Clock = SYSTEM) -> None:
        try:
            import cryptography  # noqa: F401
        except ImportError as error:
            raise MissingExtra("An authority for certificates", "envoy") from error
        if not SHORTEST <= lifetime <= LONGEST:
            raise ConfigurationError(f"a certificate lives from {SHORTEST:g} s to {LONGEST:g} s, not {lifetime:g} s")
        self._file = folder / FILE
        self._system = system
        self._lifetime = lifetime
        self._clock = clock
        self._key: EllipticCurvePrivateKey
        self._certificates: list[x509.Certificate] = []
        if self._file.exists():
            self._read()
        if not self._certificates or self.is_worn:
            self._make()
            self._write()

    @property
    def is_worn(self) -> bool:
        """Whether less than a tenth of its life is left: `replace` it."""
        newest = self._certificates[0]
        left = newest.not_valid_after_utc.timestamp() - self._clock.now()
        return left < LIFETIME * _WORN

    def authorities(self) -> str:
        """The certificates that are believed: this one's, and those it has replaced and not forgotten. PEM, the newest first."""
        return _pem(self._certificates)

    def identity(self, service: str) -> Identity:
        """A new key and certificate for `service`, valid from a minute ago."""
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self._certificates[0]
        ends = min(self._clock.now() + self._lifetime, issuer.not_valid_after_utc.timestamp())
        builder = self._builder(key.public_key(), ends=ends).issuer_name(issuer.subject)
        builder = builder.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, service)]))
        uri = x509.UniformResourceIdentifier(spiffe_name(self._system, service))
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        known = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        for extension, critical in (
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(digital_signature=True), True),
            (uses, False),
            (x509.SubjectAlternativeName([uri]), False),
            (known, False),
        ):
            builder = builder.add_extension(extension, critical=critical)
        return identity_of([self._sign(builder)], _key_pem(key), source=service)

    def replace(self) -> None:
        """Have a new authority take over. The ones before are still believed, at most three of them."""
        self._make()
        self._write()

    def forget(self) -> None:
        """Believe only the newest one."""
        if len(self._certificates) > 1:
            del self._certificates[1:]
            self._write()

    def _make(self) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID

        self._key = ec.generate_private_key(ec.SECP256R1())
        public = self._key.public_key()
        number = self._clock.random_bytes(4).hex()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{self._system} development authority {number}")])
        builder = self._builder(public, ends=self._clock.now() + LIFETIME).subject_name(name).issuer_name(name)
        domain = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{self._system}")])
        for extension, critical in (
            (x509.BasicConstraints(ca=True, path_length=0), True),
            (_usage(key_cert_sign=True, crl_sign=True), True),
            (x509.SubjectKeyIdentifier.from_public_key(public), False),
            (domain, False),
        ):
            builder = builder.add_extension(extension, critical=critical)
        now = self._clock.now()
        alive = [one for one in self._certificates if one.not_valid_after_utc.timestamp() > now]
        self._certificates = [self._sign(builder), *alive][:MOST_KEPT]

    def _builder(self, public: Any, *, ends: float) -> x509.CertificateBuilder:
        from cryptography import x509

        earlier = min(EARLIER, (ends - self._clock.now()) / 10)
        begins = dt.datetime.fromtimestamp(self._clock.now() - earlier, tz=dt.UTC)
        serial = int.from_bytes(self._clock.random_bytes(19), "big") | 1  # never zero
        builder = x509.CertificateBuilder().public_key(public).serial_number(serial)
        return builder.not_valid_before(begins).not_valid_after(dt.datetime.fromtimestamp(ends, tz=dt.UTC))

    def _sign(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        from cryptography.hazmat.primitives.hashes import SHA256

        return builder.sign(self._key, SHA256())

    def _read(self) -> None:
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        source = str(self._file)
        try:
            if stat.S_IMODE(self._file.stat().st_mode) & 0o077:
                raise ConfigurationError("can be read by others: `chmod 600` it, or remove it", source=source)
            text = self._file.read_text(encoding="ascii")[:MAX_BYTES]
            key = load_pem_private_key(text.encode(), password=None)
        except (OSError, ValueError, UnicodeDecodeError):
            raise ConfigurationError(
                "is no authority's key and certificate: remove it for a new one", source=source
            ) from None
        certificates = read_chain(text, source=source)[:MOST_KEPT]
        if not isinstance(key, EllipticCurvePrivateKey) or certificates[0].public_key() != key.public_key():
            raise ConfigurationError("its key is not that of its certificate: remove it for a new one", source=source)
        self._key, self._certificates = key, certificates

    def _write(self) -> None:
        """In one step, so that key and certificate are never of two authorities."""
        beside = self._file.with_name(f".{FILE}.new")
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                beside.unlink()
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(_key_pem(self._key) + self.authorities())
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._file)
        except OSError as error:
            raise ConfigurationError(f"cannot be written: {error.strerror}", source=str(self._file)) from None


def _usage(**wanted: bool) -> x509.KeyUsage:
    from cryptography import x509

    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    others = ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: wanted.get(name, False) for name in (*names, *others)})


def _pem(certificates: Sequence[x509.Certificate]) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return "".join(one.public_bytes(Encoding.PEM).decode() for one in certificates)


def _key_pem(key: EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
