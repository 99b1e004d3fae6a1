# SPDX-License-Identifier: Apache-2.0
"""No property of a schema is forgotten, and the API server judges every value as the schema says."""

import ast
import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from scenarios.fuzz.acts import PATH
from scenarios.fuzz.arena import NAME, Arena, body
from scenarios.fuzz.cases import Case, cases
from scenarios.fuzz.operations import deck, operations, placed, rounds, sequence
from scenarios.fuzz.specs import CHANGES, FIRST, GATES, SETTINGS, WINDOWS
from scenarios.fuzz.walk import Json, Property, properties

from drover_controllers.service import build, gather
from drover_operator.api.crd import DEFINITIONS, MANAGED_SERVICE, Definition, schema
from drover_operator.kube.transport import JSON, JSON_PATCH, Request
from drover_operator.testing import virtualtime


def names(node: dict, path: str) -> set[str]:
    """Every path of a schema, found in another way than `walk` does: by every key `properties`, wherever it stands."""
    found: set[str] = set()
    for name, child in node.get("properties", {}).items():
        found |= {f"{path}.{name}", *names(child, f"{path}.{name}")}
    return found | (names(node["items"], f"{path}[]") if "items" in node else set())


ROOTS = [(each, root) for each in DEFINITIONS for root in ("spec", "status") if root in schema(each)["properties"]]


def test_every_kind_is_walked():
    """A status is what a controller tells; the kinds that nobody tells anything of have none, and nothing to walk there."""
    told = {each.kind: [root for definition, root in ROOTS if definition is each] for each in DEFINITIONS}
    assert told == {"ManagedService": ["spec", "status"], "ReleaseGate": ["spec"], "MaintenanceWindow": ["spec"]}


@pytest.mark.parametrize(("definition", "root"), ROOTS, ids=[f"{root}-{each.kind}" for each, root in ROOTS])
def test_every_property_has_operations(definition, root: str, record_property: Callable[[str, object], None]):
    """A new field without an example of its pattern fails here too: `cases` does not know what to write."""
    tree = schema(definition)["properties"][root]
    walked = {each.name: cases(each) for each in properties(definition, root)}
    assert names(tree, root) - walked.keys() == set()
    assert {name: len(rows) for name, rows in walked.items() if len(rows) < 4} == {}, "too few to find anything"
    for name, rows in walked.items():
        print(f"{len(rows):4} {name}")
    record_property(f"operations of {definition.kind}.{root}", sum(map(len, walked.values())))


def test_every_change_of_several_fields_belongs_to_a_property():
    known = {each.name for each in properties(MANAGED_SERVICE, "spec")}
    assert [name for name in CHANGES if name.partition(": ")[0] not in known] == []


def test_every_field_of_a_template_that_the_builder_reads_has_operations():
    """The schema leaves the pod open; what `build` and `gather` read there must be walked all the same."""
    module = ast.parse(inspect.getsource(build)), ast.parse(inspect.getsource(gather))
    calls = [node for tree in module for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    read = {
        call.args[0].value
        for call in calls
        if call.func.attr in ("get", "setdefault") and call.args and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str)
    }
    walked = {part.rstrip("[]") for each in properties(MANAGED_SERVICE, "spec") for part in each.name.split(".")}
    assert len(read) > 8
    assert {name for name in read if "/" not in name} - walked == set()


def test_a_round_deals_every_operation_that_may_be_accepted():
    dealt = Counter(name for hand in deck(3) for name in hand)
    wanted = [each.name for each in operations().values() if each.expect != "refused" and not each.heavy]
    assert dealt == Counter(wanted)
    assert len(deck(3)) == rounds()


def test_the_first_part_of_a_round_touches_every_property():
    """So that the few seeds of the fast tier do."""
    touched = {each.touches for each in operations().values() if each.expect != "refused" and not each.heavy}
    part = deck(0)[: -(-len(touched) // 8)]
    assert {operations()[name].touches for hand in part for name in hand} == touched


def test_a_seed_is_always_the_same_sequence():
    assert sequence(5) == sequence(5) != sequence(6)
    assert sequence(0)[0] in FIRST


def asked(arena: Arena, method: str, path: str, body: object) -> tuple[int, dict]:
    """A dry run of a request: the code and the answer."""
    content = {"Content-Type": JSON_PATCH if method == "PATCH" else JSON}
    request = Request(method=method, path=path, query={"dryRun": "All"}, body=msgspec.json.encode(body), headers=content)
    reply = arena.cluster.server.handle(request, "kubectl")
    return reply.status, msgspec.json.decode(reply.body)


def judged(arena: Arena, found: Property, case: Case, base: Json, definition: Definition = MANAGED_SERVICE) -> set[str]:
    """What the API server makes of one value in an object of a kind, in a new one and in one that is there."""
    manifest = placed(base, found, case.value)
    collection = PATH.rpartition("/")[0].replace("managedservices", definition.plural)
    new = {"apiVersion": "drover.dev/v1alpha1", "kind": definition.kind, **manifest, "metadata": {**manifest["metadata"], "name": "new"}}
    parts = [{"op": "add", "path": "/spec", "value": manifest["spec"]}]
    parts += [{"op": "add", "path": f"/metadata/{name}", "value": value} for name, value in manifest["metadata"].items() if name != "name"]
    path, tree = found.name.replace("[]", "[0]"), schema(definition)["properties"]["spec"]
    answers = asked(arena, "POST", collection, new), asked(arena, "PATCH", f"{collection}/{NAME}", parts)
    return {_verdict(path, tree, *each) for each in answers}


def _verdict(path: str, tree: Json, code: int, answer: dict) -> str:
    """A value that is valid by itself may still be refused by a rule above it, for the fields beside it."""
    if code >= 400:
        assert code in (400, 422), answer
        fields = [each.get("field", "") for each in answer["details"].get("causes", ())] if "details" in answer else [path]
        return "refused above" if all(field == "<nil>" or path.startswith((f"{field}.", f"{field}[")) for field in fields) else "refused"
    assert "fuzzed" not in str(closed(answer["spec"], tree)), "an unknown field was kept"
    return "accepted"


def closed(value: Any, node: Json) -> Any:
    """What is stored where the schema keeps nothing that it does not know."""
    if isinstance(value, list):
        return [closed(each, node.get("items", {})) for each in value]
    if not isinstance(value, dict):
        return value
    known, kept = node.get("properties", {}), node.get("x-kubernetes-preserve-unknown-fields")
    return {key: closed(each, known.get(key, {})) for key, each in value.items() if key in known or not kept}


def fits(arena: Arena, case: Case, verdicts: set[str]) -> bool:
    """What only a rule refuses is accepted where the library that evaluates rules is missing."""
    if case.expect == "refused":
        return verdicts == {"refused"}
    if case.expect == "rule" and arena.cluster.evaluates_rules:
        return verdicts in ({"refused"}, {"refused above"})
    return verdicts in ({"accepted"}, {"refused above"})


BASES: dict[str, dict[str, Json]] = {
    "ManagedService": {name: each["spec"] for name, each in (("rich", FIRST["rich"]), *SETTINGS.items())},
    "ReleaseGate": GATES,
    "MaintenanceWindow": WINDOWS,
}


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda each: each.kind)
@pytest.mark.parametrize("root", ["spec", "metadata"])
def test_the_api_server_judges_every_value_as_the_schema_says(definition: Definition, root: str, record_property: Callable[[str, object], None]):
    """On create and on update alike. What this misses, no sequence would notice: a value that slips through is no value that is refused.

    What is good depends on the fields beside it: a value that a rule above refuses stands in other sound objects too, and is taken in one.
    """
    wrong, above, count = dict[str, set[str]](), list[str](), 0
    bases: list[Json] = [{"metadata": {}, "spec": each} for each in BASES[definition.kind].values()]

    async def main() -> None:
        nonlocal count
        arena = Arena(1, FIRST["small"])
        arena.cluster.apply(body(definition, NAME, bases[0]["spec"]))
        for found in properties(definition, root):
            for case in cases(found):
                count += 1
                seen = list[set[str]]()
                while len(seen) < len(bases) and (not seen or seen[-1] == {"refused above"}):
                    seen.append(judged(arena, found, case, bases[len(seen)], definition))
                if not all(fits(arena, case, each) for each in seen):
                    wrong[f"{found.name}: {case.name}"] = seen[-1]
                elif case.expect == "accepted" and seen[-1] == {"refused above"}:
                    above.append(f"{found.name}: {case.name}")
        await arena.end()

    virtualtime.run(main)
    record_property("values", count)
    assert wrong == {}
    assert above == [], "each value that is good by itself is good in some object"
