"""The peer of `bench apply`: delta-rs MERGE. Usage: delta_rs_merge.py FOLDER RUNS CHANGES FILE..."""
import json, os, shutil, sys, time
import pyarrow.parquet as parquet
from deltalake import DeltaTable, write_deltalake

folder, runs, changes, files = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]
base = os.path.join(folder, "delta_rs")
for file in files:
    write_deltalake(base, parquet.read_table(file), mode="append")
drop = ["_op", "_commit_lsn", "_ordinal", "_commit_time", "_unchanged"]
source = parquet.read_table(changes).drop_columns(drop)


def sizes(path):
    return {name: os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(path) for name in names}


result = {"seconds": [], "bytesWritten": []}
for run in range(runs):
    copy = f"{base}_{run}"
    shutil.copytree(base, copy)
    before = sizes(copy)
    started = time.perf_counter()
    table = DeltaTable(copy)
    table.merge(source, "t.c1 = s.c1", source_alias="s", target_alias="t").when_matched_update_all().when_not_matched_insert_all().execute()
    result["seconds"].append(time.perf_counter() - started)
    result["bytesWritten"].append(sum(size for name, size in sizes(copy).items() if name not in before))
    shutil.rmtree(copy)
print(json.dumps(result))
