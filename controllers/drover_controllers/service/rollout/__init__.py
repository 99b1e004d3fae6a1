# SPDX-License-Identifier: Apache-2.0
"""How a new revision replaces the one that serves."""
