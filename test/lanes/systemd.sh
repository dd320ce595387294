#!/usr/bin/env bash
# Gateway and applier as units of a real systemd: npm run test:systemd. It runs as PID 1 of namespaces of its own, with
# none of this machine's units, and is ended with them; 77 where that can't be: not root, no systemd, no namespaces.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
skip() { echo "$1"; exit 77; }

if [ "$(id -u)" -ne 0 ]; then skip "not root: a systemd of the lane's own can't be started"; fi
if [ ! -x /lib/systemd/systemd ]; then
  if ! command -v apt-get >/dev/null; then skip "neither systemd nor apt-get"; fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq && apt-get install -y -qq --no-install-recommends systemd >/dev/null || skip "systemd can't be installed"
fi
unshare --fork --pid --mount --mount-proc --cgroup true 2>/dev/null || skip "namespaces can't be made here"

# Not below /tmp: a unit has a /tmp of its own.
work=$(mktemp -d /var/lib/sluice-lane-XXXXXX)
mkdir -p "$work/units/user@.service.d" "$work/program" "$work/lake" "$work/state"
# For a unit of another user, who may not reach this checkout.
npx node dist/image/main.js --context-only
cp -R dist/image-context/sluice/. "$work/program/"
cp "$(node -p process.execPath)" "$work/program/node"
chmod -R a+rX "$work"
# Of root's own manager, without PAM and logind.
printf '[Service]\nPAMName=\nEnvironment=XDG_RUNTIME_DIR=/run/user/%%i XDG_CONFIG_HOME=%s\n' "$work/config" >"$work/units/user@.service.d/lane.conf"
printf '[Service]\nExecStart=\nExecStart=mkdir -p -m 700 /run/user/%%i\nExecStop=\n' >"$work/runtime-dir.conf"
mkdir -p "$work/units/user-runtime-dir@.service.d"
mv "$work/runtime-dir.conf" "$work/units/user-runtime-dir@.service.d/lane.conf"

manager=
boot() {
  # shellcheck disable=SC2016
  unshare --fork --pid --mount --mount-proc --cgroup --uts --ipc --kill-child bash -c '
    set -e
    mount --make-rprivate /
    mount -t tmpfs tmpfs /run
    mount --bind "$1" /etc/systemd/system
    for folder in sysinit basic sockets timers multi-user local-fs graphical; do
      if [ -d "/lib/systemd/system/$folder.target.wants" ]; then mount -t tmpfs tmpfs "/lib/systemd/system/$folder.target.wants"; fi
    done
    mount -t tmpfs tmpfs /lib/systemd/system-generators
    mount -t tmpfs tmpfs /var/log
    # As a machine has it: by this a unit sees its credentials.
    mount --make-rshared /
    ln -s /lib/systemd/system/systemd-journald.service /lib/systemd/system/sysinit.target.wants/
    exec env -i container=sluice-lane PATH="$PATH" /lib/systemd/systemd --system --unit=multi-user.target --show-status=0 --log-target=console' \
    boot "$work/units" >"$work/systemd.log" 2>&1 &
  manager=$!
  for _ in $(seq 150); do
    pid=$(pgrep -P "$manager" || true)
    if [ -n "$pid" ] && inside systemctl is-active --quiet multi-user.target 2>/dev/null; then return 0; fi
    sleep 0.2
  done
  tail -5 "$work/systemd.log"
  return 1
}
inside() { nsenter --target "$pid" --mount --pid --cgroup --uts --ipc "$@"; }
# systemd takes no TERM; its processes end with it, and so do the namespaces.
shut() { if [ -n "$manager" ]; then kill -KILL "$manager" 2>/dev/null || true; wait "$manager" 2>/dev/null || true; manager=; fi; }
finish() { shut; rm -rf "$work"; }
trap finish EXIT

lane() {
  inside env --chdir="$root" SLUICE_LANE_FOLDER="$work" SLUICE_LANE_PHASE="$1" XDG_CONFIG_HOME="$work/config" XDG_RUNTIME_DIR=/run/user/0 \
    npx vitest run --config test/lanes/lane.config.mts systemd
}
boot || skip "systemd doesn't start here"
inside systemctl start user@0.service || { tail -20 "$work/systemd.log"; exit 1; }
lane first
shut
boot
lane boot
left=$(find "$work/units" "$work/config" -name 'sluice-*' 2>/dev/null || true)
if [ -n "$left" ]; then echo "units are left: $left"; exit 1; fi
