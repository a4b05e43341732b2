"""Settings that every test shares."""

from hypothesis import settings

# the same examples on every run, and no limit on the time of one: machines differ
settings.register_profile("steady", deadline=None, derandomize=True, database=None, max_examples=40)
settings.load_profile("steady")
