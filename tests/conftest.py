"""How long the randomised tests look: the profiles of hypothesis.

TRIPOINT_HYPOTHESIS=soak is what `make soak` sets; under CI=true a failure prints what reproduces it. A test that
states its own number of examples keeps it in every profile.
"""

import os

from hypothesis import HealthCheck, settings

SLOW = [HealthCheck.too_slow]
settings.register_profile("quick", max_examples=60, deadline=None, suppress_health_check=SLOW)
settings.register_profile("ci", max_examples=100, deadline=None, print_blob=True, suppress_health_check=SLOW)
settings.register_profile("soak", max_examples=5_000, deadline=None, print_blob=True, suppress_health_check=SLOW)
settings.load_profile(os.environ.get("TRIPOINT_HYPOTHESIS") or ("ci" if os.environ.get("CI") else "quick"))
