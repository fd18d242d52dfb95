# SPDX-License-Identifier: Apache-2.0
"""What comes in: arrays that JAX can hold, and sequences with their lengths."""
