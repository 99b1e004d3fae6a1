# SPDX-License-Identifier: Apache-2.0
"""The demonstration of a delivery: a canary whose gates let a good version pass, and take a bad one back, with the live view of both."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field
from typing import Any

from tools.cluster.paths import ROOT
from tools.demo import figures
from tools.demo.live import live, until
from tools.demo.stage import Demo, DemoError, is_well, say

Json = dict[str, Any]

FILE = ROOT / "tools/demo/canary.yaml"
NAMESPACE, NAME = "canary", "tickets"
IMAGE = "registry.example/tickets"
GOOD, BAD = "2.0.0", f"2.1.0-{figures.LEAKY}"
WHY_FAKE = "nothing is pulled for this, and what gates measure is made up"
PROMOTED = "promoted: all instances in service have the new version"
WHOLE = "the old version is whole again"
ENDED = "the last instance of the other version has ended"
WIDEST = 100  # columns of prose


def run(demo: Demo, *, real: bool) -> list[str]:
    """Deliver a good version and a bad one; return what to try by hand.

    Raises:
        DemoError: the cluster has real nodes, which cannot pull these images, or something did not come true.

    """
    if real:
        raise DemoError("the cluster of an earlier demonstration has real nodes, which cannot pull these images; end it with: make demo-down")
    address = _stand_in(demo)
    demo.install(measure=address)
    _first(demo, address)
    _good(demo)
    _bad(demo)
    return hints(address)


def _stand_in(demo: Demo) -> str:
    say("A small server stands in for Prometheus, for pods of fake nodes run no program that could be measured")
    _prose(
        "It makes up an error rate of a revision, from the image that this revision runs in the cluster and from the number of its instances: "
        f"{figures.BASE:g} for any image, but {figures.LEAK:g} for each instance of one with '{figures.LEAKY}' in its tag, as of a program that uses up "
        "what all instances share. Only these numbers are made up: gates, rollout and rollback are real."
    )
    return figures.start(demo.cluster, demo.namespace)


def _first(demo: Demo, address: str) -> None:
    if NAME in demo.kubectl("get", "managedservices", "-n", NAMESPACE, "-o", "name"):
        say("Removing the service of the last time")
        demo.kubectl("delete", "managedservice", NAME, "-n", NAMESPACE, "--timeout=60s")
    say(f"Applying {NAME}: 10 instances at 1.0.0; a new version gets 20 %, 40 % and 80 % of them, and all")
    _prose(f"At each share the gate 'errors' asks {address} every 2 s: it takes 3 numbers of at most 0.02 to pass, and fails with the second above.")
    _prose("In the background the gate 'restarts' fails a version as soon as one of its containers restarts.")
    demo.kubectl("apply", "-f", "-", stdin=manifests(address))
    demo.settled()


def manifests(address: str) -> str:
    """What is applied, with the address that the gate asks."""
    return FILE.read_text().replace("FIGURES", address)


def _good(demo: Demo) -> None:
    say(f"A good version, {GOOD}: each share is held for 5 s and until its gate is passed, then comes the next")
    seen = _rolled(demo, GOOD, PROMOTED)
    _prose(f"From the change of the image to promoted: {seen.at(PROMOTED):.1f} s. At every look {seen.fewest} instances or more were in service.")


def _bad(demo: Demo) -> None:
    say(f"A bad version, {BAD}: two instances of it keep within the limit of its gate, four do not")
    seen = _rolled(demo, BAD, WHOLE)
    _prose(
        f"From the failed gate to the old version whole: {seen.at(WHOLE) - seen.at('failed'):.1f} s. The bad one never had more than {seen.most} instances, "
        f"and at every look {seen.fewest} or more were in service: the old ones come back before the new ones leave."
    )
    say("The verdict, and the measurements that it rests on, stay in the status until the next rollout")
    _quote(demo)
    status = seen.last["status"]
    _tell("", *(line for each in status["rollout"]["checks"] for line in evidence(each)), "")
    _prose(*(f"{each['type']}, {each['reason']}: {each['message']}" for each in status["conditions"] if each["type"] == "Stalled"))


def patch(version: str) -> str:
    """The JSON patch that changes the image."""
    change = {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": f"{IMAGE}:{version}"}
    return json.dumps([change], separators=(",", ":"))


# --- looking on


@dataclass(kw_only=True)
class Seen:
    """What was seen of one rollout: events with seconds since its begin, the most instances of the new version, the fewest of all in service."""

    last: Json
    version: str
    events: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    most: int = 0
    fewest: int = sys.maxsize

    def look(self, now: Json, at: float) -> bool:
        """Take in how the service is now; return whether the rollout is over, to either side."""
        self.events += [(at, words) for words in news(self.last, now)]
        versions = now["status"].get("versions", ())
        self.most = max(self.most, *(each["instances"] for each in versions if each["version"] == self.version), 0)
        self.fewest = min(self.fewest, int(now["status"]["ready"].partition("/")[0]))
        self.last = now
        return (promoted(now) or taken_back(now)) and alone(now)

    def at(self, part: str) -> float:
        """When the event with these words was seen.

        Raises:
            DemoError: it was not.

        """
        for seconds, words in self.events:
            if part in words:
                return seconds
        raise DemoError(f"{self.version} ended otherwise than it should: {'; '.join(words for _, words in self.events)}")


def _rolled(demo: Demo, version: str, end: str) -> Seen:
    """Change the image and look on until that event; tell what was seen, and when."""
    seen = Seen(last=demo.service(NAME), version=version)

    def over() -> bool:
        demo.check()
        return seen.look(demo.service(NAME), time.monotonic() - begun)

    with live(demo, NAME):
        begun = time.monotonic()
        demo.kubectl("patch", f"managedservice/{NAME}", "-n", NAMESPACE, "--type=json", "-p", patch(version))
        until(over, f"{version} is rolled out or taken back")
    seen.at(end)
    _tell("", *(f"{at:5.1f} s  {words}" for at, words in seen.events), "")
    return seen


def news(before: Json, now: Json) -> list[str]:
    """What happened between two looks at a service."""
    shares = [f"{each['weight']} %" for each in now["spec"]["rollout"]["canary"]["steps"]]
    old, new, failed = _place(before), _place(now), _failed(now)
    found = [f"{shares[step]} passed{_numbers(now, step + 1)}" for step in range(old[0], new[0])]
    if new[1] and new != old:
        found.append(f"{shares[new[0]]} reached")
    if failed and not _failed(before):
        step = failed.get("step", 0)
        found.append(f"{shares[step - 1] if step else 'the rollout'} failed by the gate '{failed['gate']}'{_numbers(now, step)}")
    found += [words for test, words in ((promoted, PROMOTED), (taken_back, WHOLE)) if test(now) and not test(before)]
    if (promoted(now) or taken_back(now)) and alone(now) and not (alone(before) and is_current(before)):
        found.append(ENDED)
    return found


# --- what a status says


def is_current(service: Json) -> bool:
    """Whether the status is about what was declared last."""
    return bool(service["status"].get("observedGeneration") == service["metadata"]["generation"])


def promoted(service: Json) -> bool:
    """Whether all instances in service have what was declared last."""
    rollout = service["status"]["rollout"]
    return is_well(service) and rollout["stable"] == rollout["target"] and not rollout.get("blockedRevision")


def taken_back(service: Json) -> bool:
    """Whether a version has failed, and the old one has all instances in service."""
    status = service["status"]
    return is_current(service) and status.get("summary") == "RolledBack" and status.get("phase") == "Run"


def alone(service: Json) -> bool:
    """Whether no instance is left of another revision than the one that is wanted, not even one that is being ended."""
    status = service["status"]
    return all(each["revision"] == status["targetRevision"] for each in status.get("instances", ()))


def _place(service: Json) -> tuple[int, str]:
    """How many steps are passed, and when the present one was reached."""
    rollout = service["status"]["rollout"]
    return rollout.get("step", 0), rollout.get("reachedAt", "")


def _failed(service: Json) -> Json | None:
    checks: list[Json] = service["status"]["rollout"].get("checks", [])
    return next((each for each in checks if each["state"] == "Failed"), None)


def _numbers(service: Json, step: int) -> str:
    """What the gates of a step have measured, in words that follow others."""
    checks = [each for each in service["status"]["rollout"].get("checks", ()) if each.get("step", 0) == step]
    found = [each.get("value") or each["quality"] for check in checks for each in check.get("samples", ())]
    return f", with {', '.join(found)}" if found else ""


def evidence(check: Json) -> list[str]:
    """A verdict and its samples, as they stand in the status."""
    place = f"at step {check['step']}" if check.get("step") else "in the background"
    words = f": {check['message']}" if check.get("message") else ""
    samples = [(each["at"], each["quality"], each.get("value", ""), each.get("message", "")) for each in check.get("samples", ())]
    return [f"{check['gate']} {place}, {check['state']}{words}", *(f"  {at}  {quality:<6}  {value:<6}  {why}" for at, quality, value, why in samples)]


# --- words


def _quote(demo: Demo) -> None:
    """The head of `kubectl drover status`, with its line of gates."""
    narrow = {**os.environ, "COLUMNS": str(_width() - 4)}
    done = subprocess.run(demo.drover("status", NAME), env=narrow, capture_output=True, text=True, check=False, timeout=60)
    head, _, _ = done.stdout.partition("\n\n")
    _tell("", f"  kubectl drover status {NAME} -n {NAMESPACE}", *(f"  {line}" for line in head.splitlines()))


def _prose(*texts: str) -> None:
    """Sentences, folded to the terminal."""
    _tell(*(line for each in texts for line in textwrap.wrap(each, _width() - 2, break_long_words=False, break_on_hyphens=False)))


def _width() -> int:
    return min(WIDEST, shutil.get_terminal_size().columns)


def _tell(*lines: str) -> None:
    for each in lines:
        print(f"  {each}".rstrip(), flush=True)


def hints(address: str) -> list[str]:
    """What a person may type next."""
    here = f"{NAME} -n {NAMESPACE}"
    commands = {
        f"kubectl drover status {here} -w": "live, in a second terminal",
        f"kubectl drover why {here}": "what failed, and the next step",
        f"kubectl drover retry {here}": "the bad version again, which is taken back again",
        f"kubectl edit msvc {here}": f"another image: one with '{figures.LEAKY}' in its tag fails",
        f"kubectl drover promote {here}": "on the way: past the present share",
        f"kubectl drover abort {here}": "on the way: back",
        f"curl {address}/statistics?revision=NAME": "what the gate sees; status has the names",
    }
    width = max(map(len, commands)) + 2
    return [f"{command:<{width}}# {words}" for command, words in commands.items()]
