# SPDX-License-Identifier: Apache-2.0
"""The control plane is away, or a node for good, under load; played beside the other tests, see `harness.away`."""

from real.harness.away import Away

PATIENCE = 230.0  # seconds


def test_the_api_server_is_away_for_a_minute(away: Away) -> None:
    """Services serve on; the operator ends when its lease runs out, and the next one does nothing on what it remembers: it looks first."""
    away.outcomes["api-server"].result(PATIENCE)


def test_a_node_is_removed(away: Away) -> None:
    """Cut off, and deleted by somebody: its instances are replaced, and their remains vanish when the garbage collector of pods believes it."""
    away.outcomes["node"].result(PATIENCE)


def test_the_datastore_is_away_for_a_while(away: Away) -> None:
    """The API server answers, and can store nothing: the same, by another way to fail."""
    away.outcomes["datastore"].result(PATIENCE)
