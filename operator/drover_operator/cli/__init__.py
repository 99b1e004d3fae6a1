# SPDX-License-Identifier: Apache-2.0
"""kubectl drover, one file a verb."""
