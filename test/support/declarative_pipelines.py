"""
What stands for the engine of declarative pipelines, without Spark: an update runs each flow as a stream of what is new, and AUTO CDC
goes by its published rules, where its outcome is all that counts. The newest event of a key counts, a late one comes in between;
of type 1 a truncate voids all before it; of type 2 each change of a row's values begins a version, and one that changes nothing none.
Told by lines of JSON: {"update": SOURCE, "pipeline": NAME, "refresh": [TABLE...], "full_refresh": [TABLE...]} answers {"errors": {TABLE:
TEXT}, "dropped": {TABLE: COUNT}}, {"poll": SOURCE, "pipeline": NAME} the same of the next batch of one that runs for good; {"rows": TABLE, "pipeline": NAME, "columns": [[NAME, TYPE]...]} answers {"lines": [...]}.
"""
import json, os, re, sqlite3, sys
import pyarrow as pa
import pyspark
from pyspark import cloudpickle
from pyspark.sql.pandas.types import to_arrow_schema

here = os.path.dirname(os.path.abspath(__file__))
sys.path += [here, os.path.join(here, "..", "lanes")]
import canonical
import databricks_pipelines


class Column:
    """An expression over a row, which is a dict."""

    def __init__(self, value, name=None):
        self.value, self.name = value, name

    def alias(self, name):
        return Column(self.value, name)

    def isin(self, *values):
        return Column(lambda row: self.value(row) in values)

    def __invert__(self):
        return Column(lambda row: not self.value(row))


class Functions:
    """As much of pyspark.sql.functions as a source uses."""

    @staticmethod
    def col(name):
        plain = name[1:-1].replace("``", "`") if name.startswith("`") else name
        return Column(lambda row: row[plain], plain)

    @staticmethod
    def when(condition, column):
        return Column(lambda row: column.value(row) if condition.value(row) else None)

    @staticmethod
    def struct(*columns):
        return Column(lambda row: {column.name: column.value(row) for column in columns})

    @staticmethod
    def expr(text):
        name, value = re.fullmatch(r"(\w+) = '(\w+)'", text).groups()
        return Column(lambda row: row[name] == value)


class Stream:
    """What spark.readStream gives, with what is selected of it."""

    def __init__(self, sources, source=None, options=None, selected=None):
        self.sources, self.source, self.options, self.selected = sources, source, options or {}, selected
        self.reader = None

    def format(self, name):
        return Stream(self.sources, self.sources[name])

    def option(self, name, value):
        return Stream(self.sources, self.source, {**self.options, name: value})

    def load(self):
        return self

    def select(self, *columns):
        return Stream(self.sources, self.source, self.options, columns)

    def read(self, position):
        """Rows behind a position, and the position of their end: a batch. A position is kept as JSON, the reader while it runs."""
        if self.reader is None:
            source = self.source(dict(self.options))
            self.schema = source.schema()
            self.reader = source.streamReader(self.schema)
        reader = self.reader
        start = json.loads(position or json.dumps(reader.initialOffset()))
        end = reader.latestOffset(start, None)
        if position is not None and end == start:
            return [], position
        # An executor has what was sent to it, nothing else.
        parts = [cloudpickle.loads(cloudpickle.dumps((reader, part))) for part in reader.partitions(start, end)]
        wanted = to_arrow_schema(self.schema, timezone="UTC")
        rows = []
        for elsewhere, part in parts:
            for batch in elsewhere.read(part):
                assert batch.schema.names == wanted.names, f"{batch.schema} isn't {wanted}"
                assert [each.type for each in batch.schema] == [each.type for each in wanted], f"{batch.schema} isn't {wanted}"
                rows += pa.Table.from_batches([batch]).to_pylist()
        return [{column.name: column.value(row) for column in self.selected} for row in rows], json.dumps(end)


class Spark:
    """What a source finds under this name."""

    def __init__(self):
        self.sources = {}
        self.dataSource = self

    def register(self, source):
        self.sources[source.name()] = source

    @property
    def readStream(self):
        return Stream(self.sources)


class Update:
    """What a source declares."""

    def __init__(self):
        self.views, self.tables, self.flows = {}, {}, {}

    def view(self, name, **_):
        return lambda query: self.views.__setitem__(name, query)

    def streaming_table(self, name, expectations, **_):
        assert name not in self.tables, f"{name} is declared twice"
        self.tables[name] = expectations

    def append(self, target, name, **_):
        return lambda query: self.flows.__setitem__(target, (name, query, None))

    def auto_cdc(self, target, kind, apply_as_truncates, source, name, **flow):
        self.flows[target] = (name or target, lambda: self.views[source](), {"kind": kind, "truncates": apply_as_truncates, **flow})


def order_of(sequence):
    """Structs are ordered by their fields, NULL first. A sequence that is none at all is nothing to order by."""
    assert any(value is not None for value in sequence.values()), sequence
    return tuple((value is not None, value) for value in sequence.values())


class Table:
    def __init__(self):
        self.positions, self.rows, self.events, self.truncated, self.dropped = {}, [], {}, None, 0

    def after(self, rows, flow, expectations):
        """The table when these rows have come, another one: an update that fails leaves what was."""
        new = Table()
        new.positions, new.truncated, new.dropped = dict(self.positions), self.truncated, self.dropped
        new.events = {key: dict(events) for key, events in self.events.items()}
        if flow is None:
            kept = expected(rows, expectations)
            new.rows, new.dropped = self.rows + kept, self.dropped + len(rows) - len(kept)
            return new
        for row in rows:
            new.take(row, flow)
        live = [each for versions in new.versions() for each in versions if flow["kind"] == "2" or each["end"] is None]
        new.rows = expected([row_of(each, flow["kind"]) for each in live], expectations)
        new.dropped = len(live) - len(new.rows)
        return new

    def take(self, row, flow):
        sequence = flow["sequence_by"].value(row)
        at = order_of(sequence)
        if flow["truncates"] is not None and flow["truncates"].value(row):
            self.truncated = max(at, self.truncated or at)
            self.events = {key: {seen: each for seen, each in events.items() if seen > at} for key, events in self.events.items()}
            return
        if self.truncated is not None and at < self.truncated:
            return
        key = tuple(column.value(row) for column in flow["keys"])
        assert None not in key, f"a key is NULL: {row}"
        events = self.events.setdefault(key, {})
        assert at not in events, f"two events of a key have one sequence, so nobody's outcome: {row}"
        values = {name: value for name, value in row.items() if name not in flow["except_column_list"]}
        events[at] = {"sequence": sequence, "delete": flow["apply_as_deletes"].value(row), "values": values}

    def versions(self):
        """Of each key; a version has all events that have left its values as they were, too."""
        for events in self.events.values():
            versions = []
            for at in sorted(events):
                event = events[at]
                last = versions[-1] if versions and versions[-1]["end"] is None else None
                if last is not None and not event["delete"] and repr(last["values"]) == repr(event["values"]):
                    last["starts"].append(event["sequence"])
                    continue
                if last is not None:
                    last["end"] = event["sequence"]
                if not event["delete"]:
                    versions.append({"values": event["values"], "starts": [event["sequence"]], "end": None})
            yield versions


def row_of(version, kind):
    if kind == "1":
        # Of equal events the newest counts: what they have is the same.
        return version["values"]
    return {**version["values"], "__START_AT": version["starts"][0], "__END_AT": version["end"], "__starts": version["starts"]}


def expected(rows, expectations):
    """By SQLite, for conditions that it reads as Spark does."""
    kept = rows
    database = sqlite3.connect(":memory:")
    for kind, rules in expectations.items():
        for name, condition in rules.items():
            def holds(row):
                plain = {column: value for column, value in row.items() if isinstance(value, (int, float, str, type(None)))}
                columns = ", ".join('? AS "%s"' % column for column in plain)
                return database.execute(f"SELECT ({condition}) FROM (SELECT {columns})", list(plain.values())).fetchone()[0] != 0

            broken = [row for row in kept if not holds(row)]
            assert kind != "expect_all_or_fail" or not broken, f"expectation {name} failed: {broken[0]}"
            if kind == "expect_all_or_drop":
                kept = [row for row in kept if holds(row)]
    return kept


class Pipeline:
    def __init__(self):
        self.tables, self.running = {}, None

    def update(self, path, only, full):
        flows = self.declared(path)
        wanted = [name for name in flows if not (only or full) or name in only + full]
        for name in wanted:
            if name in full:
                self.tables[name] = Table()
        return self.batch({name: flows[name] for name in wanted})

    def poll(self, path):
        """Of a pipeline that runs for good: its next batch. One that has failed begins a new update with the one after."""
        self.running = self.running or self.declared(path)
        found = self.batch(self.running)
        if found["errors"]:
            self.running = None
        return found

    def declared(self, path):
        """The flows of a source by the names of their tables."""
        declared = Update()
        restore = databricks_pipelines.install(declared)
        functions = pyspark.sql.functions
        pyspark.sql.functions = Functions
        try:
            with open(path, encoding="utf-8") as file:
                exec(compile(file.read(), path, "exec"), {"__name__": "__main__", "spark": Spark()})
            return {
                re.findall(r"`((?:[^`]|``)+)`", target)[-1].replace("``", "`"): (name, query(), flow, declared.tables[target])
                for target, (name, query, flow) in declared.flows.items()
            }
        finally:
            restore()
            pyspark.sql.functions = functions

    def batch(self, flows):
        errors = {}
        for name, (flow_name, stream, flow, expectations) in flows.items():
            table = self.tables.setdefault(name, Table())
            try:
                rows, position = stream.read(table.positions.get(flow_name))
                table = table.after(rows, flow, expectations)
                table.positions[flow_name] = position
                self.tables[name] = table
            except Exception as error:
                errors[name] = f"{type(error).__name__}: {error}"
        return {"errors": errors, "dropped": {name: table.dropped for name, table in self.tables.items()}}

    def lines(self, name, columns):
        rows = self.tables[name].rows
        if rows and "__starts" in rows[0]:
            rows = [each for row in rows for each in events_of(row)]
        for row in rows[:1]:
            assert sorted(row) == sorted(column for column, _ in columns), f"columns {sorted(row)}, not {columns}"
        return canonical.lines(columns, [[plain(row[column]) for column, _ in columns] for row in rows])


def events_of(row):
    """A version as the versions that its changes would have made, had each been one."""
    values = {name: value for name, value in row.items() if name not in ("__START_AT", "__END_AT", "__starts")}
    for at, start in enumerate(row["__starts"]):
        is_snapshot = start["event"] == -1
        yield {
            **values, "_commit_lsn": None if is_snapshot else start["commit_lsn"],
            "_ordinal": None if is_snapshot else start["ordinal"],
            "is_current": row["__END_AT"] is None and at == len(row["__starts"]) - 1,
        }


def plain(value):
    """Timestamps as microseconds since 1970."""
    return pa.scalar(value, pa.timestamp("us")).value if hasattr(value, "isoformat") else value


def answer(pipelines, request):
    pipeline = pipelines.setdefault(request["pipeline"], Pipeline())
    if "poll" in request:
        return pipeline.poll(request["poll"])
    if "update" in request:
        return pipeline.update(request["update"], request.get("refresh", []), request.get("full_refresh", []))
    return {"lines": pipeline.lines(request["rows"], request["columns"])}


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    pipelines = {}
    print(json.dumps({"version": pyspark.__version__}), file=answers, flush=True)
    for line in sys.stdin:
        try:
            found = answer(pipelines, json.loads(line))
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}"[:8000]}
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
