#!/usr/bin/env bash
# The image, and the Docker target, on a real engine: npm run test:containers [FOLDER].
# The engine is reached by its socket, by TLS on a loopback port, and through an SSH server of the lane's own, where OpenSSH's
# can be installed: else that part is skipped, and says so. Its own daemon, of Debian's docker.io, with its own folders, ended by its pid; no image comes from anywhere: the base is
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
end() {
  # Said: in a trap it would be that of the failure, which ends the trap too.
  if [ ! -f "$1" ]; then return 0; fi
  local pid
  pid=$(cat "$1")
  kill "$pid" 2>/dev/null || true
  for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
}
stop() {
  end "$work/sshd.pid"
  end "$pidfile"
  # What it leaves mounted would keep the folder.
  umount "$work"/exec/netns/* 2>/dev/null || true
  rm -rf "$work" 2>/dev/null || true
}
trap stop EXIT
free_port() { node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })'; }

tls=$work/tls
mkdir "$tls"
certificate() { # NAME EXTENSIONS: signed by the lane's authority
  openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout "$tls/$1-key.pem" -out "$tls/$1.csr" 2>/dev/null
  openssl x509 -req -in "$tls/$1.csr" -CA "$tls/ca.pem" -CAkey "$tls/ca-key.pem" -CAcreateserial -days 2 \
    -extfile <(printf '%s\n' "$2") -out "$tls/$1-cert.pem" 2>/dev/null
}
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=lane -keyout "$tls/ca-key.pem" -out "$tls/ca.pem" 2>/dev/null
certificate engine "subjectAltName = IP:127.0.0.1"
certificate client "extendedKeyUsage = clientAuth"
cp "$tls/client-cert.pem" "$tls/cert.pem" && cp "$tls/client-key.pem" "$tls/key.pem"
tls_port=$(free_port)

"$dockerd" --data-root "$work/data" --exec-root "$work/exec" --pidfile "$pidfile" -H "unix://$work/docker.sock" \
  -H "tcp://127.0.0.1:$tls_port" --tlsverify --tlscacert "$tls/ca.pem" --tlscert "$tls/engine-cert.pem" \
  --tlskey "$tls/engine-key.pem" --userland-proxy=false >"$work/dockerd.log" 2>&1 &
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
version=$(node -p 'require("./package.json").version')
image=pulumi-sluice:$version
layers() { "$docker" image inspect "$image" --format '{{json .RootFS.Layers}}'; }
first=$(layers)
npx node dist/image/main.js --context-only
"$docker" build --quiet --no-cache --tag again --build-arg BASE=sluice-lane-base:1 dist/image-context >/dev/null
second=$("$docker" image inspect again --format '{{json .RootFS.Layers}}')
bytes=$("$docker" image inspect "$image" --format '{{.Size}}')
echo "$image: $bytes bytes, layers $first"
DOCKER_BUILDKIT=1 "$docker" build --quiet --no-cache --network none --tag again --build-arg BASE=sluice-lane-base:1 dist/image-context >/dev/null
third=$("$docker" image inspect again --format '{{json .RootFS.Layers}}')
if [ "$first" != "$third" ]; then echo "built by BuildKit it has other layers: $third"; exit 1; fi
if [ "$first" != "$second" ]; then echo "built again it has other layers: $second"; exit 1; fi
if [ "$bytes" -gt 250000000 ]; then echo "it is larger than 250 MB"; exit 1; fi
label() { "$docker" image inspect "$image" --format "{{index .Config.Labels \"$1\"}}"; }
for expected in org.opencontainers.image.title=Sluice "org.opencontainers.image.version=$version" com.pulumi-sluice.runtime="$version" \
  org.opencontainers.image.licenses=Apache-2.0 org.opencontainers.image.base.name=sluice-lane-base:1 \
  "org.opencontainers.image.revision=$(git rev-parse HEAD 2>/dev/null || true)"; do
  if [ "$(label "${expected%%=*}")" != "${expected#*=}" ]; then echo "its label isn't $expected"; exit 1; fi
done
user=$("$docker" image inspect "$image" --format '{{.Config.User}}')
if [ "$user" != 65532:65532 ]; then echo "its user is $user"; exit 1; fi
for absent in sh npm cc apt-get; do
  if "$docker" run --rm --entrypoint "$absent" "$image" --version >/dev/null 2>&1; then echo "it has $absent"; exit 1; fi
done
"$docker" rmi again >/dev/null

# For a real kubelet (kubernetes.sh node): the image; one that waits, of which each pod has a container too; and one whose
# Node is of another architecture (e_machine 0xfefe, which nobody has).
"$docker" build --quiet --tag sluice-lane-pause:1 - >/dev/null <<DOCKERFILE
FROM $image
ENTRYPOINT ["node", "-e", "process.on('SIGTERM', () => process.exit(0)); setInterval(() => {}, 60000)"]
DOCKERFILE
mkdir "$work/foreign"
{ printf '\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\376\376\1\0\0\0'; head -c 40 /dev/zero; } >"$work/foreign/node"
chmod 755 "$work/foreign/node"
printf 'FROM %s\nCOPY node /usr/local/bin/node\n' "$image" >"$work/foreign/Dockerfile"
"$docker" build --quiet --tag sluice-lane-foreign:1 "$work/foreign" >/dev/null
"$docker" save --output "$folder/images.tar.tmp" "$image" sluice-lane-pause:1 sluice-lane-foreign:1
mv "$folder/images.tar.tmp" "$folder/images.tar"
"$docker" rmi sluice-lane-pause:1 sluice-lane-foreign:1 >/dev/null

export SLUICE_LANE_TLS_HOST=tcp://127.0.0.1:$tls_port SLUICE_LANE_TLS_FOLDER=$tls

# An SSH server of its own, with its own keys, on a loopback port.
sshd=$(command -v /usr/sbin/sshd || true)
if [ -z "$sshd" ] && command -v apt-get >/dev/null; then
  # The package would start the machine's own on port 22.
  policy=/usr/sbin/policy-rc.d
  if [ -e "$policy" ]; then policy=; else printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"; fi
  apt-get install -y -qq --no-install-recommends openssh-server >/dev/null 2>&1 || true
  if [ -n "$policy" ]; then rm "$policy"; fi
  sshd=$(command -v /usr/sbin/sshd || true)
fi
if [ -n "$sshd" ]; then
  mkdir -p /run/sshd "$work/ssh"
  ssh_port=$(free_port)
  for name in host client; do ssh-keygen -q -t ed25519 -N "" -f "$work/ssh/$name"; done
  cp "$work/ssh/client.pub" "$work/ssh/authorized_keys"
  printf '[127.0.0.1]:%s %s\n' "$ssh_port" "$(cut -d' ' -f1,2 "$work/ssh/host.pub")" >"$work/ssh/known_hosts"
  cat >"$work/ssh/config" <<CONFIG
Port $ssh_port
ListenAddress 127.0.0.1
HostKey $work/ssh/host
PidFile $work/sshd.pid
AuthorizedKeysFile $work/ssh/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
CONFIG
  "$sshd" -f "$work/ssh/config" -E "$work/sshd.log"
  export SLUICE_LANE_SSH_HOST=ssh://root@127.0.0.1:$ssh_port$work/docker.sock SLUICE_LANE_SSH_FOLDER=$work/ssh
else
  echo "SKIPPED: engines by SSH, as OpenSSH's server can't be installed"
fi

npx vitest run --config test/lanes/lane.config.mts containers
npm run --silent demo -- --target docker --json | tee "$work/demo.log"
tail -1 "$work/demo.log" | node -e '
  const result = JSON.parse(require("fs").readFileSync(0, "utf8"));
  const left = [result.slots, result.publications, result.processes, result.containers];
  if (!left.every((count) => count === 0) || !result.tables.every(({ equal }) => equal)) process.exit(1);'
