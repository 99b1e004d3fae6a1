# SPDX-License-Identifier: Apache-2.0
"""How fields of the kinds are bounded and described: durations, percentages, lists with keys, rules in CEL.

Rules name the field and the value, because their message is all that a person sees when an apply is refused.
"""

from typing import Any

from msgspec import Meta

from drover_operator.api.meta import DURATION_PATTERN

MAX_REPLICAS = 5000


def rule(expression: str, message: str) -> dict[str, str]:
    """A CEL rule; `message` is an expression when it starts with a quote, so that it can name the value."""
    kind = "messageExpression" if message.startswith("'") else "message"
    return {"rule": expression, kind: message}


def rules(*each: dict[str, str]) -> dict[str, Any]:
    """Rules as the schema extension that carries them."""
    return {"x-kubernetes-validations": list(each)}


def duration(text: str, least: str, most: str, field: str) -> Meta:
    """A Kubernetes duration string between `least` and `most`, both included."""
    return Meta(
        description=f"{text} Between {least} and {most}.",
        pattern=DURATION_PATTERN,
        min_length=2,
        max_length=16,
        extra_json_schema=rules(
            rule(
                f"!self.matches('{DURATION_PATTERN}') || (duration(self) >= duration('{least}') && duration(self) <= duration('{most}'))",
                f"'{field} must be between {least} and {most}, not ' + self",
            )
        ),
    )


def by_key(*keys: str) -> dict[str, Any]:
    """A list that server-side apply merges by these keys."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


# One field for the API server's record of who owns what: the operator alone writes a status. Kept apart leaf by leaf, as it is without this,
# the record of a service of ten was larger than the status and 44 % of what its write cost the API server: 13.8 ms, 7.7 with this.
WHOLE = {"x-kubernetes-map-type": "atomic"}


def int_or_string(text: str, least: int, most: int, pattern: str, length: int) -> Meta:
    """A number between `least` and `most`, or a string of that pattern. No CEL: on a field of two types its cost has no bound."""
    bounds = {"minimum": least, "maximum": most, "pattern": pattern, "maxLength": length}
    return Meta(description=text, extra_json_schema={"x-kubernetes-int-or-string": True, **bounds})


def count_or_percent(text: str) -> Meta:
    """A number of instances, or a percentage of the replicas as a string."""
    return int_or_string(f"{text} A number, or a percentage such as '25%'.", 0, MAX_REPLICAS, "^(100|[1-9]?[0-9])%$", 4)
