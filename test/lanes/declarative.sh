#!/usr/bin/env bash
# The source of declarative pipelines run by Spark's own declarative pipelines on Delta: npm run test:pipelines [FOLDER].
# 77 when there is no Java 17 with its compiler, or PyPI or Maven Central can't be reached. FOLDER keeps Python packages and jars.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:-$root/node_modules/.cache/sluice-lanes}
"$root/test/lanes/spark-tools.sh" "$folder"
"$root/test/lanes/python-venv.sh" "$folder/pipelines-venv" 'pyspark[pipelines]==4.2.0' pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6 \
  grpcio==1.85.3 grpcio-status==1.85.3 googleapis-common-protos==1.76.0 protobuf==7.36.2 zstandard==0.25.0 PyYAML==6.0.4
cd "$root"
python=$folder/pipelines-venv/bin/python
npx node dist/test/lanes/declarative-on-spark.js "$python" "$folder/spark"
