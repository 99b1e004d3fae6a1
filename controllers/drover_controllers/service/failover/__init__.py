# SPDX-License-Identifier: Apache-2.0
"""Which instances are well, and what is done about those that are not."""
