# SPDX-License-Identifier: Apache-2.0
"""The doctor: inspects a training run and reports problems, causes and remedies."""

from jaxnn.doctor.diagnose import diagnose as diagnose
from jaxnn.doctor.report import Finding as Finding
from jaxnn.doctor.report import Report as Report
from jaxnn.messages import public

public.show(__name__)
