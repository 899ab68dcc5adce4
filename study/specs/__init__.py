"""The specs that ship with the program, as text with their comments."""

from importlib import resources

from study.errors import SpecError

_STARTER = "starter"


def list_shipped_specs() -> list[str]:
    """Names of the shipped specs."""
    files = resources.files(__package__).iterdir()
    names = (file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))
    return sorted(name for name in names if name != _STARTER)


def read_shipped_spec(name: str) -> str:
    """The text of a shipped spec.

    Raises:
        SpecError: There is none of that name.
    """
    if name not in list_shipped_specs():
        raise SpecError(f"no shipped spec is called {name!r}; there are {', '.join(list_shipped_specs())}")
    return _read(name)


def read_starter_spec() -> str:
    """The commented spec that ``adai-study init`` writes."""
    return _read(_STARTER)


def _read(name: str) -> str:
    return (resources.files(__package__) / f"{name}.toml").read_text(encoding="utf-8")
