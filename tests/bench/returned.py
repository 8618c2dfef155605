"""A broker that goes and comes back: how soon the database has everything, and what came twice."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hil.site.mosquitto import MosquittoBroker

from .delivered import GATEWAY, Load, running_site, write_site
from .wire import Wire, repeated_records

_WITHIN_S: Final = 120.0
_LOOK_S: Final = 0.02


@dataclass(frozen=True)
class BrokerReturn:
    """What its return took.

    ``complete_s``: from when the broker listens until the database has all that was recorded by
    then. ``repeated``: records that were on the wire more than once.
    """

    complete_s: float
    repeated: int


def broker_returns(
    load: Load, ports: Sequence[int], broker: MosquittoBroker, away_s: float
) -> BrokerReturn:
    """Kill the broker under a running site, start it again after ``away_s``."""
    with tempfile.TemporaryDirectory() as name:
        site = write_site(Path(name), load, ports, broker.port)
        with running_site(site) as site_now:
            site_now.count_when_it_rises()
            before = Wire(broker.port, GATEWAY, site.collector_key)
            time.sleep(load.warm_up_s)
            site_now.count_when_it_rises()
            broker.kill()
            time.sleep(away_s)
            broker.start()
            listens = time.monotonic()
            after = Wire(broker.port, GATEWAY, site.collector_key)
            recorded = site.recorded()
            while site.stored() < recorded:
                if time.monotonic() - listens > _WITHIN_S:
                    raise RuntimeError(
                        f"{site.stored()} of {recorded} readings are stored {_WITHIN_S:.0f} s after"
                        f" the broker's return"
                    )
                time.sleep(_LOOK_S)
            complete_s = time.monotonic() - listens
            site_now.count_when_it_rises()  # what is repeated, is so until live data flows again
            for wire in (before, after):
                wire.close()
            return BrokerReturn(complete_s, repeated_records(before.batches + after.batches))
