# SPDX-License-Identifier: Apache-2.0
"""The entry of `drover-agent`: settings -> agent -> server, until SIGTERM."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from drover_agent import admin, probe
from drover_agent.agent import Agent
from drover_agent.core import Event
from drover_agent.log import write
from drover_agent.process import ProcFolder, Watch
from drover_agent.server import Server
from drover_agent.settings import Settings, SettingsError, read

EXIT_ERROR, EXIT_USAGE = 1, 2
# Addresses for documents: nothing is sent to them, the system only says which of ours it would leave from.
ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


class StartError(Exception):
    """The agent cannot begin; the text is one line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `drover-agent`; exit codes: 0 asked to stop, 1 the address cannot be used, 2 usage."""
    try:
        settings = completed(read(sys.argv[1:] if arguments is None else arguments, os.environ))
        return asyncio.run(_run(settings))
    except SettingsError as error:
        return _failed(f"{error}; see drover-agent --help", EXIT_USAGE)
    except StartError as error:
        return _failed(str(error), EXIT_ERROR)


def _failed(line: str, code: int) -> int:
    sys.stderr.write(f"error: {' '.join(line.split())}\n")
    return code


def completed(settings: Settings) -> Settings:
    """Settings with the addresses that were not given: loopback would be the same in every pod, so it is never guessed.

    Raises:
        SettingsError: the pod's address cannot be found.
    """
    ip = settings.ip or _own_address()
    if not ip:
        raise SettingsError("--ip is needed, as this machine has no route to tell its address by")
    anywhere = "::" if ":" in ip else "0.0.0.0"  # noqa: S104  the kubelet comes from outside of the pod
    return replace(settings, ip=ip, probe_host=settings.probe_host or ip, listen=replace(settings.listen, host=settings.listen.host or anywhere))


def _own_address() -> str:
    for family, elsewhere in ELSEWHERE:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as packets:
            packets.connect((elsewhere, 9))
            return str(packets.getsockname()[0])
    return ""


async def _run(settings: Settings) -> int:
    stop, hurry = asyncio.Event(), asyncio.Event()
    _listen_to_signals(stop, hurry)
    agent = _agent(settings)
    server = Server(admin.routes(agent, write), write)
    try:
        port = await server.start(settings.listen.host, settings.listen.port)
    except OSError as error:
        words = os.strerror(error.errno) if error.errno else str(error)
        raise StartError(f"cannot listen on '{settings.listen.host}:{settings.listen.port}': {words}; choose another --listen") from error
    write(Event(name="started", fields={"port": port, "probe": settings.probe, "probed": settings.probed.authority}))
    await _until(stop, agent)
    await agent.finish(hurry)
    await server.stop()
    write(Event(name="ended"))
    return 0


def _agent(settings: Settings) -> Agent:
    watch = Watch(ProcFolder(settings.proc), own=os.getpid(), port=settings.probe_port, name=settings.process)
    ask = {"http": probe.http, "tcp": probe.tcp}[settings.probe](settings.probed)
    load = probe.load(settings.active_requests) if settings.active_requests else None
    return Agent(settings, watch, ask, load, clock=time.time, log=write)


async def _until(stop: asyncio.Event, agent: Agent) -> None:
    """Probe until told to stop; a drain that is under way then is probed on, since /readyz and /drain go on answering."""
    probing, stopping = asyncio.create_task(agent.probe_forever()), asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({probing, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if probing in done:
        probing.result()


def _listen_to_signals(stop: asyncio.Event, hurry: asyncio.Event) -> None:
    """SIGTERM and SIGINT ask for an end; a second one waits for no drain."""

    def signalled() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signalled)


if __name__ == "__main__":
    sys.exit(main())
