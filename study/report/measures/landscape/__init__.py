"""Landscapes: the objective over every axis and every pair of axes."""
