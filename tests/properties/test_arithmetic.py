# SPDX-License-Identifier: Apache-2.0
"""Rolling and rounding, enumerated where that can be done, and rolled to the end against an adversary."""

from fractions import Fraction
from itertools import product
from math import ceil, floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables.world import spec_of

from drover_controllers.service.rollout.arithmetic import split
from drover_controllers.service.rollout.rolling import frozen, rolling
from drover_controllers.service.scaling.demand import demand, resolve
from drover_controllers.service.values import Demand, Population
from drover_operator.api.fields import MAX_REPLICAS

NEW, OLD, THIRD = "web-new", "web-old", "web-third"
BUDGETS = [(n, s, u) for n, s, u in product(range(9), range(5), range(5)) if s or u]


def people(**live: int) -> dict[str, Population]:
    return {f"web-{name}": Population(live=count, in_service=count, available=count) for name, count in live.items() if count}


@pytest.mark.parametrize(("n", "s", "u"), BUDGETS)
def test_rolling_between_two_revisions(n: int, s: int, u: int):
    wish = Demand(replicas=n, surge=s, unavailable=u)
    before = -1
    for p in range(n + 1):
        for new, old in product(range(n + s + 1), repeat=2):
            wanted = rolling(wish, p, NEW, OLD, people(new=new, old=old))
            assert set(wanted) == {NEW, OLD}
            assert min(wanted.values()) >= 0
            assert sum(wanted.values()) <= n + s
            assert wanted[NEW] <= n
            assert wanted[NEW] >= min(n, p + 1), "at least one more than ever served, or it would stand still"
            assert p + wanted[OLD] >= n - u, "with the proven ones, enough stay"
        target = wanted[NEW]
        assert target >= before, "more progress never wants fewer of the target"
        before = target
    assert wanted == {NEW: n, OLD: 0}


@pytest.mark.parametrize(("n", "s", "u"), BUDGETS)
def test_rolling_with_a_third_revision_in_the_middle(n: int, s: int, u: int):
    wish = Demand(replicas=n, surge=s, unavailable=u)
    for p, old, third in product(range(n + 1), range(0, n + s + 1, 2), range(n + s + 1)):
        wanted = rolling(wish, p, NEW, OLD, people(old=old, third=third))
        assert min(wanted.values()) >= 0
        assert sum(wanted.values()) <= n + s
        assert wanted.get(THIRD, 0) <= third, "what is neither target nor stable is never made"
    assert not wanted.get(THIRD)


@pytest.mark.parametrize(("n", "s", "u"), BUDGETS)
def test_a_third_revision_that_does_not_serve_is_wanted_no_more(n: int, s: int, u: int):
    starting = {THIRD: Population(live=2)}
    assert rolling(Demand(replicas=n, surge=s, unavailable=u), 0, NEW, OLD, starting)[THIRD] == 0


@pytest.mark.parametrize("stable", ["", NEW])
def test_with_nothing_to_roll_from_all_are_wanted_at_once(stable: str):
    for n, s, u in BUDGETS:
        wish = Demand(replicas=n, surge=s, unavailable=u)
        for p, third in product(range(n + 1), range(5)):
            wanted = rolling(wish, p, NEW, stable, people(third=third))
            assert wanted[NEW] == n
            assert wanted.get(THIRD, 0) == min(third, max(0, n - p - u)), "the others serve as long as they are needed"


def test_frozen_keeps_the_number_and_the_share_that_is_there():
    for n, new in product(range(9), range(12)):
        wish = Demand(replicas=n, surge=1, unavailable=0)
        assert frozen(wish, NEW, OLD, people(new=new)) == {NEW: min(n, new), OLD: n - min(n, new)}
        assert frozen(wish, NEW, NEW, people(new=new)) == {NEW: n}
        assert sum(frozen(wish, NEW, "", people(new=new)).values()) <= min(n, new), "what never served is not added to"


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_roll_ends_and_never_cuts_by_its_own_act(data: st.DataObject):
    """Counts only: an adversary lets instances come into service, or takes them away, in any order, and then stops taking.

    The arbiter's two rules are repeated here in their shortest form: a leave keeps N - U available, a create keeps N + S.
    """
    n, s, u = data.draw(st.sampled_from([each for each in BUDGETS if each[0]]))
    wish = Demand(replicas=n, surge=s, unavailable=u)
    live, up = {NEW: 0, OLD: n}, {NEW: 0, OLD: n}
    progressed, losses = 0, data.draw(st.integers(0, 6))
    for _ in range(40 * (n + losses) + 40):
        progressed = max(progressed, up[NEW])
        wanted = rolling(wish, progressed, NEW, OLD, {k: Population(live=live[k], in_service=up[k], available=up[k]) for k in live if live[k]})
        for name in (NEW, OLD):
            while live[name] > wanted[name] and (live[name] > up[name] or sum(up.values()) - 1 >= n - u):
                if live[name] == up[name]:
                    up[name] -= 1
                    assert sum(up.values()) >= n - u, "below the budget by its own act"
                live[name] -= 1
        for name in (OLD, NEW):
            while live[name] < wanted[name] and sum(live.values()) < n + s:
                live[name] += 1
        assert sum(live.values()) <= n + s
        if live == up == {NEW: n, OLD: 0}:
            break
        starting, serving = [k for k in live if live[k] > up[k]], [k for k in up if up[k]]
        if losses and serving and data.draw(st.booleans()):
            name = data.draw(st.sampled_from(serving))
            live[name], up[name], losses = live[name] - 1, up[name] - 1, losses - 1
        elif starting:
            up[data.draw(st.sampled_from(starting))] += 1
        else:
            assert sum(live.values()) < n + s or any(live[k] != wanted[k] for k in live), "it stands still with nothing to wait for"
    assert live == up == {NEW: n, OLD: 0}, f"N={n} S={s} U={u}: stuck at {live}, {up} in service, progress {progressed}"


@given(percent=st.integers(0, 100), n=st.integers(0, MAX_REPLICAS))
def test_percentages_are_rounded_as_kubernetes_does(percent: int, n: int):
    """intstr.GetScaledValueFromIntOrPercent: surge up, unavailability down; exact, not by floating point."""
    share = Fraction(percent * n, 100)
    assert resolve(f"{percent}%", n, up=True) == ceil(share)
    assert resolve(f"{percent}%", n, up=False) == floor(share)


@given(count=st.integers(0, MAX_REPLICAS), n=st.integers(0, MAX_REPLICAS), up=st.booleans())
def test_numbers_stand_for_themselves(count: int, n: int, up: bool):
    assert resolve(count, n, up=up) == count


@given(
    n=st.integers(0, 60),
    surge=st.integers(0, 5) | st.integers(0, 100).map("{}%".format),
    gap=st.integers(0, 5) | st.integers(0, 100).map("{}%".format),
)
def test_the_budget_always_lets_something_be_replaced(n: int, surge: int | str, gap: int | str):
    """ResolveFenceposts of the Deployment controller: when both come to 0, one may be missing."""
    wish = demand(spec_of(replicas=n, rollout={"rolling": {"maxSurge": surge, "maxUnavailable": gap}}))
    assert wish.surge + wish.unavailable >= 1
    assert (wish.replicas, wish.most) == (n, n + wish.surge)
    assert wish.fewest == max(0, n - wish.unavailable)


@given(n=st.integers(0, 50), least=st.integers(0, 20), more=st.integers(1, 20))
def test_replicas_are_kept_within_scaling(n: int, least: int, more: int):
    got = demand(spec_of(replicas=n, scaling={"min": least, "max": least + more})).replicas
    assert got == sorted((least, n, least + more))[1]


# --- the weight of a canary by numbers of instances


def missed(parts: tuple[int, int], weight: int) -> Fraction:
    """How many points the share of the first is off."""
    return abs(Fraction(100 * parts[0], sum(parts)) - weight)


def allowed(n: int, s: int, u: int) -> list[tuple[int, int]]:
    """Every pair with both sides manned that surge and unavailability allow."""
    return [(c, total - c) for total in range(max(0, n - u), n + s + 1) for c in range(1, total)]


@pytest.mark.parametrize("n", range(13))
def test_a_split_is_the_best_that_the_budget_allows(n: int):
    """Against every other pair, for all small numbers."""
    for s, u in product(range(6), range(n + 1)):
        pairs, last = allowed(n, s, u), Fraction(-1)
        for weight in range(1, 100):
            parts = split(n, weight, s, u)
            if not n or not pairs:
                assert parts == (0, n), "no room for both: what is proved has it"
                continue
            assert parts in pairs
            assert missed(parts, weight) == min(missed(each, weight) for each in pairs)
            share = Fraction(parts[0], sum(parts))
            assert share >= last, "more weight never means a smaller share"
            last = share
        assert (split(n, 0, s, u), split(n, 100, s, u)) == ((0, n), (n, 0))


@pytest.mark.parametrize("surge", ["0%", "1%", "25%", "100%"])
def test_a_split_of_up_to_a_thousand_stays_within_the_budget(surge: str):
    """Bounds, both sides, and the share that only grows; every seventh number, for the two hundreds of totals of each take their time."""
    for n in range(0, 1001, 7):
        s, last = resolve(surge, n, up=True), Fraction(0)
        for weight in range(0, 101, 1 if n < 150 else 9):
            candidate, old = split(n, weight, s, 0)
            assert n <= candidate + old <= n + s
            assert n + s < 2 or not 0 < weight < 100 or (candidate and old)
            share = Fraction(candidate, candidate + old) if n else Fraction(0)
            assert share >= last
            last = share


@pytest.mark.parametrize(("n", "worst"), [(5, Fraction(93, 7)), (10, Fraction(87, 13)), (20, Fraction(3))])
def test_how_far_a_split_can_be_off(n: int, worst: Fraction):
    """13.3, 6.7 and 3.0 points with the surge of a quarter: one instance of all there may be, where 1 % is asked for."""
    assert max(missed(split(n, weight, resolve("25%", n, up=True), 0), weight) for weight in range(1, 100)) == worst
