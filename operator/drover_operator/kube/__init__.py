# SPDX-License-Identifier: Apache-2.0
"""The API server: transport, client, reflector, cache, events, errors, credentials."""
