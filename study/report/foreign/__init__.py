"""Studies that this service did not run, read from any Optuna storage without changing it."""
