import json
import os
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor


def staged_log(root):
    """The staged log: what is committed, and nothing else. Files that no record names are not looked at."""

    def read(path):
        with open(os.path.join(root, path), encoding="utf-8") as file:
            return json.load(file)

    def key(sequence):
        return "log/%020d.json" % sequence

    def exists(sequence):
        return os.path.exists(os.path.join(root, key(sequence)))

    def names(folder):
        try:
            return sorted(os.listdir(os.path.join(root, folder)))
        except FileNotFoundError:
            return []

    class Log:
        def identity(self):
            """Tells one log from another, as numbers of records mean nothing in another; "" before it is opened."""
            return read("log.json")["logId"] if os.path.exists(os.path.join(root, "log.json")) else ""

        def bounds(self):
            """The oldest and the newest record; (1, 0) where there is none."""
            numbers = [int(name[:20]) for name in names("log") if name.endswith(".json") and name[:20].isdigit()]
            return (numbers[0], numbers[-1]) if numbers else (1, 0)

        def head(self, known):
            """The newest record, looked for behind one that is known."""
            if not exists(known):
                return self.bounds()[1]
            while exists(known + 1):
                known += 1
            return known

        def record(self, sequence):
            record = read(key(sequence))
            if record["version"] not in (1, 2):
                raise RuntimeError(
                    "Sluice: staged record %d has version %r, which this pipeline doesn't know. Run pulumi up with the"
                    " version of pulumi-sluice that the gateway has." % (sequence, record["version"])
                )
            return record

        def records(self, first, last):
            """In order; many are read at a time, as each is a small file."""
            with ThreadPoolExecutor(16) as pool:
                yield from pool.map(self.record, range(first, last + 1))

        def schemas(self, table_id):
            """Every definition that a table has had, by number."""
            folder = "schema/" + table_id
            found = [name[:-5] for name in names(folder) if name.endswith(".json")]
            return {int(name): read(folder + "/" + name + ".json") for name in found}

        def table_id(self, schema, name):
            """The table of that name: of the newest record, else the last that was called so; None before the first."""
            _, head = self.bounds()
            if head > 0:
                for table_id, table in self.record(head)["tables"].items():
                    if (table["schema"], table["name"]) == (schema, name):
                        return table_id
            for table_id in sorted(names("schema"), key=int, reverse=True):
                schemas = self.schemas(table_id)
                if schemas and (lambda last: (last["schema"], last["name"]) == (schema, name))(schemas[max(schemas)]):
                    return table_id
            return None

    return Log()


def open_since(log, table_id, known, sequence):
    """
    The record with the begin of the snapshot that is under way at a record, else None; `known`: what that record tells of the table.
    A table that waits for another snapshot is told by the name of its last, as if that weren't whole.
    """
    if known["snapshotId"] is None or known["snapshotComplete"]:
        return None
    tail, _ = log.bounds()
    for at in range(sequence, tail - 1, -1):
        for event in reversed(log.record(at)["events"]):
            if event["tableId"] == table_id and event.get("snapshotId") == known["snapshotId"]:
                if event["kind"] == "snapshot-end":
                    return None
                if event["kind"] == "snapshot-begin":
                    return at
    return None


def follow_events(log, table, first, last):
    """
    What becomes of a table's events in records first to last, in order. Events behind a snapshot's begin are held back until its
    end: nobody sees a part of it, and one that is never finished is void. A record's number comes first in the sequence, as LSNs
    may go back after a lost slot or a failover.
    """
    table_id = table["tableId"]
    ready, open_snapshot = [], None

    def lsn_of(text):
        high, low = text.split("/")
        return (int(high, 16) << 32) + int(low, 16)

    for record in log.records(first, last):
        for index, event in enumerate(record["events"]):
            if event["tableId"] != table_id:
                continue
            kind, number = event["kind"], record["sequence"]
            if kind == "removed":
                open_snapshot = None
            elif kind == "snapshot-begin":
                # Before every change that comes after it, and behind all that came before.
                open_snapshot = {
                    "id": event["snapshotId"], "record": number, "lsn": lsn_of(record["startLsn"]),
                    "stagedAt": record["stagedAt"], "rows": [], "changes": [],
                }
            elif kind == "snapshot-rows":
                if open_snapshot is not None and open_snapshot["id"] == event["snapshotId"]:
                    for at, file in enumerate(event["files"]):
                        # A row that is there twice is in its newer state in what was staged later.
                        open_snapshot["rows"].append({
                            "kind": "rows", "file": file, "schemaId": event["schemaId"], "record": open_snapshot["record"],
                            "lsn": open_snapshot["lsn"], "stagedAt": open_snapshot["stagedAt"],
                            "step": (number << 20) + (index << 10) + at,
                        })
            elif kind == "snapshot-end":
                if open_snapshot is not None and open_snapshot["id"] == event["snapshotId"]:
                    begin = {key: open_snapshot[key] for key in ("record", "lsn", "stagedAt")}
                    ready.append({"kind": "snapshot", "schemaId": event["schemaId"], **begin})
                    ready += open_snapshot["rows"] + open_snapshot["changes"]
                    open_snapshot = None
            else:
                into = ready if open_snapshot is None else open_snapshot["changes"]
                place = {"record": number, "event": index, "schemaId": event["schemaId"], "transaction": event.get("transaction")}
                if kind == "changes":
                    into += [{"kind": "changes", "file": file, **place} for file in event["files"]]
                elif kind == "truncate":
                    into.append({"kind": "truncate", "stagedAt": record["stagedAt"], "lsn": lsn_of(record["startLsn"]), **place})
                elif kind == "schema":
                    into.append({"kind": "schema", "fill": event.get("fill"), **place})
                else:
                    raise RuntimeError("Sluice: staged record %d has an event %r, which this pipeline doesn't know." % (number, kind))
    return ready


def table_of(log, declared):
    """A declared table as the log has it now; None while it isn't staged."""
    table_id = log.table_id(declared["schema"], declared["name"])
    schemas = {} if table_id is None else log.schemas(table_id)
    if not schemas:
        return None
    newest = max(schemas)
    label = declared["schema"] + "." + declared["name"]

    def misfit(what, remedy):
        return RuntimeError("Sluice: table %s: %s. %s" % (label, what, remedy))

    columns = schemas[newest]["columns"]
    known = [column["name"] for column in columns]
    for name in (declared["include"] or []) + declared["exclude"] + (declared["key"] or []):
        if name not in known:
            raise misfit("it has no column " + name, "Name a column of the table in tableOptions.")
    chosen = [
        column for column in columns
        if column["name"] not in declared["exclude"] and (declared["include"] is None or column["name"] in declared["include"])
    ]
    own = {"append": ["_op", "_commit_lsn", "_ordinal", "_commit_time"], "scd2": ["__START_AT", "__END_AT"]}.get(declared["mode"], [])
    if declared["metadataColumns"]:
        own = own + ["_commit_lsn", "_commit_time"]
    seen = set()
    for name in [column["name"] for column in chosen] + own + ["_sluice_op", "_sluice_sequence"]:
        if name.lower() in seen:
            raise misfit("two columns would be called " + name.lower(), "Rename or exclude one of them.")
        seen.add(name.lower())
    key = declared["key"]
    if key is None:
        ordered = [column for column in columns if column["keyOrdinal"] is not None]
        key = [column["name"] for column in sorted(ordered, key=lambda column: column["keyOrdinal"])]
    if declared["mode"] != "append":
        if not key:
            raise misfit("it has no key, and AUTO CDC wants one", 'Name columns that are unique in tableOptions.key, or use mode "append".')
        lost = [name for name in key if name not in [column["name"] for column in chosen]]
        if lost:
            raise misfit("column %s of its key is left out" % lost[0], "Include it.")
    return {**declared, "tableId": table_id, "schemaId": newest, "label": label, "columns": chosen, "keys": key}


def staged_source():
    """The streaming source. Made in a function, so that its classes travel to executors as they are."""
    from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition
    from pyspark.sql import types

    def spark_type(text):
        if text.startswith("array<"):
            return types.ArrayType(spark_type(text[6:-1]))
        if text.startswith("decimal("):
            precision, scale = text[8:-1].split(",")
            return types.DecimalType(int(precision), int(scale))
        return {
            "short": types.ShortType(), "integer": types.IntegerType(), "long": types.LongType(), "float": types.FloatType(),
            "double": types.DoubleType(), "string": types.StringType(), "binary": types.BinaryType(),
            "boolean": types.BooleanType(), "date": types.DateType(), "timestamp": types.TimestampType(),
            "timestamp_ntz": types.TimestampNTZType(),
        }[text]

    def arrow_type(text):
        import pyarrow as pa

        if text.startswith("array<"):
            return pa.list_(arrow_type(text[6:-1]))
        if text.startswith("decimal("):
            precision, scale = text[8:-1].split(",")
            return pa.decimal128(int(precision), int(scale))
        return {
            "short": pa.int16(), "integer": pa.int32(), "long": pa.int64(), "float": pa.float32(), "double": pa.float64(),
            "string": pa.string(), "binary": pa.binary(), "boolean": pa.bool_(), "date": pa.date32(),
            "timestamp": pa.timestamp("us", "UTC"), "timestamp_ntz": pa.timestamp("us"),
        }[text]

    ours = {
        "_sluice_op": "string", "_sluice_record": "long", "_sluice_event": "long", "_sluice_lsn": "long",
        "_sluice_ordinal": "long", "_sluice_time": "timestamp",
    }

    class Part(InputPartition):
        def __init__(self, step):
            self.value = step

    class Reader(DataSourceStreamReader):
        def __init__(self, root, table):
            self.root, self.table = root, table
            self.last = None

        def initialOffset(self):
            """Before the begin of the last snapshot that is whole; for a table of changes, before all, where all is there."""
            log = staged_log(self.root)
            tail, head = log.bounds()
            begin = tail
            if self.table["mode"] != "append" or tail > 1:
                begun, begin = {}, None
                for record in log.records(tail, head):
                    for event in record["events"]:
                        if event["tableId"] != self.table["tableId"]:
                            continue
                        if event["kind"] == "snapshot-begin":
                            begun = {event["snapshotId"]: record["sequence"]}
                        elif event["kind"] == "snapshot-end" and event["snapshotId"] in begun:
                            begin = begun[event["snapshotId"]]
                if begin is None:
                    if tail > 1:
                        raise self.refused("staged records before %d were purged, and no whole snapshot of it is left" % tail)
                    begin = tail
            return {"record": begin - 1, "fresh": True, "begins": True, "log": log.identity()}

        def latestOffset(self, *_):
            log = staged_log(self.root)
            head = log.head(self.last) if self.last else log.bounds()[1]
            if head == 0:
                return {"record": 0, "fresh": True, "log": log.identity()}
            tables, table = log.record(head)["tables"], self.table
            for table_id, each in tables.items():
                if table_id != table["tableId"] and (each["schema"], each["name"]) == (table["schema"], table["name"]):
                    raise RuntimeError("Sluice: table %s was made anew at the source: start a new update of the pipeline." % table["label"])
            known = tables.get(table["tableId"])
            if known is not None and known["schemaId"] > table["schemaId"]:
                # Up to the last record of the definition that this update has columns for.
                low, high = (self.last or log.bounds()[0]), head
                while low < high:
                    middle = (low + high) // 2
                    then = log.record(middle)["tables"].get(table["tableId"])
                    if then is not None and then["schemaId"] > table["schemaId"]:
                        high = middle
                    else:
                        low = middle + 1
                head = low - 1
                if self.last == head:
                    raise RuntimeError("Sluice: columns of table %s have changed: start a new update of the pipeline, as one that runs for good does by itself." % table["label"])
                known = log.record(head)["tables"].get(table["tableId"]) if head > 0 else None
            self.last = head
            # Nothing of it is whole yet: no snapshot was begun, or its first is under way.
            fresh = known is None or known["snapshotId"] is None or (
                known["snapshots"] <= 1 and (known.get("snapshot") is not None or open_since(log, table["tableId"], known, head) is not None))
            return {"record": head, "fresh": fresh, "log": log.identity()}

        def partitions(self, start, end):
            log, table = staged_log(self.root), self.table
            if start["log"] not in ("", log.identity()):
                raise self.refused("the staging log isn't the one that it has followed", False)
            first = start["record"] + 1
            if end["record"] < first:
                return []
            tail, _ = log.bounds()
            # The record that was read last tells what the table was then.
            if tail > (first if start.get("begins") else max(start["record"], 1)):
                raise RuntimeError("Sluice: staged records from %d on were purged before table %s had them: take a new snapshot (sluice resync), then refresh it in full." % (first, table["label"]))
            first = max(first, tail)
            then = log.record(start["record"])["tables"].get(table["tableId"]) if start["record"] >= tail else None
            # The begin of a snapshot is in what was read, its end isn't: what was held back comes now.
            begun = None if then is None else open_since(log, table["tableId"], then, start["record"])
            first = first if begun is None else begun
            # A batch is only asked for when the one before it is kept.
            self.tell(log, min(first, start["record"] + (1 if start.get("begins") else 0)) - 1)
            steps = follow_events(log, table, first, end["record"])
            schemas = log.schemas(table["tableId"])
            if not start.get("fresh") and table["mode"] != "append":
                self.check(schemas, then, steps)
            parts = []
            fresh = bool(start.get("fresh"))
            for step in steps:
                if step["kind"] == "schema":
                    # Rows that the table has already can't be told.
                    if step["fill"] is not None and table["mode"] != "append":
                        raise self.refused("a column came with a value for the rows of before, which AUTO CDC can't give them")
                    continue
                if step["kind"] == "snapshot":
                    if table["mode"] == "append" or fresh:
                        fresh = False
                        continue
                    if table["mode"] == "scd2":
                        raise self.refused("it has a new snapshot, whose rows AUTO CDC can't tell from those of its history", False)
                if step["kind"] == "truncate" and table["mode"] == "scd2":
                    raise self.refused("it was truncated, which AUTO CDC can't apply to a history")
                columns = {str(column["attributeNumber"]): column["deltaType"] for column in schemas[step["schemaId"]]["columns"]}
                parts.append(Part({**step, "staged": columns}))
            return parts

        def tell(self, log, sequence):
            """
            What this table has done with: no record up to this one is needed to go on. As appliers tell it (progress/), for whoever
            purges staging. Where it can't be written, as there is no right to, nothing is purged.
            """
            table, sequence = self.table, max(sequence, 0)
            known = {"schema": table["schema"], "name": table["name"], "removed": False, "heldSequence": None, "sequence": sequence}
            told = {"version": 1, "logId": log.identity(), "scannedSequence": sequence, "tables": {table["tableId"]: known}}
            try:
                with open(os.path.join(self.root, "progress", "pipeline-" + table["flow"] + ".json"), "w", encoding="utf-8") as file:
                    json.dump(told, file)
            except OSError:
                pass

        def check(self, schemas, then, steps):
            """Rows of before must stay right under the columns of now."""
            table = self.table
            if then is None:
                if any(step["kind"] == "snapshot" for step in steps):
                    raise self.refused("it was made anew or came back", False)
                return
            before, now = schemas[then["schemaId"]]["columns"], schemas[table["schemaId"]]["columns"]
            by_number = {column["attributeNumber"]: column for column in before}
            used = {
                column["name"]: column["attributeNumber"]
                for number in sorted(schemas) if number < table["schemaId"] for column in schemas[number]["columns"]
            }
            for column in now:
                old = by_number.get(column["attributeNumber"])
                if old is None:
                    if used.get(column["name"], column["attributeNumber"]) != column["attributeNumber"]:
                        raise self.refused("a new column has the name %s of a former one" % column["name"])
                    continue
                for what in ("name", "deltaType", "keyOrdinal"):
                    if old[what] != column[what]:
                        raise self.refused("column %s is another now (%s %s, was %s)" % (column["name"], what, column[what], old[what]))

        def refused(self, what, needs_snapshot=True):
            remedy = "Take a new snapshot of it (sluice resync), wait for its end, then refresh" if needs_snapshot else "Refresh"
            return RuntimeError("Sluice: table %s: %s. %s the table in full in this pipeline." % (self.table["label"], what, remedy))

        def read(self, partition):
            import datetime
            import pyarrow as pa
            import pyarrow.compute as pc
            import pyarrow.parquet as pq

            step, table, root = partition.value, self.table, self.root
            columns = table["columns"]

            def fixed(value, kind, length):
                scalar = pa.scalar(value, type=arrow_type(kind))
                return pa.nulls(length, scalar.type) if value is None else pa.repeat(scalar, length)

            def batch(length, values, op, record, event, lsn, ordinal, time):
                def array(value, kind):
                    return value if isinstance(value, (pa.Array, pa.ChunkedArray)) else fixed(value, kind, length)

                arrays = values + [
                    array(value, kind) for value, kind in zip((op, record, event, lsn, ordinal, time), ours.values())
                ]
                whole = [each.combine_chunks() if isinstance(each, pa.ChunkedArray) else each for each in arrays]
                return pa.RecordBatch.from_arrays(whole, names=[column["physicalName"] for column in columns] + list(ours))

            def instant(text):
                return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))

            def micros(text):
                return datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(microseconds=int(text))

            kind = step["kind"]
            if kind in ("snapshot", "truncate"):
                values = [fixed(None, column["deltaType"], 1) for column in columns]
                transaction = step.get("transaction")
                lsn = int(transaction["commitLsn"]) if transaction else step["lsn"]
                time = micros(transaction["commitTimeMicros"]) if transaction else instant(step["stagedAt"])
                yield batch(1, values, "truncate", step["record"], step.get("event", -2), lsn, 0, time)
                return
            is_rows = kind == "rows"
            # By one open file, not as a data set: its name may have anything in it.
            with open(os.path.join(root, step["file"]["path"]), "rb") as source:
                taken = 0
                for part in pq.ParquetFile(source).iter_batches(65536):
                    rows = pa.Table.from_batches([part])
                    if not is_rows:
                        end = step["file"].get("ordinalEnd")
                        if end is not None:
                            rows = rows.filter(pc.less(rows["_ordinal"], end))
                        if not (table["mode"] == "append" and table["beforeImage"]):
                            rows = rows.filter(pc.not_equal(rows["_op"], 4))
                        if rows["_unchanged"].null_count < rows.num_rows:
                            raise RuntimeError(
                                "Sluice: table %s: an update left out a long value that it didn't change, and AUTO CDC can't keep the"
                                " value of before (IGNORE NULL UPDATES would also keep what became NULL). At the source: ALTER TABLE %s"
                                " REPLICA IDENTITY FULL; then take a new snapshot of it (sluice resync), wait for its end, and refresh the"
                                " table in full in this pipeline." % (table["label"], table["quoted"])
                            )
                    length = rows.num_rows
                    if length == 0:
                        continue
                    values = []
                    for column in columns:
                        kept = arrow_type(column["deltaType"])
                        if str(column["attributeNumber"]) not in step["staged"]:
                            values.append(pa.nulls(length, kept))
                        else:
                            values.append(rows[column["physicalName"]].cast(kept))
                    if is_rows:
                        # Where a key may be there twice, the later staged of the two comes after the other.
                        lsn = step["lsn"] if table["mode"] == "append" else step["step"]
                        numbers = pa.array(range(taken, taken + length), pa.int64())
                        taken += length
                        yield batch(length, values, "snapshot", step["record"], -1, lsn, numbers, instant(step["stagedAt"]))
                        continue
                    names = pa.array(["insert", "update", "delete", "delete", "update_preimage"])
                    transaction = step["transaction"]
                    lsn = int(transaction["commitLsn"]) if transaction else rows["_commit_lsn"]
                    time = micros(transaction["commitTimeMicros"]) if transaction else rows["_commit_time"].cast(arrow_type("timestamp"))
                    yield batch(
                        length, values, names.take(rows["_op"].combine_chunks().cast(pa.int64())), step["record"], step["event"],
                        lsn, rows["_ordinal"], time,
                    )

    class Source(DataSource):
        @classmethod
        def name(cls):
            return "sluice_staged"

        def parsed(self):
            return json.loads(self.options["table"])

        def schema(self):
            columns = [(column["physicalName"], column["deltaType"]) for column in self.parsed()["columns"]]
            return types.StructType([types.StructField(name, spark_type(kind)) for name, kind in columns + list(ours.items())])

        def streamReader(self, schema):
            return Reader(self.options["staging"], self.parsed())

    return Source


def declare_tables(spark, dp, staging, tables):
    """Declares each table that is staged, of those that the program names."""
    from pyspark import cloudpickle
    from pyspark.sql import functions as F

    # Executors don't have this file: what is in it travels with the classes, whatever it was imported as.
    if __name__ in sys.modules and __name__ != "__main__":
        cloudpickle.register_pickle_by_value(sys.modules[__name__])
    spark.dataSource.register(staged_source())
    log = staged_log(staging)

    def quoted(name):
        mark = chr(96)
        return mark + name.replace(mark, mark + mark) + mark

    def flow_name(declared):
        """Of a table by itself: a flow's position is kept under it, so that it may not change with other tables."""
        plain = "".join(each if each.isascii() and each.isalnum() else "_" for each in declared["target"][-1])
        return "sluice_%s_%08x" % (plain, zlib.crc32(json.dumps(declared["target"]).encode()))

    def declare(declared):
        table = table_of(log, declared)
        if table is None:
            print("Sluice: table %s.%s isn't staged yet: it comes with a later update." % (declared["schema"], declared["name"]))
            return
        target = ".".join(quoted(part) for part in declared["target"])
        table["flow"] = flow_name(declared)
        source = table["flow"] + "_changes"

        def changes():
            rows = spark.readStream.format("sluice_staged").option("staging", staging).option("table", json.dumps(table)).load()
            columns = [F.col(column["physicalName"]).alias(column["name"]) for column in table["columns"]]
            is_change = ~F.col("_sluice_op").isin("snapshot", "truncate")
            if table["mode"] == "append":
                return rows.select(
                    *columns, F.col("_sluice_op").alias("_op"), F.col("_sluice_lsn").alias("_commit_lsn"),
                    F.when(is_change, F.col("_sluice_ordinal")).alias("_ordinal"), F.col("_sluice_time").alias("_commit_time"),
                )
            own = []
            if table["metadataColumns"]:
                own = [
                    F.when(is_change, F.col("_sluice_lsn")).alias("_commit_lsn"),
                    F.when(is_change, F.col("_sluice_time")).alias("_commit_time"),
                ]
            # No part of it may be one that can't be null: the engine keeps a sequence that isn't there as one of nulls.
            sequence = F.struct(
                F.col("_sluice_record").alias("record"), F.col("_sluice_event").alias("event"), F.col("_sluice_lsn").alias("commit_lsn"),
                F.col("_sluice_ordinal").alias("ordinal"), F.col("_sluice_time").alias("commit_time"),
            )
            return rows.select(*columns, *own, F.col("_sluice_op"), sequence.alias("_sluice_sequence"))

        settings = {"name": target, "table_properties": table["properties"]}
        for option in ("cluster_by", "partition_cols", "comment"):
            if table[option]:
                settings[option] = table[option]
        by_action = {
            action: {rule["name"]: rule["condition"] for rule in table["expectations"] if rule["action"] == action}
            for action in ("warn", "drop", "fail")
        }
        names = {"warn": "expect_all", "drop": "expect_all_or_drop", "fail": "expect_all_or_fail"}
        for action, each in by_action.items():
            if each:
                settings[names[action]] = each
        if table["mode"] == "append":
            dp.create_streaming_table(**settings)
            dp.append_flow(target=target, name=flow_name(declared))(changes)
            return
        dp.temporary_view(name=source)(changes)
        dp.create_streaming_table(**settings)
        flow = {
            "target": target, "source": source, "keys": [F.col(quoted(name)) for name in table["keys"]],
            "sequence_by": F.col("_sluice_sequence"), "apply_as_deletes": F.expr("_sluice_op = 'delete'"),
            "except_column_list": ["_sluice_op", "_sluice_sequence"],
        }
        if table["mode"] == "scd2":
            dp.create_auto_cdc_flow(**flow, stored_as_scd_type=2)
        else:
            dp.create_auto_cdc_flow(**flow, stored_as_scd_type=1, apply_as_truncates=F.expr("_sluice_op = 'truncate'"))

    for declared in tables:
        declare(declared)
