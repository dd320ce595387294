#!/usr/bin/env bash
# Tables of ours, of every kind, read by delta-rs, polars and DuckDB, and the stand-in of Databricks' Files API used by
# Databricks' own client: npm run test:readers [FOLDER].
# 77 when PyPI can't be reached. FOLDER keeps the Python packages.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:-$root/node_modules/.cache/sluice-lanes}
"$root/test/lanes/python-venv.sh" "$folder/readers-venv" \
  deltalake==1.6.6 pyarrow==26.0.1 polars==2.1.0 duckdb==2.0.1 pyroaring==1.2.0 databricks-sdk==0.162.0
tables=$(mktemp -d)
trap 'rm -rf "$tables"' EXIT
cd "$root"
npx node dist/test/lanes/make-tables.js "$tables"
"$folder/readers-venv/bin/python" test/lanes/readers.py "$tables/tables.json"
"$folder/readers-venv/bin/python" test/lanes/files_api.py node_modules/.bin/node dist/test/lanes/files-stand-in.js
