# SPDX-License-Identifier: Apache-2.0
"""Programs that XLA compiles: kept between runs of Python, and made correct."""
