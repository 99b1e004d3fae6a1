# SPDX-License-Identifier: Apache-2.0
"""Container images of this project, built without a container engine, for local clusters with real nodes; kept in the user's cache folder."""

from tools.images.build import AGENT, OPERATOR, SAMPLE, agent, operator, sample, shop

__all__ = ["AGENT", "OPERATOR", "SAMPLE", "agent", "operator", "sample", "shop"]
