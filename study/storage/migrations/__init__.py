"""Alembic's history of our tables."""
