# SPDX-License-Identifier: Apache-2.0
"""`make demo`: the main job on a real local cluster, in about a minute."""
