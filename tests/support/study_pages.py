"""What tests of the pages need: studies that nothing runs."""

import json

from sqlalchemy import Engine

from study.creation import create_study
from study.spec_file import parse_spec


def add_study(engine: Engine, name: str, description: str = "", *, queued: bool = False) -> None:
    """Write a small study."""
    text = f'name = "{name}"\ndescription = {json.dumps(description)}\n'
    text += (
        'workloads = ["digits-logistic"]\nseeds = 1\nepochs = 1\n[design]\npoints = 1\n[[optimizers]]\nname = "sgd"\n'
    )
    create_study(engine, parse_spec(text, source=name), queued=queued)
