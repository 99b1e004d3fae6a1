# SPDX-License-Identifier: Apache-2.0
"""The kinds, one file each: the only source of CRDs, reference pages and editor schemas."""
