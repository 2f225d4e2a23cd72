"""The development authority: what it signs, where it is kept, and how another takes over."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from skerry.envoy.mesh import Authority, Identity, spiffe_name
from skerry.envoy.mesh.authority import LIFETIME
from skerry.errors import ConfigurationError
from skerry.testing import VirtualClock


def leaf(identity: Identity) -> x509.Certificate:
    return x509.load_pem_x509_certificate(identity.chain.encode())


def issuers(authority: Authority) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(authority.authorities().encode())


def test_a_certificate_says_who_and_nothing_more(tmp_path: Path) -> None:
    """One SPIFFE name as its only URI, P-256, for both ends of TLS, no authority itself, signed by the authority."""
    authority = Authority(tmp_path, system="shop", clock=VirtualClock())
    identity = authority.identity("order")
    made = leaf(identity)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert (
        [name.value for name in names] == [identity.name] == ["spiffe://shop/order"] == [spiffe_name("shop", "order")]
    )
    public = made.public_key()
    assert isinstance(public, EllipticCurvePublicKey)
    assert isinstance(public.curve, SECP256R1)
    assert load_pem_private_key(identity.key.encode(), None).public_key() == public
    uses = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(uses) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    basic = made.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca) == (True, False)
    made.verify_directly_issued_by(issuers(authority)[0])


def test_a_certificate_is_short_lived_and_each_is_another(tmp_path: Path) -> None:
    """An hour unless said otherwise, from a minute ago; never the same key or number twice; half of its life is in its middle."""
    clock = VirtualClock()
    authority = Authority(tmp_path, system="shop", clock=clock)
    one, other = authority.identity("order"), authority.identity("order")
    assert (one.begins, one.ends) == (clock.now() - 60, clock.now() + 3600)
    assert one.half == clock.now() + 1770
    assert one.key != other.key
    assert one.serial != other.serial == f"{leaf(other).serial_number:x}"
    short = Authority(tmp_path, system="shop", lifetime=60.0, clock=clock).identity("order")
    assert short.begins == clock.now() - 6
    assert clock.now() < short.half < short.ends == clock.now() + 60


@pytest.mark.parametrize("lifetime", [0.0, 59.0, 31 * 86400.0])
def test_the_life_of_a_certificate_is_bounded(tmp_path: Path, lifetime: float) -> None:
    """From a minute to thirty days."""
    with pytest.raises(ConfigurationError, match="lives from"):
        Authority(tmp_path, system="shop", lifetime=lifetime)


def test_the_authority_is_made_once_and_kept_private(tmp_path: Path) -> None:
    """One file with mode 0600 in a folder with mode 0700; the next run goes on with it; its key is in no `repr`."""
    clock = VirtualClock()
    first = Authority(tmp_path / "mesh", system="shop", clock=clock)
    file = tmp_path / "mesh" / "authority.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    again = Authority(tmp_path / "mesh", system="shop", clock=clock)
    assert again.authorities() == first.authorities()
    leaf(again.identity("order")).verify_directly_issued_by(issuers(first)[0])
    assert "PRIVATE" not in repr(first) + repr(again.identity("order"))


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """Its key may be known; the error says what to do."""
    Authority(tmp_path, system="shop")
    (tmp_path / "authority.pem").chmod(0o640)
    with pytest.raises(ConfigurationError, match=r"authority\.pem: can be read by others: `chmod 600`"):
        Authority(tmp_path, system="shop")


@pytest.mark.parametrize("damage", ["", "no PEM", "key only", "certificate only", "of two authorities"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, damage: str) -> None:
    """Never a new authority in silence, and never the key in the message."""
    file, other = tmp_path / "a" / "authority.pem", tmp_path / "b" / "authority.pem"
    Authority(file.parent, system="shop")
    Authority(other.parent, system="shop")
    key, _, certificate = file.read_text().partition("-----BEGIN CERTIFICATE")
    foreign = "-----BEGIN CERTIFICATE" + other.read_text().partition("-----BEGIN CERTIFICATE")[2]
    texts = {
        "key only": key,
        "certificate only": "-----BEGIN CERTIFICATE" + certificate,
        "of two authorities": key + foreign,
    }
    file.write_text(texts.get(damage, damage))
    with pytest.raises(ConfigurationError) as error:
        Authority(file.parent, system="shop")
    assert error.value.source == str(file)
    assert "BEGIN" not in str(error.value)


def test_another_authority_takes_over_while_the_old_one_is_believed(tmp_path: Path) -> None:
    """After `replace` both are believed and the new one signs; after `forget` only the new one is, in the file too."""
    clock = VirtualClock()
    authority = Authority(tmp_path, system="shop", clock=clock)
    [old] = issuers(authority)
    authority.replace()
    new, kept = issuers(authority)
    assert kept == old
    leaf(authority.identity("order")).verify_directly_issued_by(new)
    authority.forget()
    assert issuers(authority) == [new]
    assert issuers(Authority(tmp_path, system="shop", clock=clock)) == [new]
    for _ in range(10):
        authority.replace()
    assert len(issuers(authority)) == 4


def test_an_authority_with_little_life_left_is_replaced(tmp_path: Path) -> None:
    """With less than a tenth of it; no certificate outlives who signed it."""
    clock = VirtualClock()
    authority = Authority(tmp_path, system="shop", lifetime=30 * 86400.0, clock=clock)
    [old] = issuers(authority)
    clock.advance(LIFETIME - 10 * 86400.0)
    assert authority.is_worn
    assert authority.identity("order").ends == old.not_valid_after_utc.timestamp()
    assert issuers(Authority(tmp_path, system="shop", clock=clock))[1:] == [old]
