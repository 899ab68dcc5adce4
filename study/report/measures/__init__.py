"""The measures of a report: pure functions from observations to frozen dataclasses."""
