"""Workloads that raise or ask for too much memory: only trials that are to blame end without a result."""

from pathlib import Path

import pytest
from faulty_studies import (
    FOUR_TRIALS,
    ONE_TRIAL,
    TRIALS,
    FaultyStudy,
    assert_undisturbed,
    assert_undisturbed_but_for,
    faulty_study,
)

#: Attempts until a trial is alone: the first of three has it in the first half, the others in the half of a half.
TO_FIND_THE_FIRST, TO_FIND_ANOTHER = 2, 3


def run(study: FaultyStudy, *report: str) -> tuple[int, str]:
    """The command ``run`` in this process, without a report unless asked for: exit code and what it said."""
    words = ("run", str(study.folder / "faulty.toml"), "--pool", "inline", *(report or ["--no-report"]))
    result = study.command(*words)
    return result.exit_code, result.output


def test_only_the_trials_for_which_a_workload_raises_fail_and_resume_heals_them(tmp_path: Path) -> None:
    with faulty_study(tmp_path) as study:
        study.order("every gradient", FOUR_TRIALS + "raise RuntimeError('the weights are too large')")
        code, output = run(study)
        assert code == 1
        assert "4 trials of study 'faulty' failed and have no result" in output
        assert "try them again with: adai-study resume faulty" in output
        blamed = dict.fromkeys([("adai", 1), ("adai", 8), ("adai", 9), ("sgd", 8)], "FAILED")
        assert_undisturbed_but_for(study, blamed)
        errors = [error for (error,) in study.query("SELECT error FROM adai_attempts WHERE termination = 'FAILED'")]
        assert len(errors) == TO_FIND_THE_FIRST + 3 * TO_FIND_ANOTHER
        for error in errors:
            assert error.startswith("Traceback")
            assert error.endswith("RuntimeError: the weights are too large\n")
        assert {entry["error"] for entry in study.logs("attempt_failed")} == {"RuntimeError: the weights are too large"}
        assert (
            "failed (8 attempts): RuntimeError: the weights are too large" in study.command("status", "faulty").output
        )
        still = study.command("resume", "faulty", "--pool", "inline", "--no-report")
        assert still.exit_code == 1
        assert_undisturbed_but_for(study, blamed)
        study.resume()
        (*_, reopened) = study.logs("failed_trials_reopened")
        assert reopened["trials"] == 4
        assert_undisturbed(study)


def test_a_workload_that_raises_once_is_forgiven(tmp_path: Path) -> None:
    with faulty_study(tmp_path) as study:
        study.order("once", "raise OSError('the file server was away')")
        code, output = run(study)
        assert code == 0, output
        assert study.terminations() == {"COMPLETED": 9, "FAILED": 1}
        (told,) = study.logs("attempt_failed")
        assert (told["trials"], told["error"]) == ([0, 1, 2], "OSError: the file server was away")
        assert_undisturbed(study)


def test_a_workload_that_always_raises_fails_all_until_it_is_mended(tmp_path: Path) -> None:
    with faulty_study(tmp_path) as study:
        study.order("every step", "raise ValueError('not today')")
        code, output = run(study, "--out", str(tmp_path / "report"))
        assert code == 1
        assert "attempts failed, most of them with: ValueError: not today" in output
        assert study.states_of_trials() == {"FAIL": TRIALS}
        assert study.epochs() == 0
        study.resume()
        assert_undisturbed(study)


def test_a_trial_that_asks_for_more_memory_than_there_is_ends_alone(tmp_path: Path) -> None:
    with faulty_study(tmp_path) as study:
        study.order("every gradient", ONE_TRIAL + "torch.empty(2**50)")
        code, output = run(study)
        assert code == 1, output
        assert study.terminations() == {"COMPLETED": 8, "OUT_OF_MEMORY": TO_FIND_THE_FIRST}
        assert_undisturbed_but_for(study, {("adai", 9): "OUT_OF_MEMORY"})
        assert "out of memory" in study.command("status", "faulty").output
        study.resume()
        assert_undisturbed(study)


#: Of all processes that train, only the one that the command started has a limit.
_LIMIT = """
import resource
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 3000 * 2**20, resource.RLIM_INFINITY))
"""


@pytest.mark.faults
def test_batches_that_do_not_fit_into_memory_are_halved_until_they_do(tmp_path: Path) -> None:
    """Each row holds 512 MB of addresses until all have made a step: six do not fit into 3,000 MB, four do."""
    with faulty_study(tmp_path) as study:
        study.order("once", _LIMIT)
        study.order("every step", "obey.held = []")
        study.order("every gradient", "obey.held.append(torch.empty(512 * 2**20, dtype=torch.uint8))")
        code, errors = study.end_of(study.start("run", "--pool", "inline"))
        assert code == 0, errors
        fitting = "SELECT MAX(runs) FROM adai_attempts WHERE termination = 'COMPLETED'"
        assert study.terminations().keys() == {"OUT_OF_MEMORY", "COMPLETED"}
        assert study.query(fitting)[0][0] in (2, 4)
        told = study.logs("attempt_failed")
        assert all("DefaultCPUAllocator: can't allocate memory" in entry["error"] for entry in told)
        assert len([entry for entry in told if len(entry["trials"]) == 3]) == 8
        assert all("half" in entry["next"] for entry in told)
        assert_undisturbed(study)
