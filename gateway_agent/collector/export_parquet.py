"""Write an export as Parquet, through pyarrow, which only who installs the extra `parquet` has."""

from typing import IO, Final

from gateway_agent.errors import OperatorError

from .query import MissingSpan
from .readings import MeasuredValue, ThinnedValue

try:
    import pyarrow as pa
    from pyarrow import parquet
except ImportError as error:
    raise OperatorError(
        f"Parquet needs pyarrow: pip install 'tianfu-edge[parquet]' ({error})"
    ) from error

GROUP_ROWS: Final = 32_768  # of a group of rows: about 10 MB of memory
_TEXT: Final = pa.dictionary(pa.int32(), pa.string())
_SCHEMA: Final = pa.schema(
    [
        ("time", pa.timestamp("ms", "UTC")), ("device", _TEXT), ("point", _TEXT),
        ("value", pa.float64()), ("whole", pa.int64()), ("unit", _TEXT),
        ("uncertainty_ms", pa.int64()), ("auth", _TEXT), ("stream", pa.int64()),
        ("seq", pa.int64()), ("gap", _TEXT), ("width_s", pa.int64()), ("readings", pa.int64()),
        ("mean", pa.float64()), ("least", pa.float64()), ("most", pa.float64()),
    ]
)  # fmt: skip


class ParquetFile:
    """``value`` is the nearest double; ``whole`` has integers as they are, up to 64 bits."""

    def __init__(self, file: IO[bytes]) -> None:
        self._writer = parquet.ParquetWriter(file, _SCHEMA, compression="zstd")
        self._rows: list[tuple[object, ...]] = []

    def reading(self, r: MeasuredValue) -> None:
        """See ExportWriter."""
        whole = r.value if isinstance(r.value, int) else None
        self._add((r.time_ms, r.device, r.point, float(r.value), whole, r.unit, r.unc_ms, r.auth,
                   r.stream, r.seq, *[None] * 6))  # fmt: skip

    def thinned(self, value: ThinnedValue) -> None:
        """See ExportWriter."""
        self._add((value.time_ms, value.device, value.point, None, None, value.unit, *[None] * 5,
                   value.width_s, value.readings, value.mean, value.least, value.most))  # fmt: skip

    def gap(self, gap: MissingSpan) -> None:
        """See ExportWriter."""
        self._add((gap.time_ms, gap.device, *[None] * 8, gap.cause, *[None] * 5))

    def _add(self, row: tuple[object, ...]) -> None:
        self._rows.append(row)
        if len(self._rows) == GROUP_ROWS:
            self._write()

    def _write(self) -> None:
        columns = zip(*self._rows, strict=True)
        arrays = [
            pa.array(column, type=part.type) for column, part in zip(columns, _SCHEMA, strict=True)
        ]
        self._writer.write_batch(pa.record_batch(arrays, schema=_SCHEMA))
        self._rows.clear()

    def end(self) -> None:
        """See ExportWriter."""
        if self._rows:
            self._write()
        self._writer.close()
