# SPDX-License-Identifier: Apache-2.0
"""What the tests on a real API server share: the control plane, the operator as a process, an independent client, and waiting."""
