"""Measures what an event costs, beside what users would write instead: `make bench`."""
