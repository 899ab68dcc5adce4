"""Many commands at once, each in a process of its own; what takes long to import is imported once.

Run as a program, it forks one process for each command that it reads.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """How one command ended."""

    words: list[str]
    code: int
    output: str


def run_together(commands: list[list[str | Path]], folder: Path, seconds: float = 200) -> list[Ended]:
    """Run ``adai-study`` with each list of words, all at once; their output goes through files in ``folder``."""
    job = {"commands": [[str(word) for word in words] for words in commands], "folder": str(folder)}
    program = [sys.executable, __file__]
    said = subprocess.run(program, input=json.dumps(job), capture_output=True, text=True, timeout=seconds, check=True)
    return [Ended(*ended) for ended in json.loads(said.stdout)]


def _run_one(words: list[str], path: Path) -> None:
    from study.cli import main

    output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    code = 70
    try:
        main(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _main() -> None:
    import torch

    import study.launch
    import study.service
    import study.submission  # noqa: F401 - for the children

    torch.set_num_threads(1)
    job = json.load(sys.stdin)
    children = []
    for number, words in enumerate(job["commands"]):
        path = Path(job["folder"]) / f"output-{number}"
        child = os.fork()
        if child == 0:
            _run_one(words, path)
        children.append((child, words, path))
    ended = []
    for child, words, path in children:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        ended.append((words, code, path.read_text()))
    sys.stdout.write(json.dumps(ended))


if __name__ == "__main__":
    _main()
