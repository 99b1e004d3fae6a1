# SPDX-License-Identifier: Apache-2.0
"""What keeps an update from beginning or going on: spec.paused, a freeze by hand or by calendar, a maintenance window that is not open.

Only the way forward is held. Repair and scaling go on, the first deployment too, and one can always go back: a freeze that kept a bad version in
place would be worse than none. An update in the midst stays as it is, step, weight and all, and goes on when the hold is over, with its clocks begun
anew. With Recreate nothing stops between the old version and the new one: a hold counts before it has begun.

A person may freeze one service until some time, or lift the freezes of the calendar for it until some time; both are annotations with the time in
them, so that none is forgotten for ever.
"""

from datetime import UTC, datetime

from drover_controllers.service.values import Facts, Hold, Memory
from drover_operator.api.maintenancewindow import MaintenanceWindow
from drover_operator.api.meta import utc
from drover_operator.api.rollout import FROZEN, THAWED
from drover_operator.core.calendar import opening, unreadable
from drover_operator.core.reasons import Reason

RESYNC = 3600.0  # seconds; a calendar that cannot be read, or never changes, may still be corrected


def hold(facts: Facts, memory: Memory, target: str, *, update: bool) -> Hold | None:
    """What holds the rollout to that revision, if anything does; `update` says that one revision is to replace another."""
    if facts.service.spec.paused:
        return Hold(reason=Reason.PAUSED)
    begun = memory.target == target and not memory.paused
    if not update or (facts.service.spec.rollout.type == "Recreate" and begun):
        return None
    return _by_hand(facts) or _by_calendar(facts) or _by_window(facts)


def _by_hand(facts: Facts) -> Hold | None:
    until = _moment(facts.service.metadata.annotations.get(FROZEN, ""))
    if until is None or until <= facts.now:
        return None
    return Hold(reason=Reason.FROZEN, message=f"frozen by hand until {_told(until)}", seconds=until - facts.now)


def _by_calendar(facts: Facts) -> Hold | None:
    """The freeze that lasts longest of those that are open."""
    thawed = _moment(facts.service.metadata.annotations.get(THAWED, ""))
    if thawed is not None and thawed > facts.now:
        return None
    holds = [found for each in facts.windows if each.spec.purpose == "Freeze" and _meant(facts, each) and (found := _frozen(facts, each)) is not None]
    return max(holds, key=lambda each: each.seconds or RESYNC, default=None)


def _meant(facts: Facts, window: MaintenanceWindow) -> bool:
    wanted = window.spec.services.match_labels if window.spec.services is not None else {}
    return wanted.items() <= facts.service.metadata.labels.items()


def _frozen(facts: Facts, window: MaintenanceWindow) -> Hold | None:
    name = f"MaintenanceWindow '{window.metadata.name}'"
    if why := unreadable(window.spec):
        return Hold(reason=Reason.FROZEN, message=f"frozen, because {name} cannot be read: {why}", seconds=RESYNC)
    now = opening(window.spec, facts.now)
    if not now.open:
        return None
    end = f"until {_told(now.until)}" if now.until is not None else "with no end"
    because = f": {window.spec.reason}" if window.spec.reason else ""
    return Hold(reason=Reason.FROZEN, message=f"frozen {end} by {name}{because}", seconds=_left(now.until, facts))


def _by_window(facts: Facts) -> Hold | None:
    """Recreate, outside of the window that it names."""
    rollout = facts.service.spec.rollout
    name = rollout.recreate.window if rollout.type == "Recreate" and rollout.recreate is not None else None
    if name is None:
        return None
    window = next((each for each in facts.windows if each.metadata.name == name and each.spec.purpose == "Allow"), None)
    if window is None:
        return Hold(reason=Reason.WINDOW_NOT_FOUND, message=f"spec.rollout.recreate.window names no MaintenanceWindow of purpose Allow: '{name}'")
    if why := unreadable(window.spec):
        return Hold(reason=Reason.WINDOW_NEVER_OPENS, message=f"MaintenanceWindow '{name}' cannot be read: {why}", seconds=RESYNC)
    now = opening(window.spec, facts.now)
    if now.open:
        return None
    if now.until is None:
        return Hold(reason=Reason.WINDOW_NEVER_OPENS, message=f"MaintenanceWindow '{name}' never opens again: its dates are past", seconds=RESYNC)
    return Hold(reason=Reason.WAITS_FOR_WINDOW, message=f"MaintenanceWindow '{name}' opens at {_told(now.until)}", seconds=_left(now.until, facts))


def _left(until: float | None, facts: Facts) -> float:
    return min(RESYNC, until - facts.now) if until is not None else RESYNC


def _moment(text: str) -> float | None:
    """Seconds since the epoch of an RFC 3339 time; None for none, or for what is no time."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


def _told(seconds: float) -> str:
    return utc(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


STALLING = (Reason.WINDOW_NOT_FOUND, Reason.WINDOW_NEVER_OPENS)  # holds that end by no clock: a person must correct something
