# SPDX-License-Identifier: Apache-2.0
"""Who may change something: whoever shows the agent's token. An agent without one listens to its own machine alone.

Pages that only tell are open, as the kubelet's probes carry no secret. Rejected: a secret that the agent makes up itself, since the preStop
hook could not carry it.
"""

import asyncio
import hmac
from ipaddress import ip_address

from drover_agent.core import Event
from drover_agent.log import Log
from drover_agent.server import Request

HEADER = "X-Drover-Token"
WRONG = f"this changes something, so the header {HEADER} must hold the token of the agent"
ELSEWHERE = "this changes something, and an agent that was given no token lets nobody do so but over loopback"
QUIET = 60.0  # seconds between two lines about refusals: whoever reaches the port could fill the log


class Gate:
    """Judges the requests that change something; `token` is "" where none was given."""

    def __init__(self, token: str, log: Log) -> None:
        self._token = token.encode("latin-1")
        self._log = log
        self._quiet_until = 0.0

    def refusal(self, request: Request) -> str:
        """Why this request may change nothing; "" if it may."""
        why = self._why(request)
        if why:
            self._tell(request, why)
        return why

    def _why(self, request: Request) -> str:
        if not self._token:
            return "" if _is_loopback(request.peer) else ELSEWHERE
        # As bytes: compare_digest takes no text beyond ASCII.
        shown = request.headers.get(HEADER.lower(), "").encode("latin-1")
        return "" if hmac.compare_digest(shown, self._token) else WRONG

    def _tell(self, request: Request, why: str) -> None:
        """One line: a kubelet does not mind what a hook is answered, so that nothing else would show that there was no drain."""
        now = asyncio.get_running_loop().time()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET
            self._log(Event(name="refused", level="warning", fields={"path": request.path, "from": request.peer, "why": why}))


def _is_loopback(peer: str) -> bool:
    try:
        return ip_address(peer).is_loopback
    except ValueError:  # who has gone already has no address
        return False
