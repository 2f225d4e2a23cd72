"""What a service shows callers over gRPC, and whom it believes: files, read again when they have changed.

gRPC asks before each handshake, so a renewed certificate holds from the next connection on; connections that are there stay.
"""

from __future__ import annotations

import ssl
import threading
from pathlib import Path

import grpc

from skerry.errors import ConfigurationError
from skerry.settings import Settings
from skerry.signals import CertificateReloaded, emit

MAX_FILE = 1024 * 1024
"""Bytes of one of the files."""
_Seen = tuple[tuple[int, int, int], ...]


class Certificates:
    """A certificate with its key, and the authorities of callers where those have to show one.

    What cannot be read, or does not fit together, as when one file is new and the other not yet, leaves the last good pair in
    use; it is told once and tried again with the next connection.
    """

    def __init__(self, service: str, certificate: str, key: str, client_ca: str = "") -> None:
        self._service = service
        self._certificate = Path(certificate)
        self._key = Path(key)
        self._client_ca = Path(client_ca) if client_ca else None
        self._lock = threading.Lock()  # gRPC asks from threads of its own
        self._seen: _Seen = ()
        self._trouble = ""

    @classmethod
    def of(cls, service: str, settings: Settings) -> Certificates | None:
        """Those that the settings name; None where they name none."""
        if not settings.grpc_certificate:
            return None
        return cls(service, settings.grpc_certificate, settings.grpc_key, settings.grpc_client_ca)

    def credentials(self) -> grpc.ServerCredentials:
        """For a server. Raises `ConfigurationError` when they cannot be used as they are now."""
        try:
            seen = self._look()
            first = self._read()
        except (OSError, ssl.SSLError, ValueError) as error:
            raise ConfigurationError(
                f"{self._service}: the certificate for gRPC cannot be used ({_said(error)}); see SKERRY_GRPC_CERTIFICATE,"
                " SKERRY_GRPC_KEY and SKERRY_GRPC_CLIENT_CA"
            ) from error
        self._seen = seen
        return grpc.dynamic_ssl_server_credentials(
            first,
            self._changed,  # type: ignore[arg-type] # None says "as before", which the stubs do not know
            require_client_authentication=self._client_ca is not None,
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """What holds from the connection on that is about to be made; None for what held before."""
        with self._lock:
            try:
                seen = self._look()
                if seen == self._seen:
                    return None
                found = self._read()
            except (OSError, ssl.SSLError, ValueError) as error:
                trouble = _said(error)
                if trouble != self._trouble:
                    self._trouble = trouble
                    emit(CertificateReloaded(service=self._service, error=trouble))
                return None
            self._seen, self._trouble = seen, ""
        emit(CertificateReloaded(service=self._service))
        return found

    def _look(self) -> _Seen:
        found = (path.stat() for path in (self._certificate, self._key, self._client_ca) if path is not None)
        return tuple((each.st_mtime_ns, each.st_size, each.st_ino) for each in found)

    def _read(self) -> grpc.ServerCertificateConfiguration:
        checked = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        checked.load_cert_chain(self._certificate, self._key, password=_no_password)
        authorities = None
        if self._client_ca is not None:
            authorities = _content(self._client_ca)
            checked.load_verify_locations(cadata=authorities.decode("ascii"))
        return grpc.ssl_server_certificate_configuration(
            [(_content(self._key), _content(self._certificate))], authorities
        )


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise ValueError(f"a file of more than {MAX_FILE} bytes")
    return content


def _no_password() -> str:
    raise ValueError("the key asks for a password")


def _said(error: Exception) -> str:
    """What went wrong, without what is in the files."""
    if isinstance(error, ssl.SSLError):
        return error.reason or "it is no PEM that OpenSSL reads"
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)[:100]
