#!/usr/bin/env bash
# Tables of ours read by Spark with Delta, and Spark as a rival writer: npm run test:spark [FOLDER].
# 77 when there is no Java 17, or PyPI or Maven Central can't be reached. FOLDER keeps Python packages and jars.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:-$root/node_modules/.cache/sluice-lanes}
major=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' || true)
if [ "${major:-0}" -lt 17 ]; then echo "no Java 17 or newer on PATH"; exit 77; fi
"$root/test/lanes/python-venv.sh" "$folder/spark-venv" pyspark==4.2.0
cd "$root"
npx node dist/test/lanes/spark.js "$folder/spark-venv/bin/python" "$folder/spark"
