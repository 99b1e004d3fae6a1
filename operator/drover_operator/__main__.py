# SPDX-License-Identifier: Apache-2.0
"""The operator's entry: settings -> controllers -> kopf shell -> engine."""

import argparse
import asyncio
import json
import math
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import structlog
import yaml

from drover_operator.kube.auth import Connection, connect
from drover_operator.kube.errors import ConfigurationError, DroverError
from drover_operator.kube.http import HttpTransport
from drover_operator.observe.logs import configure
from drover_operator.observe.traces import Traces, TracesUnavailable, wanted
from drover_operator.observe.traces import connect as connect_traces
from drover_operator.runtime import rbac
from drover_operator.runtime.election import Timing
from drover_operator.runtime.measures import installed
from drover_operator.runtime.outside import Outside
from drover_operator.runtime.process import Process, Settings
from drover_operator.runtime.registry import discover
from drover_operator.runtime.shell import Shell

EXIT_ERROR, EXIT_LOST, EXIT_USAGE = 1, 3, 4
MOST_WORKERS = 256
LEASE_PARTS = 3
LAST_PORT = 65535


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `drover-operator`; exit codes: 0 asked to stop, 1 error, 3 leadership or history lost (start again), 4 usage."""
    options = _parser().parse_args(arguments)
    if options.verb == "manifests":
        return _print_manifests(options.namespace, options.shard)
    configure(options.log_format, options.log_level)
    try:
        connection = connect(options.kubeconfig, options.context)
        return asyncio.run(_run(connection, _settings(options), options.traces))
    except ConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_ERROR


def _print_manifests(namespace: str, shard: str) -> int:
    controllers = discover()
    bodies = [*rbac.manifests(controllers, shard, namespace), *rbac.fence(controllers, shard)]
    print(yaml.safe_dump_all(json.loads(json.dumps(bodies)), sort_keys=False), end="")  # through JSON: no YAML anchors
    return 0


async def _run(connection: Connection, settings: Settings, traces_to: str) -> int:
    log = structlog.get_logger()
    controllers = discover()
    traces = _traces(traces_to, settings)
    outside = Outside(settings.measure)
    transport = HttpTransport(connection)
    process = Process(transport, controllers, settings, traces=traces, outside=outside)
    health, shell = process.health(), Shell(connection)
    try:
        if settings.shell:
            shell.start()
        process.listen_to_signals()
        port = await health.start()
        log.info("started", identity=settings.identity, controllers=[c.name for c in controllers], health_port=port, fence=settings.fence)
        await process.run()
    except ConfigurationError:
        raise
    except DroverError as error:
        log.warning("ended", reason=str(error))
        return EXIT_LOST
    finally:
        shell.stop()
        await health.stop()
        await outside.close()
        await transport.close()
        if traces is not None:
            await asyncio.to_thread(traces.close)
    return 0


def _traces(url: str, settings: Settings) -> Traces | None:
    """Where spans go, if anybody asked for them. A variable that is set for all pods of a cluster is no reason not to start."""
    if not wanted(url):
        return None
    try:
        return connect_traces(url, {"service.name": "drover-operator", "service.version": installed(), "service.instance.id": settings.identity})
    except TracesUnavailable as error:
        if url:
            raise ConfigurationError(str(error)) from error
        structlog.get_logger().warning("no traces", reason=str(error))
        return None


def _settings(options: argparse.Namespace) -> Settings:
    duration, deadline, retry = (float(part) for part in options.lease_seconds.split("/"))
    return Settings(
        namespace=options.namespace,
        shard=options.shard,
        health_address=options.health_address,
        fence=options.fence == "on",
        shell=options.kopf == "on",
        workers=options.workers,
        measure=tuple(options.measure or _env("MEASURE", "").split()),
        timing=Timing(duration=duration, renew_deadline=deadline, retry=retry),
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> "None":  # type: ignore[override]
        self.exit(EXIT_USAGE, f"error: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="drover-operator", description="Drover's controllers: hold services where they were declared.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    manifests = verbs.add_parser("manifests", help="print the RBAC and the fence that the installed controllers need")
    manifests.add_argument("--namespace", default="", help="rights in this namespace only, for `run --namespace`")
    manifests.add_argument("--shard", default="0", help="shard whose Lease fences the writes (default: %(default)s)")
    run = verbs.add_parser("run", help="run the controllers until SIGTERM")
    run.add_argument("--kubeconfig", help="kubeconfig file (default: the pod's own account, $KUBECONFIG or ~/.kube/config)")
    run.add_argument("--context", help="context of the kubeconfig")
    run.add_argument("--namespace", default=_env("NAMESPACE", ""), help="look after this namespace only (default: all)")
    run.add_argument("--shard", default=_env("SHARD", "0"), help="shard whose Lease to compete for (default: %(default)s)")
    run.add_argument(
        "--lease-seconds", type=_lease, default=_env("LEASE_SECONDS", "15/10/2"), help="lease duration/renew deadline/retry (default: %(default)s)"
    )
    run.add_argument(
        "--health-address",
        type=_address,
        default=_env("HEALTH_ADDRESS", "127.0.0.1:8080"),
        help="/livez /readyz /metrics /state (default: %(default)s; 0: any port)",
    )
    run.add_argument(
        "--fence",
        **_choice("on", "off"),
        default=_env("FENCE", "on"),
        help="write as the fenced user; off: self-fencing by the clock only (default: %(default)s)",
    )
    run.add_argument("--kopf", **_choice("on", "off"), default=_env("KOPF", "on"), help="run kopf as the process shell (default: %(default)s)")
    run.add_argument(
        "--traces", metavar="URL", default=_env("TRACES", ""), help="send spans there by OTLP over HTTP; needs the extra [traces] (default: as OTEL_* say)"
    )
    run.add_argument("--workers", type=_workers, default=_env("WORKERS", "16"), help="keys worked on at once (default: %(default)s)")
    run.add_argument(
        "--measure",
        action="append",
        metavar="URL",
        help="release gates may ask addresses at or below this one; may be repeated (default: $DROVER_MEASURE, none)",
    )
    run.add_argument("--log-format", **_choice("auto", "json", "console"), default=_env("LOG_FORMAT", "auto"), help="auto: console on a terminal")
    run.add_argument("--log-level", **_choice("debug", "info", "warning", "error"), default=_env("LOG_LEVEL", "info"))
    return parser


def _env(name: str, default: str) -> str:
    return os.environ.get(f"DROVER_{name}", default)


def _choice(*words: str) -> dict[str, Any]:
    """What argparse's `choices` do not: a default from the environment is checked too."""

    def chosen(text: str) -> str:
        if text not in words:
            raise argparse.ArgumentTypeError(f"'{text}' must be one of {', '.join(words)}")
        return text

    return {"type": chosen, "metavar": "{" + ",".join(words) + "}"}


def _lease(text: str) -> str:
    try:
        parts = [float(part) for part in text.split("/")]
    except ValueError:
        parts = []
    fall = all(more > less > 0 for more, less in pairwise(parts))
    if len(parts) != LEASE_PARTS or not fall or not math.isfinite(parts[0]):
        raise argparse.ArgumentTypeError(f"'{text}' must be three falling numbers such as 15/10/2")
    return text


def _address(text: str) -> str:
    port = text.rpartition(":")[2]
    if ":" not in text or not port.isdecimal() or int(port) > LAST_PORT:
        raise argparse.ArgumentTypeError(f"'{text}' must be HOST:PORT")
    return text


def _workers(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"'{text}' must be a number from 1 to {MOST_WORKERS}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
