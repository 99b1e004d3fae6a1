# SPDX-License-Identifier: Apache-2.0
"""The command line: `python -m tools.cluster VERB`, from the root of the repository."""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from tools.cluster import binaries
from tools.cluster.cluster import Cluster, Status, names
from tools.cluster.errors import ClusterError

_INTERRUPTED = 130
_ROW = "{:<12} {:<6} {:<7} {:<24} {:<8} {}"


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _up(options: argparse.Namespace) -> None:
    cluster = Cluster(options.name)
    cluster.up(
        kwok_nodes=options.kwok_nodes,
        pods_per_node=options.pods_per_node,
        fast=options.fast,
        fsync=options.fsync,
        stages=options.stages,
        log=_say,
    )
    _tell(f"export KUBECONFIG={cluster.kubeconfig}")


def _down(options: argparse.Namespace) -> None:
    found = Cluster(options.name).down(_say)
    _say(f"cluster {options.name} is {'down' if found else 'not up: nothing to do'}")


def _rows(status: Status) -> list[str]:
    nodes = f"{status.nodes[0]}/{status.nodes[1]}" if status.nodes else "?"
    return [_ROW.format(status.name, status.port, nodes, name, process.pid, "alive" if process.alive else "dead") for name, process in status.processes.items()]


def _all_rows() -> list[str]:
    rows: list[str] = []
    for name in names():
        try:
            rows += _rows(Cluster(name).status())
        except ClusterError:
            rows.append(_ROW.format(name, "-", "-", "(never came up)", "-", "-"))
    return rows


def _status(options: argparse.Namespace) -> None:
    rows = _all_rows() if options.name == "all" else _rows(Cluster(options.name).status())
    for line in [_ROW.format("CLUSTER", "PORT", "READY", "PROCESS", "PID", "STATE"), *rows]:
        _tell(line)


def _kubeconfig(options: argparse.Namespace) -> None:
    _tell(str(Cluster(options.name).kubeconfig))


def _restart(options: argparse.Namespace) -> None:
    cluster = Cluster(options.name)
    cluster.restart(options.process, kill=options.kill, log=_say)
    _say(f"{options.process} of cluster {options.name} runs again, pid {cluster.process_pid(options.process)}")


def _bin(_options: argparse.Namespace) -> None:
    _tell(str(binaries.ensure(_say)))


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def _up_options(up: argparse.ArgumentParser) -> None:
    up.add_argument("--kwok-nodes", type=_count, default=5, metavar="N", help="fake nodes (5)")
    up.add_argument("--pods-per-node", type=_count, default=110, metavar="N", help="room on each node (110)")
    up.add_argument("--fast", action="store_true", help="notice a lost node in about 5 s instead of 50 s")
    up.add_argument("--fsync", action="store_true", help="let etcd sync to disk: slower, and outlives a power cut")
    up.add_argument("--stages", type=Path, action="append", default=[], metavar="FILE", help="more kwok stages")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.cluster", description="A local Kubernetes control plane.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str, act: Callable[[argparse.Namespace], None], cluster: str) -> argparse.ArgumentParser:
        one = verbs.add_parser(name, help=text, description=text)
        one.set_defaults(act=act)
        if cluster:
            one.add_argument("--name", default=cluster, help=f"the cluster ({cluster})")
        return one

    _up_options(verb("up", "bring a cluster up, or mend it", _up, "default"))
    verb("down", "end a cluster and remove its state", _down, "default")
    verb("status", "show what runs", _status, "all")
    verb("kubeconfig", "print the path of the kubeconfig", _kubeconfig, "default")
    restart = verb("restart", "end one process and start it again", _restart, "default")
    restart.add_argument("process", help="such as kube-apiserver")
    restart.add_argument("--kill", action="store_true", help="with SIGKILL, without a chance to clean up")
    verb("bin", "print the folder with the binaries, built if need be", _bin, "")
    return parser


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0, 1 for an error of one clear line, 130 when interrupted."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        options.act(options)
    except ClusterError as error:
        _say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        _say("interrupted: what was being started has been ended")
        return _INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
