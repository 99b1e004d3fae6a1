# SPDX-License-Identifier: Apache-2.0
"""The kubelets: they alone run containers, compute Ready, and confirm that a deleted pod has ended.

A node that is down freezes: the status of its pods stays as it was and pods being deleted stay Terminating. Probes are not
simulated; a behaviour, by image or by annotation of the pod, says what they would find.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from drover_operator.testing import podstatus
from drover_operator.testing.actors import Actor
from drover_operator.testing.apiserver import ApiServer
from drover_operator.testing.conditions import with_condition
from drover_operator.testing.kinds import NODES, PODS
from drover_operator.testing.objects import Json
from drover_operator.testing.storage import Change, Version

BEHAVIOUR_ANNOTATION = "drover.dev/simulate"
READY_AFTER_ANNOTATION = "drover.dev/simulate-ready-after"
STOP_SECONDS = 1.0
LIFE_OF_A_CRASHER = 1.0
ROUNDING = 1e-6  # seconds; a timer may ring early by the rounding of the clock, and an alarm that has rung is not set again
MODES = ("normal", "never-ready", "crash", "flap", "fail", "pull-error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What the containers of a pod do.

    normal: run and become ready. never-ready: run only. crash: end with an error before they are ready, again and again.
    flap: become ready, then crash. fail: the pod ends in phase Failed. pull-error: the image cannot be pulled.
    """

    mode: str = "normal"
    start_delay: float = 0.5
    ready_after: float = 0.0
    crash_after: float = LIFE_OF_A_CRASHER


@dataclass(slots=True, kw_only=True)
class PodRun:
    """What a kubelet knows about a pod on its node."""

    ip: str
    start_time: str
    waiting_until: float
    images: tuple[str, ...] = ()
    running_since: float | None = None
    started_at: str = ""
    ended_at: str = ""
    crashes: int = 0
    restarts: int = 0
    failure: str = ""
    stop_at: float | None = None
    stopped: bool = False
    alarms: dict[float, None] = field(default_factory=dict[float, None])


class Kubelet(Actor):
    """The kubelets of all nodes."""

    user = "system:nodes"
    kinds = (PODS,)

    def __init__(self, server: ApiServer, delay: float = 0.02) -> None:
        super().__init__(server, delay)
        self.default = Behaviour()
        self.on_end: Callable[[Version], None] = lambda _: None  # called when containers that ran have ended in good order
        self._by_image: dict[str, Behaviour] = {}
        self._runs: dict[str, PodRun] = {}
        self._down: dict[str, float] = {}
        self._addresses = 0

    def behaviour_of(self, images: Iterable[str]) -> Behaviour:
        """What containers of these images do, the first that anything was said of."""
        return next((self._by_image[image] for image in images if image in self._by_image), self.default)

    def set_behaviour(self, image: str, mode: str = "normal", *, start_delay: float | None = None, ready_after: float = 0.0) -> None:
        """What pods with a container of that image do; pods that run already notice it at their next event."""
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, not '{mode}'")
        delay = self.default.start_delay if start_delay is None else start_delay
        crash_after = ready_after + 3.0 if mode == "flap" else LIFE_OF_A_CRASHER
        self._by_image[image] = Behaviour(mode=mode, start_delay=delay, ready_after=ready_after, crash_after=crash_after)
        for uid in self._runs:
            self.mark(uid)

    def down_since(self, node: str) -> float | None:
        """When that node went down, on the loop's clock; None when it is up."""
        return self._down.get(node)

    def node_down(self, node: str) -> None:
        """The node is cut off from now on: it neither says nor hears anything."""
        self._down.setdefault(node, self.now())

    def node_up(self, node: str, *, rebooted: bool = False) -> None:
        """The node is back: it reports itself ready and catches up; after a reboot its containers start anew."""
        self._down.pop(node, None)
        version = self.storage.get(NODES, "", node)
        if version:
            ready: Json = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}
            status = with_condition(version.data["status"], ready, self.server.registry.now())
            self.server.patch(version, lambda old: {**old, "status": status}, user=self.user, subresource="status")
        for pod in self.storage.items(PODS):
            if pod.data["spec"].get("nodeName") == node:
                if rebooted and pod.uid in self._runs:
                    self._restart(self._runs[pod.uid])
                self.mark(pod.uid)

    def restart(self, pod: Version) -> None:
        """Its containers end and start anew; readiness gates stay as they are."""
        self._restart(self._runs[pod.uid])
        self.mark(pod.uid)

    def evict(self, pod: Version) -> None:
        """The node is short of something: the pod ends in phase Failed with reason Evicted, and keeps its name."""
        run = self._runs[pod.uid]
        run.failure, run.running_since, run.ended_at = "Evicted", None, self.server.registry.now()
        self.mark(pod.uid)

    def observe(self, change: Change) -> None:
        """Pods that have a node."""
        if change.deleted:
            self._runs.pop(change.current.uid, None)
        elif change.current.data["spec"].get("nodeName"):
            self.mark(change.current.uid)

    def sync(self, key: str) -> None:
        """Bring the containers of a pod to where they are by now, and report."""
        pod = self.storage.by_uid(key)
        if pod is None or self._is_silent(pod.data["spec"]["nodeName"]):
            return
        run = self._run(pod)
        if run.stopped or self._has_ended(pod, run):
            return
        behaviour = self.behaviour(pod)
        alarm = self._advance(run, behaviour)
        if pod.deleting and self._stop(pod, run):
            return
        self._report(pod, run, behaviour)
        self._set_alarm(key, run, alarm)
        self._set_alarm(key, run, run.stop_at)

    def _is_silent(self, node: str) -> bool:
        """Whether a node has no kubelet that could do anything: it is down, or was never there."""
        return node in self._down or self.storage.get(NODES, "", node) is None

    def behaviour(self, pod: Version) -> Behaviour:
        """What the containers of this pod do: its annotations first, then its images."""
        found = self.behaviour_of([container.get("image", "") for container in pod.data["spec"]["containers"]])
        annotations: dict[str, str] = pod.meta.get("annotations") or {}
        if BEHAVIOUR_ANNOTATION not in annotations and READY_AFTER_ANNOTATION not in annotations:
            return found
        return Behaviour(
            mode=annotations.get(BEHAVIOUR_ANNOTATION, found.mode),
            start_delay=found.start_delay,
            ready_after=float(annotations.get(READY_AFTER_ANNOTATION, str(found.ready_after)).rstrip("s")),
            crash_after=3.0 if annotations.get(BEHAVIOUR_ANNOTATION) == "flap" else found.crash_after,
        )

    def _run(self, pod: Version) -> PodRun:
        images = tuple(container.get("image", "") for container in pod.data["spec"]["containers"])
        run = self._runs.get(pod.uid)
        if run is None:
            self._addresses += 1
            high, low = divmod(self._addresses, 250)
            ip = f"10.{128 + high // 250}.{high % 250}.{low + 1}"
            start = self.now() + self.behaviour(pod).start_delay
            run = self._runs[pod.uid] = PodRun(ip=ip, start_time=self.server.registry.now(), waiting_until=start, images=images)
        elif images != run.images:
            run.images = images
            self._restart(run)
        return run

    def _restart(self, run: PodRun) -> None:
        run.crashes += run.running_since is not None
        run.running_since = None
        run.ended_at = self.server.registry.now()
        run.waiting_until = self.now() + self.default.start_delay

    def _has_ended(self, pod: Version, run: PodRun) -> bool:
        """A pod that has failed only waits for its deletion, which needs no kubelet unless it is held."""
        phase = pod.data["status"].get("phase")
        if phase not in ("Failed", "Succeeded"):
            return False
        if pod.deleting and pod.meta.get("deletionGracePeriodSeconds"):
            self._confirm(pod, run)
        return True

    def _advance(self, run: PodRun, behaviour: Behaviour) -> float | None:
        """Let the containers live up to now; answers when something happens next."""
        now = self.now()
        if run.failure or behaviour.mode == "pull-error":
            return None
        if run.running_since is None:
            if now < run.waiting_until:
                return run.waiting_until
            run.running_since, run.started_at = now, self.server.registry.now()
            run.restarts = run.crashes
        age = now - run.running_since
        if behaviour.mode in ("crash", "flap", "fail") and age >= behaviour.crash_after:
            return self._crash(run, behaviour)
        due = [behaviour.crash_after] if behaviour.mode in ("crash", "flap", "fail") else []
        return min((run.running_since + each for each in (*due, behaviour.ready_after) if each > age), default=None)

    def _crash(self, run: PodRun, behaviour: Behaviour) -> float | None:
        """End the containers; they come back at once the first time, then after 10 s, 20 s, 40 s ... at most 300 s."""
        run.running_since, run.ended_at = None, self.server.registry.now()
        if behaviour.mode == "fail":
            run.failure = "Error"
            return None
        run.crashes += 1
        pause = 0.0 if run.crashes == 1 else min(10.0 * 2 ** min(run.crashes - 2, 5), 300.0)
        run.waiting_until = self.now() + pause + behaviour.start_delay
        return run.waiting_until

    def _stop(self, pod: Version, run: PodRun) -> bool:
        """End a pod that is being deleted: within its grace period, after preStop sleeps; answers whether it has ended."""
        grace = float(pod.meta["deletionGracePeriodSeconds"])
        wanted = podstatus.pre_stop_seconds(pod) + STOP_SECONDS if run.running_since is not None else 0.0
        if run.stop_at is None or grace < run.stop_at - self.now():
            run.stop_at = self.now() + min(grace, wanted)
        if self.now() < run.stop_at:
            return False
        self._confirm(pod, run)
        return True

    def _confirm(self, pod: Version, run: PodRun) -> None:
        if run.running_since is not None:
            self.on_end(pod)
        run.stopped = True
        run.running_since, run.ended_at = None, self.server.registry.now()
        self._report(pod, run, self.behaviour(pod))
        self.server.delete(pod, user=self.user, grace=0)

    def _report(self, pod: Version, run: PodRun, behaviour: Behaviour) -> None:
        is_ready = run.running_since is not None and behaviour.mode not in ("never-ready", "crash", "fail")
        is_ready = is_ready and self.now() - (run.running_since or 0.0) >= behaviour.ready_after
        facts = podstatus.Facts(
            ip=run.ip,
            start_time=run.start_time,
            started_at=run.started_at,
            ended_at=run.ended_at,
            running=run.running_since is not None,
            ready=is_ready,
            restarts=run.restarts,
            crashed=run.crashes > 0,
            failure=run.failure,
            stopped=run.stopped,
            pull_error=behaviour.mode == "pull-error",
        )
        status = podstatus.reported(pod, facts, self.server.registry.now())
        if status != pod.data["status"]:
            self.server.patch(pod, lambda old: {**old, "status": status}, user=self.user, subresource="status")

    def _set_alarm(self, key: str, run: PodRun, moment: float | None) -> None:
        """Look again at that moment; one timer for one moment, however often it is asked for."""
        if moment is not None and moment > self.now() and moment not in run.alarms:
            run.alarms = {each: None for each in run.alarms if each > self.now()} | {moment: None}
            self.later(moment - self.now() + ROUNDING, key)
