# SPDX-License-Identifier: Apache-2.0
"""The command line: `python -m tools.cluster VERB`, from the root of the repository."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from tools.cluster import binaries
from tools.cluster.cluster import Cluster, Status, names
from tools.cluster.errors import ClusterError

_INTERRUPTED = 130
_MOST_API_SERVERS = 9
_ROW = "{:<12} {:<6} {:<7} {:<24} {:<8} {:<6} {:>6} {:>6}"
_HEAD = ("CLUSTER", "PORT", "READY", "PROCESS", "PID", "STATE", "MIB", "CPU%")
_EMPTY = ("-",) * 4


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
        nodes=options.nodes,
        images=options.images,
        api_servers=options.api_servers,
        disk=options.disk,
        router=options.router,
        log=_say,
    )
    _tell(f"export KUBECONFIG={cluster.kubeconfig}")


def _down(options: argparse.Namespace) -> None:
    found = Cluster(options.name).down(_say)
    _say(f"cluster {options.name} is {'down' if found else 'not up: nothing to do'}")


def _rows(status: Status) -> list[str]:
    ready = f"{status.nodes[0]}/{status.nodes[1]}" if status.nodes else "?"
    rows: list[str] = []
    for name, process in status.processes.items():
        state = {True: "on" if name in status.real else "alive", False: "off" if name in status.real else "dead"}[process.alive]
        share = f"{status.cpu[name]:.1f}" if name in status.cpu else "-"
        rows.append(_ROW.format(status.name, status.port, ready, name, process.pid, state, status.memory[name] >> 20, share))
    return rows


def _routers(status: Status) -> list[str]:
    return [f"{status.name} routes: http://{status.router}"] if status.router else []


def _status(options: argparse.Namespace) -> None:
    rows, below = list[str](), list[str]()
    for name in names() if options.name == "all" else [options.name]:
        try:
            status = Cluster(name).status(options.cpu)
        except ClusterError:
            if options.name != "all":
                raise
            rows.append(_ROW.format(name, "-", "-", "(never came up)", *_EMPTY))
        else:
            rows += _rows(status)
            below += _routers(status)
    for line in [_ROW.format(*_HEAD), *rows, *below]:
        _tell(line.rstrip())


def _kubeconfig(options: argparse.Namespace) -> None:
    _tell(str(Cluster(options.name).kubeconfig))


def _restart(options: argparse.Namespace) -> None:
    cluster = Cluster(options.name)
    cluster.restart(options.process, kill=options.kill, log=_say)
    _say(f"{options.process} of cluster {options.name} runs again, pid {cluster.process_pid(options.process)}")


def _kill(options: argparse.Namespace) -> None:
    Cluster(options.name).node(options.node)
    Cluster(options.name).stop(options.node, kill=True, log=_say)
    _say(f"{options.node} is off, as by a power cut; `start {options.node}` brings it back")


def _start(options: argparse.Namespace) -> None:
    Cluster(options.name).start(options.node, log=_say)
    _say(f"{options.node} is on")


def _cut(options: argparse.Namespace) -> None:
    Cluster(options.name).node(options.node).cut()
    _say(f"{options.node} runs on, and nothing reaches it; `heal {options.node}` plugs it in again")


def _heal(options: argparse.Namespace) -> None:
    Cluster(options.name).node(options.node).heal()
    _say(f"{options.node} is connected")


def _fill(options: argparse.Namespace) -> None:
    Cluster(options.name).node(options.node).fill()
    _say(f"the disk of {options.node} is full; `free {options.node}` makes room again")


def _free(options: argparse.Namespace) -> None:
    Cluster(options.name).node(options.node).free()
    _say(f"the disk of {options.node} has room")


def _stop(options: argparse.Namespace) -> None:
    Cluster(options.name).node(options.node).stop(options.program)
    _say(f"{options.program} of {options.node} is ended, and stays so; `cont {options.node} {options.program}` lets it start")


def _cont(options: argparse.Namespace) -> None:
    Cluster(options.name).node(options.node).cont(options.program)
    _say(f"{options.program} of {options.node} starts again")


def _enter(options: argparse.Namespace) -> None:
    command = Cluster(options.name).node(options.node).enter(options.command or ["sh"])
    os.execvp(command[0], command)


def _bin(_options: argparse.Namespace) -> None:
    _tell(str(binaries.ensure(_say)))


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def _some(text: str) -> int:
    if not 1 <= (number := int(text)) <= _MOST_API_SERVERS:
        raise ValueError
    return number


def _up_options(up: argparse.ArgumentParser) -> None:
    up.add_argument("--nodes", type=_count, default=0, metavar="N", help="real nodes, as root: kubelet, containers, network (0)")
    up.add_argument("--images", type=Path, action="append", default=[], metavar="FILE", help="an OCI archive of images that real nodes have")
    up.add_argument("--api-servers", type=_some, default=1, metavar="N", help="API servers behind one address (1)")
    up.add_argument("--disk", default="", metavar="SIZE", help="a disk of its own for each real node's kubelet, such as 64M, which can be filled")
    up.add_argument("--router", action="store_true", help="a Gateway API router (Contour and Envoy) before the pods of real nodes")
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
    status = verb("status", "show what runs, and what it uses", _status, "all")
    status.add_argument("--cpu", type=float, default=0.0, metavar="SECONDS", help="watch the processor's share so long")
    verb("kubeconfig", "print the path of the kubeconfig", _kubeconfig, "default")
    restart = verb("restart", "end one process and start it again", _restart, "default")
    restart.add_argument("process", help="such as kube-apiserver")
    restart.add_argument("--kill", action="store_true", help="with SIGKILL, without a chance to clean up")
    for name, text, act in (
        ("kill", "cut the power of a real node", _kill),
        ("start", "start a real node, or an ended process of the control plane, again", _start),
        ("cut", "pull the network cable of a real node", _cut),
        ("heal", "plug it in again", _heal),
        ("fill", "fill the disk of a real node", _fill),
        ("free", "make room on it again", _free),
        ("stop", "end one program of a real node and keep it ended", _stop),
        ("cont", "let it start again", _cont),
        ("enter", "run a command on a real node (sh)", _enter),
    ):
        one = verb(name, text, act, "default")
        one.add_argument("node", help="such as node-a")
        if act in (_stop, _cont):
            one.add_argument("program", help="kubelet, containerd or kube-proxy")
        if act is _enter:
            one.add_argument("command", nargs=argparse.REMAINDER)
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
