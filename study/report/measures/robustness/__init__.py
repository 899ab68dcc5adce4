"""Robustness of each optimizer, sensitivity to each axis, transfer between workloads."""
