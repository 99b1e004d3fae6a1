# SPDX-License-Identifier: Apache-2.0
"""Drover: a cluster control plane for services on Kubernetes."""
