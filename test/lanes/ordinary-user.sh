#!/usr/bin/env bash
# The demo as somebody who isn't root. Usage: ordinary-user.sh FOLDER
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ "$(id -u)" -ne 0 ]; then echo "not root: the demo's own lane ran as an ordinary user already"; exit 77; fi
user=sluice-lane
id "$user" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$user"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -R "$root/." "$work/sluice"
rm -rf "$work/sluice/.git"
chown -R "$user" "$work"
chmod 755 "$work"
cd "$work/sluice"
runuser -u "$user" -- env HOME="/home/$user" CI=true npm run demo -- --json --scale 0.1
