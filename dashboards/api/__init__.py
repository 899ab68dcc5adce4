"""The API under /v1: what programs read and ask for."""
