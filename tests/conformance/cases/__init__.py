# SPDX-License-Identifier: Apache-2.0
"""The cases, one module a subject. Each public coroutine function of one room is a case."""
