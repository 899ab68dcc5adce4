"""Writes docs/commands.md from the command's own help. Run by ``make docs``; a test sees that it is up to date."""

from collections.abc import Iterator
from pathlib import Path

import click

from study.cli import main

PAGE = Path(__file__).with_name("commands.md")
#: As wide as the help ever gets; fixed, so that the page does not depend on the terminal it was made in.
WIDTH = 110

HEADER = """\
<!-- Written by docs/generate.py: change the texts in study/cli*.py, then run `make docs`. -->

# Commands

The help of every command, as `--help` prints it.
Exit codes, environment variables and what an interruption does: [operating.md](operating.md).
"""


def walk_commands(command: click.Command, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """(words, help) of ``command`` and of all below it, in the order of the help."""
    name = "adai-study" if parent is None else command.name
    context = click.Context(command, parent=parent, info_name=name, terminal_width=WIDTH, **command.context_settings)
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            yield from walk_commands(command.commands[below], context)


def render_page() -> str:
    """The whole page."""
    sections = [f"## {words}\n\n```text\n{text}\n```\n" for words, text in walk_commands(main)]
    return "\n".join([HEADER, *sections])


if __name__ == "__main__":
    PAGE.write_text(render_page(), encoding="utf-8")
