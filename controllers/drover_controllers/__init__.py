# SPDX-License-Identifier: Apache-2.0
"""The built-in controllers, found by entry point like anybody else's."""
