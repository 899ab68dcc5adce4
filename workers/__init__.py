"""Train runs on one device: receives trial batches, yields epoch metrics and run outcomes, knows no database."""
