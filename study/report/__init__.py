"""Reports: pure functions from records to frozen dataclasses, then figures and text from those."""
