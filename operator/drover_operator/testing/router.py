# SPDX-License-Identifier: Apache-2.0
"""A router of the Gateway API, as late as one likes: it acts on routes and endpoints some time after they changed, and may say so too early.

What real ones do was measured: Contour acts 18-308 ms after a write, Traefik up to 1.9 s, and says Accepted before that every time. Changes are acted on
in the order in which they were made.
"""

from collections.abc import Callable

from drover_operator.testing.actors import Actor
from drover_operator.testing.apiserver import ApiServer
from drover_operator.testing.kinds import ENDPOINT_SLICES, HTTP_ROUTES
from drover_operator.testing.objects import Json
from drover_operator.testing.storage import Change, Version

_SERVICE_LABEL = "kubernetes.io/service-name"
Rule = dict[str, int]


class Router(Actor):
    """Keeps what it acts on in `rules` (by route and name of the rule, or its number: weights by Service) and `endpoints` (by Service: uids of pods).

    `lag` is in seconds from a change to acting on it, `early` how long before that it reports that it has; `accepts` whether it takes routes at all.
    """

    user = "system:serviceaccount:gateway:router"
    kinds = (HTTP_ROUTES, ENDPOINT_SLICES)

    def __init__(self, server: ApiServer) -> None:
        super().__init__(server, 0.0)
        self.lag = 0.05
        self.early = 0.0
        self.accepts = True
        self._told: dict[str, int] = {}  # generation, by route
        self.rules: dict[tuple[str, str], Rule] = {}
        self.endpoints: dict[str, frozenset[str]] = {}
        self.on_act: Callable[[], None] = lambda: None

    def observe(self, change: Change) -> None:
        """A route or a slice: acted on later, as it is now."""
        version = change.current
        if version.kind is ENDPOINT_SLICES:
            ready = frozenset[str]() if change.deleted else _ready(version)
            self._act_later(lambda: self._take_endpoints(f"{version.namespace}/{version.labels.get(_SERVICE_LABEL, '')}", ready))
        elif change.deleted or change.previous is None or version.data["spec"] != change.previous.data["spec"]:
            rules = (
                {} if change.deleted else {rule.get("name") or f"{number}": _weights(rule) for number, rule in enumerate(version.data["spec"].get("rules", ()))}
            )
            self._act_later(lambda: self._take_route(version.key, rules))
            self._loop.call_later(max(0.0, self.lag - self.early), lambda: self._tell(version))

    def _tell(self, version: Version) -> None:
        self._told[version.key] = version.meta["generation"]
        self.mark(version.key)

    def sync(self, key: str) -> None:
        """Report on a route."""
        namespace, name = key.split("/")
        route = self.storage.get(HTTP_ROUTES, namespace, name)
        if route is None or route.deleting:
            return
        status, reason = ("True", "Accepted") if self.accepts else ("False", "NotAllowedByListeners")
        told: Json = {
            "type": "Accepted",
            "status": status,
            "reason": reason,
            "message": "" if self.accepts else "no listener takes it",
            "observedGeneration": self._told[key],
            "lastTransitionTime": self.server.registry.now(),
        }
        parents = [{"parentRef": {"name": "gateway"}, "controllerName": "example.com/router", "conditions": [told]}]
        self.server.patch(route, {"status": {"parents": parents}}, user=self.user, subresource="status")

    def backends(self, namespace: str) -> dict[str, frozenset[str]]:
        """Pods that get requests now, by the Service that has weight."""
        weighted = {name for (route, _), rule in self.rules.items() if route.startswith(f"{namespace}/") for name, weight in rule.items() if weight}
        return {name: self.endpoints.get(f"{namespace}/{name}", frozenset()) for name in weighted}

    def _act_later(self, act: Callable[[], None]) -> None:
        self._loop.call_later(self.lag, act)

    def _take_route(self, key: str, rules: dict[str, Rule]) -> None:
        self.rules = {place: rule for place, rule in self.rules.items() if place[0] != key} | {(key, name): rule for name, rule in rules.items()}
        self.on_act()

    def _take_endpoints(self, key: str, ready: frozenset[str]) -> None:
        self.endpoints[key] = ready
        self.on_act()


def _weights(rule: Json) -> Rule:
    return {each["name"]: int(each.get("weight", 1)) for each in rule.get("backendRefs", ())}


def _ready(version: Version) -> frozenset[str]:
    endpoints = version.data.get("endpoints") or ()
    return frozenset(each["targetRef"]["uid"] for each in endpoints if "targetRef" in each and each.get("conditions", {}).get("ready") is not False)
