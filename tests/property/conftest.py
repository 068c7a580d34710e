"""Settings of Hypothesis: no deadline, because machines differ; a failure prints the blob that reproduces it."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "consumer", max_examples=150, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("consumer")
