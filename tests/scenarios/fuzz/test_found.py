# SPDX-License-Identifier: Apache-2.0
"""What the fuzz suite has found, each as the few operations that showed it. They stay, whatever the seeds come to mean."""

import asyncio
from dataclasses import dataclass

import pytest
from scenarios.fuzz.acts import ACTS
from scenarios.fuzz.arena import NAME, Arena, listening
from scenarios.fuzz.operations import Step
from scenarios.fuzz.specs import FIRST
from scenarios.fuzz.trial import trial
from scenarios.invariants import NAMESPACE

from drover_operator.testing import virtualtime


@dataclass(frozen=True)
class Found:
    """Operations with the pause before each, and what went wrong when they were first played."""

    why: str
    steps: tuple[tuple[str, float], ...]
    first: str = "small"


FOUND = (
    Found(
        "the builder added a number to a text: every pass failed with a traceback, and the status said nothing",
        (("spec.template.spec.terminationGracePeriodSeconds: a text instead", 0.0),),
    ),
    Found("the builder looked for a preStop hook in a number", (("spec.template.spec.containers[].lifecycle: a number instead", 0.0),)),
    Found("the builder added its gate to a number", (("spec.template.spec.readinessGates: a number instead", 0.0),)),
    Found(
        "a null is what templating tools leave where nothing is set; the builder took it for a list",
        (("spec.template.spec.readinessGates: null", 0.0),),
    ),
    Found("a null for a number", (("spec.template.spec.terminationGracePeriodSeconds: null", 0.0),)),
    Found("a null for a hook", (("spec.template.spec.containers[].lifecycle: null", 0.0),)),
    Found("an annotation that is no number ended every pass", (("revision: builder no number", 0.0),)),
    Found(
        "after a downgrade of the operator no lost pod could be replaced: it did not know the builder",
        (("revision: builder of a later release", 0.0), ("pod: deleted", 1.0)),
    ),
    Found(
        "a long image tag is the version in the status, which takes 253 characters: no status was ever written again",
        (("spec.template.spec.containers[].image: longest", 0.0),),
    ),
    Found("a long version on the record of a revision, the same", (("revision: version too long", 0.0), ("pod: deleted", 1.0))),
    Found("the version was on the record alone, and was gone with its annotations", (("revision: annotations stripped", 0.0), ("pod: deleted", 1.0))),
    Found("spec.version changed alone was never told: the recorded version was", (("spec.version: longest", 0.0),), "rich"),
    Found(
        "no edge leaves phase Destroy: written by hand it stayed for ever, and with it the condition Reconciling",
        (("status.phase: 'Destroy'", 0.0),),
    ),
    Found(
        "beside minAvailable the server refuses maxUnavailable, so that the budget could not be restored",
        (("budget: the other field", 0.0),),
    ),
    Found("a budget that selects nobody protects nobody; its selector was not compared", (("budget: another selector", 0.0),)),
    Found("without ports there is no Service, but one that was there stayed, with its old ports", (("spec.ports: empty", 0.0),), "busy"),
    Found(
        "the server refuses two ports of one number; that refusal came before all work on instances, so that none was replaced any more",
        (("spec.ports: one number twice", 0.0), ("pod: deleted", 2.0)),
        "busy",
    ),
    Found(
        "a revision that was given up and serves after all stayed blocked: nobody could have gone back to it",
        (("nodes: all cordoned", 0.0), ("spec.template.spec.containers[].image: app:3.0", 1.0), ("status: memory cleared", 60.0)),
        "tight",
    ),
    Found(
        "a foreign Service stood in the place of ours for longer than the deadline: the new revision was blamed for it, and blocked",
        (("spec.template.spec.restartPolicy: 'Always'", 15.05), ("Service: a foreign one in its place", 0.0), ("status.versions: null", 40.05)),
        "rich",
    ),
    Found(
        "without its label a record is in no cache: it was taken for recorded anew, and its revision for unknown",
        (("revision: labels stripped", 0.0), ("metadata.labels: one", 1.0)),
    ),
)


@pytest.mark.parametrize("found", FOUND, ids=lambda each: each.steps[0][0])
def test_what_was_found_stays_mended(found: Found):
    result = trial(found.first, [Step(name, pause) for name, pause in found.steps])
    assert result.tally["accepted"] == len(found.steps), result.log
    assert result.problems == [], found.why


def test_a_foreign_budget_with_the_other_field_can_be_adopted():
    """The server refuses both fields at once, so that the patch must take the other one away."""

    async def main() -> None:
        arena = Arena(1, FIRST["small"])
        await arena.cluster.start()
        arena.operator()
        arena.declare({**FIRST["small"], "spec": {**FIRST["small"]["spec"], "adopt": True}})
        await asyncio.sleep(10)
        ACTS["budget: a foreign one in its place"].do(arena)
        await asyncio.sleep(90)
        budget = arena.cluster.get("poddisruptionbudgets", NAMESPACE, NAME)
        assert [owner["name"] for owner in budget["metadata"]["ownerReferences"]] == [NAME]
        assert budget["spec"] == {
            "maxUnavailable": "25%",
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {"drover.dev/service": NAME}},
        }
        await arena.end()

    with listening() as heard:
        virtualtime.run(main)
    assert heard == []
