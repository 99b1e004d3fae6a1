# SPDX-License-Identifier: Apache-2.0
"""MaintenanceWindow: when rollouts may run, or must not.

A window is written in local time, as people announce it, and judged by `core.calendar`. It has no status: whether it is open follows from the
time, and each rollout that waits for one says until when.

Rejected: cron lines as in Kubernetes' CronJob. Few can read `0 22 * * 6`, a length has no place in it, and a freeze over Christmas has no line.
"""

from typing import Annotated, Literal

from msgspec import Meta, field

from drover_operator.api.fields import duration, rule, rules
from drover_operator.api.meta import Object, Wire

TIME_OF_DAY = "^([01][0-9]|2[0-3]):[0-5][0-9]$"
DATE = "^20[0-9]{2}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))$"
LEAP_DAY = "^20([02468][048]|[13579][26])-02-29$"  # of this century, where each fourth year is one
TIME_ZONE = "^[A-Z][A-Za-z0-9_+-]*(/[A-Z][A-Za-z0-9_+-]*){0,2}$"  # neither localtime, which is the operator's own, nor right/..., which counts leap seconds
LABEL_VALUE = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
SHORTEST, LONGEST = "1m", "744h"  # of one opening

Purpose = Literal["Allow", "Freeze"]
Day = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]


class Hours(Wire, frozen=True):
    """When a window opens, and for how long: on days of each week, or once on a date; with neither, every day."""

    from_: Annotated[
        str,
        Meta(
            description="Local time of day at which it opens, HH:MM. One that the clock skips is the first moment after; one that comes twice counts once.",
            min_length=5,
            max_length=5,
            pattern="^[0-9]{2}:[0-9]{2}$",
            extra_json_schema=rules(rule(f"self.matches('{TIME_OF_DAY}')", "'spec.opens[].from must be a time from 00:00 to 23:59, not ' + self")),
        ),
    ] = field(name="from")
    for_: Annotated[
        str, duration("How long it stays open, in time that passes: an hour is one also when the clock is set.", SHORTEST, LONGEST, "spec.opens[].for")
    ] = field(name="for")
    days: Annotated[
        tuple[Day, ...],
        Meta(description="Days of the week on which it opens; none, every day.", max_length=7, extra_json_schema={"x-kubernetes-list-type": "set"}),
    ] = ()
    date: Annotated[
        Annotated[str, Meta(min_length=10, max_length=10, pattern="^20[0-9]{2}-[0-9]{2}-[0-9]{2}$")] | None,
        Meta(
            description="The one day on which it opens, YYYY-MM-DD.",
            extra_json_schema=rules(
                rule(
                    f"self.matches('{DATE}') || self.matches('{LEAP_DAY}')",
                    "'spec.opens[].date must be a day of the calendar such as 2026-12-23, not ' + self",
                )
            ),
        ),
    ] = None


class Selected(Wire, frozen=True):
    """Services by their labels."""

    match_labels: Annotated[
        dict[str, Annotated[str, Meta(max_length=63, pattern=LABEL_VALUE)]],
        Meta(description="Labels that a service must have, all of them.", min_length=1, max_length=20),
    ]


class MaintenanceWindowSpec(Wire, frozen=True):
    """When rollouts may run, or must not."""

    opens: Annotated[
        tuple[
            Annotated[
                Hours,
                Meta(
                    extra_json_schema=rules(
                        rule(
                            "!has(self.date) || !has(self.days) || self.days.size() == 0",
                            "'each of spec.opens must have at most one of `days` and `date`, not both as the one with the date ' + self.date",
                        )
                    )
                ),
            ],
            ...,
        ],
        Meta(
            description="When it opens, and for how long; what overlaps or touches is one opening.",
            min_length=1,
            max_length=20,
            extra_json_schema={"x-kubernetes-list-type": "atomic"},
        ),
    ]
    purpose: Annotated[
        Purpose, Meta(description="Allow: rollouts that name the window run only while it is open. Freeze: no rollout of the namespace begins or goes on then.")
    ] = "Allow"
    time_zone: Annotated[
        str,
        Meta(description="Name of the time zone in the IANA database, such as Europe/Berlin.", min_length=1, max_length=64, pattern=TIME_ZONE),
    ] = "UTC"
    services: Annotated[Selected | None, Meta(description="Freeze only: which services of the namespace; without it, all of them.")] = None
    reason: Annotated[
        Annotated[str, Meta(min_length=1, max_length=256)] | None,
        Meta(description="Why, for people; rollouts that wait repeat it."),
    ] = None


class MaintenanceWindow(Object, frozen=True):
    """When rollouts may run, or must not."""

    spec: Annotated[
        MaintenanceWindowSpec,
        Meta(
            extra_json_schema=rules(
                rule(
                    "!has(self.services) || self.purpose == 'Freeze'",
                    "'spec.services goes with spec.purpose Freeze, not ' + self.purpose + ': services name the window that allows them'",
                )
            )
        ),
    ]
