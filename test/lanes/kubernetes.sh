#!/usr/bin/env bash
# The Kubernetes target on a real control plane: kubernetes.sh PART [SECONDS]; npm run test:kubernetes runs all parts.
#   server  the API server alone: manifests, previews, rights, fields of others
#   pods    with its controllers and scheduler, on nodes that are played: pods run nowhere
#   node    the same with a real kubelet, containerd and runc on a machine of their own (own-node.sh): pods run the image
# Kubernetes is built from Go modules, within SECONDS (default 1800), into SLUICE_KUBERNETES_CACHE (default
# ~/.cache/sluice-lanes), where it stays; etcd is Debian's. All daemons are the lane's own, on loopback ports, ended by
# their pids. 77 where one of them isn't to be had.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
part=$1
cache=${SLUICE_KUBERNETES_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice-lanes}
cd "$root"
skip() { echo "$1"; exit 77; }

case $part in
  server) programs=(kube-apiserver) ;;
  pods) programs=(kube-apiserver kube-controller-manager kube-scheduler) ;;
  node) programs=(kube-apiserver kube-controller-manager kube-scheduler kubelet) ;;
  *) echo "kubernetes.sh server|pods|node [SECONDS]" && exit 2 ;;
esac

work=$(mktemp -d)
end() {
  # Said: in a trap it would be that of the failure, which ends the trap too.
  if [ ! -f "$1" ]; then return 0; fi
  local pid
  pid=$(cat "$1")
  kill "$pid" 2>/dev/null || true
  for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || return 0; sleep 0.1; done
  kill -KILL "$pid" 2>/dev/null || true
}
stop() {
  for name in kubelet scheduler controllers apiserver etcd; do end "$work/$name.pid"; done
  rm -rf "$work"
}
trap stop EXIT

command -v openssl >/dev/null || skip "no openssl, for the keys of service accounts"
etcd=${SLUICE_LANE_ETCD:-$(command -v etcd || true)}
if [ -z "$etcd" ]; then
  command -v apt-get >/dev/null || skip "neither etcd nor apt-get"
  # Not installed: the package would start the machine's own.
  mkdir "$work/package" && (
    cd "$work/package"
    apt-get update -qq 2>/dev/null || true
    apt-get download -qq etcd-server >/dev/null 2>&1 && dpkg-deb -x etcd-server_*.deb .
  ) || skip "Debian's etcd-server can't be fetched"
  etcd=$work/package/usr/bin/etcd
fi
bin=$(test/lanes/control-plane.sh "$cache" "${2:-1800}" "${programs[@]}") || exit 77

if [ "$part" = node ] && [ -z "${SLUICE_LANE_NODE:-}" ]; then
  SLUICE_LANE_ETCD=$etcd test/lanes/own-node.sh "$0" "$@"
  exit
fi

free_port() { node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })'; }
daemon() {
  local name=$1
  shift
  "$@" >"$work/$name.log" 2>&1 </dev/null &
  echo $! >"$work/$name.pid"
}
failed() {
  for log in "$work"/*.log; do echo "--- $(basename "$log")" && tail -n 5 "$log" | cut -c1-300; done
  echo "$1"
  exit 1
}
etcd_port=$(free_port) peer_port=$(free_port) api_port=$(free_port)
openssl genrsa -out "$work/accounts.key" 2048 2>/dev/null
for user in admin visitor; do
  token=$(openssl rand -hex 16)
  groups=
  if [ "$user" = admin ]; then groups=',"system:masters"'; fi
  echo "$token,$user,$user$groups" >>"$work/tokens.csv"
  cat >"$work/$user.kubeconfig" <<KUBECONFIG
apiVersion: v1
kind: Config
current-context: lane
clusters: [{ name: lane, cluster: { server: "https://127.0.0.1:$api_port", certificate-authority: $work/certificates/apiserver.crt } }]
users: [{ name: $user, user: { token: $token } }]
contexts: [{ name: lane, context: { cluster: lane, user: $user } }]
KUBECONFIG
done
daemon etcd "$etcd" --data-dir "$work/etcd" --unsafe-no-fsync --listen-client-urls "http://127.0.0.1:$etcd_port" \
  --advertise-client-urls "http://127.0.0.1:$etcd_port" --listen-peer-urls "http://127.0.0.1:$peer_port"
daemon apiserver "$bin/kube-apiserver" --etcd-servers "http://127.0.0.1:$etcd_port" --bind-address 127.0.0.1 \
  --secure-port "$api_port" --cert-dir "$work/certificates" --token-auth-file "$work/tokens.csv" --authorization-mode RBAC \
  --service-account-issuer https://lane --service-account-key-file "$work/accounts.key" \
  --service-account-signing-key-file "$work/accounts.key" --service-cluster-ip-range 10.96.0.0/16 \
  --endpoint-reconciler-type none --advertise-address 127.0.0.1 --kubelet-preferred-address-types InternalIP
# Until the API answers at PATH with what matches PATTERN, while the daemon runs, for two minutes: answers PATH PATTERN DAEMON
answers() {
  token=$(grep ',admin,' "$work/tokens.csv" | cut -d, -f1) port=$api_port path=$1 pattern=$2 pid=$(cat "$work/$3.pid") node -e '
    const { port, path, pattern, token, pid } = process.env;
    const options = { port, host: "127.0.0.1", path, rejectUnauthorized: false, headers: { authorization: `Bearer ${token}` } };
    const deadline = Date.now() + 120_000;
    const look = () => {
      const asked = require("https").get(options, (response) => {
        let text = "";
        response.on("data", (chunk) => (text += chunk)).on("error", again);
        response.on("end", () => (response.statusCode === 200 && new RegExp(pattern).test(text) ? process.exit(0) : again()));
      });
      asked.setTimeout(5_000, () => asked.destroy()).on("error", again);
    };
    let last = 0;
    const again = () => {
      if (Date.now() > deadline) process.exit(1);
      try { process.kill(Number(pid), 0); } catch { process.exit(1); }
      clearTimeout(last);
      last = setTimeout(look, 300);
    };
    look();'
}
answers /readyz ok apiserver || failed "the API server doesn't start"
if [ "$part" != server ]; then
  controllers=serviceaccount,garbage-collector,statefulset,deployment,replicaset,job,cronjob,disruption,resourcequota
  controllers=$controllers,namespace,persistentvolume-binder,persistentvolumeclaim-protection
  # A played node's kubelet can't be told from one that is gone.
  if [ "$part" = node ]; then controllers=$controllers,node-lifecycle; fi
  daemon controllers "$bin/kube-controller-manager" --kubeconfig "$work/admin.kubeconfig" --leader-elect=false \
    --secure-port 0 --service-account-private-key-file "$work/accounts.key" --controllers "${controllers//,/-controller,}-controller"
  daemon scheduler "$bin/kube-scheduler" --kubeconfig "$work/admin.kubeconfig" --leader-elect=false --secure-port 0
fi

if [ "$part" = node ]; then
  daemon kubelet "$bin/kubelet" --config "$SLUICE_LANE_NODE/kubelet.yaml" --kubeconfig "$work/admin.kubeconfig" \
    --root-dir "$SLUICE_LANE_NODE/kubelet" --node-ip 192.0.2.1 --hostname-override node --cert-dir "$work/certificates"
  answers /api/v1/nodes/node '"type":"Ready","status":"True"' kubelet ||
    { tail -n 5 "$work/kubelet.log" | cut -c1-300; skip "a kubelet doesn't run here"; }
fi

export SLUICE_LANE_KUBERNETES=$work
timeout 480 npx vitest run --config test/lanes/lane.config.mts "kubernetes-$part" || failed "part $part failed"
