"""How Hypothesis searches here: no deadline, as machines differ; a failure prints the blob that repeats it."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "consumer", max_examples=150, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("consumer")
