"""Certificates that somebody else made, in files: `NAME.pem` and `NAME.key` for each service, and `ca.crt`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from skerry.clock import SYSTEM, Clock
from skerry.envoy.mesh.identity import MAX_BYTES, Identity, Source, identity_of, read_chain, spiffe_name
from skerry.errors import ConfigurationError

if TYPE_CHECKING:
    from cryptography import x509

AUTHORITIES: Final = "ca.crt"
"""Not `.pem`: a service may be called `ca`."""
RSA_BITS: Final = 2048


class CertificateFolder:
    """Reads identities from `folder`, each time anew: who replaces the files, such as cert-manager or a SPIRE agent's helper,
    decides when.

    What is read is checked first, so that nothing reaches a sidecar that it would refuse or nobody would believe: the key is
    the certificate's and of a kind that Envoy takes (P-256, or RSA from 2048 bits on), the name is `spiffe://SYSTEM/SERVICE`, it
    is for both ends of TLS, the time is now, and an authority of `ca.crt` has signed it.
    """

    def __init__(self, folder: Path, *, system: str, clock: Clock = SYSTEM) -> None:
        self.folder: Path = folder
        self._system = system
        self._clock = clock

    def identity(self, service: str) -> Identity:
        """What the files of `service` hold. Raises `ConfigurationError` that says what about which file is wrong."""
        file, key_file = self.folder / f"{service}.pem", self.folder / f"{service}.key"
        chain = read_chain(_text(file), source=str(file))
        key = _text(key_file)
        _demand_pair(chain[0], key, source=str(key_file))
        _demand_uses(chain[0], source=str(file))
        found = identity_of(chain, key, source=str(file))
        wanted = spiffe_name(self._system, service)
        if found.name != wanted:
            raise ConfigurationError(f"is the certificate of {found.name}, not of {wanted}", source=str(file))
        if not found.begins <= self._clock.now() < found.ends:
            raise ConfigurationError("has expired, or is not valid yet", source=str(file))
        believed = read_chain(self.authorities(), source=str(self.folder / AUTHORITIES))
        if not _leads_to(chain, believed):
            raise ConfigurationError(f"is signed by nobody whose certificate is in {AUTHORITIES}", source=str(file))
        return found

    def authorities(self) -> str:
        """The authorities in `ca.crt`."""
        file = self.folder / AUTHORITIES
        text = _text(file)
        read_chain(text, source=str(file))
        return text

    def seen(self) -> tuple[object, ...]:
        """What tells that a file was replaced, added or removed."""
        try:
            files = sorted(file for kind in ("pem", "key", "crt") for file in self.folder.glob(f"*.{kind}"))
            return tuple(
                (file.name, (status := file.stat()).st_mtime_ns, status.st_size, status.st_ino) for file in files
            )
        except OSError:
            return ()


def write_folder(folder: Path, source: Source, services: Sequence[str]) -> list[Path]:
    """Write what `CertificateFolder` reads, keys with mode 0600; the files. Raises `ConfigurationError` when it cannot."""
    written = []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for service in services:
            identity = source.identity(service)
            written += [_put(folder / f"{service}.key", identity.key, 0o600)]
            written += [_put(folder / f"{service}.pem", identity.chain, 0o644)]
        written += [_put(folder / AUTHORITIES, source.authorities(), 0o644)]
    except OSError as error:
        raise ConfigurationError(f"cannot be written: {error.strerror}", source=str(folder)) from None
    return written


def _put(path: Path, text: str, mode: int) -> Path:
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    beside.touch(mode=mode, exist_ok=False)
    beside.write_text(text, encoding="ascii")
    return beside.replace(path)


def _text(path: Path) -> str:
    try:
        with path.open(encoding="ascii") as file:
            return file.read(MAX_BYTES)
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", source=str(path)) from None
    except UnicodeDecodeError:
        raise ConfigurationError("is not PEM", source=str(path)) from None


def _demand_pair(leaf: x509.Certificate, key: str, *, source: str) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        public = load_pem_private_key(key.encode(), password=None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigurationError("is no private key without a password (PEM)", source=source) from None
    if public != leaf.public_key():
        raise ConfigurationError("is not the key of the certificate beside it", source=source)
    fits = isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1)
    if not fits and not (isinstance(public, rsa.RSAPublicKey) and public.key_size >= RSA_BITS):
        raise ConfigurationError(f"is neither a P-256 key nor RSA of {RSA_BITS} bits or more", source=source)


def _demand_uses(leaf: x509.Certificate, *, source: str) -> None:
    """What is not said is allowed (RFC 5280, section 4.2.1.12); a sidecar is a server and a client."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    try:
        uses = set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return
    if not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH} <= uses:
        raise ConfigurationError("is not for both serverAuth and clientAuth", source=source)


def _leads_to(chain: Sequence[x509.Certificate], believed: Sequence[x509.Certificate]) -> bool:
    return all(_signed(one, [above]) for one, above in itertools.pairwise(chain)) and (
        chain[-1] in believed or _signed(chain[-1], believed)
    )


def _signed(one: x509.Certificate, candidates: Sequence[x509.Certificate]) -> bool:
    from cryptography.exceptions import InvalidSignature

    for candidate in candidates:
        try:
            one.verify_directly_issued_by(candidate)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False
