# SPDX-License-Identifier: Apache-2.0
"""The engine: queue, guard, executor, status, election and fence, registry, process."""
