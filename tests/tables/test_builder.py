# SPDX-License-Identifier: Apache-2.0
"""A builder that has made pods never changes: its output is held in a file. A new operator must write no pod."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tables.world import NAME, service_of, typed

from drover_agent import access, settings
from drover_controllers.service import build, naming, sidecar
from drover_controllers.service.gather import AGENT_IMAGE, _recorded, agent_image, wanted_revision
from drover_operator.api.builtin import ControllerRevision
from drover_operator.api.managedservice import ManagedService, ManagedServiceSpec

GOLDEN = Path(__file__).parent / "golden" / "pod-v1.json"
GOLDEN_AGENT = Path(__file__).parent / "golden" / "pod-v2.json"
AGENT = "drover-agent:1"
PLAIN: dict[str, Any] = {"spec": {"containers": [{"name": "server", "image": "app:1.0"}]}}
RICH: dict[str, Any] = {
    "metadata": {"labels": {"team": "shop", "app.kubernetes.io/version": "7"}, "annotations": {"note": "x"}},
    "spec": {
        "containers": [
            {"name": "side", "image": "side:1"},
            {
                "name": "server",
                "image": "app@sha256:0123456789abcdef",
                "ports": [{"containerPort": 8080}],
                "lifecycle": {"preStop": {"exec": {"command": ["x"]}}},
            },
        ],
        "priorityClassName": "mine",
        "readinessGates": [{"conditionType": "other.dev/gate"}],
        "unknownToUs": {"kept": True},
    },
}
CASES: dict[str, dict[str, Any]] = {
    "plain": {"criticality": "Normal", "template": PLAIN},
    "rich, http": {"criticality": "Vital", "template": RICH, "healthCheck": {"http": {"port": 8080, "path": "/healthz"}}},
    "tcp, no settle": {"criticality": "Important", "template": PLAIN, "healthCheck": {"tcp": {"port": 80}}, "restart": {"settle": "0s"}},
    "grpc, long settle": {
        "criticality": "Expendable",
        "template": PLAIN,
        "healthCheck": {"grpc": {"port": 80}, "interval": "10s"},
        "restart": {"settle": "1m"},
    },
    "nothing drained": {"criticality": "Normal", "template": PLAIN, "restart": {"settle": "0s", "drainTimeout": "0s"}},
    "exec, own version": {"criticality": "Normal", "template": PLAIN, "version": "2026.1", "healthCheck": {"exec": {"command": ["true"]}}},
}


COUNTED = {"activeRequests": {"port": 8081}}
AGENT_CASES: dict[str, dict[str, Any]] = {
    "http": {"criticality": "Normal", "template": PLAIN, "healthCheck": {"http": {"port": 8080, "path": "/healthz"}}},
    "rich, http": {"criticality": "Vital", "template": RICH, "healthCheck": {"http": {"port": 8080}, "interval": "2s"}, "restart": COUNTED},
    "tcp, counted": {"criticality": "Normal", "template": PLAIN, "healthCheck": {"tcp": {"port": 8080}}, "restart": {**COUNTED, "drainTimeout": "1m"}},
    "nothing drained": {"criticality": "Normal", "template": PLAIN, "healthCheck": {"http": {"port": 8080}}, "restart": {"settle": "0s", "drainTimeout": "0s"}},
    "a drain shorter than its settling": {
        "criticality": "Normal",
        "template": PLAIN,
        "healthCheck": {"http": {"port": 8080}},
        "restart": {"settle": "20s", "drainTimeout": "5s"},
    },
}


def built(case: dict[str, Any], builder: int, *, agent: str = "") -> dict[str, Any]:
    spec = typed(case, ManagedServiceSpec)
    service: ManagedService = service_of(spec, rollout={}, status={}, deleted=None, finalizers=(), labels={"team": "shop"})
    return build.pod(service, replace(wanted_revision(spec, NAME), builder=builder, agent=agent), 3, "uid-before")


@pytest.mark.parametrize("name", CASES)
def test_builder_1_makes_the_pods_that_it_always_made(name: str):
    golden = json.loads(GOLDEN.read_text())
    assert set(golden) == set(CASES)
    if built(CASES[name], 1, agent=AGENT) != golden[name]:
        pytest.fail(f"builder 1 makes another pod for '{name}'. Every service would be rolled by an upgrade, or drift: make a newer builder instead")
    assert built(CASES[name], 2) == golden[name], "without an agent's image both are the same"


@pytest.mark.parametrize("name", AGENT_CASES)
def test_builder_2_makes_the_pods_that_it_always_made(name: str):
    golden = json.loads(GOLDEN_AGENT.read_text())
    assert set(golden) == set(AGENT_CASES)
    if built(AGENT_CASES[name], 2, agent=AGENT) != golden[name]:
        pytest.fail(f"builder 2 makes another pod for '{name}'. Every service would be rolled by an upgrade, or drift: make a newer builder instead")


@pytest.mark.parametrize("name", [*CASES, *AGENT_CASES])
def test_the_agent_is_there_where_it_is_needed_and_nowhere_else(name: str):
    """HTTP must be 200 and nothing else, which a kubelet cannot do; requests that are under way are counted by nobody else."""
    case = {**CASES, **AGENT_CASES}[name]
    spec, check = built(case, 2, agent=AGENT)["spec"], case.get("healthCheck", {})
    wanted = "http" in check or ("tcp" in check and "activeRequests" in case.get("restart", {}))
    assert ("drover-agent" in [each["name"] for each in spec.get("initContainers", ())]) is wanted
    assert spec.get("shareProcessNamespace", False) is wanted
    probed = [each["name"] for each in spec["containers"] if "readinessProbe" in each]
    assert not (wanted and probed), "one judge only"


def test_an_image_of_the_agent_rolls_nothing(monkeypatch: pytest.MonkeyPatch):
    """The name of a revision is what the user declared; what is recorded keeps the agent that it was made with."""
    spec = typed(AGENT_CASES["http"], ManagedServiceSpec)
    found = []
    for image in ("", "drover-agent:1", "drover-agent:2"):
        monkeypatch.setenv(AGENT_IMAGE, image)
        agent_image.cache_clear()
        found.append(wanted_revision(spec, NAME))
    agent_image.cache_clear()
    assert [each.agent for each in found] == ["", "drover-agent:1", "drover-agent:2"]
    assert len({each.name for each in found}) == 1
    service: ManagedService = service_of(spec, rollout={}, status={}, deleted=None, finalizers=(), labels={})
    recorded = typed(
        {
            **build.controller_revision(service, found[1], 1, ""),
            "metadata": {"name": found[1].name, "annotations": {naming.BUILDER: "2", naming.AGENT: "drover-agent:1"}},
        },
        ControllerRevision,
    )
    assert _recorded(recorded).agent == "drover-agent:1"


def agent_settings(spec: dict[str, Any]) -> settings.Settings:
    """What the agent of a pod is told, as the program reads it."""
    agent = spec["initContainers"][-1]
    return settings.read([*agent["args"], "--ip=10.0.0.1"], {each["name"]: each["value"] for each in agent["env"]})


def test_the_agent_takes_its_own_flags():
    """What the builder writes is what the program understands."""
    for name, case in AGENT_CASES.items():
        assert agent_settings(built(case, 2, agent=AGENT)["spec"]).probe_port == 8080, name


def hooks(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The hooks of a pod that ask the agent."""
    asked = [each.get("lifecycle", {}).get("preStop", {}).get("httpGet", {}) for each in spec["containers"]]
    return [each for each in asked if each.get("path") == "/drain"]


@pytest.mark.parametrize("name", AGENT_CASES)
def test_the_hook_shows_the_token_that_the_agent_takes(name: str):
    """A kubelet does not mind a refusal: the instance would end without its drain, and nobody would see why."""
    spec = built(AGENT_CASES[name], 2, agent=AGENT)["spec"]
    token = agent_settings(spec).token
    assert len(token) == 64
    assert [each["httpHeaders"] for each in hooks(spec)] == [[{"name": access.HEADER, "value": token}]] * len(hooks(spec))
    assert bool(hooks(spec)) is (name != "nothing drained")
    assert all("httpHeaders" not in each["readinessProbe"]["httpGet"] for each in spec["initContainers"]), "what is only read needs none"


TOKENS: tuple[tuple[str, str, bool, str], ...] = (
    ("uid-of-web", "web-a", True, "the same revision of the same service, built again"),
    ("uid-of-web", "web-b", False, "another revision"),
    ("uid-of-api", "web-a", False, "another service"),
    ("", "web-a", False, "a service that is only planned"),
)


@pytest.mark.parametrize("uid, revision, same, why", TOKENS, ids=[row[-1] for row in TOKENS])
def test_a_token_for_each_revision_of_each_service(uid: str, revision: str, same: bool, why: str):
    """By value too: how it is made is part of what builder 2 makes, and never changes once that is released."""
    token = sidecar.token_of("uid-of-web", "web-a")
    assert (sidecar.token_of(uid, revision) == token) is same, why
    assert token == "ab6364cf55abd4a201b1d315ff4666585ead4464c5eb3af0c8af021872cc3c7e"


def test_building_changes_nothing_that_it_is_given():
    """The template is decoded anew for each pod; shared parts would leak a probe from one pod to the next."""
    assert built(CASES["rich, http"], 1) == built(CASES["rich, http"], 1)


def test_what_the_user_wrote_wins_over_what_is_added():
    pod = built(CASES["rich, http"], 1)
    server = pod["spec"]["containers"][1]
    assert pod["spec"]["priorityClassName"] == "mine"
    assert server["lifecycle"] == {"preStop": {"exec": {"command": ["x"]}}}
    assert server["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": 8080}
    assert "readinessProbe" not in pod["spec"]["containers"][0], "the probe belongs to the container with the port"
    assert pod["spec"]["unknownToUs"] == {"kept": True}
    assert [each["conditionType"] for each in pod["spec"]["readinessGates"]] == ["other.dev/gate", "drover.dev/in-service"]


def test_where_nothing_is_drained_there_is_no_gate():
    """A gate that nobody will ever close costs a write for each pod."""
    assert "readinessGates" not in built(CASES["nothing drained"], 1)["spec"]


def test_the_owner_does_not_block_a_deletion():
    """A foreground delete would otherwise remove pods past our drain."""
    (owner,) = built(CASES["plain"], 1)["metadata"]["ownerReferences"]
    assert (owner["controller"], owner["blockOwnerDeletion"]) == (True, False)


def test_a_long_settle_makes_the_grace_period_longer():
    """The API server refuses a sleep beyond the grace period, and the message would name a field that nobody wrote."""
    assert "terminationGracePeriodSeconds" not in built(CASES["plain"], 1)["spec"]
    long = built(CASES["grpc, long settle"], 1)["spec"]
    assert (long["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"], long["terminationGracePeriodSeconds"]) == (60, 90)
