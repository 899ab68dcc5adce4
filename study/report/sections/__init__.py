"""How measures are told: from their dataclasses to tables, figures and words."""
