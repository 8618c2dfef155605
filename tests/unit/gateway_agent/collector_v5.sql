-- A database that version 5 of the tables was written in, as iterdump() of sqlite3 prints it.
PRAGMA application_id = 1413890895;
PRAGMA user_version = 5;
BEGIN TRANSACTION;
CREATE TABLE anchors (
    gateway TEXT NOT NULL, boot_id BLOB NOT NULL, number INTEGER NOT NULL UNIQUE,
    mono_ms INTEGER NOT NULL, wall_ms INTEGER NOT NULL, unc_ms INTEGER NOT NULL,
    clock TEXT NOT NULL, todo_ms INTEGER, PRIMARY KEY (gateway, boot_id, number)) WITHOUT ROWID;
INSERT INTO "anchors" VALUES('gw-1',X'000102030405060708090A0B0C0D0E0F',1,50000,1764000050000,20,'synchronised',NULL);
CREATE TABLE batches (
    number INTEGER PRIMARY KEY, stream_id INTEGER NOT NULL REFERENCES streams,
    first INTEGER NOT NULL, last INTEGER NOT NULL, head BLOB NOT NULL, boot_id BLOB NOT NULL,
    anchor_ms INTEGER, anchor_unc_ms INTEGER NOT NULL, anchor_clock TEXT NOT NULL,
    chain BLOB NOT NULL, data BLOB NOT NULL, UNIQUE (stream_id, last));
INSERT INTO "batches" VALUES(1,1,1,3,X'646A3C89ACA4B19B1B966467903726581E1E70908F5C8E67C357FB9D50F9E196',X'000102030405060708090A0B0C0D0E0F',1764000000000,20,'synchronised',X'9F6EE54695B5A78642FB98BC35C187AAB1F6F2126C14566D136E41DEC32171ED',X'D284589EA4013203766170706C69636174696F6E2F73656E6D6C2B63626F7204480A29BDF95EA782506274668A6467772D31000101035820646A3C89ACA4B19B1B966467903726581E1E70908F5C8E67C357FB9D50F9E196582000000000000000000000000000000000000000000000000000000000000000008550000102030405060708090A0B0C0D0E0F19C3501B0000019AB698AB5014038318481848184801A0587228B52FFD20D94D0300440589A500667374617475730200216767772D312E782F22FB41DA492042C000006274668500192AF8181E0314A30063636F32016370706D02190191A3006174016343656C02C4822018C943002EE092CA4032C893CB0820C07307B2F048B0A1C8D76313982C36390358409DFAF137C17D3CF445F9241F3B020A6518E39DAB79AB74AD6AB27651EB61D0FF64137EDDD80052FD9D8BC942180F3920229182069221484CFEB5140163F80602');
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL, seal BLOB) WITHOUT ROWID;
INSERT INTO "counters" VALUES('batches_accepted',1,X'63D178B9A0F5AE97');
INSERT INTO "counters" VALUES('frames_repeated',0,X'1F32CF70B70C6503');
INSERT INTO "counters" VALUES('gaps',0,X'B40269AC27C06D9C');
INSERT INTO "counters" VALUES('node_tag_failures',0,X'385EB993E072D71F');
INSERT INTO "counters" VALUES('readings_verified',6,X'5CD1CD4F26BD3944');
INSERT INTO "counters" VALUES('records_foreign',0,X'492A935986D17836');
INSERT INTO "counters" VALUES('records_refused',0,X'439B605EFB9FC793');
INSERT INTO "counters" VALUES('records_repeated',0,X'84CC9404F58748C0');
INSERT INTO "counters" VALUES('records_verified',3,X'E27E74C6CBB15DD4');
CREATE TABLE database (id INTEGER NOT NULL);
INSERT INTO "database" VALUES(1106575181850794751);
CREATE TABLE devices (device TEXT PRIMARY KEY, gateway TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "devices" VALUES('gw-1.x','gw-1');
CREATE TABLE events (
    stream_id INTEGER NOT NULL, seq INTEGER NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL,
    arg INTEGER NOT NULL, offset_ms INTEGER NOT NULL,
    PRIMARY KEY (stream_id, seq, number)) WITHOUT ROWID;
CREATE TABLE failures (
    stream_id INTEGER NOT NULL, seq INTEGER NOT NULL, name TEXT NOT NULL, quality TEXT NOT NULL,
    PRIMARY KEY (stream_id, seq, name)) WITHOUT ROWID;
CREATE TABLE gaps (
    stream_id INTEGER NOT NULL, seq INTEGER NOT NULL, device TEXT NOT NULL, cause TEXT NOT NULL,
    boot_epoch INTEGER, first INTEGER, last INTEGER, detail TEXT NOT NULL,
    slots INTEGER, from_ms INTEGER, to_ms INTEGER, PRIMARY KEY (stream_id, seq)) WITHOUT ROWID;
CREATE TABLE packed_readings (
    stream_id INTEGER NOT NULL, seq INTEGER NOT NULL, shape_id INTEGER NOT NULL,
    numbers TEXT NOT NULL, PRIMARY KEY (stream_id, seq));
INSERT INTO "packed_readings" VALUES(1,1,1,'[401,201]');
INSERT INTO "packed_readings" VALUES(1,2,1,'[402,202]');
INSERT INTO "packed_readings" VALUES(1,3,1,'[403,203]');
CREATE TABLE points (
    id INTEGER PRIMARY KEY, device TEXT NOT NULL, name TEXT NOT NULL, unit TEXT NOT NULL,
    UNIQUE (device, name, unit));
INSERT INTO "points" VALUES(1,'gw-1.x','co2','ppm');
INSERT INTO "points" VALUES(2,'gw-1.x','t','Cel');
CREATE TABLE records (
    stream_id INTEGER NOT NULL, seq INTEGER NOT NULL, device TEXT NOT NULL, kind TEXT NOT NULL,
    time_ms INTEGER, unc_ms INTEGER NOT NULL, clock TEXT NOT NULL, auth TEXT NOT NULL,
    status INTEGER NOT NULL, boot_epoch INTEGER, sample_seq INTEGER,
    boot_id BLOB NOT NULL, resp_ms INTEGER NOT NULL, digest BLOB NOT NULL, key_id INTEGER,
    PRIMARY KEY (stream_id, seq)) WITHOUT ROWID;
INSERT INTO "records" VALUES(1,1,'gw-1.x','profile',1764000011000,20,'synchronised','none',0,NULL,NULL,X'000102030405060708090A0B0C0D0E0F',11030,X'064ACC7B83576BAED782A605B9C7D896',NULL);
INSERT INTO "records" VALUES(1,2,'gw-1.x','profile',1764000012000,20,'synchronised','none',0,NULL,NULL,X'000102030405060708090A0B0C0D0E0F',12030,X'F795293099091EFC7C30DBA8FFD1BC7B',NULL);
INSERT INTO "records" VALUES(1,3,'gw-1.x','profile',1764000013000,20,'synchronised','none',0,NULL,NULL,X'000102030405060708090A0B0C0D0E0F',13030,X'52624679B7A8553F6AFF76FE740B6488',NULL);
CREATE TABLE refused (
    stream_id INTEGER NOT NULL, seq INTEGER NOT NULL, data BLOB NOT NULL, reason TEXT NOT NULL,
    seal BLOB, PRIMARY KEY (stream_id, seq)) WITHOUT ROWID;
CREATE TABLE shapes (
    id INTEGER NOT NULL, position INTEGER NOT NULL, point_id INTEGER NOT NULL,
    divisor INTEGER NOT NULL, PRIMARY KEY (id, position)) WITHOUT ROWID;
INSERT INTO "shapes" VALUES(1,0,1,1);
INSERT INTO "shapes" VALUES(1,1,2,10);
CREATE TABLE single_readings (
    stream_id INTEGER NOT NULL, seq INTEGER NOT NULL, point_id INTEGER NOT NULL,
    value NUMERIC NOT NULL, PRIMARY KEY (stream_id, seq, point_id)) WITHOUT ROWID;
CREATE TABLE streams (
    id INTEGER PRIMARY KEY, gateway TEXT NOT NULL, stream INTEGER NOT NULL,
    contiguous_to INTEGER NOT NULL, head BLOB NOT NULL, UNIQUE (gateway, stream));
INSERT INTO "streams" VALUES(1,'gw-1',1,3,X'646A3C89ACA4B19B1B966467903726581E1E70908F5C8E67C357FB9D50F9E196');
CREATE INDEX records_of_device ON records (device, time_ms);
CREATE INDEX records_by_content ON records (digest);
CREATE UNIQUE INDEX records_of_frames ON records (device, kind, key_id, boot_epoch, sample_seq)
    WHERE sample_seq IS NOT NULL;
CREATE INDEX anchors_due ON anchors (number) WHERE todo_ms IS NOT NULL;
CREATE INDEX records_to_date ON records (boot_id, resp_ms)
    WHERE clock <> 'synchronised' OR unc_ms > 1000;
CREATE INDEX shapes_of_points ON shapes (point_id);
CREATE VIEW readings AS
    SELECT stream_id, seq, point_id, value FROM single_readings UNION ALL
    SELECT stream_id, seq, point_id, CAST(CASE json_each.type
        WHEN 'integer' THEN CASE WHEN json_each.value % divisor = 0 THEN json_each.value / divisor
                                 ELSE CAST(json_each.value AS REAL) / divisor END
        ELSE CAST(json_extract(json_each.value, '$[0]') AS REAL)
             / (1 << json_extract(json_each.value, '$[1]') / 2)
             / (1 << (json_extract(json_each.value, '$[1]') + 1) / 2) END AS NUMERIC) FROM packed_readings CROSS JOIN json_each(packed_readings.numbers)
    CROSS JOIN shapes ON shapes.id = shape_id AND position = json_each.key
        AND json_each.type <> 'null';
CREATE VIEW measurements AS
    SELECT streams.gateway, records.device, points.name, value AS value, points.unit,
           datetime(records.time_ms / 1000.0, 'unixepoch') AS time_utc, records.time_ms,
           records.unc_ms, records.clock, records.auth, streams.stream, records.seq
    FROM records JOIN streams ON streams.id = records.stream_id JOIN single_readings
    CROSS JOIN points ON points.id = point_id
    WHERE single_readings.stream_id = records.stream_id AND single_readings.seq = records.seq UNION ALL
    SELECT streams.gateway, records.device, points.name, CAST(CASE json_each.type
        WHEN 'integer' THEN CASE WHEN json_each.value % divisor = 0 THEN json_each.value / divisor
                                 ELSE CAST(json_each.value AS REAL) / divisor END
        ELSE CAST(json_extract(json_each.value, '$[0]') AS REAL)
             / (1 << json_extract(json_each.value, '$[1]') / 2)
             / (1 << (json_extract(json_each.value, '$[1]') + 1) / 2) END AS NUMERIC) AS value, points.unit,
           datetime(records.time_ms / 1000.0, 'unixepoch') AS time_utc, records.time_ms,
           records.unc_ms, records.clock, records.auth, streams.stream, records.seq
    FROM records JOIN streams ON streams.id = records.stream_id JOIN packed_readings CROSS JOIN json_each(packed_readings.numbers)
    CROSS JOIN shapes ON shapes.id = shape_id AND position = json_each.key
        AND json_each.type <> 'null'
    CROSS JOIN points ON points.id = point_id
    WHERE packed_readings.stream_id = records.stream_id AND packed_readings.seq = records.seq;
COMMIT;
