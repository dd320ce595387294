#!/usr/bin/env bash
# Tables of ours read by Spark with Delta, Spark as a rival writer, Spark as a warehouse that the applier writes to, and a
# small demo with that: npm run test:spark [FOLDER].
# 77 when there is no Java 17, or PyPI or Maven Central can't be reached. FOLDER keeps Python packages and jars.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:-$root/node_modules/.cache/sluice-lanes}
"$root/test/lanes/spark-tools.sh" "$folder"
cd "$root"
python=$folder/spark-venv/bin/python code=0
npx node dist/test/lanes/spark.js "$python" "$folder/spark"
test/lanes/own-network.sh "$python" node_modules/.bin/node dist/test/lanes/spark-warehouse.js "$python" "$folder/spark" || code=$?
if [ "$code" -eq 77 ]; then echo "SKIPPED: Spark as a warehouse"; exit 0; fi
if [ "$code" -ne 0 ]; then exit "$code"; fi
SLUICE_LANES_FOLDER=$folder npm run --silent demo -- --destination spark --scale 0.02 --json
