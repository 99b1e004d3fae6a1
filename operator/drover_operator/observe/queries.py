# SPDX-License-Identifier: Apache-2.0
"""PromQL made from the catalogue: a query can only name metrics, labels and values that there are.

Replicas of the operator all show caches and objects, and only the leader works: what is counted is summed over processes, what is seen
is taken once, as the most that any process sees.
"""

from collections.abc import Mapping

from drover_operator.observe.catalogue import Label, Metric

WINDOW = "5m"
Wanted = str | tuple[str, ...]


class Queries:
    """Queries over some processes; `scope` is a matcher that every selector carries, such as `job=~"$job"`."""

    def __init__(self, scope: str = "") -> None:
        self._scope = (scope,) if scope else ()

    def series(self, metric: Metric, **labels: Wanted) -> str:
        """A selector; a tuple of values means any of them.

        Raises:
            LookupError: the metric has no such label, or the label no such value; or it is a histogram, which has no series of its name.
        """
        return self._selector(metric, metric.name, labels)

    def most(self, metric: Metric, *by: Label, **labels: Wanted) -> str:
        """What is seen: the most that any process sees."""
        return f"max{_by(metric, by)}({self._selector(metric, metric.name, labels)})"

    def total(self, metric: Metric, *by: Label, **labels: Wanted) -> str:
        """The sum over all processes."""
        return f"sum{_by(metric, by)}({self._selector(metric, metric.name, labels)})"

    def rate(self, metric: Metric, *by: Label, window: str = WINDOW, **labels: Wanted) -> str:
        """How often a second something happens."""
        return f"sum{_by(metric, by)}(rate({self._selector(metric, metric.name, labels)}[{window}]))"

    def increase(self, metric: Metric, *by: Label, window: str, **labels: Wanted) -> str:
        """How often something happened in the window."""
        return f"sum{_by(metric, by)}(increase({self._selector(metric, metric.name, labels)}[{window}]))"

    def quantile(self, share: float, metric: Metric, *by: Label, **labels: Wanted) -> str:
        """The time within which that share of the durations of a histogram were."""
        grouped = ", ".join(("le", *_names(metric, by)))
        return f"histogram_quantile({share}, sum by ({grouped}) (rate({self._selector(metric, metric.name + '_bucket', labels)}[{WINDOW}])))"

    def _selector(self, metric: Metric, name: str, labels: Mapping[str, Wanted]) -> str:
        if name not in metric.series:
            raise LookupError(f"{metric.name} has no series '{name}'")
        inner = ",".join((*self._scope, *(_matcher(metric.label(label), value) for label, value in labels.items())))
        return f"{name}{{{inner}}}" if inner else name


def _matcher(label: Label, wanted: Wanted) -> str:
    values = (wanted,) if isinstance(wanted, str) else wanted
    for value in values:
        if label.values and value not in label.values:
            raise LookupError(f"label '{label.name}' is never '{value}'")
    return f'{label.name}="{values[0]}"' if len(values) == 1 else f'{label.name}=~"{"|".join(values)}"'


def _names(metric: Metric, by: tuple[Label, ...]) -> list[str]:
    return [metric.label(each.name).name for each in by]


def _by(metric: Metric, by: tuple[Label, ...]) -> str:
    return f" by ({', '.join(_names(metric, by))}) " if by else ""
