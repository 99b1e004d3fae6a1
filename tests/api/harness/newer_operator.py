# SPDX-License-Identifier: Apache-2.0
"""The operator of a later release: it has one builder more, whose pods carry one annotation more."""

import sys
from importlib import import_module
from typing import Any

from drover_controllers.service import build
from drover_controllers.service.values import Revision
from drover_operator.__main__ import main
from drover_operator.api.managedservice import ManagedService

NEXT = build.CURRENT_BUILDER + 1


def newest(service: ManagedService, revision: Revision, slot: int, predecessor_uid: str) -> dict[str, Any]:
    body = build.BUILDERS[NEXT - 1](service, revision, slot, predecessor_uid)
    body["metadata"]["annotations"]["drover.dev/built-by"] = str(NEXT)
    return body


if __name__ == "__main__":
    build.BUILDERS[NEXT] = newest
    build.CURRENT_BUILDER = NEXT
    vars(import_module("drover_controllers.service.gather"))["CURRENT_BUILDER"] = NEXT
    sys.exit(main())
