#!/usr/bin/env bash
# Gateway and applier of earlier versions are upgraded one by one, in either order, and go back: npm run test:upgrade.
# The earlier versions are commits of this repository, built here with the packages of now; 77 where its history isn't here.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
# The first that followed changes of schema, whose records have version 1 only; the last without a version 2 of anything else.
versions=(f9ca12f7 1833b4c1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for commit in "${versions[@]}"; do
  git rev-parse --quiet --verify "$commit^{commit}" >/dev/null || { echo "the history of this checkout lacks $commit"; exit 77; }
  mkdir "$work/$commit"
  git archive "$commit" package.json tsconfig.json runtime | tar -x -C "$work/$commit"
  ln -s "$root/node_modules" "$work/$commit/node_modules"
  (cd "$work/$commit" && echo '{"extends": "./tsconfig.json", "include": ["runtime/**/*.ts"]}' >earlier.json &&
    npx tsc -p earlier.json --incremental false --tsBuildInfoFile null)
done
SLUICE_TEST_EARLIER=$(printf ":$work/%s" "${versions[@]}") npx vitest run --config test/lanes/lane.config.mts upgrade
