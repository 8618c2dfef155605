"""The tables of the collector's database.

::

    database  one row: the random id of this file
    streams   gateway, stream -> contiguous_to, head          the content of a receipt
    batches   number -> stream_id, first, last, head, boot_id, anchor, chain, data   the evidence
    records   stream_id, seq -> device, kind, time, clock, auth, boot_epoch, sample_seq, status
    packed_readings  stream_id, seq -> shape_id, numbers      all readings of one record
    shapes    id, position -> point_id, divisor               what ``numbers`` are (:mod:`.packing`)
    single_readings  stream_id, seq, point_id -> value        those that cannot be packed, or are of
                                                              version 4 and before
    points    device, name, unit                              the names behind point_id
    failures  stream_id, seq, name -> quality                 points without a reading, and why
    events    stream_id, seq, number -> name, arg, time_ms
    gaps      stream_id, seq -> device, cause, boot_epoch, first, last, detail, slots, times
    files     stream_id, seq -> device, name, boot_epoch, number, size, offset, length
    actions   stream_id, seq -> device, name, operator, arg, detail
    refused   stream_id, seq -> data, reason                  signed by the gateway, and yet wrong
    devices   device -> gateway                               which one brought its first data
    counters  name -> value                                   see :mod:`.receiver`
    anchors   gateway, boot_id, number -> anchor, todo_ms     what dates records (:mod:`.dating`)
    archived  first, last -> name, sha256                     segments of batches (:mod:`.archive`)
    removals  first, last -> line                             batches without readings here
    thinned   point_id, width_s, start_s -> count, total ...  what is left, by minute or hour

``batches.data`` are the signed bytes as they were received, so everything above can be proved from
them again (:mod:`.audit`). ``chain`` is SHA-256 over the chain before and ``data``, across all
streams in the order of ``number``; a file beside the database repeats its end (:mod:`.batch_log`).
``anchor_ms`` is what has to be added to the boot time of that boot to get wall time. A batch that
was taken before batches were kept has empty ``data``.

Times are Unix milliseconds, NULL while they are unknown: a record made before the gateway's clock
was set, or with a wide bound, is dated as soon as a batch of the same boot brings a better anchor.
The view ``readings`` has a row stream_id, seq, point_id, value for each reading; ``measurements``
joins it with points and records for people. The keys make a second
effect of the same record, or of the same frame of a node, impossible, whatever the code does.
"""

from typing import Final

APPLICATION_ID: Final = 0x5446_434F  # "TFCO"
SCHEMA_VERSION: Final = 9

BATCHES: Final = """
CREATE TABLE batches (
    number INTEGER PRIMARY KEY, stream_id INTEGER NOT NULL REFERENCES streams,
    first INTEGER NOT NULL, last INTEGER NOT NULL, head BLOB NOT NULL, boot_id BLOB NOT NULL,
    anchor_ms INTEGER, anchor_unc_ms INTEGER NOT NULL, anchor_clock TEXT NOT NULL,
    chain BLOB NOT NULL, data BLOB NOT NULL, UNIQUE (stream_id, last));
"""
# What version 2 has that version 1 had not.
ADDED: Final = """
CREATE TABLE database (id INTEGER NOT NULL);
CREATE TABLE devices (device TEXT PRIMARY KEY, gateway TEXT NOT NULL) WITHOUT ROWID;
CREATE UNIQUE INDEX records_of_frames ON records (device, kind, key_id, boot_epoch, sample_seq)
    WHERE sample_seq IS NOT NULL;
"""
SETTLED_MS: Final = 1000
TO_DATE: Final = f"clock <> 'synchronised' OR unc_ms > {SETTLED_MS}"  # records worth a better time
# What version 4 has that version 3 had not.
DATING: Final = f"""
CREATE TABLE anchors (
    gateway TEXT NOT NULL, boot_id BLOB NOT NULL, number INTEGER NOT NULL UNIQUE,
    mono_ms INTEGER NOT NULL, wall_ms INTEGER NOT NULL, unc_ms INTEGER NOT NULL,
    clock TEXT NOT NULL, todo_ms INTEGER, PRIMARY KEY (gateway, boot_id, number)) WITHOUT ROWID;
CREATE INDEX anchors_due ON anchors (number) WHERE todo_ms IS NOT NULL;
CREATE INDEX records_to_date ON records (boot_id, resp_ms)
    WHERE {TO_DATE};
"""
_VALUE: Final = """CAST(CASE json_each.type
        WHEN 'integer' THEN CASE WHEN json_each.value % divisor = 0 THEN json_each.value / divisor
                                 ELSE CAST(json_each.value AS REAL) / divisor END
        ELSE CAST(json_extract(json_each.value, '$[0]') AS REAL)
             / (1 << json_extract(json_each.value, '$[1]') / 2)
             / (1 << (json_extract(json_each.value, '$[1]') + 1) / 2) END AS NUMERIC)"""
# CROSS JOIN: SQLite is to take them in this order, so that it reads each array once.
_UNPACKED: Final = """packed_readings CROSS JOIN json_each(packed_readings.numbers)
    CROSS JOIN shapes ON shapes.id = shape_id AND position = json_each.key
        AND json_each.type <> 'null'"""
_MEASURED: Final = """
    SELECT streams.gateway, records.device, points.name, {value} AS value, points.unit,
           datetime(records.time_ms / 1000.0, 'unixepoch') AS time_utc, records.time_ms,
           records.unc_ms, records.clock, records.auth, streams.stream, records.seq
    FROM records JOIN streams ON streams.id = records.stream_id JOIN {readings}
    CROSS JOIN points ON points.id = point_id
    WHERE {table}.stream_id = records.stream_id AND {table}.seq = records.seq"""
VIEWS: Final = {
    "readings": f"""CREATE VIEW readings AS
    SELECT stream_id, seq, point_id, value FROM single_readings UNION ALL
    SELECT stream_id, seq, point_id, {_VALUE} FROM {_UNPACKED}""",  # noqa: S608 # ours
    "measurements": (
        "CREATE VIEW measurements AS"
        + _MEASURED.format(value="value", readings="single_readings", table="single_readings")
        + " UNION ALL"
        + _MEASURED.format(value=_VALUE, readings=_UNPACKED, table="packed_readings")
    ),
}
# What version 5 has that version 4 had not; ``single_readings`` was ``readings`` there.
PACKED: Final = f"""
CREATE TABLE packed_readings (
    stream_id INTEGER NOT NULL, seq INTEGER NOT NULL, shape_id INTEGER NOT NULL,
    numbers TEXT NOT NULL, PRIMARY KEY (stream_id, seq));
CREATE TABLE shapes (
    id INTEGER NOT NULL, position INTEGER NOT NULL, point_id INTEGER NOT NULL,
    divisor INTEGER NOT NULL, PRIMARY KEY (id, position)) WITHOUT ROWID;
CREATE INDEX shapes_of_points ON shapes (point_id);
{";".join(VIEWS.values())};
"""
_TABLES: Final = """
CREATE TABLE streams (
    id INTEGER PRIMARY KEY, gateway TEXT NOT NULL, stream INTEGER NOT NULL,
    contiguous_to INTEGER NOT NULL, head BLOB NOT NULL, UNIQUE (gateway, stream));
CREATE TABLE records (
    stream_id INTEGER NOT NULL, seq INTEGER NOT NULL, device TEXT NOT NULL, kind TEXT NOT NULL,
    time_ms INTEGER, unc_ms INTEGER NOT NULL, clock TEXT NOT NULL, auth TEXT NOT NULL,
    status INTEGER NOT NULL, boot_epoch INTEGER, sample_seq INTEGER,
    boot_id BLOB NOT NULL, resp_ms INTEGER NOT NULL, digest BLOB NOT NULL, key_id INTEGER,
    PRIMARY KEY (stream_id, seq)) WITHOUT ROWID;
CREATE INDEX records_of_device ON records (device, time_ms);
CREATE INDEX records_by_content ON records (digest);
CREATE TABLE points (
    id INTEGER PRIMARY KEY, device TEXT NOT NULL, name TEXT NOT NULL, unit TEXT NOT NULL,
    UNIQUE (device, name, unit));
CREATE TABLE single_readings (
    stream_id INTEGER NOT NULL, seq INTEGER NOT NULL, point_id INTEGER NOT NULL,
    value NUMERIC NOT NULL, PRIMARY KEY (stream_id, seq, point_id)) WITHOUT ROWID;
CREATE TABLE failures (
    stream_id INTEGER NOT NULL, seq INTEGER NOT NULL, name TEXT NOT NULL, quality TEXT NOT NULL,
    PRIMARY KEY (stream_id, seq, name)) WITHOUT ROWID;
CREATE TABLE events (
    stream_id INTEGER NOT NULL, seq INTEGER NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL,
    arg INTEGER NOT NULL, offset_ms INTEGER NOT NULL,
    PRIMARY KEY (stream_id, seq, number)) WITHOUT ROWID;
CREATE TABLE gaps (
    stream_id INTEGER NOT NULL, seq INTEGER NOT NULL, device TEXT NOT NULL, cause TEXT NOT NULL,
    boot_epoch INTEGER, first INTEGER, last INTEGER, detail TEXT NOT NULL,
    slots INTEGER, from_ms INTEGER, to_ms INTEGER, PRIMARY KEY (stream_id, seq)) WITHOUT ROWID;
CREATE TABLE refused (
    stream_id INTEGER NOT NULL, seq INTEGER NOT NULL, data BLOB NOT NULL, reason TEXT NOT NULL,
    seal BLOB, PRIMARY KEY (stream_id, seq)) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL, seal BLOB) WITHOUT ROWID;
"""
# What version 6 has that version 5 had not.
FILES: Final = """
CREATE TABLE files (
    stream_id INTEGER NOT NULL, seq INTEGER NOT NULL, device TEXT NOT NULL, name TEXT NOT NULL,
    boot_epoch INTEGER NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL,
    offset INTEGER NOT NULL, length INTEGER NOT NULL, PRIMARY KEY (stream_id, seq)) WITHOUT ROWID;
"""
# What version 7 has that version 6 had not.
ACTIONS: Final = """
CREATE TABLE actions (
    stream_id INTEGER NOT NULL, seq INTEGER NOT NULL, device TEXT NOT NULL, name TEXT NOT NULL,
    operator TEXT NOT NULL, arg INTEGER NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (stream_id, seq)) WITHOUT ROWID;
"""
# What version 8 has that version 7 had not.
ARCHIVED: Final = """
CREATE TABLE archived (
    first INTEGER PRIMARY KEY, last INTEGER NOT NULL, name TEXT NOT NULL, sha256 BLOB NOT NULL);
"""
# What version 9 has that version 8 had not.
THINNED: Final = """
CREATE TABLE removals (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, line INTEGER NOT NULL);
CREATE TABLE thinned (
    point_id INTEGER NOT NULL, width_s INTEGER NOT NULL, start_s INTEGER NOT NULL,
    count INTEGER NOT NULL, total REAL NOT NULL, least REAL NOT NULL, most REAL NOT NULL,
    PRIMARY KEY (point_id, width_s, start_s)) WITHOUT ROWID;
CREATE VIEW thinned_measurements AS
    SELECT device, name, unit, width_s, datetime(start_s, 'unixepoch') AS time_utc,
           start_s * 1000 AS time_ms, count, total / count AS mean, least, most
    FROM thinned JOIN points ON points.id = point_id;
"""
SCHEMA: Final = _TABLES + BATCHES + ADDED + DATING + PACKED + FILES + ACTIONS + ARCHIVED + THINNED
