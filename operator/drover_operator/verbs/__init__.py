# SPDX-License-Identifier: Apache-2.0
"""Verbs of `kubectl drover` that stand on more than the command line does, found by entry point as those of other packages are.

Not in `testing`: whoever imports a module of a package imports the package first, and the help of all verbs must not cost the simulator.
"""
