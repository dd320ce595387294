#!/usr/bin/env bash
# The source of declarative pipelines run by a stand-in of Databricks' engine, and by Spark's own declarative pipelines on Delta:
# npm run test:pipelines [FOLDER].
# 77 when there is no Java 17 with its compiler, or PyPI or Maven Central can't be reached. FOLDER keeps Python packages and jars.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:-$root/node_modules/.cache/sluice-lanes}
if ! command -v javac >/dev/null; then echo "no javac on PATH, which what stands between Spark and Delta is compiled by"; exit 77; fi
"$root/test/lanes/spark-tools.sh" "$folder"
# What pyspark[pipelines] adds to pyspark, beside the pyspark that is there.
packages="pyarrow==26.0.1 pandas==2.3.3 numpy==2.4.6 grpcio==1.85.3 grpcio-status==1.85.3 googleapis-common-protos==1.76.0
  protobuf==7.36.2 zstandard==0.25.0 PyYAML==6.0.4"
venv=$folder/spark-venv
if [ "$(cat "$venv/pipelines" 2>/dev/null)" != "$packages" ]; then
  # shellcheck disable=SC2086
  if ! "$venv/bin/pip" install -q $packages; then echo "pip can't install $packages"; exit 77; fi
  echo "$packages" >"$venv/pipelines"
fi
cd "$root"
npx node dist/test/lanes/declarative-by-rules.js "$venv/bin/python"
npx node dist/test/lanes/declarative-on-spark.js "$venv/bin/python" "$folder/spark"
