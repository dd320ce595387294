#!/usr/bin/env bash
# Runs a command on a machine of its own, as far as a kubelet sees one: own-node.sh COMMAND [ARGUMENT...].
# Processes, mounts and network are in namespaces that end with it: loopback, and a bridge for pods (192.0.2.0/24, which is
# nobody's), without a way out. A containerd of its own, with the images of SLUICE_LANE_IMAGES, a file that containers.sh
# makes. The command finds in SLUICE_LANE_NODE the folder with containerd.sock and a kubelet's settings (kubelet.yaml; the
# node's address is 192.0.2.1). 77 where that can't be: not root, no containerd, no plug-ins for networks, no image.
set -euo pipefail
skip() { echo "$1"; exit 77; }
images=${SLUICE_LANE_IMAGES:-$(cd "$(dirname "$0")/../.." && pwd)/node_modules/.cache/sluice-lanes/images.tar}

if [ -z "${SLUICE_LANE_NODE:-}" ]; then
  if [ "$(id -u)" -ne 0 ]; then skip "not root: a node of the lane's own can't be made"; fi
  if [ ! -f "$images" ]; then skip "no image for the node: the lane of containers makes it (test/lanes/containers.sh)"; fi
  if ! command -v containerd >/dev/null || ! command -v runc >/dev/null || ! command -v ip >/dev/null || [ ! -x /usr/lib/cni/bridge ]; then
    command -v apt-get >/dev/null || skip "neither containerd and plug-ins for networks nor apt-get"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq 2>/dev/null || true
    apt-get install -y -qq --no-install-recommends containerd runc iproute2 containernetworking-plugins >/dev/null ||
      skip "containerd, runc and containernetworking-plugins can't be installed"
  fi
  unshare --fork --pid --mount-proc --mount --net true 2>/dev/null || skip "namespaces can't be made here"
  work=$(mktemp -d)
  code=0
  SLUICE_LANE_NODE=$work unshare --fork --pid --mount-proc --mount --net --kill-child "$0" "$@" || code=$?
  # The pods' groups of processes, which are empty with their namespace.
  find /sys/fs/cgroup -mindepth 1 -depth -type d -path '*/kubepods*' -exec rmdir {} + 2>/dev/null || true
  rm -rf --one-file-system "$work" || true
  exit "$code"
fi

node=$SLUICE_LANE_NODE
# As a machine has it: a pod's mounts are seen by whoever runs it.
mount --make-rshared /
for folder in /run/containerd /var/lib/kubelet /var/log/pods /var/log/containers; do
  mkdir -p "$folder" && mount -t tmpfs tmpfs "$folder"
done
ip link set lo up
ip address add 192.0.2.1/32 dev lo
mkdir -p "$node/networks" "$node/volumes"
cat >"$node/networks/lane.conflist" <<NETWORK
{ "cniVersion": "0.4.0", "name": "lane", "plugins": [
  { "type": "bridge", "bridge": "lane0", "isGateway": true, "isDefaultGateway": true,
    "ipam": { "type": "host-local", "dataDir": "$node/addresses", "ranges": [[{ "subnet": "192.0.2.128/25" }]] } }] }
NETWORK
cat >"$node/containerd.toml" <<CONFIGURATION
version = 2
root = "$node/containerd"
state = "$node/state"
[grpc]
  address = "$node/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/sluice-lane-pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$node/networks"
CONFIGURATION
: >"$node/resolv.conf"
# What makes a small machine a bad node (room on its disk, its kernel's settings) is none of the lane's business.
cat >"$node/kubelet.yaml" <<KUBELET
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 192.0.2.1
authentication: { anonymous: { enabled: true }, webhook: { enabled: false } }
authorization: { mode: AlwaysAllow }
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
evictionHard: { imagefs.available: 0%, nodefs.available: 0%, nodefs.inodesFree: 0% }
imageGCHighThresholdPercent: 100
containerRuntimeEndpoint: unix://$node/containerd.sock
resolvConf: $node/resolv.conf
volumePluginDir: $node/volume-plugins
readOnlyPort: 0
healthzPort: 0
makeIPTablesUtilChains: false
KUBELET
containerd --config "$node/containerd.toml" >"$node/containerd.log" 2>&1 &
for attempt in $(seq 150); do
  if ctr --address "$node/containerd.sock" version >/dev/null 2>&1; then break; fi
  if [ "$attempt" -eq 150 ]; then tail -n 5 "$node/containerd.log"; skip "containerd doesn't start here"; fi
  sleep 0.2
done
ctr --address "$node/containerd.sock" --namespace k8s.io images import "$images" >/dev/null
"$@"
