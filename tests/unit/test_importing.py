# SPDX-License-Identifier: Apache-2.0
"""What becomes of each field of a Deployment, StatefulSet or Service, and that the result fits our own CRD."""

import io
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest

from drover_operator.api.crd import MANAGED_SERVICE, schema
from drover_operator.api.managedservice import ManagedService
from drover_operator.cli.importing import Imported, Manifest, convert
from drover_operator.cli.manifests import read

BOUTIQUE = Path(__file__).parents[1] / "data" / "online-boutique"
LIVE: dict[str, Any] = {
    "uid": "1-2",
    "resourceVersion": "9",
    "generation": 3,
    "creationTimestamp": "2026-01-01T00:00:00Z",
    "managedFields": [],
}


def deployment(name: str = "web", kind: str = "Deployment", **spec: Any) -> Manifest:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": "web:1"}]}}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": {"template": template, **spec}}


def service(name: str = "web", selects: str = "web", **spec: Any) -> Manifest:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": selects}, "ports": ports, **spec},
    }


def other(kind: str, version: str = "v1", name: str = "web", **rest: Any) -> Manifest:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **rest}


def live(manifest: Manifest) -> Manifest:
    """As the API server has it."""
    return {**manifest, "metadata": {**manifest["metadata"], **LIVE}}


def budget(name: str = "web", selects: str = "web") -> Manifest:
    return live(other("PodDisruptionBudget", "policy/v1", name, spec={"minAvailable": 2, "selector": {"matchLabels": {"app": selects}}}))


def pod_with(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "web:1"}], **spec}}


def lines(imported: Imported) -> list[str]:
    """The notes; without the one about an assumed criticality, which comes with nearly every import."""
    return [str(note) for note in imported.notes if note.object != "managedservice/*"]


def spec_of(*manifests: Manifest) -> Manifest:
    (only,) = convert(manifests, criticality="Normal").services
    return {name: value for name, value in only["spec"].items() if name not in ("criticality", "template")}


CARRIED: list[tuple[str, dict[str, Any], dict[str, Any], list[str]]] = [
    # why, spec of the Deployment, expected spec (without criticality and template), expected fields with a warning
    ("an absent field stays absent, so that an autoscaler's replicas are not reset by every apply", {}, {}, []),
    ("0 replicas is a number too", {"replicas": 0}, {"replicas": 0}, []),
    ("false is the default and only noise", {"paused": False}, {}, []),
    ("a paused rollout must not start by being imported", {"paused": True}, {"paused": True}, []),
    ("seconds become what people write", {"progressDeadlineSeconds": 600}, {"rollout": {"type": "Rolling", "progressDeadline": "10m"}}, []),
    ("not every time is whole minutes", {"progressDeadlineSeconds": 90}, {"rollout": {"type": "Rolling", "progressDeadline": "90s"}}, []),
    (
        "the greatest integer is how Kubernetes says never",
        {"progressDeadlineSeconds": 2147483647},
        {"rollout": {"type": "Rolling", "progressDeadline": "24h"}},
        ["spec.progressDeadlineSeconds"],
    ),
    (
        "below our least",
        {"progressDeadlineSeconds": 5},
        {"rollout": {"type": "Rolling", "progressDeadline": "10s"}},
        ["spec.progressDeadlineSeconds"],
    ),
    ("0 is the default of both", {"minReadySeconds": 0}, {}, []),
    ("the longest we take is not too long", {"minReadySeconds": 3600}, {"rollout": {"type": "Rolling", "rolling": {"minReady": "1h"}}}, []),
    ("too long", {"minReadySeconds": 3601}, {"rollout": {"type": "Rolling", "rolling": {"minReady": "1h"}}}, ["spec.minReadySeconds"]),
    ("no history at all would leave nothing to roll back to", {"revisionHistoryLimit": 0}, {"revisionHistoryLimit": 1}, ["spec.revisionHistoryLimit"]),
    ("more than we keep", {"revisionHistoryLimit": 101}, {"revisionHistoryLimit": 100}, ["spec.revisionHistoryLimit"]),
    (
        "written shares are carried",
        {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": "10%"}}},
        {"rollout": {"type": "Rolling", "rolling": {"maxSurge": 2, "maxUnavailable": "10%"}}},
        [],
    ),
    (
        "a share that is not written takes Drover's default, which is safer",
        {"strategy": {"rollingUpdate": {"maxSurge": 1}}},
        {"rollout": {"type": "Rolling", "rolling": {"maxSurge": 1}}},
        [],
    ),
    (
        "but not when both would be 0, which the CRD refuses",
        {"strategy": {"rollingUpdate": {"maxSurge": "0%"}}},
        {"rollout": {"type": "Rolling", "rolling": {"maxSurge": "0%", "maxUnavailable": "25%"}}},
        [],
    ),
    (
        "Kubernetes takes more than 100%",
        {"strategy": {"rollingUpdate": {"maxSurge": "200%"}}},
        {"rollout": {"type": "Rolling", "rolling": {"maxSurge": "100%"}}},
        ["spec.strategy.rollingUpdate.maxSurge"],
    ),
    (
        "Recreate: who asked for it wants no new instance beside the old ones",
        {"strategy": {"type": "Recreate", "rollingUpdate": None}},
        {"rollout": {"type": "Recreate"}},
        [],
    ),
    ("a node takes one instance of a port", {"template": pod_with(hostNetwork=True, containers=[{"name": "a", "image": "a", "ports": [{"containerPort": 80}]}])}, {}, ["spec.template.spec.hostNetwork"]),
    ("the host's network without a port is no matter", {"template": pod_with(hostNetwork=True)}, {}, []),
    ("the same for one port of the host", {"template": pod_with(containers=[{"name": "a", "image": "a", "ports": [{"containerPort": 80, "hostPort": 80}]}])}, {}, ["spec.template.spec.containers.ports.hostPort"]),
]  # fmt: skip


@pytest.mark.parametrize(("why", "spec", "expected", "warned"), CARRIED, ids=[row[0] for row in CARRIED])
def test_deployment_fields(why: str, spec: dict[str, Any], expected: dict[str, Any], warned: list[str]) -> None:
    given = deployment(**spec)
    before = deepcopy(given)
    imported = convert([given], criticality="Normal")
    assert spec_of(given) == expected, why
    assert [note.field for note in imported.notes] == warned
    assert given == before
    assert_fits_schema(imported.services[0])


REFUSED: list[tuple[str, Manifest, str]] = [
    ("pods are named after the service", deployment("x" * 41), "metadata.name has 41 characters"),
    ("a Deployment may have dots in its name, a Service not", deployment("web.v1"), "metadata.name web.v1 is not a DNS label"),
    ("generateName makes another object every time", {**deployment(), "metadata": {"generateName": "web-"}}, "metadata.name is missing"),
    ("a service does not end", deployment(template=pod_with(restartPolicy="Never")), "spec.template.spec.restartPolicy Never"),
    ("checked by the model", deployment(template=pod_with(containers=[])), "spec.template.spec.containers is not valid"),
    ("the place within the template is told", deployment(template=pod_with(containers=[{"name": "a"}])), "spec.template.spec.containers[0] is not valid"),
    ("no template at all", deployment(template=None), "spec.template.spec is not valid"),
    ("a map list by name", deployment(template=pod_with(initContainers=[{"name": "main", "image": "b"}])), "spec.template.spec.containers main is the name of 2"),
    ("more than we run", deployment(replicas=5001), "spec.replicas is not valid"),
    ("text where a number belongs", deployment(replicas="3"), "spec.replicas is not valid"),
    ("a wrong share", deployment(strategy={"rollingUpdate": {"maxSurge": "many"}}), "spec.strategy.rollingUpdate.maxSurge must be"),
    ("a wrong number of seconds", deployment(minReadySeconds="5s"), "spec.minReadySeconds must be a number"),
    ("a wrong shape is no reason for a traceback", {**deployment(), "spec": []}, "spec must be a mapping"),
    ("only four levels exist", {**deployment(), "metadata": {"name": "web", "annotations": {"drover.dev/criticality": "vital"}}}, "metadata.annotations[drover.dev/criticality] must be one of"),
    ("YAML made a number of an unquoted version", {**deployment(), "metadata": {"name": "web", "labels": {"version": 1.2}}}, "metadata.labels[...] is not valid"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "manifest", "line"), REFUSED, ids=[row[0] for row in REFUSED])
def test_workload_is_refused_alone(why: str, manifest: Manifest, line: str) -> None:
    imported = convert([manifest, deployment("beside")], criticality="Normal")
    assert [each["metadata"]["name"] for each in imported.services] == ["beside"], why
    (note,) = imported.notes
    assert str(note).startswith(f"error: deployment/{manifest['metadata'].get('name', '?')}: {line}")


CLAIMS = [{"metadata": {"name": "data"}, "spec": {}}]
ALONG: list[tuple[str, list[Manifest], list[str], list[str], list[str]]] = [
    # why, manifests, names of the ManagedServices, kept objects, beginnings of the notes
    ("pets are not supported yet, and no error", [deployment(kind="StatefulSet", volumeClaimTemplates=CLAIMS)], [], [], ["warning: statefulset/web: spec.volumeClaimTemplates need pets"]),
    ("without volumes it is cattle", [deployment(kind="StatefulSet", serviceName="web")], ["web"], [], ["warning: statefulset/web: kind StatefulSet without volumes is imported as Cattle"]),
    ("a daemon belongs to a node", [deployment(kind="DaemonSet")], [], ["DaemonSet/web"], ["warning: daemonset/web: kind DaemonSet is not a service"]),
    ("a job ends", [other("Job", "batch/v1")], [], ["Job/web"], ["warning: job/web: kind Job"]),
    ("configuration is none of our business", [deployment(), other("ConfigMap"), other("Secret"), other("Widget", "example.org/v1")], ["web"], ["ConfigMap/web", "Secret/web", "Widget/web"], []),
    ("a removed version could hold anything", [{**deployment(), "apiVersion": "extensions/v1beta1"}], [], ["Deployment/web"], ["warning: deployment/web: apiVersion extensions/v1beta1 is no longer served"]),
    ("a kind of the same name of another group", [{**deployment(), "apiVersion": "example.org/v1"}], [], ["Deployment/web"], []),
    ("the same name in two namespaces is two services", [deployment(), {**deployment(), "metadata": {"name": "web", "namespace": "b"}}], ["web", "web"], [], []),
    ("`kubectl get all` has what controllers made", [deployment(), {**deployment("web-1", "ReplicaSet"), "metadata": {"name": "web-1", "ownerReferences": [{"kind": "Deployment", "name": "web", "controller": True}]}}], ["web"], [], ["warning: replicaset/*: metadata.ownerReferences name a controller in 1"]),
    ("kubectl cannot apply a kustomization either", [deployment(), other("Kustomization", "kustomize.config.k8s.io/v1beta1")], ["web"], [], ["warning: kustomization/web: kind Kustomization is not an object"]),
    ("two budgets for a pod block its eviction", [deployment(), other("PodDisruptionBudget", "policy/v1", spec={"selector": {"matchLabels": {"app": "web"}}})], ["web"], [], ["warning: poddisruptionbudget/web: spec is left out"]),
    ("the budget of others stays", [deployment(), other("PodDisruptionBudget", "policy/v1", spec={"selector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}})], ["web"], ["PodDisruptionBudget/web"], []),
    ("an autoscaler would go on scaling a Deployment that is gone", [deployment(), other("HorizontalPodAutoscaler", "autoscaling/v2", spec={"scaleTargetRef": {"kind": "Deployment", "name": "web"}})], ["web"], ["HorizontalPodAutoscaler/web"], ["warning: horizontalpodautoscaler/web: spec.scaleTargetRef is deployment/web"]),
]  # fmt: skip


@pytest.mark.parametrize(("why", "manifests", "names", "kept", "notes"), ALONG, ids=[row[0] for row in ALONG])
def test_what_becomes_of_each_kind(why: str, manifests: list[Manifest], names: list[str], kept: list[str], notes: list[str]) -> None:
    imported = convert(manifests, criticality="Normal")
    assert [each["metadata"]["name"] for each in imported.services] == names, why
    assert [f"{each['kind']}/{each['metadata']['name']}" for each in imported.kept] == kept
    assert len(imported.notes) == len(notes)
    assert all(line.startswith(note) for line, note in zip(lines(imported), notes, strict=True))


def test_second_workload_of_the_same_name_is_refused() -> None:
    imported = convert([deployment(), deployment(kind="StatefulSet")], criticality="Normal")
    assert lines(imported)[0].startswith("error: statefulset/web: metadata.name web was imported already")


HTTP = {"name": "http", "port": 80, "targetPort": 8080}
SERVICES: list[tuple[str, Manifest, list[dict[str, Any]], str]] = [
    # why, Service beside deployment/web, ports of the ManagedService (none: the Service is kept), the field of its warning
    ("same name, nothing special", service(), [HTTP], ""),
    ("defaults that are written out say nothing", service(type="ClusterIP", sessionAffinity="None", internalTrafficPolicy="Cluster", clusterIP=""), [HTTP], ""),
    ("one port may be without a name", service(ports=[{"port": 80}]), [{"name": "port-80", "port": 80}], "spec.ports.name"),
    ("the port of the container may be a name", service(ports=[{"name": "dns", "port": 53, "targetPort": "dns", "protocol": "UDP"}]), [{"name": "dns", "port": 53, "targetPort": "dns", "protocol": "UDP"}], ""),
    ("another name is another address", service("web-external"), [], "metadata.name"),
    ("a load balancer has an address outside", service(type="LoadBalancer", allocateLoadBalancerNodePorts=True), [], "spec.type"),
    ("a fixed port on all nodes", service(type="NodePort", ports=[{"port": 80, "nodePort": 30080}]), [], "spec.type"),
    ("headless: clients resolve the pods themselves", service(clusterIP="None"), [], "spec.clusterIP"),
    ("an address that someone chose", service(clusterIP="10.0.0.9"), [], "spec.clusterIP"),
    ("sticky sessions", service(sessionAffinity="ClientIP"), [], "spec.sessionAffinity"),
    ("not yet ready pods are wanted", service(publishNotReadyAddresses=True), [], "spec.publishNotReadyAddresses"),
    ("a field of a later Kubernetes", service(trafficDistribution="PreferSameNode"), [], "spec.trafficDistribution"),
    ("a mesh reads the protocol", service(ports=[{"name": "h2", "port": 80, "appProtocol": "kubernetes.io/h2c"}]), [], "spec.ports.appProtocol"),
    ("our names are short", service(ports=[{"name": "a-rather-long-name", "port": 80}]), [], "spec.ports"),
    ("no ports at all", service(ports=[]), [], "spec.ports"),
    ("an annotation steers a controller that we do not know", {**service(), "metadata": {"name": "web", "annotations": {"example.org/topology": "auto"}}}, [], "metadata.annotations[example.org/topology]"),
    ("a label that the workload does not have may be selected by", {**service(), "metadata": {"name": "web", "labels": {"scrape": "yes"}}}, [HTTP], "metadata.labels"),
    ("selects nothing of ours: no matter of the import", service(selects="mail"), [], ""),
    ("in another namespace", {**service(), "metadata": {"name": "web", "namespace": "b"}}, [], ""),
    ("endpoints by hand", service(selector=None), [], ""),
    ("a name for an address outside", service(selector={}, type="ExternalName", externalName="example.org"), [], ""),
]  # fmt: skip


@pytest.mark.parametrize(("why", "given", "ports", "warned"), SERVICES, ids=[row[0] for row in SERVICES])
def test_services(why: str, given: Manifest, ports: list[dict[str, Any]], warned: str) -> None:
    imported = convert([given, deployment()], criticality="Normal")
    assert imported.services[0]["spec"].get("ports", []) == ports, why
    assert imported.kept == ([] if ports else [given])
    assert [note.field for note in imported.notes] == ([warned] if warned else [])
    assert_fits_schema(imported.services[0])


def test_service_of_two_workloads_is_kept() -> None:
    """A canary by labels: either workload alone would lose the other's share of the traffic."""
    canary = deployment("web-canary", template=pod_with())
    imported = convert([deployment(), canary, service()], criticality="Normal")
    assert [each["spec"].get("ports") for each in imported.services] == [None, None]
    assert lines(imported) == ["warning: service/web: spec.selector selects the pods of deployment/web, deployment/web-canary; the Service is kept as it was"]


def test_service_with_labels_that_are_no_text_is_refused_by_the_server_not_by_a_traceback() -> None:
    given = {**service(), "metadata": {"name": "web", "labels": {"app": ["web"]}}}
    assert [note.field for note in convert([deployment(), given], criticality="Normal").notes] == ["metadata.labels"]


def test_service_beside_a_workload_that_is_not_imported_is_kept() -> None:
    """The DaemonSet's pods have the same label; a Service by Drover would no longer reach them."""
    imported = convert([deployment(), deployment("node", "DaemonSet", template=pod_with()), service()], criticality="Normal")
    assert [each["kind"] for each in imported.kept] == ["DaemonSet", "Service"]


def test_adopt_is_written_only_when_asked_for_and_nothing_is_kept() -> None:
    assert "adopt" not in convert([deployment(), service()]).services[0]["spec"]
    assert convert([deployment(), service()], adopt=True).services[0]["spec"]["adopt"] is True
    imported = convert([deployment(), service(type="LoadBalancer")], adopt=True)
    assert "adopt" not in imported.services[0]["spec"]
    assert lines(imported)[1].startswith("warning: service/web: metadata.name is that of a ManagedService that does not carry")


def test_live_objects_lose_what_the_server_added() -> None:
    """`kubectl get -o yaml` is the import that most people try first."""
    live = service(clusterIP="10.0.0.9", clusterIPs=["10.0.0.9"], ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack", type="ClusterIP")
    live["metadata"] |= LIVE
    account = other("ServiceAccount", name="a", status={})
    account["metadata"] |= LIVE
    workload = deployment(replicas=2)
    workload["metadata"] |= {
        **LIVE,
        "annotations": {"deployment.kubernetes.io/revision": "4", "kubectl.kubernetes.io/last-applied-configuration": "{}", "team": "a"},
    }
    workload["status"] = {"replicas": 2}
    imported = convert([workload, live, account], criticality="Normal")
    assert imported.services[0]["metadata"] == {"name": "web", "annotations": {"team": "a"}}
    assert imported.kept == [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}}]
    assert [(note.object, note.field) for note in imported.notes] == [("service/web", "metadata.name")]  # it is in the way


LIVE_NOTES: list[tuple[str, Manifest, dict[str, Any], list[str]]] = [
    # why, what stands beside deployment/web in the cluster, keywords of `convert`, the notes
    ("Drover takes this one over, and its numbers change", budget(), {"adopt": True}, ["warning: poddisruptionbudget/web: spec is set anew from the criticality"]),
    ("nothing is taken over without being asked", budget(), {}, ["warning: poddisruptionbudget/web: spec is left out, Drover makes a budget for deployment/web"]),
    ("another name is not taken over, and would be the second for each pod", budget("old"), {"adopt": True}, ["warning: poddisruptionbudget/old: spec is left out, Drover makes a budget for deployment/web"]),
    ("of this name, but for other pods: it must not be taken from them", budget(selects="mail"), {"adopt": True}, ["warning: poddisruptionbudget/web: metadata.name is that of a ManagedService that does not carry it over; imported without adopt"]),
    ("what stays selects its pods too, and would be cut off", live(service()), {"adopt": True, "others": [deployment("web-canary", template=pod_with())]}, ["warning: service/web: spec.selector selects the pods of deployment/web, deployment/web-canary", "warning: service/web: metadata.name is that of a ManagedService"]),
]  # fmt: skip


@pytest.mark.parametrize(("why", "beside", "keywords", "notes"), LIVE_NOTES, ids=[row[0] for row in LIVE_NOTES])
def test_what_may_be_taken_over(why: str, beside: Manifest, keywords: dict[str, Any], notes: list[str]) -> None:
    imported = convert([live(deployment()), beside], criticality="Normal", **keywords)
    assert len(imported.notes) == len(notes), why
    assert all(line.startswith(note) for line, note in zip(lines(imported), notes, strict=True))
    taken = keywords.get("adopt", False) and not any("imported without adopt" in line for line in lines(imported))
    assert imported.services[0]["spec"].get("adopt", False) is taken


FILLED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    # why, the pod's spec as a cluster has it (without containers), what is left of it
    ("what every pod has", {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "terminationGracePeriodSeconds": 30, "securityContext": {}}, {}),
    ("what somebody chose", {"dnsPolicy": "Default", "schedulerName": "mine", "terminationGracePeriodSeconds": 0}, {"dnsPolicy": "Default", "schedulerName": "mine", "terminationGracePeriodSeconds": 0}),
    ("a context with a setting", {"securityContext": {"runAsNonRoot": True}}, {"securityContext": {"runAsNonRoot": True}}),
    ("an account has two names", {"serviceAccountName": "a", "serviceAccount": "a"}, {"serviceAccountName": "a"}),
    ("modes of files", {"volumes": [{"name": "c", "configMap": {"name": "x", "defaultMode": 420}}, {"name": "s", "secret": {"secretName": "y", "defaultMode": 256}}]}, {"volumes": [{"name": "c", "configMap": {"name": "x"}}, {"name": "s", "secret": {"secretName": "y", "defaultMode": 256}}]}),
    ("an empty volume says what it is", {"volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "h", "hostPath": {"path": "/x", "type": ""}}]}, {"volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "h", "hostPath": {"path": "/x"}}]}),
    ("a volume of nothing but defaults stays that kind of volume", {"volumes": [{"name": "d", "downwardAPI": {"defaultMode": 420}}]}, {"volumes": [{"name": "d", "downwardAPI": {}}]}),
    ("tokens and fields in a volume of several", {"volumes": [{"name": "p", "projected": {"defaultMode": 420, "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}, {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}]}}]}}]}, {"volumes": [{"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}, {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}}]}),
    ("a shape that no cluster has is none of our business", {"volumes": "many", "securityContext": 1}, {"volumes": "many", "securityContext": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("why", "filled", "left"), FILLED, ids=[row[0] for row in FILLED])
def test_a_cluster_fills_pods_in(why: str, filled: dict[str, Any], left: dict[str, Any]) -> None:
    given = live(deployment(template=pod_with(**filled)))
    before = deepcopy(given)
    assert convert([given]).services[0]["spec"]["template"] == pod_with(**left), why
    assert convert([deployment(template=pod_with(**filled))]).services[0]["spec"]["template"] == pod_with(**filled), "a file is carried over as it was written"
    assert given == before


PROBED = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
IN_CONTAINERS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("what every container has", {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "resources": {}, "imagePullPolicy": "IfNotPresent"}, {}),
    ("limits", {"resources": {"limits": {"cpu": "1"}}}, {"resources": {"limits": {"cpu": "1"}}}),
    ("protocol of a port", {"ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]}, {"ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]}),
    ("an HTTP probe", {"readinessProbe": {**PROBED, "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}}}, {"readinessProbe": {"httpGet": {"port": 80}}}),
    ("a gRPC probe, with one number of its own", {"livenessProbe": {**PROBED, "periodSeconds": 5, "grpc": {"port": 80, "service": ""}}}, {"livenessProbe": {"periodSeconds": 5, "grpc": {"port": 80}}}),
    ("true is not 1", {"startupProbe": {"timeoutSeconds": True, "tcpSocket": {"port": 80}}}, {"startupProbe": {"timeoutSeconds": True, "tcpSocket": {"port": 80}}}),
    ("a field of the pod in the environment", {"env": [{"name": "IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}, {"name": "E", "value": ""}]}, {"env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, {"name": "E", "value": ""}]}),
    ("latest is pulled every time", {"image": "web", "imagePullPolicy": "Always"}, {"image": "web"}),
    ("a port of the registry is no tag", {"image": "host:5000/web", "imagePullPolicy": "Always"}, {"image": "host:5000/web"}),
    ("a digest never changes", {"image": "web@sha256:12", "imagePullPolicy": "IfNotPresent"}, {"image": "web@sha256:12"}),
    ("latest with a digest is latest", {"image": "web:latest@sha256:12", "imagePullPolicy": "Always"}, {"image": "web:latest@sha256:12"}),
    ("a tag that is pulled every time is somebody's wish", {"imagePullPolicy": "Always"}, {"imagePullPolicy": "Always"}),
]  # fmt: skip


@pytest.mark.parametrize(("why", "filled", "left"), IN_CONTAINERS, ids=[row[0] for row in IN_CONTAINERS])
def test_a_cluster_fills_containers_in(why: str, filled: dict[str, Any], left: dict[str, Any]) -> None:
    plain = {"name": "main", "image": "web:1"}
    template = pod_with(containers=[{**plain, **filled}], initContainers=[{**plain, **filled, "name": "first"}])
    expected = pod_with(containers=[{**plain, **left}], initContainers=[{**plain, **left, "name": "first"}])
    assert convert([live(deployment(template=template))]).services[0]["spec"]["template"] == expected, why


IN_SPECS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("all that a server fills in", {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}}, {}),
    ("what somebody chose", {"replicas": 2, "revisionHistoryLimit": 3, "progressDeadlineSeconds": 60}, {"replicas": 2, "revisionHistoryLimit": 3, "rollout": {"type": "Rolling", "progressDeadline": "1m"}}),
    ("one of two shares", {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}}}, {"rollout": {"type": "Rolling", "rolling": {"maxSurge": 1}}}),
    ("the default share is needed where the other is 0", {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "25%"}}}, {"rollout": {"type": "Rolling", "rolling": {"maxSurge": 0, "maxUnavailable": "25%"}}}),
]  # fmt: skip


@pytest.mark.parametrize(("why", "filled", "left"), IN_SPECS, ids=[row[0] for row in IN_SPECS])
def test_a_cluster_fills_deployments_in(why: str, filled: dict[str, Any], left: dict[str, Any]) -> None:
    assert spec_of(live(deployment(**filled))) == left, why


def test_marks_of_the_tool_that_applied_the_workload_are_left_out() -> None:
    """Flux, Helm and Argo CD find what is theirs by such marks; the ManagedService is not, until somebody gives it to them."""
    given = live(deployment())
    given["metadata"]["labels"] = {"team": "a", "kustomize.toolkit.fluxcd.io/name": "shop", "helm.toolkit.fluxcd.io/name": "shop"}
    given["metadata"]["annotations"] = {"owner": "b", "meta.helm.sh/release-name": "shop", "argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/web"}
    assert convert([given]).services[0]["metadata"] == {"name": "web", "labels": {"team": "a"}, "annotations": {"owner": "b"}}


def test_a_cluster_fills_ports_in() -> None:
    filled = live(
        service(
            clusterIP="10.0.0.9",
            ports=[{"name": "http", "port": 80, "targetPort": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "targetPort": "dns", "protocol": "UDP"}],
        )
    )
    assert spec_of(live(deployment()), filled) == {"ports": [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "targetPort": "dns", "protocol": "UDP"}]}


def test_template_is_unchanged_but_for_server_and_own_fields() -> None:
    probe = {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1}
    containers = [{"name": "main", "image": "web:1", "readinessProbe": probe, "resources": None}]
    template = {
        "metadata": {
            "creationTimestamp": None,
            "name": "x",
            "labels": {"app": "web", "drover.dev/slot": "1", "empty": None},
            "annotations": {"a": "b"},
        },
        "spec": {"containers": containers, "nodeSelector": {"disk": "ssd"}},
    }
    imported = convert([deployment(template=template)], criticality="Normal")
    assert imported.services[0]["spec"]["template"] == {
        "metadata": {"labels": {"app": "web", "empty": ""}, "annotations": {"a": "b"}},
        "spec": {"containers": [{"name": "main", "image": "web:1", "readinessProbe": probe}], "nodeSelector": {"disk": "ssd"}},
    }
    assert [note.message.partition(" is dropped")[0] for note in imported.notes] == ["drover.dev/slot"]


def test_criticality_is_assumed_with_one_note() -> None:
    vital = deployment("pay")
    vital["metadata"]["annotations"] = {"drover.dev/criticality": "Vital"}
    imported = convert([deployment(), deployment("mail"), vital])
    assert [each["spec"]["criticality"] for each in imported.services] == ["Normal", "Normal", "Vital"]
    assert "annotations" not in imported.services[2]["metadata"]  # it says the same as the spec now
    assert [str(note).partition(";")[0] for note in imported.notes] == ["warning: managedservice/*: spec.criticality was assumed to be Normal for 2"]
    asked = convert([deployment(), vital], criticality="Expendable")
    assert [each["spec"]["criticality"] for each in asked.services] == ["Expendable", "Vital"]
    assert asked.notes == []


def test_online_boutique() -> None:
    imported = convert(read([str(BOUTIQUE)], io.BytesIO()))
    assert len(imported.services) == 12
    assert [each["kind"] for each in imported.kept if each["kind"] != "ServiceAccount"] == ["Service"]
    assert [(note.object, note.field) for note in imported.notes] == [
        ("service/frontend-external", "metadata.name"),
        ("managedservice/*", "spec.criticality"),
    ]
    assert [each["metadata"]["name"] for each in imported.services if "ports" not in each["spec"]] == ["loadgenerator"]
    for each in imported.services:
        assert_fits_schema(each)


# --- the structural schema, as far as an API server checks it without CEL

TREE = schema(MANAGED_SERVICE)
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
    "number": (int, float),
}


def assert_fits_schema(manifest: Manifest) -> None:
    assert list(misfits(manifest, TREE, "")) == []
    assert msgspec.convert(manifest | {"spec": manifest["spec"] | {"template": msgspec.Raw(b"{}")}}, ManagedService)


def is_of(value: Any, name: str) -> bool:
    return isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def size_of(value: Any) -> int:
    return value if isinstance(value, int) else len(value)


def misfits(value: Any, node: Manifest, path: str) -> list[str]:
    """The paths that the schema does not take; unknown fields too, as under strict field validation."""
    if node.get("x-kubernetes-int-or-string"):
        return [] if type(value) in (int, str) else [path]
    if "type" in node and not is_of(value, node["type"]):
        return [f"{path}: not of type {node['type']}"]
    found = [path] * (("enum" in node and value not in node["enum"]) or ("pattern" in node and not re.search(node["pattern"], str(value))))
    size = size_of(value)
    found += [f"{path}: {name}" for name in ("minimum", "minLength", "minItems") if size < node.get(name, size)]
    found += [f"{path}: {name}" for name in ("maximum", "maxLength", "maxItems", "maxProperties") if size > node.get(name, size)]
    if node.get("type") == "array":
        return found + misfit_items(value, node, path)
    return found + misfit_fields(value, node, path) if node.get("type") == "object" else found


def misfit_items(value: list[Any], node: Manifest, path: str) -> list[str]:
    keys = node.get("x-kubernetes-list-map-keys", [])
    names = [tuple(item.get(key) for key in keys) for item in value] if keys else []
    found = [f"{path}: keys repeat"] if len(set(names)) < len(names) else []
    return found + [line for item in value for line in misfits(item, node["items"], f"{path}[]")]


def misfit_fields(value: Manifest, node: Manifest, path: str) -> list[str]:
    known, extra = node.get("properties", {}), node.get("additionalProperties")
    found = [f"{path}.{name}: required" for name in node.get("required", []) if name not in value]
    free = extra is not None or node.get("x-kubernetes-preserve-unknown-fields") or path == ".metadata" or not known
    found += [f"{path}.{name}: unknown" for name in value if name not in known and not free]
    return found + [line for name, each in value.items() if (child := known.get(name, extra)) for line in misfits(each, child, f"{path}.{name}")]


MISFITS: list[tuple[str, dict[str, Any], str]] = [
    ("the check itself sees an unknown field", {"replica": 1}, ".spec.replica: unknown"),
    ("and a wrong type", {"replicas": "1"}, ".spec.replicas: not of type integer"),
    ("and a repeated key", {"ports": [HTTP, HTTP]}, ".spec.ports: keys repeat"),
    ("and a bound", {"revisionHistoryLimit": 0}, ".spec.revisionHistoryLimit: minimum"),
]


@pytest.mark.parametrize(("why", "fields", "line"), MISFITS, ids=[row[0] for row in MISFITS])
def test_schema_check_is_not_blind(why: str, fields: dict[str, Any], line: str) -> None:
    (good,) = convert([deployment()]).services
    assert misfits(good | {"spec": good["spec"] | fields}, TREE, "") == [line], why
