"""
Tables of ours read by delta-rs, by polars and by DuckDB. Usage: readers.py TABLES.json
DuckDB reads the files that the log names, less the rows of their deletion vectors: the log is read here, vectors by
CRoaring; no code is the runtime's.
"""
import base64, collections, glob, json, os, re, shutil, struct, sys, urllib.parse, uuid, zlib
import duckdb, polars, pyarrow
import pyarrow.compute as compute
from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import DeltaProtocolError
from pyroaring import BitMap64
import canonical

failures = 0


def report(what, problems):
    global failures
    failures += 1 if problems else 0
    print("FAILED" if problems else "ok", what, sep=": ")
    for problem in problems:
        print(f"  {problem}")


def integers(column):
    if pyarrow.types.is_list(column.type) or pyarrow.types.is_large_list(column.type):
        element = column.type.value_type
        if pyarrow.types.is_timestamp(element):
            micros = compute.cast(column, pyarrow.list_(pyarrow.timestamp("us", element.tz)))
            return compute.cast(micros, pyarrow.list_(pyarrow.int64()))
        return compute.cast(column, pyarrow.list_(pyarrow.int32())) if pyarrow.types.is_date32(element) else column
    if pyarrow.types.is_timestamp(column.type):
        return compute.cast(compute.cast(column, pyarrow.timestamp("us", column.type.tz)), "int64")
    if pyarrow.types.is_date32(column.type):
        return compute.cast(column, "int32")
    return column


def rows_of(arrow):
    return zip(*(integers(column).to_pylist() for column in arrow.columns)) if arrow.num_rows else []


def by_delta_rs(path):
    result = QueryBuilder().register("t", DeltaTable(path)).execute("SELECT * FROM t")
    return pyarrow.table(result.read_all() if hasattr(result, "read_all") else result)


def refusal(read):
    """That a reader which lacks a feature says so, and reads nothing wrong."""
    try:
        read()
    except DeltaProtocolError as error:
        return [] if "columnMapping" in str(error) else [str(error)]
    return ["it was read: compare its rows from now on"]


Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


def decode_z85(text):
    # Python's b85 has other characters, in the same order.
    return base64.b85decode(text.translate(str.maketrans(Z85, base64._b85alphabet.decode())))


def deleted_rows(path, vector):
    if vector is None:
        return []
    size = vector["sizeInBytes"]
    if vector["storageType"] == "i":
        data = decode_z85(vector["pathOrInlineDv"])[:size]
    else:
        name = vector["pathOrInlineDv"]
        file = f"deletion_vector_{uuid.UUID(bytes=decode_z85(name[-20:]))}.bin"
        with open(os.path.join(path, name[:-20], file), "rb") as vectors:
            vectors.seek(vector["offset"])
            length, data = struct.unpack(">i", vectors.read(4))[0], vectors.read(size)
            assert length == size and zlib.crc32(data) == struct.unpack(">I", vectors.read(4))[0], file
    assert struct.unpack("<I", data[:4])[0] == 1681511377
    rows = BitMap64.deserialize(data[4:])
    assert len(rows) == vector["cardinality"]
    return list(rows)


def newest_checkpoint(log):
    versions = {}
    for name in os.listdir(log):
        match = re.fullmatch(r"(\d{20})\.checkpoint(?:\.\d{10}\.(\d{10}))?\.parquet", name)
        if match:
            versions.setdefault((int(match[1]), int(match[2] or 1)), []).append(os.path.join(log, name))
    whole = [(version, sorted(names)) for (version, parts), names in versions.items() if len(names) == parts]
    return max(whole, default=(-1, []))


def replay(path, connection):
    log = os.path.join(path, "_delta_log")
    version, checkpoint = newest_checkpoint(log)
    files, schema = {}, None
    if checkpoint:
        query = "SELECT to_json(add), metaData.schemaString FROM read_parquet(?)"
        for add, text in connection.execute(query, [checkpoint]).fetchall():
            schema = text or schema
            if add is not None:
                add = json.loads(add)
                files[add["path"]] = add
    for name in sorted(glob.glob(os.path.join(log, "*.json"))):
        if int(os.path.basename(name)[:20]) <= version:
            continue
        with open(name, encoding="utf-8") as lines:
            actions = [json.loads(line) for line in lines]
        for action in actions:
            if "remove" in action:
                files.pop(action["remove"]["path"], None)
        for action in actions:
            if "add" in action:
                files[action["add"]["path"]] = action["add"]
            if "metaData" in action:
                schema = action["metaData"]["schemaString"]
    return files.values(), json.loads(schema)["fields"]


TYPES = {"short": "SMALLINT", "integer": "INTEGER", "long": "BIGINT", "string": "VARCHAR", "binary": "BLOB",
         "timestamp": "TIMESTAMPTZ", "timestamp_ntz": "TIMESTAMP"}


def duckdb_value(value, delta_type):
    if delta_type.startswith("timestamp"):
        return f"epoch_us({value})"
    return f"datediff('day', DATE '1970-01-01', {value})" if delta_type == "date" else value


def by_duckdb(path):
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    files, fields = replay(path, connection)
    columns = [(each["name"], canonical.type_name(each["type"]), each["metadata"].get("delta.columnMapping.physicalName", each["name"])) for each in fields]
    rows = []
    for add in files:
        file = os.path.join(path, urllib.parse.unquote(add["path"]))
        present = {row[0] for row in connection.execute("SELECT name FROM parquet_schema(?)", [file]).fetchall()}
        chosen = []
        for _, delta_type, physical in columns:
            quoted = '"' + physical.replace('"', '""') + '"' if physical in present else "NULL"
            if physical in add["partitionValues"]:
                text = add["partitionValues"][physical]
                quoted = "'" + text.replace("'", "''") + "'" if text else "NULL"
            element = canonical.element_of(delta_type)
            if element is None:
                chosen.append(duckdb_value(f"CAST({quoted} AS {TYPES.get(delta_type, delta_type)})", delta_type))
            else:
                listed = f"CAST({quoted} AS {TYPES.get(element, element)}[])"
                chosen.append(f"[{duckdb_value('x', element)} for x in {listed}]")
        connection.execute("CREATE OR REPLACE TEMP TABLE deleted AS SELECT unnest(?::BIGINT[]) AS row", [deleted_rows(path, add.get("deletionVector"))])
        query = f"""SELECT {", ".join(chosen)} FROM read_parquet(?, file_row_number = true)
          WHERE file_row_number NOT IN (SELECT row FROM deleted)"""
        rows.extend(connection.execute(query, [file]).fetchall())
    return [(name, delta_type) for name, delta_type, _ in columns], rows


def without_column_mapping(path, copy):
    """delta-rs reads no feed of tables with column mapping yet: a copy whose log has the names that the files have."""
    shutil.copytree(path, copy)
    for name in os.listdir(os.path.join(copy, "_delta_log")):
        file = os.path.join(copy, "_delta_log", name)
        if not name.endswith(".json"):
            os.remove(file)
            continue
        with open(file, encoding="utf-8") as lines:
            actions = [json.loads(line) for line in lines]
        for action in actions:
            for features in ("readerFeatures", "writerFeatures"):
                if "protocol" in action:
                    action["protocol"][features].remove("columnMapping")
            if "metaData" in action:
                about = action["metaData"]
                schema = json.loads(about["schemaString"])
                names = {}
                for each in schema["fields"]:
                    names[each["name"]] = each["metadata"]["delta.columnMapping.physicalName"]
                    each["name"], each["metadata"] = names[each["name"]], {}
                about["schemaString"] = json.dumps(schema)
                about["partitionColumns"] = [names[each] for each in about["partitionColumns"]]
                about["configuration"] = {key: value for key, value in about["configuration"].items() if "columnMapping" not in key}
        with open(file, "w", encoding="utf-8") as lines:
            lines.writelines(json.dumps(action) + "\n" for action in actions)


def feed(copy):
    """The newest version is the one before with the feed between, all by delta-rs."""
    newest = DeltaTable(copy).version()

    def rows(version):
        result = QueryBuilder().register("t", DeltaTable(copy, version=version)).execute("SELECT * FROM t")
        return collections.Counter(map(repr, rows_of(pyarrow.table(result.read_all() if hasattr(result, "read_all") else result))))

    changes = pyarrow.table(DeltaTable(copy).load_cdf(starting_version=newest, ending_version=newest).read_all())
    names = [field.name for field in DeltaTable(copy).schema().fields]
    types = changes.column("_change_type").to_pylist()
    sums, table = rows(newest - 1), rows(newest)
    for kind, row in zip(types, rows_of(changes.select(names))):
        sums[repr(row)] += 1 if kind in ("insert", "update_postimage") else -1
    kinds = collections.Counter(types)
    print("feed:", dict(kinds))
    problems = [] if sums == table else ["it doesn't lead from one version to the next"]
    if any(kinds[kind] == 0 for kind in ("insert", "delete", "update_preimage", "update_postimage")):
        problems.append(f"it lacks a kind of change: {kinds}")
    return problems


def main():
    with open(sys.argv[1], encoding="utf-8") as text:
        tables = json.load(text)
    print(f"deltalake, polars {polars.__version__}, DuckDB {duckdb.__version__}")
    for table in tables:
        what = f"{table['name']}, {table['rows']} rows, {table['vectors']} files with vectors"
        path = table["path"]
        arrow = by_delta_rs(path)
        fields = json.loads(DeltaTable(path).schema().to_json())["fields"]
        columns = [(each["name"], canonical.type_name(each["type"])) for each in fields]
        report(f"delta-rs: {what}", canonical.differences(table, columns, rows_of(arrow)))
        report(f"polars through delta-rs: {what}", canonical.differences(table, columns, rows_of(polars.from_arrow(arrow).to_arrow())))
        report(f"DuckDB: {what}", canonical.differences(table, *by_duckdb(path)))
        if table["name"] == "parted":
            without_column_mapping(path, path + "-without-mapping")
            report(f"delta-rs: change data feed of {what}", feed(path + "-without-mapping"))
        if table["name"].startswith("plain"):
            protocol = DeltaTable(path).protocol()
            report(f"{what} needs reader version 1", [] if protocol.min_reader_version == 1 else [str(protocol)])
            report(f"pyarrow through delta-rs: {what}", canonical.differences(table, columns, rows_of(DeltaTable(path).to_pyarrow_table())))
            scanned = polars.scan_delta(path).collect().to_arrow()
            report(f"polars.scan_delta: {what}", canonical.differences(table, columns, rows_of(scanned)))
            report(f"delta-rs: change data feed of {what}", feed(path))
        else:
            mapped = path
    for name, read in {
        "polars.scan_delta": lambda: polars.scan_delta(mapped).collect(),
        "pyarrow through delta-rs": lambda: DeltaTable(mapped).to_pyarrow_table(),
    }.items():
        report(f"{name} refuses column mapping", refusal(read))
    sys.exit(1 if failures else 0)


main()
