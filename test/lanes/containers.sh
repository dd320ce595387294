#!/usr/bin/env bash
# The image, and the Docker target, on a real engine: npm run test:containers [FOLDER].
# Its own daemon, of Debian's docker.io, with its own folders, ended by its pid; no image comes from anywhere: the base is
# made of Debian's packages and npm's Node. 77 where it can't be: not root on Debian, no packages, no daemon. FOLDER keeps
# the base.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:-$root/node_modules/.cache/sluice-lanes}
cd "$root"
skip() { echo "$1"; exit 77; }

if [ "$(id -u)" -ne 0 ]; then skip "not root: a daemon of the lane's own can't be started"; fi
dockerd=$(command -v /usr/sbin/dockerd || command -v dockerd || true)
if [ -z "$dockerd" ] || ! command -v debootstrap >/dev/null; then
  if ! command -v apt-get >/dev/null; then skip "neither dockerd and debootstrap nor apt-get"; fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq && apt-get install -y -qq --no-install-recommends docker.io iptables debootstrap >/dev/null ||
    skip "docker.io and debootstrap can't be installed"
  dockerd=$(command -v /usr/sbin/dockerd || command -v dockerd)
fi

work=$(mktemp -d)
pidfile=$work/docker.pid
stop() {
  if [ -f "$pidfile" ]; then
    local pid
    pid=$(cat "$pidfile")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  fi
  rm -rf "$work" 2>/dev/null || true
}
trap stop EXIT
"$dockerd" --data-root "$work/data" --exec-root "$work/exec" --pidfile "$pidfile" -H "unix://$work/docker.sock" \
  --userland-proxy=false >"$work/dockerd.log" 2>&1 &
export DOCKER_HOST=unix://$work/docker.sock DOCKER_BUILDKIT=0
docker=$(command -v /usr/bin/docker || command -v docker)
for attempt in $(seq 100); do
  if "$docker" version >/dev/null 2>&1; then break; fi
  if [ "$attempt" -eq 100 ]; then tail -5 "$work/dockerd.log"; skip "dockerd doesn't start here"; fi
  sleep 0.2
done

base=$folder/container-base.tar
if [ ! -f "$base" ]; then
  mkdir -p "$folder"
  debootstrap --variant=minbase --include=libatomic1 bookworm "$work/base" >"$work/debootstrap.log" 2>&1 ||
    { tail -3 "$work/debootstrap.log"; skip "Debian's packages can't be fetched"; }
  cp node_modules/node/bin/node "$work/base/usr/local/bin/node"
  tar -C "$work/base" -cf "$base.tmp" . && mv "$base.tmp" "$base"
fi
"$docker" import "$base" sluice-lane-base:1 >/dev/null

npx node dist/image/main.js --engine "$docker" --base sluice-lane-base:1 >"$work/build.log" 2>&1 || { tail -20 "$work/build.log"; exit 1; }
image=pulumi-sluice:$(node -p 'require("./package.json").version')
layers() { "$docker" image inspect "$image" --format '{{json .RootFS.Layers}}'; }
first=$(layers)
npx node dist/image/main.js --context-only
"$docker" build --quiet --no-cache --tag again --build-arg BASE=sluice-lane-base:1 dist/image-context >/dev/null
second=$("$docker" image inspect again --format '{{json .RootFS.Layers}}')
bytes=$("$docker" image inspect "$image" --format '{{.Size}}')
echo "$image: $bytes bytes, layers $first"
if [ "$first" != "$second" ]; then echo "built again it has other layers: $second"; exit 1; fi
if [ "$bytes" -gt 250000000 ]; then echo "it is larger than 250 MB"; exit 1; fi
for absent in sh npm cc apt-get; do
  if "$docker" run --rm --entrypoint "$absent" "$image" --version >/dev/null 2>&1; then echo "it has $absent"; exit 1; fi
done
"$docker" rmi again >/dev/null

npx vitest run --config test/lanes/lane.config.mts
npm run --silent demo -- --target docker --json | tee "$work/demo.log"
tail -1 "$work/demo.log" | node -e '
  const result = JSON.parse(require("fs").readFileSync(0, "utf8"));
  const left = [result.slots, result.publications, result.processes, result.containers];
  if (!left.every((count) => count === 0) || !result.tables.every(({ equal }) => equal)) process.exit(1);'
