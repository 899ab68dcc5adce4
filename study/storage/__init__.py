"""The database of studies: our tables beside Optuna's, in one SQLite file or one PostgreSQL database."""
