"""Flatness: the curvature of the loss where runs ended."""
