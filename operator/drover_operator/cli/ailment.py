# SPDX-License-Identifier: Apache-2.0
"""What is wrong with one pod, in plain words, and what to do about it. Pure.

A row of rules, most telling first: each looks for one kind of trouble and answers None when it is not there. The words of Kubernetes
itself (a condition, a message of the kubelet, an Event) are kept, because they are what people search for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from drover_operator.cli.layout import age, clean
from drover_operator.cli.sightings import GATE, ContainerSeen, Ended, EventSeen, NodeSeen, PodSeen

PULL = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable")
CONFIG = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PostStartHookError", "PreStartHookError")
MOUNT = ("FailedMount", "FailedAttachVolume", "FailedMapVolume")
SETUP = ("FailedCreatePodSandBox", "NetworkNotReady")
KILLED = 137
CODES = {126: "the command cannot be run", 127: "there is no such command", KILLED: "killed", 139: "segmentation fault", 143: "ended by SIGTERM"}
FRESH = 20.0  # seconds in which a pod that only starts is not ill
GRACE = 30.0  # seconds after its grace period in which a pod may still end


@dataclass(frozen=True, kw_only=True)
class Ailment:
    """What is wrong with a pod: `subject` is the part that has it, `word` one word to group and to search by, `step` what to do.

    `event` is the newest message that tells more. What is not `wrong` only takes its time.
    """

    subject: str
    what: str
    word: str
    step: str = ""
    event: str = ""
    wrong: bool = True


@dataclass(frozen=True)
class Case:
    """One pod with what else is known about it."""

    pod: PodSeen
    events: Sequence[EventSeen]
    nodes: Mapping[str, NodeSeen]
    now: datetime

    @property
    def address(self) -> str:
        """The pod as kubectl takes it, with its namespace."""
        return f"{self.pod.metadata.name} -n {self.pod.metadata.namespace}"

    def told(self, *reasons: str) -> EventSeen | None:
        """The newest Event of one of these reasons about this very pod."""
        uid = self.pod.metadata.uid
        mine = [each for each in self.events if each.reason in reasons and each.involved_object.uid == uid]
        return max(mine, key=lambda each: each.moment, default=None)

    def since(self, moment: datetime | None) -> float:
        """Seconds since then; 0 when it is not known."""
        return (self.now - moment).total_seconds() if moment else 0.0


def diagnose(case: Case) -> Ailment | None:
    """What is wrong with the pod, or what it waits for; None when it is well."""
    return next((found for rule in _RULES if (found := rule(case)) is not None), None)


def _leaving(case: Case) -> Ailment | None:
    meta = case.pod.metadata
    if meta.deletion_timestamp is None:
        return None
    over = case.since(meta.deletion_timestamp)
    if over < GRACE:
        return Ailment(subject="pod", what="it is being ended", word="Terminating", wrong=False)
    if meta.finalizers:
        names = ", ".join(meta.finalizers)
        step = f"ask whoever set the finalizer why it is still there: kubectl get pod {case.address} -o yaml"
        return Ailment(subject="pod", what=f"it should have ended {age(over)} ago and is held by its finalizers: {names}", word="Finalizers", step=step)
    return _node(case) or Ailment(
        subject="pod",
        what=f"it should have ended {age(over)} ago and its kubelet has not confirmed it",
        word="Terminating",
        step=f"kubectl describe node {case.pod.spec.node_name}" if case.pod.spec.node_name else f"kubectl describe pod {case.address}",
    )


def _node(case: Case) -> Ailment | None:
    name = case.pod.spec.node_name
    node = case.nodes.get(name)
    if node is None or node.ready is None or node.ready.status == "True":
        return None
    words = f"not ready for {age(case.since(node.ready.last_transition_time))}: {clean(node.ready.message) or node.ready.reason}"
    step = f"kubectl describe node {name}; if it will not come back: kubectl delete node {name}"
    return Ailment(subject=f"node {name}", what=words, word="NodeNotReady", step=step)


def _failed(case: Case) -> Ailment | None:
    status = case.pod.status
    if status.phase != "Failed":
        return None
    ended = next((each.state.terminated for each in status.container_statuses if each.state.terminated and each.state.terminated.exit_code), None)
    if status.reason or ended is None:
        return Ailment(subject="pod", what=_words(status.reason or "Failed", status.message), word=status.reason or "Failed", step=_describe(case))
    name = next(each.name for each in status.container_statuses if each.state.terminated is ended)
    return Ailment(subject=f"container {name}", what=f"it has ended: {_end(ended, case)}", word="Failed", step=f"kubectl logs {case.address} -c {name}")


def _unscheduled(case: Case) -> Ailment | None:
    fact = case.pod.status.fact("PodScheduled")
    if fact is None or fact.status == "True":
        return None
    what = f"no node takes it for {age(case.since(fact.last_transition_time))}: {clean(fact.message) or fact.reason}"
    return Ailment(subject="scheduling", what=what, word=fact.reason or "Unschedulable", step=_room(fact.message, case))


def _room(message: str, case: Case) -> str:
    """What helps a pod that finds no node, by the words of the scheduler."""
    text, namespace = message.lower(), case.pod.metadata.namespace
    if "persistentvolumeclaim" in text or "volume" in text:
        return f"look at the claims: kubectl get pvc -n {namespace}, then kubectl describe pvc NAME -n {namespace}"
    if "insufficient" in text or "too many pods" in text:
        return "add nodes or free some, or lower resources.requests of the template: kubectl describe nodes"
    if "taint" in text or "affinity" in text or "selector" in text:
        return "compare nodeSelector, affinity and tolerations of the template with kubectl describe nodes"
    return _describe(case)


def _init(case: Case) -> Ailment | None:
    for each in case.pod.before:
        if each.ready or (each.state.terminated is not None and each.state.terminated.exit_code == 0):
            continue
        return _container(case, each, f"init container {each.name}") or _running(case, each)
    return None


def _running(case: Case, each: ContainerSeen) -> Ailment | None:
    """An init container that has not ended yet; before it, nothing else starts."""
    since = case.since(each.state.running.started_at) if each.state.running else 0.0
    if since < FRESH:
        return None
    step = f"kubectl logs {case.address} -c {each.name}"
    return Ailment(
        subject=f"init container {each.name}", what=f"it runs for {age(since)} and has not ended", word="InitRunning", step=step, wrong=since >= 10 * FRESH
    )


def _containers(case: Case) -> Ailment | None:
    found = [_container(case, each, f"container {each.name}") for each in case.pod.working]
    return next((each for each in found if each is not None), None)


def _container(case: Case, each: ContainerSeen, subject: str) -> Ailment | None:
    waiting, last = each.state.waiting, each.state.terminated or each.last_state.terminated
    reason = waiting.reason if waiting else ""
    if reason in PULL:
        return _unpulled(case, each, subject)
    if reason in CONFIG and waiting:
        return _unmade(case, subject, reason, waiting.message)
    if last is not None and last.exit_code and not each.ready and (reason == "CrashLoopBackOff" or each.restart_count or each.state.terminated):
        return _crashed(case, each, subject, last)
    if reason and reason not in ("ContainerCreating", "PodInitializing") and waiting:
        return Ailment(subject=subject, what=_words(reason, waiting.message), word=reason, step=_describe(case))
    return None


def _unpulled(case: Case, each: ContainerSeen, subject: str) -> Ailment:
    waiting = each.state.waiting
    event = case.told("Failed", "InspectFailed")
    words = clean(event.message) if event and "pull" in event.message.lower() else clean(waiting.message) if waiting else ""
    return Ailment(
        subject=subject,
        what=f"its image {each.image} cannot be had: {waiting.reason if waiting else ''}",
        word=waiting.reason if waiting else "",
        event=words,
        step="correct the image, or the pull secret in imagePullSecrets of the template",
    )


def _unmade(case: Case, subject: str, reason: str, message: str) -> Ailment:
    text, namespace = message.lower(), case.pod.metadata.namespace
    kind = "configmap" if "configmap" in text else "secret" if "secret" in text else ""
    step = f"create the {kind} or correct its name in the template: kubectl get {kind}s -n {namespace}" if kind else _describe(case)
    return Ailment(subject=subject, what=_words(reason, message), word=reason, step=step)


def _crashed(case: Case, each: ContainerSeen, subject: str, last: Ended) -> Ailment:
    looping = each.state.waiting is not None and each.state.waiting.reason == "CrashLoopBackOff"
    times = f", restarted {each.restart_count} times" if each.restart_count > 1 else ", restarted once" if each.restart_count else ""
    what = f"{'in CrashLoopBackOff: ' if looping else 'it ended: '}{_end(last, case)}{times}"
    event = case.told("Unhealthy", "Killing") if last.exit_code in (KILLED, 143) and last.reason != "OOMKilled" else None
    again = "" if each.state.terminated else " --previous"
    logs = f"kubectl logs {case.address} -c {each.name}{again}"
    memory = f"raise resources.limits.memory of {subject}, or let it use less; {logs}"
    reason = "OOMKilled" if last.reason == "OOMKilled" else "CrashLoopBackOff" if looping else "Crashed"
    return Ailment(subject=subject, what=what, word=reason, step=memory if reason == "OOMKilled" else logs, event=clean(event.message) if event else "")


def _end(last: Ended, case: Case) -> str:
    """How a container ended, and when."""
    ago = f" {age(case.since(last.finished_at))} ago" if last.finished_at else ""
    if last.reason == "OOMKilled":
        return f"it used more memory than its limit and was killed (OOMKilled){ago}"
    words = CODES.get(last.exit_code, "" if last.reason in ("Error", "") else last.reason)
    message = f": {clean(last.message)[:200]}" if last.message else ""
    return f"last exit code {last.exit_code}{f' ({words})' if words else ''}{ago}{message}"


def _unready(case: Case) -> Ailment | None:
    status = case.pod.status
    each = next((each for each in case.pod.working if each.state.running is not None and not each.ready), None)
    if each is None or status.is_true("ContainersReady"):
        return None
    since = case.since(each.state.running.started_at) if each.state.running else 0.0
    event = case.told("Unhealthy", "ProbeWarning")
    probe = "startup" if each.started is False else "readiness"
    step = f"kubectl logs {case.address} -c {each.name}; the check is spec.healthCheck, or the {probe}Probe of the template"
    what = f"it runs for {age(since)} and is not ready: its {probe} probe does not succeed"
    words = clean(event.message) if event else ""
    return Ailment(subject=f"container {each.name}", what=what, word="Unhealthy", step=step, event=words, wrong=bool(event) or since >= FRESH)


def _starting(case: Case) -> Ailment | None:
    status = case.pod.status
    if status.phase != "Pending" or not case.pod.spec.node_name:
        return None
    since = case.since(case.pod.metadata.creation_timestamp)
    mount, setup = case.told(*MOUNT), case.told(*SETUP)
    if mount is not None:
        claims = f"kubectl get pvc,secrets,configmaps -n {case.pod.metadata.namespace}; kubectl describe pod {case.address}"
        return Ailment(subject="volumes", what=f"they cannot be mounted: {clean(mount.message)}", word=mount.reason, step=claims)
    if setup is not None:
        step = f"kubectl describe node {case.pod.spec.node_name}"
        return Ailment(subject="pod", what=f"its node cannot set it up: {clean(setup.message)}", word=setup.reason, step=step)
    late = since >= 6 * FRESH
    return Ailment(
        subject="pod", what=f"its containers are being created for {age(since)}", word="ContainerCreating", step=_describe(case) if late else "", wrong=late
    )


def _gates(case: Case) -> Ailment | None:
    pod = case.pod
    if pod.status.is_true("Ready") or not pod.status.is_true("ContainersReady"):
        return None
    closed = [each.condition_type for each in pod.spec.readiness_gates if not pod.status.is_true(each.condition_type)]
    others = [each for each in closed if each != GATE]
    if others:
        step = f"find out who sets them: kubectl get pod {case.address} -o yaml"
        return Ailment(subject="readiness gates", what=f"nobody has set {', '.join(others)} to True", word="ReadinessGatesNotReady", step=step)
    if closed:
        return Ailment(subject="pod", what="it is healthy and the operator has not put it in service yet", word="Ready", wrong=False)
    return None


def _describe(case: Case) -> str:
    return f"kubectl describe pod {case.address}"


def _words(reason: str, message: str) -> str:
    return f"{reason}: {clean(message)}" if message else reason


_RULES: tuple[Callable[[Case], Ailment | None], ...] = (_leaving, _node, _failed, _unscheduled, _init, _containers, _starting, _unready, _gates)
