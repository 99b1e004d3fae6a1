# SPDX-License-Identifier: Apache-2.0
"""The simulated cluster served over HTTP on loopback, with the operator in it: `kubectl drover sandbox`."""
