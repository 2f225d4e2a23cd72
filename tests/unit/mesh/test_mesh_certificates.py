"""Certificates from files: what is taken, and what is said of the rest."""

from __future__ import annotations

import datetime as dt
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from skerry.envoy.mesh import Authority, CertificateFolder, write_folder
from skerry.errors import ConfigurationError
from skerry.testing import VirtualClock

BOTH = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(
        tmp_path / "certificates", Authority(tmp_path / "ca", system="shop", clock=VirtualClock()), ["order", "stock"]
    )
    return tmp_path / "certificates"


def test_what_was_written_is_read(folder: Path, tmp_path: Path) -> None:
    """Keys have mode 0600; what is in the files is the identity, and the authorities are those of ca.crt."""
    found = CertificateFolder(folder, system="shop", clock=VirtualClock())
    identity = found.identity("order")
    assert identity.name == "spiffe://shop/order"
    assert identity.chain == (folder / "order.pem").read_text()
    assert identity.key == (folder / "order.key").read_text()
    assert found.authorities() == (folder / "ca.crt").read_text()
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.glob("*.key")} == {0o600}
    assert sorted(file.name for file in folder.iterdir()) == [
        "ca.crt",
        "order.key",
        "order.pem",
        "stock.key",
        "stock.pem",
    ]


def _without_a_name(folder: Path) -> None:
    made = trustme.CA().issue_cert("order.test")
    (folder / "order.pem").write_bytes(made.cert_chain_pems[0].bytes())
    (folder / "order.key").write_bytes(made.private_key_pem.bytes())


def _copied(name: str, to: str) -> Callable[[Path], None]:
    return lambda folder: (folder / to).write_bytes((folder / name).read_bytes()) and None


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no certificate": (lambda folder: (folder / "order.pem").unlink(), r"order\.pem: cannot be read: No such file"),
    "no key": (lambda folder: (folder / "order.key").unlink(), r"order\.key: cannot be read: No such file"),
    "no authorities": (lambda folder: (folder / "ca.crt").unlink(), r"ca\.crt: cannot be read: No such file"),
    "no PEM": (lambda folder: (folder / "order.pem").write_text("x"), r"order\.pem: holds no certificate"),
    "a key that is none": (lambda folder: (folder / "order.key").write_text("x"), r"order\.key: is no private key"),
    "another's key": (_copied("stock.key", "order.key"), r"order\.key: is not the key of the certificate"),
    "authorities that are none": (lambda folder: (folder / "ca.crt").write_text("x"), r"ca\.crt: holds no certificate"),
    "no SPIFFE name": (_without_a_name, r"order\.pem: has 0 URIs as its names"),
    "binary": (lambda folder: (folder / "order.pem").write_bytes(b"\xff\xfe"), r"order\.pem: is not PEM"),
}


@pytest.mark.parametrize(("spoil", "told"), WRONG.values(), ids=WRONG)
def test_what_a_sidecar_would_refuse_is_refused_before(
    folder: Path, spoil: Callable[[Path], object], told: str
) -> None:
    """The error names the file and what is wrong with it, and shows nothing of a key."""
    spoil(folder)
    with pytest.raises(ConfigurationError, match=told) as error:
        CertificateFolder(folder, system="shop", clock=VirtualClock()).identity("order")
    assert "PRIVATE" not in str(error.value)


def test_the_name_has_to_be_the_services(folder: Path) -> None:
    """That of another service, or of another system, is told with both names."""
    _copied("stock.pem", "order.pem")(folder)
    _copied("stock.key", "order.key")(folder)
    found = CertificateFolder(folder, system="shop", clock=VirtualClock())
    with pytest.raises(
        ConfigurationError, match="is the certificate of spiffe://shop/stock, not of spiffe://shop/order"
    ):
        found.identity("order")
    with pytest.raises(ConfigurationError, match="not of spiffe://circus/stock"):
        CertificateFolder(folder, system="circus", clock=VirtualClock()).identity("stock")


@pytest.mark.parametrize("later", [-120.0, 3601.0])
def test_the_time_has_to_be_now(folder: Path, later: float) -> None:
    """Neither before it is valid, nor after."""
    clock = VirtualClock()
    clock.step_wall(later)
    with pytest.raises(ConfigurationError, match="expired, or is not valid yet"):
        CertificateFolder(folder, system="shop", clock=clock).identity("order")


def test_an_authority_of_that_folder_has_to_have_signed(folder: Path, tmp_path: Path) -> None:
    """A certificate of an authority that is not, or no longer, in ca.crt is nothing that anybody would believe."""
    (folder / "ca.crt").write_text(Authority(tmp_path / "new", system="shop", clock=VirtualClock()).authorities())
    with pytest.raises(ConfigurationError, match=r"is signed by nobody whose certificate is in ca\.crt"):
        CertificateFolder(folder, system="shop", clock=VirtualClock()).identity("order")


def test_a_change_of_the_files_is_seen(folder: Path) -> None:
    """Replaced, removed, or all gone."""
    found = CertificateFolder(folder, system="shop")
    first = found.seen()
    assert found.seen() == first
    beside = folder / "order.new"
    beside.write_bytes((folder / "order.pem").read_bytes())
    beside.replace(folder / "order.pem")
    second = found.seen()
    (folder / "ca.crt").unlink()
    assert len({first, second, found.seen()}) == 3


def test_keys_and_uses_are_such_that_a_sidecar_takes(folder: Path, tmp_path: Path) -> None:
    """Another kind of key, or a certificate for one end of TLS only, is refused with what is missing."""
    for name, key, uses, told in (
        ("ed25519", ed25519.Ed25519PrivateKey.generate(), BOTH, "is neither a P-256 key nor RSA"),
        ("p384", ec.generate_private_key(ec.SECP384R1()), BOTH, "is neither a P-256 key nor RSA"),
        ("short", rsa.generate_private_key(65537, 1024), BOTH, "is neither a P-256 key nor RSA"),
        ("server", ec.generate_private_key(ec.SECP256R1()), BOTH[:1], "is not for both serverAuth and clientAuth"),
        ("client", ec.generate_private_key(ec.SECP256R1()), BOTH[1:], "is not for both serverAuth and clientAuth"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            CertificateFolder(signed(tmp_path / name, key, uses), system="shop", clock=VirtualClock()).identity("order")
    good = signed(tmp_path / "rsa", rsa.generate_private_key(65537, 2048), BOTH)
    assert CertificateFolder(good, system="shop", clock=VirtualClock()).identity("order").name == "spiffe://shop/order"


def test_what_a_certificate_does_not_say_is_allowed(tmp_path: Path) -> None:
    """Without a list of uses it is for all of them."""
    folder = signed(tmp_path, ec.generate_private_key(ec.SECP256R1()), [])
    assert (
        CertificateFolder(folder, system="shop", clock=VirtualClock()).identity("order").name == "spiffe://shop/order"
    )


def signed(folder: Path, key: Any, uses: list[x509.ObjectIdentifier]) -> Path:
    """A folder with a certificate of that key, by an authority of its own."""
    folder.mkdir(exist_ok=True)
    above, clock = ec.generate_private_key(ec.SECP256R1()), VirtualClock()
    begins = dt.datetime.fromtimestamp(clock.now() - 60, tz=dt.UTC)
    names = {name: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("above", "order")}

    def made(name: str, public: Any) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(names[name]).issuer_name(names["above"]).public_key(public)
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(begins)
        return builder.not_valid_after(begins + dt.timedelta(hours=1))

    ca = made("above", above.public_key()).sign(above, SHA256())
    uri = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://shop/order")])
    leaf = made("order", key.public_key()).add_extension(uri, critical=False)
    if uses:
        leaf = leaf.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    (folder / "ca.crt").write_bytes(ca.public_bytes(Encoding.PEM))
    (folder / "order.pem").write_bytes(leaf.sign(above, SHA256()).public_bytes(Encoding.PEM))
    (folder / "order.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder
