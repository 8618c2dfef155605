"""The uplink over TLS: certificates on both sides, and what does not fit."""

import datetime as dt
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway_agent.config_types import TlsFiles
from hil.site.mosquitto import MosquittoBroker
from tests.integration.uplink_help import Site
from tests.promise.site import until
from tests.unit.gateway_agent.store_help import records

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(120)]


class Authority:
    """A certificate authority of one test."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"CA {directory.name}")])
        directory.mkdir()
        self.ca = directory / "ca.pem"
        self._write("ca", self._key, self._certificate(self._name, self._key, True))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Certificate and key file for ``name``, good for 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._write(name, key, self._certificate(subject, key, False))
        return self._directory / f"{name}.pem", self._directory / f"{name}.key"

    def _certificate(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, authority: bool
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        usage = x509.KeyUsage(True, False, False, False, False, authority, authority, False, False)
        own = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(authority, None), True)
            .add_extension(usage, True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), False
            )
        )
        if not authority:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), False)
        return builder.sign(self._key, hashes.SHA256())

    def _write(
        self, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate
    ) -> None:
        pem = serialization.Encoding.PEM
        (self._directory / f"{name}.pem").write_bytes(certificate.public_bytes(pem))
        secret = self._directory / f"{name}.key"
        secret.touch(0o600)
        secret.write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )


@pytest.fixture
def secured(mosquitto_path: Path, tmp_path: Path) -> Iterator[tuple[MosquittoBroker, Authority]]:
    """A broker that wants a certificate, and the authority it trusts."""
    authority = Authority(tmp_path / "ca")
    cert, key = authority.issue("broker")
    extra = f"cafile {authority.ca}\ncertfile {cert}\nkeyfile {key}\nrequire_certificate true"
    with MosquittoBroker(mosquitto_path, tmp_path / "broker", extra) as broker:
        yield broker, authority


async def test_tls_with_certificates_on_both_sides(
    secured: tuple[MosquittoBroker, Authority], tmp_path: Path
) -> None:
    broker, authority = secured
    site = Site(tmp_path, broker.port)
    cert, key = authority.issue("gw-1")
    tls = {"ca": authority.ca, "cert": cert, "key": key}
    async with (
        site.collector(tls=tls),
        site.outbox() as outbox,
        site.uplink(outbox, tls=TlsFiles(ca=authority.ca, cert=cert, key=key)),
    ):
        await outbox.put(records(1, 20), {})
        await until(lambda: outbox.stats.depth == 0, "receipted over TLS")
    assert site.stored() == list(range(1, 21))


# paho leaves the socket of a handshake that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("stranger", "certificate verify failed"),
        ("no certificate", "a certificate of ours?"),
        ("no file", "No such file"),
        ("plain", "does it want TLS"),
    ],
)
async def test_tls_that_does_not_fit_is_explained_and_sends_nothing(
    secured: tuple[MosquittoBroker, Authority], tmp_path: Path, case: str, reason: str
) -> None:
    broker, authority = secured
    site = Site(tmp_path, broker.port)
    cert, key = authority.issue("gw-1")
    tls = {
        "stranger": TlsFiles(ca=Authority(tmp_path / "other").ca, cert=cert, key=key),
        "no certificate": TlsFiles(ca=authority.ca),
        "no file": TlsFiles(ca=tmp_path / "none.pem"),
        "plain": None,
    }[case]
    async with site.outbox() as outbox, site.uplink(outbox, tls=tls) as uplink:
        await outbox.put(records(1, 5), {})
        await until(lambda: reason in uplink.problem, f"the reason {reason!r}")
        assert not uplink.connected
        assert outbox.stats.depth == 5
    assert site.counters.pubacks == 0
