"""Says where to look and how to sign in, and becomes the dashboard."""

import os
import sys


def main(words: list[str]) -> None:
    """Say it, then run ``adai-study`` with these words."""
    address = f"http://127.0.0.1:{os.environ['ADAI_PORT']}/"
    print(
        f"Open {address} and sign in as: operator\n"
        "Its first password is in the file secrets/operator/password. Another one: "
        "docker compose run --rm cli users password operator\n"
        f"Trials in Optuna Dashboard: {address}dashboard. Reports: a study's page, Downloads, and the folder reports/",
        flush=True,
    )
    os.execvp("adai-study", ["adai-study", *words])


if __name__ == "__main__":
    main(sys.argv[1:])
