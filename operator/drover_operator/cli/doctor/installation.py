# SPDX-License-Identifier: Apache-2.0
"""Checks of what should be in the cluster: the server's version, CRDs, priority classes, rights, queues, the fence. Pure: facts in, findings out."""

from drover_operator.api.meta import VERSION
from drover_operator.cli.doctor.compare import differences, fields, schema_of
from drover_operator.cli.doctor.facts import Facts, Json
from drover_operator.cli.doctor.findings import Check, Finding, some
from drover_operator.cli.doctor.wanted import Wanted

LEAST = (1, 33)
APPLY = {
    "namespace": "kubectl apply -f manifests/base/namespace.yaml",
    "definitions": "kubectl apply --server-side -f crds/",
    "priorities": "kubectl apply -f manifests/base/priorityclasses.yaml",
    "rights": "kubectl apply -f manifests/base/rbac.yaml",
    "queues": "kubectl apply -f manifests/policies/flowschemas.yaml",
    "fence": "kubectl apply -f manifests/policies/fence.yaml",
}
Sorted = tuple[tuple[Wanted, ...], tuple[tuple[Wanted, str], ...], list[str]]


def server(facts: Facts) -> list[Finding]:
    """Whether the API server is new enough, and whether its clock and ours agree."""
    check, it = Check("api server"), facts.server
    if (it.major, it.minor) < LEAST:
        wanted = ".".join(map(str, LEAST))
        return [check.problem(f"{it.text} is too old: Drover needs {wanted} or newer", f"upgrade the cluster to Kubernetes {wanted} or newer")]
    return [check.ok(f"{it.text}")]


def namespace(facts: Facts) -> list[Finding]:
    """Whether the operator's namespace is there."""
    check, (wanted,) = Check("namespace"), _part(facts, "namespace")
    read = facts.found[wanted.id]
    if read.unread:
        return [check.skipped(read.unread)]
    if read.body is None:
        return [check.problem(f"namespace {wanted.name} is missing", APPLY["namespace"], (wanted,))]
    return [check.ok(f"{wanted.name} is there")]


def definitions(facts: Facts) -> list[Finding]:
    """Whether each CRD is there, is established and has the schema of this version."""
    return [_definition(facts, wanted) for wanted in _part(facts, "definitions")]


def _definition(facts: Facts, wanted: Wanted) -> Finding:
    check, read = Check("definitions"), facts.found[wanted.id]
    if read.unread:
        return check.skipped(read.unread)
    if read.body is None:
        return check.problem(f"CRD {wanted.name} is not installed", APPLY["definitions"], (wanted,))
    if unknown := _fields(read.body) - _fields(wanted.body):
        newer = f"CRD {wanted.name} has fields that this command ({facts.version}) does not know: {some(_outermost(unknown))}"
        return check.warning(newer, "use kubectl drover of the version that is installed; nothing is taken back by --fix")
    if wrong := _unlike(wanted.body, read.body):
        return check.problem(f"CRD {wanted.name} is not that of this command ({facts.version}): {wrong}", APPLY["definitions"], (wanted,))
    if not _established(read.body):
        return check.problem(f"CRD {wanted.name} is not served yet", f"kubectl describe crd {wanted.name} says why")
    return check.ok(f"{wanted.name} has the schema of {facts.version}")


def _unlike(wanted: Json, live: Json) -> str:
    """What an older definition lacks, or where it says something else; "" when it is the same."""
    if missing := _fields(wanted) - _fields(live):
        return f"it is older and lacks {some(_outermost(missing))}"
    changed = [path.partition(".schema.openAPIV3Schema")[2] or path for path in differences(wanted["spec"], live.get("spec", {}))]
    return f"it differs at {some(changed, 2)}" if changed else ""


def _outermost(paths: set[str]) -> list[str]:
    """Fields without those inside of them."""
    return sorted(path for path in paths if not any(path.startswith((f"{other}.", f"{other}[", f"{other}{{")) for other in paths))


def _fields(definition: Json) -> set[str]:
    return set(fields(schema_of(definition, VERSION)))


def _established(body: Json) -> bool:
    return any(each["type"] == "Established" and each["status"] == "True" for each in body.get("status", {}).get("conditions", ()))


def priorities(facts: Facts) -> list[Finding]:
    """Whether the priority classes are there; their value cannot be changed afterwards."""
    check = Check("priorities")
    missing, different, unread = _sorted(facts, "priorities")
    found: list[Finding] = [check.skipped(why) for why in unread[:1]]
    if missing:
        lost = some([each.name for each in missing], 4)
        found.append(check.problem(f"pods of services are refused, because these priority classes are missing: {lost}", APPLY["priorities"], missing))
    found += [check.warning(f"{each.id} differs: {why}", f"kubectl delete {each.id}, then {APPLY['priorities']}") for each, why in different]
    return found or [check.ok("all priority classes are there")]


def rights(facts: Facts) -> list[Finding]:
    """Whether the roles are as generated, and whether the operator's two identities may do what the controllers say they do."""
    roles = _objects(facts, "rights", "roles and bindings of the operator", severe=True)
    return roles if any(each.mend for each in roles) else [*roles, *_reviewed(facts)]  # else every right is missing, which says no more


def _reviewed(facts: Facts) -> list[Finding]:
    check = Check("rights")
    denied = [each for each in facts.rights if each.allowed is False]
    unknown = [each for each in facts.rights if each.allowed is None]
    if denied:
        told = [f"{each.who.removeprefix('system:serviceaccount:')} may not {each}" for each in denied]
        return [check.problem(some(told), APPLY["rights"], tuple(_part(facts, "rights")))]
    if unknown:
        return [check.skipped(f"what the operator may do is not known: {unknown[0].unread}")]
    return [check.ok(f"the operator may do all {len(facts.rights)} things that its controllers do")] if facts.rights else []


def own_rights(facts: Facts) -> list[Finding]:
    """What the user of this command may do."""
    check = Check("your rights")
    denied = [str(each) for each in facts.mine if each.allowed is False]
    unknown = [each.unread for each in facts.mine if each.allowed is None]
    if unknown:
        return [check.skipped(unknown[0])]
    if denied:
        return [check.warning(f"you may not {some(denied)}", "ask for a role that has these verbs")]
    return [check.ok("you may look at services and change them")]


def queues(facts: Facts) -> list[Finding]:
    """Whether the API server keeps a place for the operator when it is busy."""
    return _objects(facts, "queues", "FlowSchemas", severe=False)


def fence(facts: Facts) -> list[Finding]:
    """Whether late writes of a deposed leader are refused."""
    return _objects(facts, "fence", "policies of the fence", severe=True)


def _objects(facts: Facts, part: str, what: str, *, severe: bool) -> list[Finding]:
    """Missing and different objects of a part, in one line each."""
    check = Check(part)
    say = check.problem if severe else check.warning
    missing, different, unread = _sorted(facts, part)
    found: list[Finding] = [check.skipped(why) for why in unread[:1]]
    if missing:
        found.append(say(f"{what} are missing: {some([each.id for each in missing])}", APPLY[part], missing))
    if different:
        told = some([f"{each.id} at {why}" for each, why in different])
        found.append(say(f"{what} differ from what this command would make: {told}", APPLY[part], tuple(each for each, _ in different)))
    return found or [check.ok(f"{what} are as they should be")]


def _sorted(facts: Facts, part: str) -> Sorted:
    """What is missing; what differs, and where; and why things could not be read."""
    missing, different, unread = list[Wanted](), list[tuple[Wanted, str]](), list[str]()
    for wanted in _part(facts, part):
        read = facts.found[wanted.id]
        if read.unread:
            unread.append(read.unread)
        elif read.body is None:
            missing.append(wanted)
        elif changed := next(differences(wanted.body, read.body), ""):
            different.append((wanted, changed.lstrip(".")))
    return tuple(missing), tuple(different), unread


def _part(facts: Facts, part: str) -> list[Wanted]:
    return [each for each in facts.wanted if each.part == part]
