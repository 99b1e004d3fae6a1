# SPDX-License-Identifier: Apache-2.0
"""One file for each group of rows."""
