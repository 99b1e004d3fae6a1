# SPDX-License-Identifier: Apache-2.0
"""Every reason that a person can meet in a condition, in the STATUS column, on an instance or in an Event.

Reasons are an API: scripts match them, so a constant is never renamed. Each has one sentence on what it means and one on what to
do; the reference page is generated from here.
"""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """The catalogue; `MEANING` says what each one is."""

    HEALTHY = "Healthy"
    SCALED_TO_ZERO = "ScaledToZero"
    PROVISIONING = "Provisioning"
    WAITING_FOR_HEALTH = "WaitingForHealth"
    ROLLING_OUT = "RollingOut"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"
    ABORTED = "Aborted"
    HOLDING = "HoldsAtStep"
    OLD_VERSION_ENDS = "WaitsForOldVersion"
    WAITS_FOR_PROMOTION = "WaitsForPromotion"
    MEASURING = "MeasuresGates"
    GATE_FAILED = "GateFailed"
    GATE_NOT_FOUND = "GateNotFound"
    GATE_WITHOUT_DATA = "GateWithoutData"
    ROUTE_NOT_FOUND = "RouteNotFound"
    ROUTE_NOT_USABLE = "RouteNotUsable"
    ROUTE_NOT_ACCEPTED = "RouteNotAccepted"
    ROUTER_SETTLES = "WaitsForRouter"
    SCALING_OUT = "ScalingOut"
    SCALING_IN = "ScalingIn"
    REPAIRING = "Repairing"
    DESTROYING = "Destroying"
    PAUSED = "Paused"
    FROZEN = "Frozen"
    WAITS_FOR_WINDOW = "WaitsForWindow"
    WINDOW_NOT_FOUND = "WindowNotFound"
    WINDOW_NEVER_OPENS = "WindowNeverOpens"
    PINNED = "Pinned"
    SETTLED = "Settled"
    MINIMUM_IN_SERVICE = "MinimumInService"
    BELOW_MINIMUM = "BelowMinimum"
    INSTANCES_MISSING = "InstancesMissing"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    INVALID_TEMPLATE = "InvalidTemplate"
    NAME_CONFLICT = "NameConflict"
    PIN_NOT_FOUND = "PinNotFound"
    REVISION_COLLISION = "RevisionCollision"
    REFUSED = "Refused"
    NAMESPACE_TERMINATING = "NamespaceTerminating"
    MEMORY_LOST = "MemoryLost"
    KUBELET_PROBE = "KubeletProbe200to399"
    AGENT_PROBES = "AgentProbes"
    NOT_NEEDED = "NotNeeded"
    MISSING = "Missing"
    SUPERSEDED = "Superseded"
    SCALE_IN = "ScaleIn"
    DRIFT = "Drift"
    NO_PORTS = "NoPorts"
    LOST = "Lost"
    HEALTHY_ENTERS = "EntersService"
    ENDPOINT_LISTED = "StillInDiscovery"
    SETTLING = "Settling"
    BUDGET = "WaitsForBudget"
    BACKOFF = "BackOff"
    HISTORY_LIMIT = "HistoryLimit"


@dataclass(frozen=True)
class Meaning:
    """What a reason means, the next step for a person ("" when there is none), and the page of docs/failures on it, where there is one."""

    what: str
    next_step: str = ""
    page: str = ""


MEANING: dict[Reason, Meaning] = {
    Reason.HEALTHY: Meaning("All wanted instances are in service at the wanted revision."),
    Reason.SCALED_TO_ZERO: Meaning("No instance is wanted, and none runs.", "Scale out: kubectl scale msvc/NAME --replicas=1"),
    Reason.PROVISIONING: Meaning("The first instances are being created and started."),
    Reason.WAITING_FOR_HEALTH: Meaning(
        "Instances have started and are not yet healthy and in discovery.", "Look at the instances in status, and at their logs."
    ),
    Reason.ROLLING_OUT: Meaning("A new revision replaces the one that serves."),
    Reason.ROLLING_BACK: Meaning("The service goes back to an earlier revision."),
    Reason.ROLLED_BACK: Meaning(
        "The wanted revision made no progress or failed a gate; the last good revision serves and the bad one is blocked.",
        "Change the template, or the rollout settings to try the same revision again.",
        page="bad-revision",
    ),
    Reason.ABORTED: Meaning(
        "The wanted revision was aborted by hand; the last good revision serves.",
        "Change the template, or try the same revision again: kubectl drover retry NAME.",
    ),
    Reason.HOLDING: Meaning("The new revision has the share of its step, and holds it for the time that the step says."),
    Reason.OLD_VERSION_ENDS: Meaning(
        "Instances of the old version are still there, and with Recreate two versions never run at the same time.",
        "Look at the instances in status; a pod on a dead node is gone when its node is deleted.",
    ),
    Reason.WAITS_FOR_PROMOTION: Meaning(
        "The new revision has reached a pause, and stays at its share until somebody goes on.",
        "Go on: kubectl drover promote NAME; or go back: kubectl drover abort NAME.",
    ),
    Reason.MEASURING: Meaning("The new revision has the share of its step, and its gates have no verdict yet."),
    Reason.GATE_FAILED: Meaning(
        "The first revision failed a gate, and there is none to go back to.",
        "Read the message; then correct the template, or the gate and try again: kubectl drover retry NAME.",
        page="gate-failed",
    ),
    Reason.GATE_NOT_FOUND: Meaning(
        "The rollout names a ReleaseGate that does not exist in its namespace; no step is passed without it.",
        "Create the gate, or take its name out of spec.rollout.",
        page="gate-failed",
    ),
    Reason.GATE_WITHOUT_DATA: Meaning(
        "The last measurement of a gate brought no data, which is never a pass.",
        "Look at the message of the sample: kubectl drover status NAME.",
        page="gate-failed",
    ),
    Reason.ROUTE_NOT_FOUND: Meaning(
        "spec.traffic names an HTTPRoute that does not exist; the old revision serves.", "Create the HTTPRoute, or correct its name.", page="route-not-usable"
    ),
    Reason.ROUTE_NOT_USABLE: Meaning(
        "No rule of the HTTPRoute has this service for its only backend; the old revision serves.",
        "Name the service in the backendRefs of a rule, and that rule in spec.traffic.route.rule.",
        page="route-not-usable",
    ),
    Reason.ROUTE_NOT_ACCEPTED: Meaning(
        "A Gateway does not accept the HTTPRoute; the old revision serves.", "Read the message: the Gateway names what it misses.", page="route-not-usable"
    ),
    Reason.ROUTER_SETTLES: Meaning("The weights were written, and the router is given time to act on them."),
    Reason.SCALING_OUT: Meaning("Instances are being added."),
    Reason.SCALING_IN: Meaning("Instances are being drained and removed."),
    Reason.REPAIRING: Meaning("Instances that were lost are being replaced."),
    Reason.DESTROYING: Meaning("The service is being deleted: its instances drain and end."),
    Reason.PAUSED: Meaning("The rollout is frozen by spec.paused; repair and scaling go on.", "Set spec.paused to false to go on."),
    Reason.FROZEN: Meaning(
        "Rollouts are frozen, by hand or by a MaintenanceWindow of purpose Freeze; repair, scaling and going back are not.",
        "Wait for its end, or lift it for this service: kubectl drover unfreeze NAME --for 2h --reason WHY.",
    ),
    Reason.WAITS_FOR_WINDOW: Meaning("The downtime of Recreate begins when its maintenance window opens; the old version serves."),
    Reason.WINDOW_NOT_FOUND: Meaning(
        "spec.rollout.recreate.window names no MaintenanceWindow of purpose Allow in the namespace; the old version serves.",
        "Create the MaintenanceWindow, or correct its name.",
    ),
    Reason.WINDOW_NEVER_OPENS: Meaning(
        "The maintenance window of the rollout never opens again, or cannot be read; the old version serves.", "Correct spec.opens of the MaintenanceWindow."
    ),
    Reason.PINNED: Meaning("spec.pin holds the service at a recorded revision.", "Remove spec.pin to follow the template again."),
    Reason.SETTLED: Meaning("Nothing is being changed."),
    Reason.MINIMUM_IN_SERVICE: Meaning("At least the fewest instances that the budget allows are in service."),
    Reason.BELOW_MINIMUM: Meaning("Fewer instances are in service than the budget allows.", "Look at the instances in status."),
    Reason.INSTANCES_MISSING: Meaning(
        "Instances were lost or are not healthy, outside of any wanted change.", "Look at the instances in status.", page="node-lost"
    ),
    Reason.PROGRESS_DEADLINE_EXCEEDED: Meaning(
        "The revision made no progress within spec.rollout.progressDeadline, and there is no good revision to go back to.",
        "Look at the instances in status and at their logs; then correct the template.",
        page="bad-revision",
    ),
    Reason.INVALID_TEMPLATE: Meaning(
        "The API server refuses pods of this template; nothing was taken down.", "Correct the field that the message names.", page="invalid-template"
    ),
    Reason.NAME_CONFLICT: Meaning(
        "An object of a name that Drover needs exists and is not Drover's; it is left alone.",
        "Rename one of the two, delete the other object, or set spec.adopt if nobody controls it.",
        page="name-conflict",
    ),
    Reason.PIN_NOT_FOUND: Meaning(
        "spec.pin names a revision that is not recorded.", "Choose one of `kubectl get controllerrevisions -l drover.dev/service=NAME`."
    ),
    Reason.REVISION_COLLISION: Meaning("Another template is recorded under the same revision name.", "Change any label of the template."),
    Reason.REFUSED: Meaning(
        "The API server refuses a write for now; it is tried again.", "Read the message: a quota, a missing ServiceAccount or a policy.", page="refused"
    ),
    Reason.NAMESPACE_TERMINATING: Meaning("The namespace is being deleted and takes no new objects."),
    Reason.MEMORY_LOST: Meaning("status.rollout was lost; it was rebuilt from the revisions, and the rollout began anew.", page="memory-lost"),
    Reason.KUBELET_PROBE: Meaning("The kubelet probes, and it takes any status from 200 to 399 for healthy: the operator was given no agent image."),
    Reason.AGENT_PROBES: Meaning("The agent beside each instance probes, and takes 200 alone for healthy."),
    Reason.NOT_NEEDED: Meaning("No person is needed."),
    Reason.MISSING: Meaning("An instance that should be there is not."),
    Reason.SUPERSEDED: Meaning("The instance runs a revision that is not wanted any more."),
    Reason.SCALE_IN: Meaning("More instances run than are wanted."),
    Reason.DRIFT: Meaning("Somebody changed fields that are Drover's; they are restored."),
    Reason.NO_PORTS: Meaning("The service declares no ports, so that it has no Service."),
    Reason.LOST: Meaning("The instance failed or was evicted."),
    Reason.HEALTHY_ENTERS: Meaning("The instance is wanted in service, and serves as soon as its kubelet finds it ready."),
    Reason.ENDPOINT_LISTED: Meaning("The instance has left service and is still listed in discovery."),
    Reason.SETTLING: Meaning("The instance has left discovery; slow proxies may still send requests."),
    Reason.BUDGET: Meaning("Acting now would leave too few instances in service, or make too many."),
    Reason.BACKOFF: Meaning("Instances of this slot failed soon after their start; the next one waits."),
    Reason.HISTORY_LIMIT: Meaning("The revision is older than spec.revisionHistoryLimit keeps."),
}
