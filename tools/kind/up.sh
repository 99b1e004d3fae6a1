#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes a kind cluster named "drover" and applies the CRDs and manifests of this work tree to it; safe to repeat.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
name=${NAME:-drover}
context="kind-$name"

fail() {
    echo "error: $*" >&2
    exit 1
}

for tool in docker kind kubectl; do
    command -v "$tool" >/dev/null || fail "$tool is not on the PATH; without Docker use \`make cluster\` instead"
done
docker info >/dev/null 2>&1 || fail "the Docker engine does not answer: start it, or use \`make cluster\` instead"

if kind get clusters 2>/dev/null | grep -Fxq -- "$name"; then
    echo "kind cluster $name is there already"
else
    kind create cluster --name "$name" --config "$root/tools/kind/kind.yaml" --wait 180s
fi

docker build --tag drover-operator:0.1.0 "$root"
kind load docker-image drover-operator:0.1.0 --name "$name"
kubectl --context "$context" apply --server-side -f "$root/crds/"
kubectl --context "$context" wait --for=condition=Established --timeout=60s -f "$root/crds/"
kubectl --context "$context" apply --server-side -k "$root/manifests/base"
kubectl --context "$context" apply --server-side -f "$root/manifests/policies"
kubectl --context "$context" -n drover-system rollout status deployment/drover-operator --timeout=180s
echo "ready: kubectl --context $context get nodes"
echo "remove it with: kind delete cluster --name $name"
