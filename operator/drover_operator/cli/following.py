# SPDX-License-Identifier: Apache-2.0
"""`status -w` and `--for`: follow services until the goal is reached, cannot be reached, or time is up; without a goal until Ctrl-C.

On a terminal a frame is redrawn in place, at most ten times a second; elsewhere each change is a line, or a JSON object. Goals are
judged at every change that the API server tells, not at every frame: a phase that is soon over counts.
"""

import asyncio
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from drover_operator.cli import changes
from drover_operator.cli.canvas import Canvas
from drover_operator.cli.cluster import connected, one, tidy
from drover_operator.cli.goal import Goal, Verdict, judge
from drover_operator.cli.layout import age
from drover_operator.cli.options import Where
from drover_operator.cli.outcome import Exit, Failure
from drover_operator.cli.pace import Course, movement, seen
from drover_operator.cli.screen import is_live, live, put
from drover_operator.cli.view import Moment, lines
from drover_operator.cli.watching import Feed, Kept, Place
from drover_operator.kube.cache import Key
from drover_operator.kube.client import Client

TICK = 1.0  # seconds; ages are shown to the second
PAUSE = 0.1  # seconds between two frames
QUIET = 3.0  # seconds without an answer before it is told: a watch that is opened anew takes less
FEW = 20  # services that are named one by one at the end
NOBODY: Mapping[Key, int] = {}


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What to follow and until when. `name` is the only service that is meant, "" for several.

    `least` limits it to some services, each from that generation on; `seconds` is the deadline of a goal.
    """

    places: tuple[Place, ...]
    name: str = ""
    least: Mapping[Key, int] = field(default_factory=lambda: NOBODY)
    goal: Goal | None = None
    seconds: float = 0.0
    json: bool = False
    namespaces: bool = False


def status(where: Where, name: str, *, goal: Goal | None, seconds: float, json: bool) -> Exit:
    """Follow one service, or all of a namespace or of the cluster."""
    return asyncio.run(_status(where, name, goal, seconds, json=json))


async def _status(where: Where, name: str, goal: Goal | None, seconds: float, *, json: bool) -> Exit:
    async with connected(where) as (client, namespace):
        places = (Place(namespace, name),)
        return await follow(client, Aim(places=places, name=name, goal=goal, seconds=seconds, json=json, namespaces=where.all_namespaces))


async def follow(client: Client, aim: Aim) -> Exit:
    """Follow; returns when the goal is reached.

    Raises:
        Failure: it cannot be reached (DEGRADED), or not in time (TIMEOUT).
    """
    following = _Following(aim)
    feed = Feed(client, following.take, following.news.set)
    following.feed = feed
    deadline = asyncio.timeout(aim.seconds or None)
    try:
        async with deadline:
            await _check(client, feed, aim)
            async with feed.running(aim.places) as tasks:
                return await _either(following.run(), tasks)
    except TimeoutError:
        if not deadline.expired():
            raise
        raise following.late() from None


async def _check(client: Client, feed: Feed, aim: Aim) -> None:
    """Fail at once where there is nothing to follow; of a name that is not there it is said which are like it."""
    if aim.name and not aim.least and (aim.goal is None or aim.goal.kind != "deleted"):
        await one(client, aim.places[0].namespace, aim.name)
    for place in aim.places:
        await feed.check(place)


async def _either(work: Any, tasks: list[asyncio.Task[None]]) -> Exit:
    """What the work comes to; a watch that ends first has an error to raise."""
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait({working, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
        return Exit(await working)
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


class _Shown(Protocol):
    """A way of telling what happens."""

    def begin(self, services: Mapping[Key, Kept]) -> None:
        """The services that are there at the start."""
        ...

    def changed(self, key: Key, before: Kept | None, now: Kept | None) -> None:
        """One of them came, changed or went."""
        ...

    def draw(self, moment: Moment) -> None:
        """Time to show how things are."""
        ...


class _Following:
    """The state of one verb."""

    feed: Feed

    def __init__(self, aim: Aim) -> None:
        self.news = asyncio.Event()
        self._aim = aim
        self._stopped = False
        self._begun = asyncio.get_running_loop().time()
        self._started = False
        self._before: dict[Key, Kept] = {}
        self._courses: dict[Key, Course] = {}
        self._verdicts: dict[Key, Verdict] = dict.fromkeys(aim.least, Verdict(missing="it is not there yet"))
        self._canvas = Canvas(self.news.set, self._stop) if is_live() and not aim.json else None
        self._shown: _Shown = _Frames(self._canvas) if self._canvas else _Objects(aim) if aim.json else _Lines(aim)

    def _stop(self) -> None:
        self._stopped = True
        self.news.set()

    def take(self, key: Key, now: Kept | None) -> None:
        """Hear of one change."""
        if self._aim.least and key not in self._aim.least:
            return
        before = self._before.pop(key, None)
        if now is not None:
            self._before[key] = now
        at = asyncio.get_running_loop().time()
        course = seen(self._courses.pop(key, None), movement(now.service) if now and now.service else None, at)
        if course is not None:
            self._courses[key] = course
        self._judge(key, now)
        if self._started:
            self._shown.changed(key, before, now)

    def _judge(self, key: Key, now: Kept | None) -> None:
        goal = self._aim.goal
        if goal is None or (key in self._verdicts and self._verdicts[key].reached):
            return
        if now is not None and now.service is None:
            stuck = "" if goal.kind == "deleted" else f"it was written by another version of Drover and cannot be read: {now.problem}"
            self._verdicts[key] = Verdict(missing="it is there", stuck=stuck)
        else:
            self._verdicts[key] = judge(goal, now.service if now else None, self._aim.least.get(key, 0))

    async def run(self) -> Exit:
        """Show and wait."""
        with self._canvas or nullcontext():
            self._begin()
            while True:
                self._shown.draw(self._moment())
                if (end := self._end()) is not None:
                    return end
                await self._wait()

    def _begin(self) -> None:
        self._started = True
        aim = self._aim
        named = [*aim.least, *((place.namespace, place.name) for place in aim.places if place.name)]
        if aim.goal and aim.goal.kind != "deleted" and not self._before and not named:
            raise Failure("no services to wait for: kubectl drover status -A lists what there is")
        for key in set(named) - self._before.keys():
            self._judge(key, None)
        self._shown.begin(self._before)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(TICK):
                await self.news.wait()
        except TimeoutError:
            return
        self.news.clear()
        await asyncio.sleep(PAUSE)

    def _end(self) -> Exit | None:
        """How it ends, None when it goes on."""
        if self._stopped:
            return Exit.INTERRUPTED
        goal = self._aim.goal
        if goal is None:
            return None
        for (namespace, name), verdict in sorted(self._verdicts.items()):
            if verdict.stuck:
                raise Failure(f"{self._called(namespace, name)} cannot reach {goal.text}: {verdict.stuck}", Exit.DEGRADED)
        if not all(each.reached for each in self._verdicts.values()):
            return None
        self._tell_reached(goal)
        return Exit.DONE

    def _tell_reached(self, goal: Goal) -> None:
        after = age(asyncio.get_running_loop().time() - self._begun)
        words = [f"managedservice.drover.dev/{name}: {goal.text} reached after {after}\n" for _, name in sorted(self._verdicts)]
        if not self._aim.json:
            _write("".join(words if len(words) <= FEW or not self._canvas else [f"all {len(words)} services: {goal.text} reached after {after}\n"]))

    def late(self) -> Failure:
        """The end when time is up: what is still missing."""
        goal, open_ = self._aim.goal, [(key, each.missing) for key, each in sorted(self._verdicts.items()) if not each.reached]
        within = f"in {age(self._aim.seconds)}"
        if not open_ or goal is None:
            trouble = self.feed.trouble
            return Failure(f"nothing was heard {within}" + (f": {trouble.words}" if trouble else ""), Exit.TIMEOUT)
        (namespace, name), missing = open_[0]
        more = f"; {len(open_) - 1} other services neither" if len(open_) > 1 else ""
        hint = f"; kubectl drover why {name} -n {namespace} says more"
        return Failure(f"{self._called(namespace, name)} did not reach {goal.text} {within}: {missing}{more}{hint}", Exit.TIMEOUT)

    def _called(self, namespace: str, name: str) -> str:
        return f"{namespace}/{name}" if self._aim.namespaces else name

    def _moment(self) -> Moment:
        clock, trouble = asyncio.get_running_loop().time(), self.feed.trouble
        known = [each.service for each in self._before.values() if each.service is not None]
        silent = (clock - trouble.since, trouble.words) if trouble and clock - trouble.since >= QUIET else None
        return Moment(
            services=known,
            now=datetime.now(UTC),
            clock=clock,
            name=self._aim.name,
            namespaces=self._aim.namespaces,
            unread=len(self._before) - len(known),
            courses=self._courses,
            silent=silent,
            waiting=self._waiting(clock),
        )

    def _waiting(self, clock: float) -> str:
        goal = self._aim.goal
        if goal is None:
            return ""
        open_ = [each for each in self._verdicts.values() if not each.reached]
        left = age(self._begun + self._aim.seconds - clock)
        counted = f" of {len(open_)} of {len(self._verdicts)} services" if len(self._verdicts) > 1 else ""
        return f"Waiting for {goal.text}{counted}, {left} left: {open_[0].missing}" if open_ else ""


class _Frames:
    """One frame, redrawn in place."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas

    def begin(self, services: Mapping[Key, Kept]) -> None:
        """The first frame shows them."""

    def changed(self, key: Key, before: Kept | None, now: Kept | None) -> None:
        """The next frame shows it."""

    def draw(self, moment: Moment) -> None:
        """Redraw."""
        self._canvas.draw(lines(moment, *live()))


class _Said:
    """Says on stderr once when the news stop, and once when they come again."""

    def __init__(self) -> None:
        self._silent = 0.0

    def draw(self, moment: Moment) -> None:
        """Say it, if it is new."""
        if moment.silent and not self._silent:
            print(f"warning: no news for {age(moment.silent[0])}: {moment.silent[1]}; still trying", file=sys.stderr)
        elif self._silent and not moment.silent:
            print(f"the API server answers again after {age(self._silent)}", file=sys.stderr)
        self._silent = moment.silent[0] if moment.silent else 0.0


class _Lines(_Said):
    """A line for each change that is worth one."""

    def __init__(self, aim: Aim) -> None:
        super().__init__()
        self._namespaces = aim.namespaces
        self._quiet = aim.goal is not None
        self._told: dict[Key, changes.Told] = {}
        self._wide: tuple[int, ...] = changes.WIDE

    def begin(self, services: Mapping[Key, Kept]) -> None:
        """Headings, and each service as it is."""
        text, self._wide = changes.heading(services, namespaces=self._namespaces)
        if services or not self._quiet:
            _write(f"{text}\n", quiet=self._quiet)
        for key, kept in sorted(services.items()):
            self.changed(key, None, kept)

    def changed(self, key: Key, before: Kept | None, now: Kept | None) -> None:
        """One line, if it can be seen in one."""
        del before
        what = changes.GONE if now is None else changes.told(now.service) if now.service else changes.UNREADABLE
        if self._told.get(key) != what:
            self._told[key] = what
            _write(changes.line(key, what, datetime.now(UTC), self._wide, namespaces=self._namespaces) + "\n", quiet=self._quiet)


class _Objects(_Said):
    """A JSON object for each change, as `kubectl get -o json --watch --output-watch-events` has it."""

    def __init__(self, aim: Aim) -> None:
        super().__init__()
        self._quiet = aim.goal is not None

    def begin(self, services: Mapping[Key, Kept]) -> None:
        """Each service as it is."""
        for key, kept in sorted(services.items()):
            self.changed(key, None, kept)

    def changed(self, key: Key, before: Kept | None, now: Kept | None) -> None:
        """One object; a service that is gone as it was last."""
        del key
        kind = "DELETED" if now is None else "ADDED" if before is None else "MODIFIED"
        if (last := now or before) is not None:
            _write(msgspec.json.encode({"type": kind, "object": tidy(last.raw)}).decode() + "\n", quiet=self._quiet)


def _write(text: str, *, quiet: bool = False) -> None:
    """Write at once. A reader that went away ends a view, but not (`quiet`) a wait, whose exit code somebody wants."""
    try:
        put(text)
    except BrokenPipeError:
        if not quiet:
            raise
