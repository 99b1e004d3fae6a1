# SPDX-License-Identifier: Apache-2.0
"""Field validation: Strict refuses unknown and repeated fields, Ignore and Warn drop them."""

from tests.conformance.cases._bodies import config, pod, service
from tests.conformance.room import Room

STRICT = {"fieldValidation": "Strict"}


async def unknown_fields_of_a_custom_resource(room: Room) -> None:
    """A misspelled field would else be dropped without a word; the template keeps what it does not know."""
    container = {"name": "app", "image": "i", "tty": True}
    spec = {"replica": 3, "rollout": {"typo": 1}, "template": {"spec": {"containers": [container], "hostname": "h"}}}
    await room.post("managedservices", service(spec=spec), **STRICT)
    await room.post("managedservices", {**service(), "extra": 1}, **STRICT)
    await room.post("managedservices", service(extra=1), **STRICT)
    await room.post("managedservices", service(spec=spec), fieldValidation="Warn", show="spec")
    await room.merge("managedservices/web", {"spec": {"replica": 3}}, **STRICT)
    await room.merge("managedservices/web", {"spec": {"replica": 3}}, fieldValidation="Ignore", show="spec.replica spec.replicas")
    await room.merge("managedservices/web/status", {"status": {"typo": 3}}, **STRICT)
    await room.json("managedservices/web", {"op": "add", "path": "/spec/typo", "value": 1}, **STRICT)


async def unknown_fields_of_built_in_kinds(room: Room) -> None:
    """The dry run of a new revision is strict, so that a typo in a pod template is told before anything is replaced."""
    await room.post("pods", pod("p", {"foo": 1, "containers": [{"name": "a", "image": "i", "bar": 1}]}), **STRICT)
    await room.post("pods", pod("p", {"foo": 1, "containers": [{"name": "a", "image": "i", "bar": 1}]}), show="spec.foo spec.containers.0.bar")
    await room.post("pods", pod("q", {"containers": [{"name": "a", "image": "i", "livenessProbe": {"tcpsocket": {"port": 1}}}]}), **STRICT)
    await room.post("configmaps", {**config(), "extra": 1}, **STRICT)
    await room.post("configmaps", config(extra=1), **STRICT)
    await room.merge("pods/p", {"metadata": {"extra": 1}}, **STRICT)
    await room.strategic("pods/p", {"spec": {"foo": 1}}, **STRICT)


async def repeated_fields(room: Room) -> None:
    """Two truths in one document: the strict answer names the field, the others take the last."""
    body = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"1","k":"2"}}'
    await room.send("POST", "configmaps", body, query=STRICT)
    await room.send("POST", "configmaps", body, show="data")


async def a_word_that_is_no_validation(room: Room) -> None:
    """A misspelled level must not become the laxest one."""
    await room.post("configmaps", config(), fieldValidation="Harsh")
