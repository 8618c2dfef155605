"""``[otlp]``: the metrics of ``/metrics``, pushed to a collector of OpenTelemetry."""

from pathlib import Path
from typing import Annotated

from msgspec import Struct

from gateway_agent.config_types import File, HttpUrl, PemFile, count


class OtlpConfig(Struct, frozen=True, kw_only=True):
    """Where metrics go, and how often."""

    url: HttpUrl  # the whole address: https://otel.example.net/v1/metrics
    interval_s: Annotated[int, count(5, 3600, 60)] = 60
    headers_file: File | None = None  # lines "Name: value", such as Authorization: Bearer ...
    ca: PemFile | None = None  # of https; None: those of the system

    @property
    def secret_files(self) -> list[Path]:
        """Return the files named here that not everybody may read."""
        return [] if self.headers_file is None else [self.headers_file]
