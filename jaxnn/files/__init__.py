# SPDX-License-Identifier: Apache-2.0
"""What is written to files and read from them; nothing in a file is ever executed."""
