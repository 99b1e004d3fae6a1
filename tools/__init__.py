# SPDX-License-Identifier: Apache-2.0
"""Tools for developers of Drover; nothing here is part of the installed packages."""
