"""Every message once and in order, every file whole, whatever the wire does, whoever restarts."""

from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from protocols.wire.link.messages import EVENTS, LOG, SAMPLES

from .world import Faults, World

PROBABILITY = st.sampled_from((0.0, 0.0, 0.1, 0.5))
BYTE = st.sampled_from((0.0, 0.0, 0.002, 0.01))


class LinkMachine(RuleBasedStateMachine):
    """Programs that push and ask, a wire that changes, ends that restart."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(0)

    @initialize(
        seed=st.integers(0, 2**32 - 1),
        baud=st.sampled_from((0, 19_200, 115_200)),
        commit_ms=st.sampled_from((0, 20, 400)),
    )
    def begin(self, seed: int, baud: int, commit_ms: int) -> None:
        """Build both ends; they open a session, or not, as the wire will let them."""
        self.world = World(seed, baud, commit_ms)

    @rule(
        channel=st.sampled_from((SAMPLES, EVENTS, LOG)),
        count=st.integers(1, 12),
        size=st.sampled_from((4, 60, 160, 221)),
        drop=st.booleans(),
    )
    def push(self, channel: int, count: int, size: int, drop: bool) -> None:
        """Push messages, as many as there is room for, or at the cost of the oldest."""
        for _ in range(count):
            if not self.world.push(channel, size, drop):
                return

    @rule(count=st.integers(1, 6))
    def ask(self, count: int) -> None:
        """Ask the node for settings."""
        for _ in range(count):
            self.world.ask()

    @precondition(lambda self: self.world.sink is None or self.world.sink.state > 1)
    @rule(size=st.sampled_from((0, 1, 700, 3000)))
    def fetch(self, size: int) -> None:
        """Ask for a picture."""
        self.world.fetch(size)

    @rule(lose=PROBABILITY, double=PROBABILITY, late=PROBABILITY, byte=BYTE, noise=PROBABILITY)
    def disturb(self, lose: float, double: float, late: float, byte: float, noise: float) -> None:
        """Change what the wire does."""
        self.world.faults = Faults(lose, double, late, byte, noise)

    @rule()
    def cut(self) -> None:
        """Cut the wire until it is disturbed or healed."""
        self.world.faults = Faults(cut=True)

    @rule(ms=st.sampled_from((5, 100, 1000, 4000, 16_000)))
    def wait(self, ms: int) -> None:
        """Let time pass."""
        self.world.run(ms)

    @rule()
    def restart_node(self) -> None:
        """Restart the node."""
        self.world.start_node()

    @rule()
    def restart_gateway(self) -> None:
        """Restart the gateway's program."""
        self.world.start_gateway()

    @invariant()
    def right(self) -> None:
        """Nothing came twice, out of order or damaged."""
        self.world.check()

    def teardown(self) -> None:
        """Once the wire is whole all of it arrives."""
        self.world.heal()


QUICK = settings(
    max_examples=100,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestFaults = LinkMachine.TestCase
TestFaults.settings = QUICK


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_ten_thousand_schedules() -> None:
    for seed in range(10_000):
        schedule(seed)


def schedule(seed: int) -> World:
    """Run one schedule of random steps; the seed is all of it."""
    random = Random(seed)
    world = World(seed, random.choice((0, 19_200, 115_200)), random.choice((0, 20, 400)))
    for _ in range(random.randrange(5, 25)):
        step = random.randrange(8)
        if step <= 1:
            channel = random.choice((SAMPLES, EVENTS, LOG))
            size = random.choice((4, 60, 160, 221))
            drop = random.random() < 0.5
            for _ in range(random.choice((1, 5, 12, 40))):
                world.push(channel, size, drop)
        elif step == 2:
            world.ask()
        elif step == 3 and (world.sink is None or world.sink.state > 1):
            world.fetch(random.choice((0, 1, 700, 3000)))
        elif step == 4:
            rates = [random.choice((0.0, 0.0, 0.1, 0.5)) for _ in range(4)]
            world.faults = Faults(
                rates[0], rates[1], rates[2], random.choice((0, 0.002, 0.01)), rates[3]
            )
        elif step == 5 and random.random() < 0.3:
            random.choice((world.start_node, world.start_gateway))()
        elif step == 6 and random.random() < 0.3:
            world.faults = Faults(cut=True)
        else:
            world.run(random.choice((5, 100, 1000, 4000, 16_000)))
        world.check()
    world.heal()
    return world


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_schedules_by_seed(first: int) -> None:
    for seed in range(first, first + 20):
        schedule(seed)
