# SPDX-License-Identifier: Apache-2.0
"""What the library says: names and help of modules, answers, warnings, tables."""
