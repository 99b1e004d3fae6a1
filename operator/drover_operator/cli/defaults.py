# SPDX-License-Identifier: Apache-2.0
"""What an API server fills in where people wrote nothing, taken out again, so that an import from a cluster reads like the file.

The table holds constants of Kubernetes' API, which never change within apps/v1 and v1. A value that somebody wrote and that is the
default all the same is taken out too: the server fills it in again. Rejected: to read last-applied-configuration, which only one
way of applying leaves behind.
"""

from typing import Any

from drover_operator.cli.objects import Manifest, mappings, part

# A mapping is gone into, each item of a list likewise; anything else is the default of that field.
Defaults = dict[str, Any]

_HTTP: Defaults = {"path": "/", "scheme": "HTTP"}
_PROBE: Defaults = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3, "httpGet": _HTTP, "grpc": {"service": ""}}
_FIELD: Defaults = {"fieldRef": {"apiVersion": "v1"}}
_HOOK: Defaults = {"httpGet": _HTTP}
_CONTAINER: Defaults = {
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "resources": {},
    "securityContext": {},
    "ports": {"protocol": "TCP"},
    "env": {"valueFrom": _FIELD},
    "livenessProbe": _PROBE,
    "readinessProbe": _PROBE,
    "startupProbe": _PROBE,
    "lifecycle": {"postStart": _HOOK, "preStop": _HOOK},
}
_MODE: Defaults = {"defaultMode": 0o644}
_DOWNWARD: Defaults = {"items": _FIELD}
_VOLUME: Defaults = {
    "secret": _MODE,
    "configMap": _MODE,
    "downwardAPI": _MODE | _DOWNWARD,
    "projected": _MODE | {"sources": {"serviceAccountToken": {"expirationSeconds": 3600}, "downwardAPI": _DOWNWARD}},
    "hostPath": {"type": ""},
    "ephemeral": {"volumeClaimTemplate": {"spec": {"volumeMode": "Filesystem"}}},
}
_POD: Defaults = {
    "restartPolicy": "Always",
    "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
    "terminationGracePeriodSeconds": 30,
    "enableServiceLinks": True,
    "securityContext": {},
    "containers": _CONTAINER,
    "initContainers": _CONTAINER,
    "volumes": _VOLUME,
}
_WORKLOAD: Defaults = {
    "replicas": 1,
    "revisionHistoryLimit": 10,
    "progressDeadlineSeconds": 600,
    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
    "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
    "podManagementPolicy": "OrderedReady",
    "template": {"spec": _POD},
}
# Empty they say nothing. A volume that is empty says what it is, so that others stay.
_NOTHING = ("securityContext", "resources", "strategy", "updateStrategy", "rollingUpdate")


def bare_workload(manifest: Manifest) -> Manifest:
    """A Deployment or StatefulSet of a cluster without what its API server filled in."""
    bare = _bare({"spec": part(manifest, "spec")}, {"spec": _WORKLOAD})
    pod = part(bare, "spec", "template", "spec")
    if pod.get("serviceAccount") == pod.get("serviceAccountName"):
        pod.pop("serviceAccount", None)  # the old name of the same field
    for container in mappings(pod.get("containers")) + mappings(pod.get("initContainers")):
        if container.get("imagePullPolicy") == _pull_policy(str(container.get("image"))):
            del container["imagePullPolicy"]
    return {**manifest, **bare}


def bare_port(port: Manifest) -> Manifest:
    """A port of a Service of a cluster without what its API server filled in."""
    bare = _bare(port, {"protocol": "TCP"})
    return {name: value for name, value in bare.items() if name != "targetPort" or value != port.get("port")}


def _bare(value: Any, defaults: Defaults) -> Any:
    """A copy without the fields that are at their default."""
    if isinstance(value, list):
        return [_bare(each, defaults) for each in value]
    if not isinstance(value, dict):
        return value
    kept: Manifest = {}
    for name, child in value.items():
        default = defaults.get(str(name), _bare)  # no field has a function for its default
        if not isinstance(default, dict):
            if child != default or type(child) is not type(default):
                kept[name] = child
            continue
        below = _bare(child, default)
        if below or name not in _NOTHING:
            kept[name] = below
    return kept


def _pull_policy(image: str) -> str:
    """What the server chooses for an image: only `latest`, written or meant, is pulled every time."""
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "Always" if (tag or ("" if digest else "latest")) == "latest" else "IfNotPresent"
