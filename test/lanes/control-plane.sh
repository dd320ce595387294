#!/usr/bin/env bash
# Programs of Kubernetes, built from the Go module proxy into FOLDER where they aren't there yet: control-plane.sh FOLDER
# SECONDS PROGRAM…, which prints the folder that has them. In a module of its own, as Kubernetes' staging modules are
# replaced by released ones. kube-apiserver takes about seven minutes on two cores, and what a build has compiled stays in
# Go's cache. 77 where it can't be: no Go, no proxy, not done within SECONDS; nothing of it is ours to mend.
set -euo pipefail
version=1.34.4
folder=$1/kubernetes-$version
seconds=$2
programs=("${@:3}")
skip() { echo "$1" >&2; exit 77; }

missing=()
for program in "${programs[@]}"; do
  if [ ! -x "$folder/bin/$program" ]; then missing+=("k8s.io/kubernetes/cmd/$program"); fi
done
if [ "${#missing[@]}" -gt 0 ]; then
  command -v go >/dev/null || skip "Kubernetes isn't in $1, and there is no Go to build it"
  if [ "$seconds" -lt 120 ]; then skip "Kubernetes isn't in $1, and there is no time left to build it"; fi
  mkdir -p "$folder/module" "$folder/built" "$folder/bin"
  cd "$folder/module"
  staging=(api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider cluster-bootstrap
    code-generator component-base component-helpers controller-manager cri-api cri-client csi-translation-lib
    dynamic-resource-allocation endpointslice externaljwt kms kube-aggregator kube-controller-manager kube-proxy
    kube-scheduler kubectl kubelet metrics mount-utils pod-security-admission sample-apiserver sample-cli-plugin
    sample-controller)
  {
    printf 'module control-plane\n\ngo 1.24.0\n\nrequire k8s.io/kubernetes v%s\n\nreplace (\n' "$version"
    for name in "${staging[@]}"; do printf '\tk8s.io/%s => k8s.io/%s v0.%s\n' "$name" "$name" "${version#1.}"; done
    printf ')\n'
  } >go.mod
  export GOFLAGS=-mod=mod CGO_ENABLED=0
  echo "building ${missing[*]}, for $seconds s at most" >&2
  timeout "$seconds" go build -trimpath -ldflags '-s -w' -o "$folder/built/" "${missing[@]}" >"$folder/build.log" 2>&1 || {
    code=$?
    tail -n 5 "$folder/build.log" >&2
    if [ "$code" -eq 124 ]; then skip "Kubernetes isn't built within $seconds s"; fi
    skip "Kubernetes can't be built: $(tail -n 1 "$folder/build.log")"
  }
  mv "$folder/built"/* "$folder/bin/"
fi
echo "$folder/bin"
