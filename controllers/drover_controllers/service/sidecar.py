# SPDX-License-Identifier: Apache-2.0
"""The agent in a pod: a native sidecar that probes exactly, and lets the program finish its requests before it ends. Pure.

Its readiness counts for the pod's as any container's does, so that nothing of the gate changes. It drains as the preStop hook of the other
containers, which the kubelet calls for whoever deletes the pod, also while the operator is away; native sidecars end after them.
Rejected: a probe of the container by the kubelet as well, which would let the laxer of the two decide when it fails first.

Agent and hook share a token, so that nobody drains an instance for no more than reaching its port. It is a hash of the service's uid, which
cannot be guessed but is no secret: whoever may read the service, its pods or what else it owns knows the token or can work it out.
"""

from hashlib import sha256
from typing import Any

from drover_controllers.service.values import Revision
from drover_operator.api.managedservice import HealthCheck, Restart
from drover_operator.core.clock import parse_duration

Body = dict[str, Any]
NAME, PORT = "drover-agent", 9909
TOKEN_VARIABLE, TOKEN_HEADER = "DROVER_AGENT_TOKEN", "X-Drover-Token"
GRACE = 30  # seconds that a pod has when its template says nothing


def needed(check: HealthCheck | None, restart: Restart) -> bool:
    """Whether a kubelet alone could not do what is asked: 200 and nothing else, or a drain that counts requests."""
    return check is not None and (check.http is not None or (check.tcp is not None and restart.active_requests is not None))


def probes(revision: Revision) -> bool:
    """Whether the pods of a revision have an agent that judges HTTP."""
    check = revision.health_check
    return bool(revision.agent) and revision.builder > 1 and check is not None and check.http is not None


def token_of(service_uid: str, revision: str) -> str:
    """What the agents of a revision take changes by, the same at each build of a pod. Its beginning keeps it apart from other hashes of a uid."""
    return sha256(f"drover-agent-token/{service_uid}/{revision}".encode()).hexdigest()


def add(spec: Body, check: HealthCheck, restart: Restart, image: str, token: str) -> None:
    """Put the agent into a pod's spec, and its hook into each container that has none of its own.

    The pod gets the time of the drain beside its own: else the kubelet would end the program in the middle of it.
    """
    spec["shareProcessNamespace"] = True
    spec["initContainers"] = [*spec.get("initContainers", ()), _container(check, restart, image, token)]
    drained = int(parse_duration(restart.drain_timeout))
    if not drained:
        return
    spec["terminationGracePeriodSeconds"] = spec.get("terminationGracePeriodSeconds", GRACE) + drained
    hook = {"httpGet": {"path": "/drain", "port": PORT, "httpHeaders": [{"name": TOKEN_HEADER, "value": token}]}}
    for container in spec["containers"]:
        container.setdefault("lifecycle", {}).setdefault("preStop", hook)


def _container(check: HealthCheck, restart: Restart, image: str, token: str) -> Body:
    return {
        "name": NAME,
        "image": image,
        "restartPolicy": "Always",
        "args": _arguments(check, restart),
        "env": [{"name": TOKEN_VARIABLE, "value": token}],
        "ports": [{"name": NAME, "containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": PORT}, "periodSeconds": 1, "failureThreshold": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "24Mi"}, "limits": {"memory": "96Mi"}},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def _arguments(check: HealthCheck, restart: Restart) -> list[str]:
    """Flags of the agent, each as the service declares it."""
    probe = ["--probe=tcp", f"--probe-port={check.tcp.port}"] if check.tcp is not None else []
    if check.http is not None:
        probe = ["--probe=http", f"--probe-port={check.http.port}", f"--probe-path={check.http.path}"]
    times = [f"--interval={check.interval}", f"--timeout={check.timeout}"]
    thresholds = [f"--unhealthy-threshold={check.unhealthy_threshold}", f"--healthy-threshold={check.healthy_threshold}"]
    return [*probe, *times, *thresholds, *_drain(restart)]


def _drain(restart: Restart) -> list[str]:
    settle, limit = parse_duration(restart.settle), parse_duration(restart.drain_timeout)
    if not limit:
        return []
    asked = restart.active_requests
    counted = [f"--active-requests=http://127.0.0.1:{asked.port}{asked.path}"] if asked is not None else []
    # The agent wants to settle for less than it may drain; here the drain's deadline is that of both.
    return [f"--settle={min(settle, limit / 2):g}", f"--drain-timeout={max(1.0, limit):g}", *counted]
