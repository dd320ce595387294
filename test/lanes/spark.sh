#!/usr/bin/env bash
# Tables of ours read by Spark with Delta, Spark as a rival writer, Spark as a warehouse that the applier writes to, a small demo
# with that, and a stack of Databricks Apps: npm run test:spark [FOLDER]. Two Sparks side by side, as each is one thread most of
# the time. 77 when there is no Java 17, or PyPI or Maven Central can't be reached. FOLDER keeps Python packages and jars.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:-$root/node_modules/.cache/sluice-lanes}
"$root/test/lanes/spark-tools.sh" "$folder"
cd "$root"
python=$folder/spark-venv/bin/python logs=$(mktemp -d) failed=0
trap 'rm -rf "$logs"' EXIT

# The server of a warehouse listens on every interface: it has a network of its own.
parts="tables warehouse stacks"
if ! unshare --net true 2>/dev/null; then
  echo "SKIPPED: Spark as a warehouse, the demo and the stack with it: no network namespace for this user: unshare --net"
  parts=tables
fi

warehouse() {
  test/lanes/own-network.sh "$python" node_modules/.bin/node dist/test/lanes/spark-warehouse.js "$python" "$folder/spark"
}

stacks() {
  SLUICE_LANES_FOLDER=$folder npm run --silent demo -- --destination spark --scale 0.02 --json &&
    SLUICE_TEST_LONG=1 SLUICE_TEST_SPARK=$python:$folder/spark \
      test/lanes/own-network.sh "$python" npx vitest run test/stack/databricks-apps.test.ts
}

tables() { npx node dist/test/lanes/spark.js "$python" "$folder/spark"; }

# By a file, not a pipe: a process that outlives its part would hold that.
part() {
  local started=$SECONDS code=0
  "$1" >"$logs/$1" 2>&1 || code=$?
  if [ "$code" -eq 0 ]; then echo "$1: passed in $((SECONDS - started)) s" >>"$logs/$1"; else
    echo "$1: FAILED (exit $code)" >>"$logs/$1"
    cp "$logs/$1" "$logs/$1.failed"
  fi
  return "$code"
}

others() {
  local code=0
  for each in ${parts/warehouse/}; do part "$each" || code=1; done
  return "$code"
}

others &
running=($!)
if [[ $parts == *warehouse* ]]; then part warehouse & running+=($!); fi
for each in $parts; do : >>"$logs/$each"; done
# shellcheck disable=SC2086
(cd "$logs" && exec tail -q -s 0.2 -n +1 -f $parts) &
told=$!
for each in "${running[@]}"; do wait "$each" || failed=1; done
sleep 1
kill "$told" || true
# What failed is told again, as it may be far up.
for each in "$logs"/*.failed; do
  if [ ! -f "$each" ]; then continue; fi
  echo "FAILED: $(basename "$each" .failed)"
  grep -A 5 'FAILED' "$each" | head -n 60 || true
  tail -n 30 "$each"
done
exit "$failed"
