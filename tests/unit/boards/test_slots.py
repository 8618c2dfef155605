"""Which application starts: trials, the way back, the floor, damage; the image's own C code."""

from pathlib import Path

import pytest

from hil.errors import NoCompilerError
from hil.flash.slot_mutants import MUTANTS
from hil.flash.slot_runs import REVERTED, TRIALS, long_run, single_cuts, steps
from hil.flash.slots_model import (
    HEADER_BYTES,
    KEY,
    SECTOR_BYTES,
    SlotsModel,
    SlotsStatus,
    compile_slots,
)

BASE, A, B = 0, 1, 2
#: The numbers of slots_refusal_t in slots.h.
GOOD, FORM, NO_KEY, SIGNATURE, CLASS, HARDWARE, VERSION, FLOOR, OTHER_BASE, SIZE, TRIAL = range(11)
DIGEST, MEDIUM = 11, 12
REFUSED, DAMAGED = 4, 6
#: Seeds of long lives in which each defect that single cuts may not find shows itself.
RUNS = 60
LEVELS = (0, 8 * 48)  # bytes in the store before: an update without a compaction, and one with it


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return compile_slots(tmp_path_factory.mktemp("slots"))
    except NoCompilerError as error:
        pytest.skip(f"NOT TESTED: the slots' C code: {error}")


@pytest.fixture
def node(library: Path) -> SlotsModel:
    model = SlotsModel(library)
    model.boot()
    assert model.record("release", KEY)
    return model


def update(node: SlotsModel, version: int, floor: int = 0, back_from: int = 0) -> SlotsStatus:
    """Bring a version to the node and start it on trial."""
    image = bytes([version]) * 64
    manifest = node.manifest(version, image, floor, back_from)
    assert node.check(manifest) == GOOD
    assert node.erase()
    assert node.write(0, image)
    assert node.order(manifest) == GOOD
    return node.boot()


def confirmed(node: SlotsModel, version: int, floor: int = 0) -> SlotsStatus:
    assert update(node, version, floor).trial
    assert node.confirm()
    return node.boot()


def test_a_board_that_was_never_updated_starts_its_base(node: SlotsModel) -> None:
    assert node.boot() == SlotsStatus(BASE, 0, 0, 0, 0, A, 0)
    assert node.boot(fault=True) == SlotsStatus(BASE, 0, 0, 0, 0, A, 0)


def test_a_confirmed_image_stays_and_the_next_goes_into_the_other_slot(node: SlotsModel) -> None:
    assert confirmed(node, 1) == SlotsStatus(A, 1, 0, 0, 3, B, 0)
    assert confirmed(node, 2, floor=1) == SlotsStatus(B, 2, 1, 0, 3, A, 0)
    assert node.boot(fault=True).version == 2, "a fault of a confirmed image is no trial's"


def test_only_faults_are_failed_trials(node: SlotsModel) -> None:
    confirmed(node, 1)
    assert update(node, 2).trial
    for _ in range(10):
        assert node.boot(fault=False) == SlotsStatus(B, 2, 0, 1, 2, 0, 0)
    for failed in range(1, TRIALS):
        assert node.boot(fault=True) == SlotsStatus(B, 2, 0, 1, 2, 0, failed)
    assert node.boot(fault=True) == SlotsStatus(A, 1, 0, 0, REVERTED, B, 0)
    assert node.boot(fault=True).version == 1
    assert node.boot().outcome == REVERTED


def test_the_fault_of_the_run_that_took_the_order_is_not_the_new_images(node: SlotsModel) -> None:
    image = bytes(64)
    manifest = node.manifest(1, image)
    assert node.erase()
    assert node.write(0, image)
    assert node.order(manifest) == GOOD
    assert node.boot(fault=True) == SlotsStatus(A, 1, 0, 1, 2, 0, 0)


def test_the_floor_rises_only_with_a_confirmation_and_never_above_what_runs(
    node: SlotsModel,
) -> None:
    confirmed(node, 3, floor=2)
    assert update(node, 9, floor=7).floor == 2
    for _ in range(TRIALS):
        status = node.boot(fault=True)
    assert (status.version, status.floor) == (3, 2)
    assert node.check(node.manifest(1, bytes(64), back_from=3)) == FLOOR
    assert confirmed(node, 5, floor=200).floor == 5


def test_an_older_version_needs_an_order_to_roll_back_from_what_runs(node: SlotsModel) -> None:
    confirmed(node, 4)
    confirmed(node, 6)
    image = bytes([4]) * 64
    assert node.check(node.manifest(4, image)) == VERSION
    assert node.check(node.manifest(6, image)) == VERSION
    assert node.check(node.manifest(4, image, back_from=5)) == VERSION
    order = node.manifest(4, image, back_from=6)
    assert node.order(order) == GOOD, "the other slot still has it: nothing is sent"
    assert node.boot() == SlotsStatus(A, 4, 0, 1, 2, 0, 0)
    assert node.confirm()
    assert node.boot().version == 4


def test_what_is_refused(node: SlotsModel) -> None:
    good = node.manifest(1, bytes(64))
    assert node.check(good) == GOOD
    assert node.check(bytes(160)) == FORM
    assert node.check(good[:-1] + bytes([good[-1] ^ 1])) == SIGNATURE
    assert node.check(good[:30] + b"\x01" + good[31:]) == SIGNATURE

    def signed(at: int, value: bytes) -> bytes:
        head = good[:at] + value + good[at + len(value) : 96]
        return node.resigned(head)

    assert node.check(signed(8, b"other")) == CLASS
    assert node.check(signed(13, b"2")) == CLASS
    assert node.check(signed(6, b"\x02")) == HARDWARE
    assert node.check(signed(7, b"\x00")) == HARDWARE
    assert node.check(signed(36, b"\x09")) == OTHER_BASE
    assert node.check(signed(44, b"\x00\x00\x02\x04")) == SIZE
    assert node.check(signed(44, b"\x00\x00\x00\x00")) == SIZE
    assert node.check(signed(24, b"\x00\x00\x00\x00")) == VERSION
    update(node, 1)
    assert node.check(node.manifest(2, bytes(64))) == TRIAL
    assert not node.erase(), "the other slot is where a failed trial goes back to"


def test_without_a_release_key_nothing_is_taken(library: Path) -> None:
    node = SlotsModel(library)
    node.boot()
    assert node.check(node.manifest(1, bytes(64))) == NO_KEY
    for wrong in (b"", bytes(31), bytes(96)):
        assert node.record("release", wrong)
        assert node.check(node.manifest(1, bytes(64))) == NO_KEY


def test_an_order_needs_the_whole_image(node: SlotsModel) -> None:
    image = bytes(range(64))
    manifest = node.manifest(1, image)
    assert node.erase()
    assert node.order(manifest) == DIGEST
    assert node.write(0, image[:60])
    assert node.order(manifest) == DIGEST
    assert node.write(60, image[60:])
    assert node.write(0, image), "the same bytes again are as good"
    assert not node.write(0, image[::-1]), "a word that is written is not written anew"
    assert not node.write(2, image)
    assert not node.write(SECTOR_BYTES - HEADER_BYTES, bytes(4))
    assert node.boot() == SlotsStatus(BASE, 0, 0, 0, 0, A, 0)


def damage(node: SlotsModel) -> None:
    """Flip bits of the confirmed slot, then of the other one, too."""
    confirmed(node, 1)
    confirmed(node, 2)
    whole = node.content
    for at in [*range(160), *range(HEADER_BYTES, HEADER_BYTES + 64)]:
        for bit in (0, 5):
            damaged = bytearray(whole)
            damaged[SECTOR_BYTES + at] ^= 1 << bit
            node.content = bytes(damaged)
            status = node.boot()
            assert (status.running, status.version, status.outcome) == (A, 1, DAMAGED), at
            damaged[at] ^= 1 << bit
            node.content = bytes(damaged)
            assert node.boot().running == BASE, at


def test_any_flipped_bit_of_the_confirmed_slot_starts_the_other_one(node: SlotsModel) -> None:
    damage(node)


def test_an_order_is_void_once_its_slot_is_erased(node: SlotsModel) -> None:
    image = bytes(64)
    manifest = node.manifest(1, image)
    assert node.erase()
    assert node.write(0, image)
    assert node.order(manifest) == GOOD
    assert node.erase()
    assert node.boot().running == BASE


@pytest.mark.parametrize("filler", LEVELS)
def test_every_cut_of_an_update_starts_the_old_or_the_new(library: Path, filler: int) -> None:
    model = SlotsModel(library)
    tried = {step.name: single_cuts(model, step) for step in steps(model, filler)}
    assert tried["erase"] > 100
    assert tried["order"] > 1000
    assert tried["confirmation"] > 500


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
def test_every_cut_at_every_level_of_the_store(library: Path) -> None:
    count = 0
    for filler in range(0, 20 * 48, 48):
        model = SlotsModel(library)
        count += sum(single_cuts(model, step) for step in steps(model, filler))
    assert count > 100_000


def test_lives_with_many_cuts(library: Path) -> None:
    assert sum(long_run(library, seed).cuts for seed in range(1, RUNS + 1)) > RUNS


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_25000_lives_with_many_cuts(library: Path) -> None:
    assert sum(long_run(library, seed).cuts for seed in range(1, 25_001)) > 100_000


def live(library: Path, seed: int) -> None:
    """What tries a library: damage first, then a life with cuts."""
    if seed == 0:
        node = SlotsModel(library)
        node.boot()
        assert node.record("release", KEY)
        damage(node)
    else:
        long_run(library, seed)


@pytest.mark.parametrize("name", MUTANTS)
def test_each_rule_is_needed(name: str, tmp_path: Path, library: Path) -> None:
    """Without the rule something ends in what must not be; with it the same does not."""
    broken = compile_slots(tmp_path, MUTANTS[name])
    for seed in range(100):
        try:
            live(broken, seed)
        except AssertionError:
            live(library, seed)
            return
    pytest.fail("the defect was not noticed")
