"""Comparison: tuning curves, profiles, tests over seeds and over workloads."""
