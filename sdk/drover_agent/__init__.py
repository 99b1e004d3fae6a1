# SPDX-License-Identifier: Apache-2.0
"""The sidecar beside one instance: probes it exactly, names its runs, and drains it. Standard library only, no code of the operator."""

__version__ = "0.1.0"
