# SPDX-License-Identifier: Apache-2.0
"""The doctor: reads a training run and says what is wrong, why, and what to do."""

from jaxnn.doctor.diagnose import diagnose as diagnose
from jaxnn.doctor.report import Finding as Finding
from jaxnn.doctor.report import Report as Report
