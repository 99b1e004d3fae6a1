# SPDX-License-Identifier: Apache-2.0
"""Checks of what goes on: who leads, which operators run, services that nobody looked at, what was left behind. Pure: facts in, findings out."""

from datetime import datetime

from drover_operator.cli.doctor.facts import Facts, Json
from drover_operator.cli.doctor.findings import Check, Finding, some
from drover_operator.cli.layout import age
from drover_operator.runtime.election import EPOCH_ANNOTATION
from drover_operator.runtime.fence_probe import FENCE_ANNOTATION, NEXT_STEP, RESTART, Standing
from drover_operator.runtime.rbac import SYSTEM

SKEW = 3.0  # seconds that two clocks may be apart; the server's is told in whole seconds
FRESH = 120.0  # seconds in which a new service may be without a status
LEAVING = 900.0  # seconds that a deletion may take: the longest drain, and the grace of pods
OWNER = "drover.dev/service"
FENCE_TROUBLE = {
    Standing.ABSENT: ("the fence did not refuse its probe: late writes of a deposed leader may pass", NEXT_STEP),
    Standing.STALE: ("the fence refuses it: it compares with a Lease of the past", RESTART),
}
START = "kubectl apply -k manifests/base/"


def clocks(facts: Facts) -> list[Finding]:
    """Whether the times that are told below can be believed."""
    check, it = Check("clocks"), facts.server
    if not it.clock:
        return [check.skipped("the API server does not tell its time")]
    ahead = it.here - it.clock
    if abs(ahead) > SKEW:
        return [check.warning(f"this machine's clock is {age(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} the API server's", "set it by NTP")]
    return [check.ok("this machine and the API server agree")]


def lease(facts: Facts) -> list[Finding]:
    """Whether somebody leads, by the server's clock."""
    check, read = Check("lease"), facts.lease
    if read.unread:
        return [check.skipped(read.unread)]
    spec = (read.body or {}).get("spec", {})
    holder = spec.get("holderIdentity")
    if not holder:
        what = "no operator has ever led: there is no Lease" if read.body is None else "nobody leads: the Lease was given back"
        return [check.problem(what, f"start an operator: {START}")]
    silent = _now(facts) - _seconds(spec.get("renewTime"))
    if silent > spec.get("leaseDurationSeconds", 0):
        return [check.problem(f"nobody leads: {holder} last renewed {age(silent)} ago", f"kubectl get pods -n {SYSTEM}, and their logs; or {START}")]
    if silent < -SKEW:
        return [check.warning(f"the clock of {holder} is {age(-silent)} ahead of the API server's", "set it by NTP; the election does not depend on it")]
    told = (read.body or {})["metadata"].get("annotations", {}).get(FENCE_ANNOTATION)
    if told in FENCE_TROUBLE:
        words, step = FENCE_TROUBLE[told]
        return [check.problem(f"{holder} leads, and {words}", step)]
    return [check.ok(f"{holder} leads, epoch {spec.get('leaseTransitions', 0)}, renewed {age(max(0, silent))} ago")]


def floor(facts: Facts) -> list[Finding]:
    """Whether the record of the highest epoch can be read: an operator does not start without."""
    check, read = Check("epochs"), facts.floor
    if read.unread:
        return [check.skipped(read.unread)]
    if read.body is None:
        led = facts.lease.body is not None
        return [check.warning("the record of epochs is missing", "it is made anew at the next take-over") if led else check.ok("none recorded yet")]
    text = read.body["metadata"].get("annotations", {}).get(EPOCH_ANNOTATION, "0")
    if not text.isdecimal():
        words = f"annotation {EPOCH_ANNOTATION} of configmap/{read.body['metadata']['name']} is '{text}', not a number: no operator can take over"
        return [check.problem(words, f"kubectl annotate configmap -n {SYSTEM} {read.body['metadata']['name']} {EPOCH_ANNOTATION}-")]
    return [check.ok(f"recorded up to {text}")]


def operators(facts: Facts) -> list[Finding]:
    """Whether the operator's pods are ready and of this command's version, and whether only they compete."""
    check = Check("operators")
    if facts.operators.unread or facts.deployment.unread:
        return [check.skipped(facts.operators.unread or facts.deployment.unread)]
    pods = [each for each in facts.operators.items if each["metadata"]["namespace"] == SYSTEM]
    strangers = [f"{each['metadata']['namespace']}/{each['metadata']['name']}" for each in facts.operators.items if each not in pods]
    found = _deployed(check, facts, pods)
    if strangers:
        step = f"they compete for the Lease in {SYSTEM}: keep one installation"
        found.append(check.warning(f"operators run in other namespaces too: {some(strangers)}", step))
    return found


def _deployed(check: Check, facts: Facts, pods: list[Json]) -> list[Finding]:
    holder = (facts.lease.body or {}).get("spec", {}).get("holderIdentity") or ""
    if facts.deployment.body is None and not pods:
        leads = not any(each.level == "problem" for each in lease(facts))
        return [check.ok(f"one runs outside of {SYSTEM}: {holder}")] if leads else [check.problem(f"no operator runs in {SYSTEM}", START)]
    wanted = (facts.deployment.body or {}).get("spec", {}).get("replicas", len(pods))
    ready = [each for each in pods if any(c["type"] == "Ready" and c["status"] == "True" for c in each.get("status", {}).get("conditions", ()))]
    found: list[Finding] = []
    if len(ready) < wanted:
        say = check.problem if not ready else check.warning
        found.append(say(f"{len(ready)} of {wanted} operators are ready", f"kubectl describe pods -n {SYSTEM}"))
    found += _versions(check, facts, pods)
    names = [each["metadata"]["name"] for each in pods]
    if holder and pods and holder.partition("_")[0] not in names:
        words = f"the Lease is held by {holder}, which is none of the pods in {SYSTEM}"
        found.append(check.warning(words, "an operator runs elsewhere too: end one of the two"))
    return found or [check.ok(f"{len(ready)} of {wanted} are ready, version {facts.version}")]


def _versions(check: Check, facts: Facts, pods: list[Json]) -> list[Finding]:
    """Tags of the images that run; a tag that is no version says nothing."""
    images = {container["image"] for each in pods for container in each["spec"]["containers"]}
    tags = {image.partition("@")[0].rpartition(":")[2].removeprefix("v") for image in images if ":" in image.partition("@")[0].rpartition("/")[2]}
    others = sorted(tag for tag in tags if tag[:1].isdigit() and tag != facts.version)
    if len(others) > 1:
        return [check.warning(f"operators of several versions run: {some(others)}", "an upgrade is under way, or got stuck: kubectl rollout status")]
    return [check.warning(f"the operator is {others[0]}, this command {facts.version}", "use the same version of both")] if others else []


def services(facts: Facts) -> list[Finding]:
    """Services that no operator has looked at, that need a person, or that cannot go."""
    check, many = Check("services"), facts.services
    if many.unread:
        return [check.skipped(many.unread)]
    found: list[Finding] = []
    if unseen := [_name(each) for each in many.items if _unseen(facts, each)]:
        found.append(check.problem(f"no operator has looked at {some(unseen)}", "is one running, and does it look after that namespace? see above"))
    if stuck := [_name(each) for each in many.items if _stuck(facts, each)]:
        step = f"kubectl drover status NAME says what it waits for; without an operator its finalizer stays ({START})"
        found.append(check.problem(f"deleted more than {age(LEAVING)} ago and still there: {some(stuck)}", step))
    if troubled := [_name(each) for each in many.items if _troubled(each)]:
        found.append(check.warning(f"{len(troubled)} of {len(many.items)} need a person: {some(troubled)}", "kubectl drover status -A"))
    return found or [check.ok(f"{len(many.items)}, all of them looked at")]


def orphans(facts: Facts) -> list[Finding]:
    """Pods that say they belong to a service that is not there."""
    check = Check("orphans")
    if facts.instances.unread or facts.services.unread:
        return [check.skipped(facts.instances.unread or facts.services.unread)]
    uids = {_key(each): each["metadata"]["uid"] for each in facts.services.items}
    lost = [_name(each) for each in facts.instances.items if _owner(each) != uids.get((each["metadata"]["namespace"], each["metadata"]["labels"][OWNER]), "")]
    if lost:
        words = f"{len(lost)} pods carry the label {OWNER} and belong to no service: {some(lost)}"
        return [check.warning(words, f"kubectl delete pod them, or take the label {OWNER} away: nobody looks after them")]
    return [check.ok(f"none among {len(facts.instances.items)} pods of services")]


def _owner(pod: Json) -> str:
    """The uid of its controller; a pod without one belongs to nobody, which "" does not say."""
    return next((each["uid"] for each in pod["metadata"].get("ownerReferences", ()) if each.get("controller")), "nobody")


def _unseen(facts: Facts, service: Json) -> bool:
    seen = service.get("status", {}).get("observedGeneration", 0)
    return seen <= 0 and _now(facts) - _seconds(service["metadata"].get("creationTimestamp")) > FRESH


def _stuck(facts: Facts, service: Json) -> bool:
    since = service["metadata"].get("deletionTimestamp")
    return since is not None and _now(facts) - _seconds(since) > LEAVING


def _troubled(service: Json) -> bool:
    status = service.get("status", {})
    return status.get("phase") == "Failed" or any(each["type"] == "Stalled" and each["status"] == "True" for each in status.get("conditions", ()))


def _now(facts: Facts) -> float:
    """By the server, who is asked about everything; by this machine if it does not tell."""
    return facts.server.clock or facts.server.here


def _seconds(moment: str | None) -> float:
    return datetime.fromisoformat(moment).timestamp() if moment else 0.0


def _key(item: Json) -> tuple[str, str]:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def _name(item: Json) -> str:
    return "/".join(_key(item))
