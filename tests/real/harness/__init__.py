# SPDX-License-Identifier: Apache-2.0
"""What the tests on real nodes share."""
