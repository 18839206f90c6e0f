"""What all tests share: how long hypothesis searches. `dev` is quick, `ci` repeats itself, `soak` takes its time."""

import os

from hypothesis import HealthCheck, settings

# Machines that run tests are shared and slow by turns: how long one example takes says nothing about the code.
_COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("dev", _COMMON, max_examples=50)
settings.register_profile("ci", _COMMON, max_examples=100, derandomize=True, print_blob=True)
settings.register_profile("soak", _COMMON, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))
