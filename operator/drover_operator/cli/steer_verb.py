# SPDX-License-Identifier: Apache-2.0
"""The verbs of the operator's hand: their options; what they lead to is in `steering`, which is imported only when one of them runs."""

import argparse
from dataclasses import dataclass

from drover_operator.cli.options import SubParsers, add_verb, add_where, service_name, where

LONGEST_REASON = 256  # characters
SHORTEST_FREEZE, LONGEST_FREEZE = 60.0, 744 * 3600.0  # seconds
COMMON = """
The change is written to the service, with a record in the annotation
drover.dev/command: what was done, by whom, when and why. The operator carries it
out. Where the service is so already, nothing is written.
"""


@dataclass(frozen=True)
class _Page:
    """What the help of a verb says."""

    summary: str
    description: str
    examples: str


PAGES = {
    "pause": _Page(
        "freeze the rollout of a service",
        "Freeze the rollout: spec.paused becomes true. Repair and scaling go on.\n",
        """\
  # stop where it is, and say why
  kubectl drover pause checkout -n shop --reason "error rate is up"
""",
    ),
    "resume": _Page(
        "let a frozen rollout go on",
        "Let a frozen rollout go on: spec.paused becomes false.\n",
        """\
  # go on
  kubectl drover resume checkout -n shop
""",
    ),
    "restart": _Page(
        "replace every instance of a service, at the same version",
        """\
Replace every instance by the rollout that is declared, never more at once than
it allows. The template gets the annotation drover.dev/restartedAt, which makes a
new revision of the same version.
""",
        """\
  # new instances of what runs
  kubectl drover restart checkout -n shop --reason "new certificates"
""",
    ),
    "rollback": _Page(
        "go back to a recorded revision and stay there",
        """\
Go back to a recorded revision and stay there, whatever the template says:
spec.pin.revision becomes its name. Without --to it is the last good revision
while a newer one is being rolled out, else the newest that is older than the one
that serves and has not failed. kubectl drover unpin follows the template again.
""",
        """\
  # to the revision before
  kubectl drover rollback checkout -n shop

  # to that one, as kubectl drover history numbers it
  kubectl drover rollback checkout --to 3 --reason "1.3.0 loses orders"

  # only see what would be written
  kubectl drover rollback checkout --dry-run
""",
    ),
    "unpin": _Page(
        "follow the template again after a rollback",
        "Follow the template again after a rollback: spec.pin is removed. The revision\nof the template is then rolled out as declared.\n",
        """\
  # the template is right again
  kubectl drover unpin checkout -n shop
""",
    ),
    "promote": _Page(
        "pass a step of a rollout",
        """\
Pass the present step of a rollout whose strategy has steps, whatever it waits
for. The step that is passed is written down for the revision that is being rolled
out, and counts for no other. Steps are passed forwards only.
""",
        """\
  # to the next step
  kubectl drover promote checkout -n shop

  # to the third step
  kubectl drover promote checkout --to-step 3

  # past all steps
  kubectl drover promote checkout --full --reason "fix for an outage"
""",
    ),
    "abort": _Page(
        "give a rollout up and go back",
        """\
Give up the revision that is being rolled out: the last good one serves again.
The revision is not tried again before kubectl drover retry; a change of the
template makes another one.
""",
        """\
  # back to what served before
  kubectl drover abort checkout -n shop --reason "error rate is up"
""",
    ),
    "retry": _Page(
        "try a revision again that was aborted or has failed",
        "Try a revision again that was aborted by hand, or that failed and is blocked. Its\nrollout begins anew, with the first step.\n",
        """\
  # the database is there again
  kubectl drover retry checkout -n shop
""",
    ),
    "freeze": _Page(
        "let no update of a service begin or go on until some time",
        """\
Let no update of a service begin or go on until some time. Repair and scaling go
on, and so does going back: abort and rollback work as ever. A freeze for many
services at planned times is a MaintenanceWindow of purpose Freeze.
""",
        """\
  # until tomorrow
  kubectl drover freeze checkout -n shop --for 24h --reason "sales day"
""",
    ),
    "unfreeze": _Page(
        "lift a freeze of a service",
        """\
Lift the freeze by hand of a service. With --for, freezes by MaintenanceWindows
are lifted for this service as well, for that long.
""",
        """\
  # lift what kubectl drover freeze did
  kubectl drover unfreeze checkout -n shop

  # a fix that cannot wait for the end of the freeze of the calendar
  kubectl drover unfreeze checkout --for 2h --reason "payment is down"
""",
    ),
}


def add_parser(subparsers: SubParsers, verb: str) -> None:
    """Add one of these verbs; `run` of the parsed arguments carries it out."""
    page = PAGES[verb]
    parser = add_verb(subparsers, verb, summary=page.summary, description=page.description + COMMON, examples=page.examples)
    parser.add_argument("name", metavar="NAME", help="the service; msvc/NAME is taken too")
    if verb == "rollback":
        parser.add_argument("--to", default="", metavar="REVISION", help="revision to go back to, by name or number (default: the one before)")
    if verb == "promote":
        to = parser.add_mutually_exclusive_group()
        to.add_argument("--to-step", type=int, metavar="N", help="step to go to, counted from 1 (default: the next one)")
        to.add_argument("--full", action="store_true", help="pass all steps")
    if verb in ("freeze", "unfreeze"):
        parser.add_argument("--for", dest="seconds", type=_time, required=verb == "freeze", default=0.0, metavar="TIME", help="how long, such as 90m or 24h")
    add_where(parser)
    parser.add_argument("--reason", type=_reason, default="", metavar="TEXT", help=f"why, for the record; one line of at most {LONGEST_REASON} characters")
    parser.add_argument("--dry-run", action="store_true", help="show what would be changed; the server checks it and stores nothing")
    parser.set_defaults(run=run, verb=verb)


def _time(text: str) -> float:
    """Seconds of a duration of Kubernetes.

    Raises:
        ArgumentTypeError: it is none, or out of bounds.
    """
    from drover_operator.core.clock import parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no duration: give one such as 90m or 24h") from None
    if not SHORTEST_FREEZE <= seconds <= LONGEST_FREEZE:
        raise argparse.ArgumentTypeError(f"'{text}' must be from 1m to 744h (31 days)")
    return seconds


def _reason(text: str) -> str:
    if len(text) > LONGEST_REASON:
        raise argparse.ArgumentTypeError(f"it has {len(text)} characters, at most {LONGEST_REASON} are allowed: cut it short")
    if not text.isprintable():
        raise argparse.ArgumentTypeError("it has line breaks or control characters: give one plain line")
    return text.strip()


def run(args: argparse.Namespace) -> int:
    """Carry the order out; returns the exit code."""
    place, name = where(args), service_name(args.name)
    from drover_operator.cli import steering
    from drover_operator.cli.orders import Order

    order = Order(
        verb=args.verb,
        revision=getattr(args, "to", ""),
        step=getattr(args, "to_step", None),
        full=getattr(args, "full", False),
        seconds=getattr(args, "seconds", 0.0),
        reason=args.reason,
    )
    return steering.steer(steering.Wish(order=order, name=name, where=place, dry_run=args.dry_run))
