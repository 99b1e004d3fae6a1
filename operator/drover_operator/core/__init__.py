# SPDX-License-Identifier: Apache-2.0
"""Pure vocabulary: plans and actions, conditions, reasons, durations. No I/O, no clock, no chance."""
