#!/usr/bin/env bash
# The source of declarative pipelines: declarative.sh PART [FOLDER]; npm run test:pipelines runs both parts.
#   rules  run by a stand-in of Databricks' engine, which goes by its published rules; needs Python only
#   spark  run by Spark's own declarative pipelines on Delta; needs Java 17 with its compiler
# FOLDER keeps Python packages and jars. 77 where a part can't run: no Python, no Java, or PyPI or Maven Central can't be reached.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
part=$1
folder=${2:-$root/node_modules/.cache/sluice-lanes}
venv=$folder/spark-venv
case $part in
  rules) "$root/test/lanes/python-venv.sh" "$venv" pyspark==4.2.0 ;;
  spark)
    if ! command -v javac >/dev/null; then echo "no javac on PATH, which what stands between Spark and Delta is compiled by"; exit 77; fi
    "$root/test/lanes/spark-tools.sh" "$folder"
    ;;
  *) echo "declarative.sh rules|spark [FOLDER]" && exit 2 ;;
esac
# What pyspark[pipelines] adds, to the pyspark that other lanes have.
packages="pyarrow==26.0.1 pandas==2.3.3 numpy==2.4.6 grpcio==1.85.3 grpcio-status==1.85.3 googleapis-common-protos==1.76.0
  protobuf==7.36.2 zstandard==0.25.0 PyYAML==6.0.4"
if [ "$(cat "$venv/pipelines" 2>/dev/null)" != "$packages" ]; then
  # shellcheck disable=SC2086
  if ! "$venv/bin/pip" install -q $packages; then echo "pip can't install $packages"; exit 77; fi
  echo "$packages" >"$venv/pipelines"
fi
cd "$root"
case $part in
  rules) npx node dist/test/lanes/declarative-by-rules.js "$venv/bin/python" ;;
  spark) npx node dist/test/lanes/declarative-on-spark.js "$venv/bin/python" "$folder/spark" ;;
esac
