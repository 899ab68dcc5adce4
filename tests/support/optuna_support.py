"""Helpers of the tests that compare our storage with Optuna's own."""

import contextlib
from collections.abc import Iterator

import optuna
import sqlalchemy as sa
from optuna.trial import FrozenTrial


def comparable(trial: FrozenTrial) -> dict[str, str]:
    """A trial with types, NaN and the order of parameters; Optuna gives other entries in no certain order."""
    unordered = ("_user_attrs", "_system_attrs", "intermediate_values")
    return {name: repr(sorted(value.items()) if name in unordered else value) for name, value in trial.__dict__.items()}


@contextlib.contextmanager
def plain_storage(url: str) -> Iterator[optuna.storages.RDBStorage]:
    """Optuna's own storage on the same database."""
    storage = optuna.storages.RDBStorage(url)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


@contextlib.contextmanager
def counted(engine: sa.Engine) -> Iterator[list[str]]:
    """The statements that the database is sent, and each COMMIT."""
    sent: list[str] = []

    def remember(*arguments: object) -> None:
        sent.append(str(arguments[2]))

    def remember_commit(*_: object) -> None:
        sent.append("COMMIT")

    sa.event.listen(engine, "before_cursor_execute", remember)
    sa.event.listen(engine, "commit", remember_commit)
    try:
        yield sent
    finally:
        sa.event.remove(engine, "before_cursor_execute", remember)
        sa.event.remove(engine, "commit", remember_commit)
