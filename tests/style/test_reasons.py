# SPDX-License-Identifier: Apache-2.0
"""Reasons are an API: catalogued, explained, told, and used."""

import re
from typing import get_args

import pytest
from style import source
from style.source import product, text, tree

from drover_operator.api.managedservice import InstanceState
from drover_operator.core.reasons import MEANING, Reason

CATALOGUE = "operator/drover_operator/core/reasons.py"
PAGE = "docs/reference/reasons.md"
USERS = [name for name in product() if name != CATALOGUE]
# What a pod's own conditions say is the state of the instance; what a verdict says may be our word for what was met.
OTHER_WORDS = {*get_args(InstanceState), "LabelsChanged"}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_explained_and_on_the_page(reason: Reason):
    meaning = MEANING[reason]
    assert meaning.what.endswith(".")
    assert f"| `{reason}` | {meaning.what} |" in text(PAGE)
    assert re.fullmatch(r"[A-Z][A-Za-z0-9]*", reason)


def test_the_page_names_nothing_else():
    assert sorted(re.findall(r"^\| `(\w+)` \|", text(PAGE), re.MULTILINE)) == sorted(Reason)
    assert set(MEANING) == set(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_used(reason: Reason):
    """One that nothing tells is a promise that nobody keeps."""
    assert any(f"Reason.{reason.name}" in text(name) for name in USERS), f"Reason.{reason.name} is not used outside the catalogue"


@pytest.mark.parametrize("name", [name for name in product() if not name.startswith("tools/")])
def test_reasons_are_never_spelled_out(name: str):
    known = {*Reason, *OTHER_WORDS}
    assert [(line, word) for line, word in source.reason_words(tree(name)) if re.fullmatch(r"[A-Z][A-Za-z0-9]*", word) and word not in known] == []
