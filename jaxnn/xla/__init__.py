# SPDX-License-Identifier: Apache-2.0
"""Programs that XLA compiles: found again by what they compute, and right."""
