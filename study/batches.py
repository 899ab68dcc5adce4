"""Makes the message that a worker gets from the trials that it is to train."""

from collections.abc import Mapping

from study.spec import StudySpec
from study.storage.attempts import BatchPlan
from study.storage.run_states import RunBook
from workers.messages import EngineName, TrialBatch


def make_batch(spec: StudySpec, plan: BatchPlan, book: RunBook, *, engine: EngineName) -> TrialBatch:
    """The batch of ``plan``; the id is that of the attempt, which is not known yet."""
    rows = [(trial, book.of_trial(trial.id)[seed]) for trial in plan.members for seed in plan.seeds]
    trained = {trial.id for trial in plan.trials}
    first = plan.members[0]
    optimizer = spec.optimizer(first.optimizer)
    rule = optimizer.rule_of(first.hyperparameters)
    return TrialBatch(
        batch_id=0,
        workload=spec.reference(first.workload),
        optimizer=first.optimizer,
        run_ids=tuple(run.id for _, run in rows),
        seeds=tuple(run.seed for _, run in rows),
        hyperparameters={
            h.name: tuple(_number(trial.hyperparameters, h.name) for trial, _ in rows) for h in rule.hyperparameters
        },
        study_seed=spec.study_seed,
        epochs=tuple(spec.epochs_of_trial(trial.workload, trial.hyperparameters) for trial, _ in rows),
        objective=spec.objective,
        options=optimizer.options_of(first.hyperparameters),
        training=spec.training_of_trial(first.hyperparameters),
        engine=engine,
        dropped=tuple(run.id for trial, run in rows if run.termination is not None or trial.id not in trained),
        start_epoch=plan.first_epoch,
        stop_epoch=plan.stop_epoch,
    )


def _number(hyperparameters: Mapping[str, float | bool | str], name: str) -> float:
    return float(hyperparameters[name])
