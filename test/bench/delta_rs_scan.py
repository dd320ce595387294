"""A full scan by delta-rs of a table, and of one of the same rows just written: seconds, and of those of the processor.
(It reads a table with deletion vectors, even one, by one thread.) Usage: delta_rs_scan.py TABLE FRESH"""
import json, sys, time
import pyarrow as arrow
from deltalake import DeltaTable, QueryBuilder, write_deltalake


def query(path, sql):
    result = QueryBuilder().register("t", DeltaTable(path)).execute(sql)
    return result.read_all() if hasattr(result, "read_all") else result


def scan(path):
    columns = [field.name for field in DeltaTable(path).schema().fields]
    sql = "SELECT count(*) AS rows, " + ", ".join(f'max("{name}") AS "m_{name}"' for name in columns) + " FROM t"
    times = []
    for _ in range(5):
        started, processor = time.perf_counter(), time.process_time()
        query(path, sql)
        times.append((time.perf_counter() - started, time.process_time() - processor))
    return [min(column) for column in zip(*times)]


table, fresh = sys.argv[1], sys.argv[2]
for part in range(10):
    rows = arrow.table(query(table, f'SELECT * FROM t WHERE "id" % 10 = {part}'))
    plain = arrow.schema([arrow.field(field.name, field.type) for field in rows.schema])
    write_deltalake(fresh, arrow.Table.from_arrays(rows.columns, schema=plain), mode="append")
(ours, ours_cpu), (new, new_cpu) = scan(table), scan(fresh)
print(json.dumps({"ours": ours, "fresh": new, "oursProcessor": ours_cpu, "freshProcessor": new_cpu}))
