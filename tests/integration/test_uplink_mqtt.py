"""Uplink and collector over a real mosquitto: nothing is lost, nothing is there twice."""

import datetime as dt
import ipaddress
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import aiomqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from gateway_agent.collector.database import Database
from gateway_agent.config import Tls
from gateway_agent.keys import generate_signing_key, load_private
from gateway_agent.uplink import topics
from hil.site.mosquitto import MosquittoBroker
from protocols.uplink.receipt import Receipt, sign_receipt
from tests.integration.uplink_help import QuickTime, Site, until
from tests.unit.gateway_agent.store_help import GATEWAY, records

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(120)]


@pytest.fixture
def broker(mosquitto_path: Path, tmp_path: Path) -> Iterator[MosquittoBroker]:
    with MosquittoBroker(mosquitto_path, tmp_path / "broker") as running:
        yield running


def site_of(broker: MosquittoBroker, tmp_path: Path) -> Site:
    return Site(tmp_path, broker.port)


async def captured(port: int, count: int) -> list[bytes]:
    """The next ``count`` batches that pass through the broker."""
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe(topics.ALL_BATCHES, qos=1)
        found = []
        async for message in client.messages:
            found.append(message.payload)
            if len(found) == count:
                break
        return found


async def publish(port: int, topic: str, payload: bytes) -> None:
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.publish(topic, payload, qos=1)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.parametrize("compression", ["zstd", "none"])
async def test_everything_recorded_is_delivered_verified_and_pruned(
    broker: MosquittoBroker, tmp_path: Path, version: str, compression: str
) -> None:
    site = site_of(broker, tmp_path)
    async with (
        site.collector(version=version),
        site.outbox() as outbox,
        site.uplink(outbox, version=version, compression=compression),
    ):
        for first in range(1, 101, 4):
            await outbox.put(records(first, 4), {})
        await until(lambda: outbox.stats.depth == 0, "every record receipted")
    counters = site.counters
    assert site.stored() == list(range(1, 101))
    assert counters.readings_recorded == counters.readings_delivered == 200
    assert counters.records_recorded == counters.records_delivered == 100
    assert counters.receipts_rejected == counters.receipts_forked == 0
    assert set(site.verdicts()) == {"batches_accepted"}


async def test_a_broker_that_goes_away_for_a_minute_and_comes_back_empty_costs_a_repetition(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    site = site_of(broker, tmp_path)
    time = QuickTime()  # of the uplink: its waits between attempts pass at once
    async with site.collector(), site.outbox() as outbox, site.uplink(outbox, time) as uplink:
        await outbox.put(records(1, 30), {})
        await until(lambda: outbox.stats.depth == 0, "the first records receipted")
        broker.kill()
        await outbox.put(records(31, 40), {})
        gone = time.now()
        await until(lambda: not uplink.connected, "the uplink sees that it is gone")
        await outbox.put(records(71, 30), {})
        await until(lambda: time.now() - gone > 60, "a minute of attempts")
        assert time.sleeps >= 6  # doubling from half a second, they do not crowd
        assert uplink.problem
        assert not uplink.connected
        assert outbox.stats.depth == 70
        broker.wipe()
        broker.start()
        await until(lambda: outbox.stats.depth == 0, "everything after the outage receipted")
    assert site.stored() == list(range(1, 101))
    assert site.counters.disconnects >= 1
    assert site.counters.connects >= 2


async def test_a_new_connection_begins_after_the_last_receipt_and_does_not_wait_for_one(
    broker: MosquittoBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = site_of(broker, tmp_path)
    commit = Database.commit

    tries = 0

    def failing(self: Database, *arguments: object) -> object:
        nonlocal tries
        tries += 1
        raise sqlite3.OperationalError("not now")

    monkeypatch.setattr(Database, "commit", failing)
    async with (
        site.collector(),
        site.outbox() as outbox,
        site.uplink(outbox, retry_ms=3_600_000, in_flight=3),
    ):
        await outbox.put(records(1, 30), {})
        # The collector has seen the first; the others come too early for it.
        await until(lambda: site.counters.pubacks == 3 and tries, "all sent")
        await until(lambda: site.verdicts().count("batches_early") == 2, "all seen")
        monkeypatch.setattr(Database, "commit", commit)
        # A second client of the same name makes the broker end the first connection.
        async with aiomqtt.Client(
            "127.0.0.1", broker.port, identifier=f"tianfu-{GATEWAY}"
        ) as other:
            await until(lambda: site.counters.disconnects == 1, "the uplink is thrown out")
            assert other.identifier
        await until(lambda: outbox.stats.depth == 0, "sent again at once and receipted")
    assert site.stored() == list(range(1, 31))


async def test_a_retained_receipt_spares_sending_again(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    site = site_of(broker, tmp_path)
    async with site.outbox() as outbox:
        await outbox.put(records(1, 20), {})
    state = tmp_path / "state"
    image = {path.name: path.read_bytes() for path in state.iterdir() if path.is_file()}
    async with site.collector(), site.outbox() as outbox, site.uplink(outbox):
        await until(lambda: outbox.stats.depth == 0, "receipted")
    for path in state.iterdir():
        path.unlink()
    for name, data in image.items():
        (state / name).write_bytes(data)
    async with site.outbox() as outbox, site.uplink(outbox):
        await until(lambda: outbox.stats.depth == 0, "receipted without a collector")


async def test_a_broker_that_was_never_there_at_start(mosquitto_path: Path, tmp_path: Path) -> None:
    with MosquittoBroker(mosquitto_path, tmp_path / "broker") as broker:
        site = site_of(broker, tmp_path)
        broker.kill()
        async with site.outbox() as outbox, site.uplink(outbox) as uplink:
            await outbox.put(records(1, 20), {})
            await until(lambda: "refused" in uplink.problem, "the reason is told")
            broker.start()
            async with site.collector():
                await until(lambda: outbox.stats.depth == 0, "receipted")
        assert site.stored() == list(range(1, 21))


async def test_a_puback_is_no_receipt(broker: MosquittoBroker, tmp_path: Path) -> None:
    site = site_of(broker, tmp_path)
    async with site.outbox() as outbox:
        async with site.uplink(outbox, in_flight=2):
            await outbox.put(records(1, 50), {})
            await until(lambda: site.counters.batches_resent >= 2, "sent again")
            assert site.counters.pubacks >= 4
            assert site.counters.batches_sent == 2, "never more than in_flight"
            assert outbox.stats.depth == 50
            async with site.collector():
                await until(lambda: outbox.stats.depth == 0, "receipted in the end")
        assert site.stored() == list(range(1, 51))


async def test_an_operator_may_take_the_puback_for_a_receipt(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    site = site_of(broker, tmp_path)
    async with site.outbox() as outbox, site.uplink(outbox, receipt="puback"):
        await outbox.put(records(1, 25), {})
        await until(lambda: outbox.stats.depth == 0, "pruned on PUBACK")
    assert site.counters.pubacks == 3
    assert site.counters.readings_delivered == 50


async def test_a_commit_that_fails_gives_no_receipt_and_the_batch_comes_again(
    broker: MosquittoBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = site_of(broker, tmp_path)
    failures = 2
    commit = Database.commit

    def failing(self: Database, *arguments: object) -> object:
        nonlocal failures
        if failures:
            failures -= 1
            raise sqlite3.OperationalError("disk I/O error")
        return commit(self, *arguments)  # type: ignore[arg-type] # passed on

    monkeypatch.setattr(Database, "commit", failing)
    async with site.collector(), site.outbox() as outbox, site.uplink(outbox):
        await outbox.put(records(1, 30), {})
        await until(lambda: outbox.stats.depth == 0, "receipted after the failures")
    assert failures == 0
    assert site.counters.batches_resent >= 1
    assert site.stored() == list(range(1, 31))


async def test_a_flipped_byte_is_refused_and_the_flow_goes_on(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    site = site_of(broker, tmp_path)
    async with site.outbox() as outbox:
        async with site.uplink(outbox, in_flight=1, retry_ms=300):
            await outbox.put(records(1, 10), {})
            (batch,) = await captured(broker.port, 1)
        flipped = bytearray(batch)
        flipped[len(batch) // 2] ^= 1
        stranger = Ed25519PrivateKey.generate()
        topic = topics.batch_topic(GATEWAY, outbox.stats.stream)
        async with site.collector():
            await publish(broker.port, topic, bytes(flipped))
            await publish(broker.port, topic, b"no batch at all")
            await publish(broker.port, topic, b"")
            await publish(broker.port, "tianfu/gw-2/batch/1", batch)
            await publish(broker.port, topic, stranger.sign(batch) + batch)
            async with site.uplink(outbox):
                await until(lambda: outbox.stats.depth == 0, "receipted all the same")
    verdicts = site.verdicts()
    assert verdicts.count("batches_accepted") == 1
    assert verdicts.count("bad_signatures") == 1
    assert verdicts.count("wrong_topics") == 1
    assert verdicts.count("malformed") == 3
    assert site.stored() == list(range(1, 11))


async def test_a_key_the_collector_does_not_know_costs_nothing_once_it_does(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    site = site_of(broker, tmp_path)
    async with site.outbox() as outbox:
        async with site.collector():
            site.gateway_key = tmp_path / "new.pem"
            generate_signing_key(site.gateway_key)
            async with site.uplink(outbox, retry_ms=300):
                await outbox.put(records(1, 30), {})
                await until(lambda: site.verdicts().count("unknown_keys") >= 3, "refused")
        assert set(site.verdicts()) == {"unknown_keys"}
        assert outbox.stats.depth == 30
        assert site.counters.records_delivered == 0
        async with site.collector(), site.uplink(outbox):
            await until(lambda: outbox.stats.depth == 0, "receipted once the key is known")
    assert site.stored() == list(range(1, 31))


async def test_a_replayed_batch_is_counted_answered_and_has_no_effect(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    site = site_of(broker, tmp_path)
    async with site.outbox() as outbox:
        async with site.uplink(outbox, in_flight=1, retry_ms=300):
            await outbox.put(records(1, 10), {})
            (batch,) = await captured(broker.port, 1)
        async with site.collector(), site.uplink(outbox):
            await until(lambda: outbox.stats.depth == 0, "receipted")
            receipts = site.counters.receipts_repeated
            topic = topics.batch_topic(GATEWAY, outbox.stats.stream)
            await publish(broker.port, topic, batch)
            await until(
                lambda: site.counters.receipts_repeated > receipts, "the receipt comes again"
            )
    assert site.verdicts().count("duplicates") >= 1
    assert site.stored() == list(range(1, 11))


async def test_receipts_nobody_may_sign_prune_nothing(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    site = site_of(broker, tmp_path)
    async with site.outbox() as outbox, site.uplink(outbox) as uplink:
        await outbox.put(records(1, 10), {})
        piece = await outbox.slice(0, 10, 1 << 20)
        assert piece is not None
        await until(lambda: site.counters.pubacks, "connected and sent")
        stranger = Ed25519PrivateKey.generate()
        own = load_private(site.collector_key)
        good = Receipt(GATEWAY, piece.stream, 10, piece.head, 1)
        topic = topics.receipt_topic(GATEWAY, piece.stream)
        await publish(broker.port, topic, sign_receipt(good, stranger))
        await publish(broker.port, topic, b"nonsense")
        await publish(broker.port, topic, bytes(100_000)[:10_000])
        other = Receipt("gw-2", piece.stream, 10, piece.head, 1)
        await publish(broker.port, topic, sign_receipt(other, own))
        flipped = bytearray(sign_receipt(good, own))
        flipped[-1] ^= 1
        await publish(broker.port, topic, bytes(flipped))
        await until(lambda: site.counters.receipts_rejected == 5, "all five rejected")
        assert outbox.stats.depth == 10
        # From a broker that delivers what was not subscribed to:
        await uplink._take(
            topics.receipt_topic("gw-2", piece.stream),
            sign_receipt(other, own),
            own.public_key(),
        )
        assert site.counters.receipts_rejected == 6
        assert outbox.stats.depth == 10
        stale = Receipt(GATEWAY, piece.stream + 1, 10, piece.head, 1)
        await publish(
            broker.port, topics.receipt_topic(GATEWAY, stale.stream), sign_receipt(stale, own)
        )
        await until(lambda: site.counters.receipts_stale == 1, "of another stream")
        assert outbox.stats.depth == 10
        await publish(broker.port, topic, sign_receipt(good, own))
        await until(lambda: outbox.stats.depth == 0, "the right one prunes")


async def test_a_disk_that_was_rolled_back_opens_a_new_stream_and_nothing_is_there_twice(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    """The collector has records the gateway no longer knows: the gateway finds out, and says so."""
    site = site_of(broker, tmp_path)
    async with site.outbox() as outbox:
        await outbox.put(records(1, 20), {})
        stream = outbox.stats.stream
    state = tmp_path / "state"
    image = {path.name: path.read_bytes() for path in state.iterdir() if path.is_file()}
    async with site.collector():
        async with site.outbox() as outbox, site.uplink(outbox):
            await outbox.put(records(21, 20), {})
            await until(lambda: outbox.stats.depth == 0, "receipted")
        for path in state.iterdir():
            path.unlink()
        for name, data in image.items():
            (state / name).write_bytes(data)
        async with site.outbox() as outbox, site.uplink(outbox):
            await outbox.put(records(41, 20), {})
            await until(
                lambda: outbox.stats.stream != stream and outbox.stats.depth == 0,
                "everything receipted in a new stream",
            )
    assert site.counters.receipts_forked == 1
    assert site.counters.gaps == {"db_truncated": 1}
    assert site.stored() == list(range(1, 61))
    assert site.rows("SELECT cause FROM gaps") == [("db_truncated",)]


async def test_a_gateway_that_starts_again_goes_on_after_its_last_receipt(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    site = site_of(broker, tmp_path)
    async with site.collector():
        for first in (1, 31, 61):
            async with site.outbox() as outbox, site.uplink(outbox):
                await outbox.put(records(first, 30), {})
                await until(lambda box=outbox: box.stats.depth == 0, "receipted")  # type: ignore[misc] # bound now
    assert site.stored() == list(range(1, 91))
    assert site.rows("SELECT count(*) FROM streams") == [(1,)]
    assert site.counters.batches_resent == 0


async def test_damage_after_delivery_brings_nothing_twice(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    """Delivered, not yet receipted, then a flipped bit: what is carried over is recognised."""
    site = site_of(broker, tmp_path)
    async with site.outbox() as outbox:
        for first in range(1, 31, 5):
            await outbox.put(records(first, 5), {})
    state = tmp_path / "state"
    image = {path.name: path.read_bytes() for path in state.iterdir() if path.is_file()}
    async with site.collector():
        async with site.outbox() as outbox, site.uplink(outbox):
            await until(lambda: outbox.stats.depth == 0, "delivered")
        # The receipts never reached the medium, and a bit of record 12 has flipped.
        data = bytearray(image["outbox.db"])
        data[data.index(records(12, 1)[0].data) + 40] ^= 4
        for path in state.iterdir():
            path.unlink()
        for name, content in (image | {"outbox.db": bytes(data)}).items():
            (state / name).write_bytes(content)
        async with site.outbox() as outbox, site.uplink(outbox):
            await outbox.put(records(31, 5), {})
            await until(lambda: outbox.stats.depth == 0, "receipted in the new stream")
    assert site.stored() == list(range(1, 36))
    assert site.rows("SELECT cause, first, last FROM gaps") == [("outbox_damaged", 11, 15)]
    assert site.rows("SELECT value FROM counters WHERE name = 'records_repeated'") == [(25,)]
    assert site.counters.records_salvaged == 25


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
        (self._directory / f"{name}.key").write_bytes(
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
    site = site_of(broker, tmp_path)
    cert, key = authority.issue("gw-1")
    tls = {"ca": authority.ca, "cert": cert, "key": key}
    async with (
        site.collector(tls=tls),
        site.outbox() as outbox,
        site.uplink(outbox, tls=Tls(ca=authority.ca, cert=cert, key=key)),
    ):
        await outbox.put(records(1, 20), {})
        await until(lambda: outbox.stats.depth == 0, "receipted over TLS")
    assert site.stored() == list(range(1, 21))


# paho leaves the socket of a handshake that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("stranger", "certificate verify failed"),
        ("no certificate", "a certificate of ours?"),
        ("no file", "No such file"),
        ("plain", "does it want TLS"),
    ],
)
async def test_tls_that_does_not_fit_is_told_and_sends_nothing(
    secured: tuple[MosquittoBroker, Authority], tmp_path: Path, case: str, told: str
) -> None:
    broker, authority = secured
    site = site_of(broker, tmp_path)
    cert, key = authority.issue("gw-1")
    tls = {
        "stranger": Tls(ca=Authority(tmp_path / "other").ca, cert=cert, key=key),
        "no certificate": Tls(ca=authority.ca),
        "no file": Tls(ca=tmp_path / "none.pem"),
        "plain": None,
    }[case]
    async with site.outbox() as outbox, site.uplink(outbox, tls=tls) as uplink:
        await outbox.put(records(1, 5), {})
        await until(lambda: told in uplink.problem, f"{told!r} is told")
        assert not uplink.connected
        assert outbox.stats.depth == 5
    assert site.counters.pubacks == 0
