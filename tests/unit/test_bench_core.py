# SPDX-License-Identifier: Apache-2.0
"""The world that the core is measured in: settled, as large as in clusters, and no two services alike. Else the figures are those of something else."""

import msgspec
import pytest

from bench.core.cluster import Cluster
from bench.core.server import LISTED
from bench.core.world import ANSWER, POD_BYTES, QUESTION, templates
from drover_controllers.service import CONTROLLER
from drover_operator.api.resource import MANAGED_SERVICES
from drover_operator.kube.cache import Cache
from drover_operator.runtime.snapshot import Snapshot

NOW = 1_800_000_000.0  # long after the services have settled
SERVICES = 3


def _caches(cluster: Cluster) -> dict[str, Cache]:
    watched = {str(MANAGED_SERVICES): Cache(MANAGED_SERVICES, lambda item: item.metadata.key)}
    watched |= {str(each.resource): Cache(each.resource, each.key_of) for each in CONTROLLER.watches}
    for cache in watched.values():
        plural = cache.resource.plural
        cache.replace([cache.resource.decoder.decode(cluster.show(plural, place)) for place in cluster.places(plural)], cluster.version)
    return watched


@pytest.mark.parametrize("pods", [1, 4])
def test_an_operator_has_nothing_to_write_about_any_service(pods: int):
    caches = _caches(Cluster(SERVICES, *templates(pods)))
    services = list(caches[str(MANAGED_SERVICES)].values())
    assert len({each.metadata.uid for each in services}) == SERVICES
    for each in services:
        facts = CONTROLLER.gather(each, Snapshot(NOW, caches, {}))
        plan = CONTROLLER.decide(facts)
        told = CONTROLLER.report(facts, plan)
        assert (len(facts.pods), plan.actions, plan.deferred) == (pods, (), ())
        assert told.before == told.status, "the status tells it already"


def test_the_server_serves_all_that_an_operator_watches():
    """What is not served is never synced, and an operator that waits for it decides nothing: there would be nothing to measure."""
    served = {f"{group}/{plural}" for plural, group in LISTED.items()}
    assert {each.resource.path() for each in CONTROLLER.watches} <= served


def test_pods_are_as_large_as_in_clusters():
    cluster = Cluster(SERVICES, *templates(1))
    sizes = [len(cluster.show("pods", place)) for place in cluster.places("pods")]
    assert all(POD_BYTES * 0.98 < each < POD_BYTES * 1.05 for each in sizes)


def test_a_change_is_news_of_a_higher_version_and_stays():
    cluster = Cluster(SERVICES, *templates(1))
    asked, answered = (msgspec.json.decode(cluster.event((1, 0), reason))["object"] for reason in (QUESTION, ANSWER))
    assert int(answered["metadata"]["resourceVersion"]) == int(asked["metadata"]["resourceVersion"]) + 1 == cluster.version
    assert (asked["status"]["reason"], answered["status"]["reason"]) == (QUESTION, ANSWER)
    assert msgspec.json.decode(cluster.show("pods", (1, 0))) == answered, "a list shows what the watch told"
    assert cluster.pod(answered["metadata"]["name"]) == (1, 0)
