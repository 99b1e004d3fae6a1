# SPDX-License-Identifier: Apache-2.0
"""The client library of Drover for applications: standard library only, no code of the operator."""

__version__ = "0.1.0"
