# SPDX-License-Identifier: Apache-2.0
"""The typed outline of a pod template: what `kubectl explain` shows and the API server checks at once.

Fields that are not named here are kept as they are. Whether the whole is a valid pod is the API server's own judgement: each
new revision is tried by a server-side dry run with strict field validation before any instance is touched.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta

from drover_operator.api.fields import by_key, rule, rules
from drover_operator.api.meta import DNS_LABEL_PATTERN, Wire

Name = Annotated[str, Meta(min_length=1, max_length=63, pattern=DNS_LABEL_PATTERN)]
OPEN: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}


class ContainerPort(Wire, frozen=True):
    """A port that the container listens on."""

    container_port: Annotated[int, Meta(description="Number of the port.", ge=1, le=65535)]
    name: Annotated[str, Meta(description="Name of the port.", max_length=15)] = ""
    protocol: Annotated[Literal["TCP", "UDP", "SCTP"], Meta(description="Transport protocol.")] = "TCP"


class Container(Wire, frozen=True):
    """One container: name and image are checked, all else is kept."""

    name: Annotated[Name, Meta(description="Name of the container.")]
    image: Annotated[str, Meta(description="Image to run, best by digest.", min_length=1, max_length=1024)]
    ports: Annotated[
        tuple[Annotated[ContainerPort, Meta(extra_json_schema=OPEN)], ...],
        Meta(description="Ports that the container listens on.", max_length=64, extra_json_schema={"x-kubernetes-list-type": "atomic"}),
    ] = ()
    resources: Annotated[
        dict[str, Any],
        Meta(description="Requests and limits, as in a pod.", extra_json_schema={"type": "object", **OPEN}),
    ] = {}


AnyContainer = Annotated[Container, Meta(extra_json_schema=OPEN)]


class Containers(Wire, frozen=True):
    """What is checked of any pod's spec."""

    containers: Annotated[
        tuple[AnyContainer, ...],
        Meta(description="Containers of the pod.", min_length=1, max_length=32, extra_json_schema=by_key("name")),
    ]
    init_containers: Annotated[
        tuple[AnyContainer, ...],
        Meta(description="Containers that run before, or as sidecars.", max_length=32, extra_json_schema=by_key("name")),
    ] = ()


class PodTemplateSpec(Containers, frozen=True):
    """The pod's spec: containers are checked, all else is kept."""

    restart_policy: Annotated[
        Literal["Always"],
        Meta(description="Only Always: a service does not end."),
    ] = "Always"


class PodTemplateMeta(Wire, frozen=True):
    """Labels and annotations of the pods."""

    labels: Annotated[
        dict[str, Annotated[str, Meta(max_length=63)]],
        Meta(
            description="Labels of the pods; keys under drover.dev/ are Drover's own.",
            max_length=64,
            extra_json_schema=rules(rule("self.all(k, !k.startsWith('drover.dev/'))", "spec.template.metadata.labels must not use keys under drover.dev/")),
        ),
    ] = {}
    annotations: Annotated[
        dict[str, Annotated[str, Meta(max_length=65536)]],
        Meta(description="Annotations of the pods.", max_length=64),
    ] = {}


class PodTemplate(Wire, frozen=True):
    """The pods to run."""

    spec: Annotated[PodTemplateSpec, Meta(description="Spec of the pods.", extra_json_schema=OPEN)]
    metadata: Annotated[PodTemplateMeta, Meta(description="Labels and annotations of the pods.")] = PodTemplateMeta()


class JobTemplateSpec(Containers, frozen=True):
    """The spec of a pod that does its work and ends."""

    restart_policy: Annotated[
        Literal["Never", "OnFailure"],
        Meta(description="What becomes of a container that fails."),
    ] = "Never"


class JobTemplateMeta(Wire, frozen=True):
    """Labels and annotations of the pod of a Job."""

    labels: Annotated[
        dict[str, Annotated[str, Meta(max_length=63)]],
        Meta(
            description="Labels of the pod; with keys under drover.dev/ a Service would take it for an instance.",
            max_length=64,
            extra_json_schema=rules(rule("self.all(k, !k.startsWith('drover.dev/'))", "labels of a Job's pod must not use keys under drover.dev/")),
        ),
    ] = {}
    annotations: Annotated[
        dict[str, Annotated[str, Meta(max_length=65536)]],
        Meta(description="Annotations of the pod.", max_length=64),
    ] = {}


class JobTemplate(Wire, frozen=True):
    """The pod of a Job."""

    spec: Annotated[JobTemplateSpec, Meta(description="Spec of the pod.", extra_json_schema=OPEN)]
    metadata: Annotated[JobTemplateMeta, Meta(description="Labels and annotations of the pod.")] = JobTemplateMeta()
