#!/usr/bin/env bash
# Tables of ours read by Spark with Delta, Spark as a rival writer, and Spark as a warehouse that the applier writes to:
# npm run test:spark [FOLDER].
# 77 when there is no Java 17, or PyPI or Maven Central can't be reached. FOLDER keeps Python packages and jars.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:-$root/node_modules/.cache/sluice-lanes}
major=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' || true)
if [ "${major:-0}" -lt 17 ]; then echo "no Java 17 or newer on PATH"; exit 77; fi
"$root/test/lanes/python-venv.sh" "$folder/spark-venv" pyspark==4.2.0
cd "$root"
npx node dist/test/lanes/spark.js "$folder/spark-venv/bin/python" "$folder/spark"
python=$folder/spark-venv/bin/python code=0
test/lanes/own-network.sh "$python" node_modules/.bin/node dist/test/lanes/spark-warehouse.js "$python" "$folder/spark" || code=$?
if [ "$code" -eq 77 ]; then echo "SKIPPED: Spark as a warehouse"; else exit "$code"; fi
