# SPDX-License-Identifier: Apache-2.0
"""Writing and reading files; nothing in a file is ever executed."""
