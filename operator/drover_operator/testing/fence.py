# SPDX-License-Identifier: Apache-2.0
"""The epoch fence: impersonated users `drover:operator:<shard>` may write only while their epoch is the shard's Lease's.

On a real cluster this is a ValidatingAdmissionPolicy with the Lease as its parameter (DESIGN section 3).
"""

from dataclasses import dataclass

from drover_operator.kube.transport import Request
from drover_operator.testing.kinds import LEASES
from drover_operator.testing.objects import Json
from drover_operator.testing.refusal import denied
from drover_operator.testing.registry import Call
from drover_operator.testing.storage import Storage

USER_PREFIX = "drover:operator:"
LEASE_NAMESPACE = "drover-system"
LEASE_PREFIX = "drover-operator-"
POLICY_PREFIX = "drover-fence-"
_EXTRA = "impersonate-extra-drover.dev%2f"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, after impersonation."""

    user: str
    epoch: str = ""
    holder: str = ""


def caller_of(request: Request, user: str) -> Caller:
    """The user of a request: who the transport is, or whom it impersonates."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    name = headers.get("impersonate-user")
    return Caller(name, headers.get(_EXTRA + "epoch", ""), headers.get(_EXTRA + "holder", "")) if name else Caller(user)


def check_fence(storage: Storage, caller: Caller, call: Call, revision: int) -> None:
    """Refuse a write of a leader that is none any more, as far as an API server knows whose Lease is of that version.

    Raises:
        Refused: 422 that names both epochs and holders.
    """
    if call.kind is LEASES or not caller.user.startswith(USER_PREFIX):
        return
    shard = caller.user.removeprefix(USER_PREFIX)
    name, policy = LEASE_PREFIX + shard, POLICY_PREFIX + shard
    lease = storage.get_at(LEASES, LEASE_NAMESPACE, name, revision)
    if lease is None:
        return  # failurePolicy Ignore: without its parameter the policy lets everything pass; uid and version still hold
    spec: Json = lease.data.get("spec", {})
    epoch, holder = str(spec.get("leaseTransitions") or 0), spec.get("holderIdentity") or ""
    if (caller.epoch, caller.holder) != (epoch, holder) or not holder:
        late = f"epoch {caller.epoch or 'none'} of {caller.holder or 'nobody'}"
        why = f"{late} is over: {LEASE_NAMESPACE}/{name} is at epoch {epoch}, held by {holder or 'nobody'}"
        raise denied(call.kind, call.name, policy, why)
