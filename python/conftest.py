"""What holds for the tests of both distributions."""

from hypothesis import HealthCheck, settings

# How long a case takes says something about the machine and who else uses it, nothing about
# the code; what must be fast is measured by the benchmarks.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")
