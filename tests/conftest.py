"""What all tests share: hypothesis judges what is found, never how fast the machine was."""

from hypothesis import HealthCheck, settings

settings.register_profile("tanyun", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tanyun")
