# SPDX-License-Identifier: Apache-2.0
"""Weights of an HTTPRoute while a canary goes through its steps. Pure: what the route shows goes in, what it should show comes out.

At rest the route points to the Service of the service, as its owner wrote it. For a rollout it is first moved to a Service of the stable revision
alone; then the new revision gets instances, a Service of its own, and weight step by step; when it has all of the weight, and the router has
had time to act on it, the old instances leave; then the route returns to rest. Each Service selects one revision for as long as it
lives, so that a weight never changes its meaning while it stands.

A backend is named with weight 0 before it gets any, and for a while after it had some: Envoy hears of routes and of where they lead by two
streams, in any order, and answers 503 where a route leads to what it does not know yet, or not any more (Contour 1.33 and Envoy 1.40: 43 of 1,054
requests at twelve such changes; none of 2,680 in this way).

A router is late, and says so badly: Traefik reports Accepted up to 1.9 s before it serves the new weights, Contour with some changes too. So what
was written counts when every parent has accepted that generation *and* `settle` has passed since it was written. The time is in
the write itself. Weight is only given to instances that discovery lists, and is taken away before they leave.

Rejected: one Service for "stable" and one for "candidate", whose selectors change at the end (Argo Rollouts #2864, #4433, #4195: 503 at the end of
a good canary, when the selector has changed and the router still has the endpoints of before).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from drover_controllers.service.rollout.steps import ALL, steps_for
from drover_controllers.service.values import Course, Demand, Facts, Place, Population, Targets
from drover_operator.api.gateway import ROUTED_AT, BackendRef, HTTPRoute, RouteRef, Rule
from drover_operator.api.meta import utc
from drover_operator.api.resource import HTTP_ROUTES
from drover_operator.api.rollout import HeaderMatch
from drover_operator.core.clock import parse_duration
from drover_operator.core.plan import Patch
from drover_operator.core.reasons import Reason

NOBODY = Population()
STEP = 253  # characters
ANYTHING = {"path": {"type": "PathPrefix", "value": "/"}}  # what a rule without matches takes
_rule = msgspec.json.Decoder(Rule)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the route shows: the share of each of our Services in percent, and seconds until that certainly is what the router does (None: until an event).

    `lanes` are our rules for requests that are told apart by their headers: the Service by the number of the lane. `problem` says why the route cannot
    be used; `mentioned` are all Services in it, for it may send requests to them all the same.
    """

    shares: Mapping[str, int]
    lanes: Mapping[int, str] = field(default_factory=dict[int, str])
    left: float | None = 0.0
    problem: Reason | None = None
    message: str = ""
    mentioned: frozenset[str] = frozenset()

    @property
    def settled(self) -> bool:
        """Whether the router does what the route says."""
        return self.left == 0.0 and self.problem is None


def is_routed(facts: Facts) -> bool:
    """Whether a route gives weights to revisions, or may still do."""
    return facts.route_ref is not None and bool(facts.service.spec.ports)


def steers(facts: Facts) -> bool:
    """Whether a rollout of this service moves weights: not with another strategy, nor before a route that was named earlier is at rest."""
    spec = facts.service.spec
    if facts.service.metadata.deletion_timestamp is not None:
        return False
    return spec.traffic is not None and spec.rollout.type in ("Canary", "ABTest") and is_routed(facts) and facts.route_ref == spec.traffic.route


def shown(facts: Facts) -> Shown:
    """What the route shows now, as far as we have seen."""
    route, wanted = facts.route, facts.route_ref or RouteRef(name="")
    name = wanted.name
    if route is None:
        return _unusable(Reason.ROUTE_NOT_FOUND, f"spec.traffic.route names the HTTPRoute '{name}', which does not exist: create it, or correct the name")
    rules = [rule for rule, ours in _rules(facts, route) if ours]
    if not rules:
        where = f"the rule '{wanted.rule}'" if wanted.rule else "no rule"
        other = "is missing, or has other backends beside this service" if wanted.rule else "has this service for its only backend"
        why = f"HTTPRoute '{name}': {where} {other}: name '{facts.service.metadata.name}' in its backendRefs"
        return _unusable(Reason.ROUTE_NOT_USABLE, why, _mentioned(facts, route))
    if (refused := _refused(route)) is not None:
        return _unusable(Reason.ROUTE_NOT_ACCEPTED, f"HTTPRoute '{name}' is not accepted: {refused}", _mentioned(facts, route))
    return Shown(shares=_shares(rules[0]), lanes=_lanes(facts, route), left=_left(facts, route))


def _unusable(reason: Reason, message: str, mentioned: frozenset[str] = frozenset()) -> Shown:
    return Shown(shares={}, left=None, problem=reason, message=message, mentioned=mentioned)


def _mentioned(facts: Facts, route: HTTPRoute) -> frozenset[str]:
    return frozenset(ref.name for rule, _ in _rules(facts, route) for ref in rule.backend_refs)


def _rules(facts: Facts, route: HTTPRoute) -> Iterator[tuple[Rule, bool]]:
    """Every rule, and whether its backends are ours to change."""
    wanted = facts.route_ref.rule if facts.route_ref is not None else None
    for raw in route.spec.rules:
        rule = _rule.decode(raw)
        own = bool(rule.backend_refs) and all(_is_ours(facts, each) for each in rule.backend_refs)
        yield rule, own and _lane_of(facts, rule) is None and wanted in (None, rule.name)


def _lane_name(facts: Facts, number: int | str) -> str:
    return f"drover-{facts.service.metadata.name}-{number}"


def _lane_of(facts: Facts, rule: Rule) -> int | None:
    """The number of the lane that one of our rules is for; None for every other rule."""
    number = rule.name.removeprefix(_lane_name(facts, "")).partition("-")[0]
    return int(number) if rule.name.startswith(_lane_name(facts, "")) and number.isdecimal() else None


def _lanes(facts: Facts, route: HTTPRoute) -> dict[int, str]:
    rules = [(_lane_of(facts, rule), rule) for rule, _ in _rules(facts, route)]
    return {number: rule.backend_refs[0].name for number, rule in rules if number is not None and rule.backend_refs}


def _is_ours(facts: Facts, ref: BackendRef) -> bool:
    here = ref.namespace in ("", facts.service.metadata.namespace) and (ref.group, ref.kind) == ("", "Service")
    return here and (ref.name == facts.service.metadata.name or ref.name in facts.revisions or ref.name in facts.fronts)


def _shares(rule: Rule) -> dict[str, int]:
    """Shares in percent; a rule whose weights are all 0 serves nobody, and its first backend counts."""
    total = sum(each.weight for each in rule.backend_refs)
    return {each.name: ALL * each.weight // total if total else 0 for each in rule.backend_refs}


def _refused(route: HTTPRoute) -> str | None:
    """Why a parent does not take the route as it is, or that none has ever said anything; None where nobody refuses."""
    told = [each for parent in route.status.parents for each in parent.conditions if each.type == "Accepted"]
    if not told:
        return "no Gateway has taken it; look at its parentRefs, and whether their controller runs"
    return next((each.message or each.reason for each in told if each.status == "False" and each.observed_generation >= route.metadata.generation), None)


def _left(facts: Facts, route: HTTPRoute) -> float | None:
    """Seconds until what the route says is certainly done; None while no parent has accepted it, or one has not."""
    said = [{each.type: each for each in parent.conditions} for parent in route.status.parents]
    accepted = [each.get("Accepted") for each in said]
    if not accepted or any(one is None or one.status != "True" or one.observed_generation < route.metadata.generation for one in accepted):
        return None
    settle = parse_duration(facts.service.spec.traffic.settle) if facts.service.spec.traffic is not None else 0.0
    return max(0.0, _written_at(route) + settle - facts.now)


def _written_at(route: HTTPRoute) -> float:
    try:
        return datetime.fromisoformat(route.metadata.annotations.get(ROUTED_AT, "")).timestamp()
    except ValueError:
        return 0.0


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """Everything that weights are decided by."""

    facts: Facts
    route: Shown
    way: Course
    at: Place | None
    demand: Demand
    population: Mapping[str, Population]
    paused: bool = False

    @property
    def matches(self) -> tuple[tuple[tuple[HeaderMatch, ...], bool], ...]:
        """Requests that are told apart, and whether they go to the new revision; when all steps are passed all of them do."""
        if self.at is not None:
            return self.at.lanes
        return tuple((each.match, True) for each in steps_for(self.facts.service.spec.rollout, self.way) if each.match is not None)

    @property
    def needed(self) -> int:
        """Instances of the new revision for the present step, rounded up; the old one stays at full size until all requests have moved.

        How many requests match nobody knows: without a number from the user it is full size then.
        """
        if self.at is None:
            return self.demand.replicas
        if self.at.replicas is not None:
            return min(self.at.replicas, self.demand.replicas)
        return self.demand.replicas if any(new for _, new in self.at.lanes) else -(-self.demand.replicas * self.at.weight // ALL)

    @property
    def rest(self) -> str:
        """Name of the Service that the route points to at rest."""
        return self.facts.service.metadata.name

    @property
    def moving(self) -> bool:
        """Whether two revisions are there, or shall be, and the route is to tell them apart."""
        if not steers(self.facts):
            return False
        way, others = self.way, any(each.live for name, each in self.population.items() if name != self.way.target)
        return bool(way.stable) and (way.target != way.stable or others)

    def backed(self, service: str) -> int:
        """How many instances discovery lists for a Service."""
        return self.facts.backed(service)


def routed(c: Crossing) -> Targets:
    """Wanted number of instances by revision: nobody new before the route has left its rest, the old one whole until all requests have moved."""
    if not c.moving or c.way.target == c.way.stable:
        return {c.way.target: c.demand.replicas}
    new, there = c.needed, c.population.get(c.way.target, NOBODY).live
    done = c.at is None and c.route.settled and c.route.shares.get(c.way.target) == ALL and not c.paused
    begun = c.route.settled and not c.route.shares.get(c.rest) and not c.paused
    return {c.way.target: new if begun else min(new, there), c.way.stable: 0 if done else c.demand.replicas}


def kept(c: Crossing, targets: Targets) -> Targets:
    """The targets, but nobody leaves who may still get requests by the route."""
    wanted, at_rest = dict(targets), dict(c.route.shares) == {c.rest: ALL}
    for name, each in c.population.items():
        used = c.route.shares.get(name) or name in c.route.lanes.values() or name in c.route.mentioned
        late = c.route.problem is None and not c.route.settled and not at_rest
        if used or late or bool(c.route.left) or (c.route.shares.get(c.rest) and c.moving):
            wanted[name] = max(wanted.get(name, 0), min(each.live, c.demand.replicas))
    return wanted


def shares(c: Crossing) -> dict[str, int]:
    """The shares that the route should show, in percent, by Service: 0 for one that is only named."""
    present, goal, named = c.route.shares, _goal(c), _named(c)
    first = {name for name, share in goal.items() if share and not present.get(name)}
    known = {c.way.stable} if not present.get(c.rest) else set[str]()  # since the rollout began: an abort waits for nothing
    known |= set[str]() if steers(c.facts) else {c.rest}
    if first - present.keys() or (first - known and not c.route.settled):
        return {**present, **dict.fromkeys((each for each in (*goal, *named) if each not in present), 0)}
    return {**goal, **dict.fromkeys((each for each in named if each not in goal), 0)}


def _named(c: Crossing) -> list[str]:
    """Who must stand in the route: all whom this rollout may need, once each has its Service, and who may still get requests."""
    ours = [c.rest, *(name for name in (c.way.stable, c.way.target) if name)] if c.moving else []
    whole = not c.paused and all(name in c.facts.fronts for name in ours)
    there = [name for name in ours if whole or name in c.route.shares]
    return list(dict.fromkeys((*there, *(name for name, share in c.route.shares.items() if share or not c.route.settled))))


def _goal(c: Crossing) -> dict[str, int]:
    """The shares that requests should come to. Never more for a revision than its listed instances can bear."""
    present = {name: share for name, share in c.route.shares.items() if share}
    if not steers(c.facts):
        return {c.rest: ALL}
    if not c.moving:  # but not while the Service of all still lists somebody who leaves: a late router would send requests there
        rests = c.rest in present or c.backed(c.rest) <= c.backed(c.way.target)
        return {c.rest: ALL} if rests else present
    if c.rest in present:
        whole = c.backed(c.way.stable) >= max(1, min(c.demand.replicas, c.backed(c.rest)))
        return {c.way.stable: ALL} if whole and not c.paused and c.way.target in c.facts.fronts else present
    if c.way.target == c.way.stable:
        others = [name for name in c.population if name != c.way.target]
        return _split(c, c.way.target, ALL, max(others, key=lambda name: present.get(name, 0)))
    goal = ALL if c.at is None else c.at.weight
    if c.paused:
        goal = min(goal, present.get(c.way.target, 0))
    if c.backed(c.way.target) < c.needed:
        goal = min(goal, present.get(c.way.target, 0))
    elif c.at is not None and c.at.replicas is not None:
        return {name: part for name, part in ((c.way.target, goal), (c.way.stable, ALL - goal)) if part}  # whoever sets the number answers for it
    return _split(c, c.way.target, goal, c.way.stable)


def lanes(c: Crossing, shares: Mapping[str, int]) -> dict[int, str]:
    """The Service for each kind of requests that is told apart, by its number. None where all requests go the same way."""
    if not c.moving or c.way.target == c.way.stable or shares.get(c.rest) or (c.at is None and shares.get(c.way.target) == ALL):
        return {}
    whole = c.backed(c.way.target) >= c.needed and not c.paused and c.route.settled and c.way.target in c.route.shares
    there = {number for number, name in c.route.lanes.items() if name == c.way.target and c.backed(c.way.target)}
    return {number: c.way.target if new and (whole or number in there) else c.way.stable for number, (_, new) in enumerate(c.matches)}


def _split(c: Crossing, first: str, share: int, second: str) -> dict[str, int]:
    """That share for the first and the rest for the second, as far as their instances bear it; where both are too few, by how many there are."""
    mine, theirs = _bears(c.backed(first), c.demand.replicas), _bears(c.backed(second), c.demand.replicas)
    if mine + theirs >= ALL:
        share = max(ALL - theirs, min(share, mine))
    elif mine + theirs:
        share = ALL * mine // (mine + theirs)
    return {name: part for name, part in ((first, share), (second, ALL - share)) if part}


def _bears(listed: int, replicas: int) -> int:
    """The share in percent that so many instances can take."""
    return min(ALL, ALL * listed // replicas) if replicas else 0


def moved_route(c: Crossing) -> Patch | None:
    """The write that makes the route show what it should; None where it does, or cannot."""
    held, wanted = c.facts.route, shares(c)
    if held is None or c.route.problem is not None:
        return None
    ways = lanes(c, wanted)
    rules = list(_written(c, held, wanted, ways))
    if rules == [msgspec.json.decode(raw) for raw in held.spec.rules]:
        return None
    told = [f"{share} % to {name}" for name, share in wanted.items() if share] + [f"lane {number} to {name}" for number, name in ways.items()]
    note = {"annotations": {ROUTED_AT: utc(c.facts.now).isoformat().replace("+00:00", "Z")}}
    return Patch(
        resource=HTTP_ROUTES,
        namespace=held.metadata.namespace,
        name=held.metadata.name,
        uid=held.metadata.uid,
        version=held.metadata.resource_version,
        body={"metadata": note, "spec": {"rules": rules}},
        step=f"route {', '.join(told)}"[:STEP],
        reason=Reason.ROLLING_OUT,
    )


def _written(c: Crossing, held: HTTPRoute, wanted: Mapping[str, int], ways: Mapping[int, str]) -> Iterator[dict[str, Any]]:
    """All rules: those of others as they are, before each of ours its lanes, and ours with the shares."""
    for place, (raw, (rule, ours)) in enumerate(zip(held.spec.rules, _rules(c.facts, held), strict=True)):
        if _lane_of(c.facts, rule) is not None:
            continue
        body: dict[str, Any] = msgspec.json.decode(raw)
        if not ours:
            yield body
            continue
        for lane, name in ways.items():
            yield _lane(body, c.matches[lane][0], name, _lane_name(c.facts, f"{lane}-{place}"))
        yield body if dict(_shares(rule)) == dict(wanted) else _to(body, wanted)


def _lane(rule: dict[str, Any], headers: tuple[HeaderMatch, ...], service: str, name: str) -> dict[str, Any]:
    """A rule before one of ours: the same requests, as far as they have these headers."""
    more = [{"type": each.type, "name": each.name, "value": each.value} for each in headers]
    matches = [{**each, "headers": [*each.get("headers", ()), *more]} for each in rule.get("matches") or [ANYTHING]]
    return {**_to(rule, {service: ALL}), "name": name, "matches": matches}


def _to(rule: dict[str, Any], wanted: Mapping[str, int]) -> dict[str, Any]:
    """The rule with other backends; whatever else is in it stays. What hangs on a backend (filters) goes with the first.

    A single one has the weight that the server gives to one without: at rest the route is then as its owner wrote it.
    """
    like: dict[str, Any] = rule["backendRefs"][0]
    return {**rule, "backendRefs": [{**like, "name": name, "weight": share if len(wanted) > 1 else 1} for name, share in wanted.items()]}


def services(c: Crossing) -> tuple[str, ...]:
    """Revisions that need a Service of their own now: what the route names, or may name next, or may have named until a moment ago."""
    named = [name for name in (*c.route.shares, *c.route.lanes.values(), *c.route.mentioned) if name in c.facts.revisions]
    if c.route.problem is not None:
        return tuple(dict.fromkeys(named))
    moving = [name for name in (c.way.stable, c.way.target) if name in c.facts.revisions] if c.moving else []
    lately = [name for name in c.facts.fronts if name in c.facts.revisions] if not c.route.settled else []
    return tuple(dict.fromkeys((*moving, *named, *lately)))


def step_reached(c: Crossing) -> bool:
    """Whether the route shows what the step asks for, and the router does it."""
    weight = c.at.weight if c.at is not None else ALL
    told = all(c.route.lanes.get(number) == c.way.target for number, (_, new) in enumerate(c.matches) if new)
    return c.route.settled and told and not c.route.shares.get(c.rest) and c.route.shares.get(c.way.target, 0) == weight
