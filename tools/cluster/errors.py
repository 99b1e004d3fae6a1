# SPDX-License-Identifier: Apache-2.0
"""The one error that the local cluster shows to its users."""


class ClusterError(Exception):
    """Something a user can act on; its text is one clear line, or a few with the end of a log."""
