"""Pictures of measures, from their dataclasses."""
