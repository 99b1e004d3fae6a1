# SPDX-License-Identifier: Apache-2.0
"""Names, labels and annotations of what belongs to a service. Deterministic: a create that is repeated meets itself."""

import re
from functools import lru_cache
from hashlib import sha256

SERVICE_LABEL = "drover.dev/service"
REVISION_LABEL = "drover.dev/revision"
SLOT_LABEL = "drover.dev/slot"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "drover"
SERVICE_UID = "drover.dev/service-uid"
BUILDER = "drover.dev/builder"
AGENT = "drover.dev/agent-image"
VERSION = "drover.dev/version"
STABLE_BEFORE = "drover.dev/stable-before"
BLOCKED = "drover.dev/blocked"
BLOCKED_FOR = "drover.dev/blocked-for"
ROUTE = "drover.dev/route"  # on the Service of a revision: NAME or NAME/RULE of the HTTPRoute that may give it weight
FINALIZER = "drover.dev/drain"
GATE = "drover.dev/in-service"

# No vowels and no look-alikes: a name never spells a word and is never misread.
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_POD = re.compile(r"^(?P<revision>.+-[a-z0-9]{8})-(?P<slot>[0-9]{1,5})-[a-z0-9]{5}$")


def digest(data: bytes, length: int) -> str:
    """A name part of that length from the SHA-256 of the data: 8 letters hold 38 bits."""
    number = int.from_bytes(sha256(data).digest())
    letters: list[str] = []
    for _ in range(length):
        number, rest = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[rest])
    return "".join(letters)


@lru_cache(maxsize=2**16)
def pod_name(revision: str, slot: int, predecessor_uid: str) -> str:
    """Name of the pod of a slot. A predecessor that is still there, dead or dying, does not block the name."""
    return f"{revision}-{slot}-{digest(predecessor_uid.encode(), 5)}"


@lru_cache(maxsize=2**16)
def place_of(pod: str) -> tuple[str, int] | None:
    """(revision, slot) that a pod name stands for; None for a name that is not ours."""
    match = _POD.match(pod)
    return (match["revision"], int(match["slot"])) if match else None


def selector(service: str, revision: str = "") -> dict[str, str]:
    """The labels by which the instances of a service, or of one revision of it, are found."""
    return {SERVICE_LABEL: service, REVISION_LABEL: revision} if revision else {SERVICE_LABEL: service}


def candidate(service: str) -> str:
    """Name of the Service that selects the revision which is being rolled out."""
    return f"{service}-candidate"


def identity_labels(service: str, revision: str, slot: int) -> dict[str, str]:
    """The labels of a pod that are Drover's; restored when somebody edits them."""
    return {SERVICE_LABEL: service, REVISION_LABEL: revision, SLOT_LABEL: str(slot), MANAGED_BY_LABEL: MANAGED_BY}
