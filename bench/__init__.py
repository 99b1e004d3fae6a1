# SPDX-License-Identifier: Apache-2.0
"""The figures that Drover publishes, all of them from one run: `make bench`.

A row is one function in `bench/groups/<group>.py`; its docstring says what is measured. A group is run alone by `python -m bench GROUP`.
Figures depend on the machine and on what else runs there, so no test asserts one; ratios to a baseline of the same run do not, so that
they are what is compared.
"""
