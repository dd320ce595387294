#!/usr/bin/env bash
# Spark and Delta, kept in FOLDER: a virtual environment with pyspark (FOLDER/spark-venv) and Delta's jars (FOLDER/spark), by
# which Spark starts without a network. Usage: spark-tools.sh FOLDER
# Exits 77, and its last line says what is missing, when there is no Java 17, or PyPI or Maven Central can't be reached.
set -euo pipefail
lanes=$(cd "$(dirname "$0")" && pwd)
folder=$1
packages=pyspark==4.2.0
major=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' || true)
if [ "${major:-0}" -lt 17 ]; then echo "no Java 17 or newer on PATH"; exit 77; fi
"$lanes/python-venv.sh" "$folder/spark-venv" "$packages"
if [ -f "$folder/spark/tools" ] && [ "$(cat "$folder/spark/tools")" = "$packages" ]; then exit 0; fi
mkdir -p "$folder/spark"
# A registry may give a file in part: then once more.
for _ in 1 2 3; do
  if said=$("$folder/spark-venv/bin/python" "$lanes/spark_session.py" "$folder/spark" </dev/null 2>&1); then
    echo "$packages" >"$folder/spark/tools"
    exit 0
  fi
done
echo "$said" | tail -n 40
echo "Spark doesn't start with Delta's jars, which Maven Central gives"
exit 77
