# SPDX-License-Identifier: Apache-2.0
"""What makes the site of the pages, the notebooks, the examples and the docstrings."""
