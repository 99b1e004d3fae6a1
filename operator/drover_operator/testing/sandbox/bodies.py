# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests as JSON, whichever of the forms that clients send they come in: JSON, YAML, protobuf."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import yaml

from drover_operator.kube.transport import APPLY_PATCH, JSON, Request
from drover_operator.testing.refusal import Refused, bad_request
from drover_operator.testing.sandbox import protobuf

_YAML = ("application/yaml", APPLY_PATCH)


def as_json(request: Request) -> Request:
    """The request with its body as JSON.

    Raises:
        Refused: the body cannot be read.
    """
    content_type = _content_type(request)
    if content_type == protobuf.MEDIA_TYPE:
        return _translated(request, protobuf.decoded)
    if content_type in _YAML and not request.body.lstrip().startswith(b"{"):
        return _translated(request, yaml.safe_load)
    return request


def _content_type(request: Request) -> str:
    found = next((value for name, value in request.headers.items() if name.lower() == "content-type"), JSON)
    return found.partition(";")[0].strip()


def _translated(request: Request, read: Callable[[bytes], Any]) -> Request:
    try:
        body = msgspec.json.encode(read(request.body))
    except protobuf.Undecodable as error:
        raise Refused(415, "UnsupportedMediaType", str(error)) from None
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        raise bad_request(f"error decoding the body: {' '.join(str(error).split())}") from None
    headers = {name: value for name, value in request.headers.items() if name.lower() != "content-type"}
    return replace(request, body=body, headers={**headers, "Content-Type": APPLY_PATCH if request.method == "PATCH" else JSON})
