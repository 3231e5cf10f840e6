"""The demo: a simulated park, lived through from the first of last month to now, then live."""
