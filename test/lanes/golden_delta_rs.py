"""Tables that delta-rs writes, for test/fixtures/delta. Usage: golden_delta_rs.py FOLDER [NAME...]"""
import datetime, decimal, os, sys
import pyarrow as arrow
from deltalake import DeltaTable, write_deltalake

folder = sys.argv[1]


def rows(start, end):
    ids = list(range(start, end))
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return arrow.table({
        "id": arrow.array(ids, "int64"),
        "name": [None if id % 6 == 0 else f"name {id} ü" for id in ids],
        "amount": arrow.array([decimal.Decimal(id) / 4 for id in ids], arrow.decimal128(12, 2)),
        "at": arrow.array([epoch + datetime.timedelta(microseconds=id * 1_000_003) for id in ids], arrow.timestamp("us", "UTC")),
        "day": arrow.array([datetime.date(1970, 1, 1) + datetime.timedelta(days=id - 5) for id in ids]),
        "ratio": [id / 7 for id in ids],
        "data": arrow.array([bytes([id]) for id in ids], "binary"),
    })


def plain(path):
    for start in (0, 10, 20):
        write_deltalake(path, rows(start, start + 10), mode="append")
    DeltaTable(path).delete("id % 4 = 1")
    DeltaTable(path).create_checkpoint()
    DeltaTable(path).update(predicate="id = 7", updates={"name": "'updated'"})


def local_time(path):
    local = arrow.table({"id": arrow.array([1, 2], "int32"), "at": arrow.array([1, None], arrow.timestamp("us"))})
    write_deltalake(path, local)
    write_deltalake(path, local, mode="append")
    DeltaTable(path).optimize.compact()


def partitioned(path):
    regions = ["ü b", "a/b=c", "x%20y", None, "plain"]
    table = arrow.table({"id": arrow.array(range(20), "int64"), "region": [regions[id % 5] for id in range(20)]})
    write_deltalake(path, table, partition_by=["region"])
    DeltaTable(path).delete("id = 6")


for make in (plain, local_time, partitioned):
    name = f"delta-rs-{make.__name__.replace('_', '-')}"
    if not sys.argv[2:] or name in sys.argv[2:]:
        make(os.path.join(folder, name))
