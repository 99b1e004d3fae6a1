# SPDX-License-Identifier: Apache-2.0
"""The core without a cluster: a small server, and the operators that are measured on it, each in a process of its own."""
