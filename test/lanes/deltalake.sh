#!/usr/bin/env bash
# A table of ours, with deletion vectors and column mapping, read by delta-rs. Usage: deltalake.sh FOLDER
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=$1/deltalake
mkdir -p "$folder"
if ! python3 -m venv "$folder/venv" >/dev/null 2>&1; then echo "python3 can't make a virtual environment"; exit 77; fi
"$folder/venv/bin/pip" install -q deltalake==1.6.6 pyarrow
made=$(cd "$root" && npx node dist/test/lanes/make-delta-table.js "$folder")
echo "$made"
"$folder/venv/bin/python" - "$made" <<'PYTHON'
import json, sys
from deltalake import DeltaTable, QueryBuilder
want = json.loads(sys.argv[1])
table = DeltaTable(want["path"])
query = """SELECT count(*) AS rows, count(DISTINCT id) AS ids, min(id) AS low, max(id) AS high,
  sum(CASE WHEN name LIKE 'changed %' THEN 1 ELSE 0 END) AS changed FROM t"""
batches = QueryBuilder().register("t", table).execute(query)
batch = batches.read_all() if hasattr(batches, "read_all") else batches[0]
found = {name: batch.column(name)[0].as_py() if hasattr(batch.column(name)[0], "as_py") else batch.column(name)[0] for name in ["rows", "ids", "low", "high", "changed"]}
print(found)
assert found == {"rows": want["rows"], "ids": want["rows"], "low": 0, "high": want["rows"] - 1, "changed": want["changed"]}, found
PYTHON
