"""Training a batch: budgets, pruning, divergence, targets, metrics and what they promise."""

import dataclasses
import itertools
import math
import random

import numpy as np
import pytest
import torch
from training_runs import (
    LR,
    concatenate,
    histories,
    make_batch,
    numbers,
    select_runs,
    train,
    train_ordinarily,
)

from adai import get_rule, list_rules
from adai.schedules import get_schedule, list_schedules
from workers.global_generators import GeneratorStates
from workers.messages import CurvatureRequest, EngineName, EpochMetrics, Termination, Training, WorkloadReference
from workers.trainer import train_batch
from workers.workloads import CrossEntropy, get_workload, registry

LIMITS = {"limit_train": 130, "limit_validation": 80, "limit_test": 40}


@pytest.mark.parametrize("optimizer", list_rules())
def test_every_optimizer_learns_digits(optimizer: str) -> None:
    _, finished = train(make_batch(optimizer, seeds=(0, 1), epochs=5))
    for outcome in finished.outcomes:
        assert outcome.termination is Termination.COMPLETED
        assert outcome.test_error is not None
        assert outcome.test_error < 0.2
        assert not outcome.at_chance


def test_training_twice_gives_the_same_bits() -> None:
    batch = make_batch(workload="small-cnn", seeds=(0, 1))
    assert histories(batch) == histories(batch)


def test_seeds_are_paired_over_optimizers() -> None:
    """With a learning rate of zero nothing is learnt: equal seeds must then show equal losses for every optimizer."""
    losses = {
        optimizer: [
            epoch.val_loss
            for epoch in train(make_batch(optimizer, seeds=(0, 1), training=Training(data=LIMITS), values=still))[0]
        ]
        for optimizer in list_rules()
        # AdaBound's step is bounded from below, by final_lr.
        for still in [{"lr": 0.0} | ({"final_lr": 0.0} if optimizer == "adabound" else {})]
    }
    assert len({str(loss) for loss in losses.values()}) == 1
    assert losses["adai"][0][0] != losses["adai"][0][1]


def test_rows_end_with_their_own_budgets_with_the_numbers_that_they_have_alone() -> None:
    """The schedule of a row is that of its own budget."""
    batch = make_batch(
        workload="digits-mlp",
        seeds=(1, 0, 1, 0),
        epochs=(3, 1, 5, 3),
        training=Training(schedule="cosine", data=LIMITS),
    )
    epochs, finished = train(batch)
    assert [outcome.run_id for outcome in finished.outcomes] == list(batch.run_ids)
    assert [outcome.epochs for outcome in finished.outcomes] == [3, 1, 5, 3]
    assert {outcome.termination for outcome in finished.outcomes} == {Termination.COMPLETED}
    assert [set(epoch.run_ids) for epoch in epochs] == [{100, 101, 102, 103}, *[{100, 102, 103}] * 2, *[{102}] * 2]
    assert histories(batch) == [histories(select_runs(batch, row))[0] for row in range(4)]


def test_a_diverged_run_is_recorded_with_its_epoch_and_counts_at_chance_level() -> None:
    batch = concatenate(
        make_batch("sgd", epochs=4, training=Training(data=LIMITS)), make_batch("sgd", epochs=4, values={"lr": 1e3})
    )
    epochs, finished = train(batch)
    whole, diverged = finished.outcomes
    assert whole.termination is Termination.COMPLETED
    assert diverged.termination is Termination.DIVERGED
    assert diverged.epochs == 1
    assert "loss" in diverged.reason
    assert diverged.objective == pytest.approx(0.9)
    assert diverged.at_chance
    assert diverged.test_error is None
    assert diverged.test_loss is None
    assert [epoch.run_ids for epoch in epochs] == [(100, 101), (100,), (100,), (100,)]
    assert epochs[0].objective[1] == pytest.approx(0.9)


def test_a_batch_whose_rows_all_diverge_ends_early_with_all_outcomes() -> None:
    epochs, finished = train(make_batch("sgd", seeds=(0, 1), epochs=50, values={"lr": 1e3}))
    assert len(epochs) < 50
    assert [outcome.termination for outcome in finished.outcomes] == [Termination.DIVERGED] * 2


@pytest.mark.parametrize(("objective", "chance"), [("val_error", 0.9), ("val_loss", math.log(10))])
def test_the_objective_never_exceeds_chance_level(objective: str, chance: float) -> None:
    batch = concatenate(
        *(make_batch(values={"lr": lr}, training=Training(data=LIMITS), objective=objective) for lr in (1e-4, 5.0, 1e4))
    )
    epochs, finished = train(batch)
    for epoch in epochs:
        measured = getattr(epoch, objective)
        for value, raw in zip(epoch.objective, measured, strict=True):
            assert value == pytest.approx(chance) or value == raw < chance
    assert all(outcome.objective <= chance + 1e-15 for outcome in finished.outcomes)


def test_the_objective_of_a_completed_run_is_its_metric_after_the_last_epoch() -> None:
    epochs, finished = train(make_batch("adam", epochs=3, training=Training(data=LIMITS)))
    assert finished.outcomes[0].objective == epochs[-1].val_error[0] == finished.outcomes[0].val_error


def test_an_untrained_run_is_at_chance_though_it_did_not_diverge() -> None:
    _, finished = train(make_batch("sgd", seeds=tuple(range(6)), epochs=1, values={"lr": 0.0}))
    assert {outcome.termination for outcome in finished.outcomes} == {Termination.COMPLETED}
    assert any(outcome.at_chance for outcome in finished.outcomes)


def test_outcomes_stand_in_the_batchs_order_whatever_ends_first() -> None:
    batch = make_batch(seeds=(5, 0, 3), epochs=(1, 3, 2), training=Training(data=LIMITS))
    shuffled = dataclasses.replace(batch, run_ids=(9, 4, 77))
    _, finished = train(shuffled)
    assert [outcome.run_id for outcome in finished.outcomes] == [9, 4, 77]
    alone = [train(select_runs(shuffled, row))[1].outcomes[0] for row in range(3)]
    assert [numbers(outcome) for outcome in finished.outcomes] == [numbers(outcome) for outcome in alone]


@pytest.mark.parametrize("schedule", list_schedules())
def test_the_learning_rate_of_an_epoch_is_that_of_its_last_step(schedule: str) -> None:
    batch = make_batch("sgd", epochs=4, training=Training(batch_size=50, schedule=schedule, data=LIMITS))
    epochs, _ = train(batch)
    # 130 examples are three steps, so that the last ones are 2, 5, 8 and 11 of 12.
    factors = [get_schedule(schedule)((3 * epoch - 1) / 12) for epoch in (1, 2, 3, 4)]
    assert [epoch.lr for epoch in epochs] == [(LR["sgd"] * factor,) for factor in factors]


def test_a_schedule_moves_the_bounds_of_adabound_too() -> None:
    """Else the bounds of late steps, which tighten around final_lr, would undo it."""
    batch = make_batch(
        "adabound", epochs=8, values={"gamma": 0.9}, training=Training(batch_size=50, schedule="cosine", data=LIMITS)
    )
    epochs, _ = train(batch, torch.float64)
    expected = list(train_ordinarily(batch, 0, torch.float64))
    assert [epoch.val_loss[0] for epoch in epochs] == pytest.approx([epoch.val_loss for epoch in expected], rel=1e-12)
    steady, _ = train(dataclasses.replace(batch, training=Training(batch_size=50, data=LIMITS)), torch.float64)
    assert steady[-1].val_loss != pytest.approx(epochs[-1].val_loss, rel=1e-3)


@pytest.mark.parametrize("engine", ["stacked", "looped"])
def test_the_gradient_norm_is_the_mean_over_steps_of_that_of_the_mini_batch(engine: EngineName) -> None:
    training = Training(batch_size=50, label_smoothing=0.1, data=LIMITS)
    batch = make_batch("sgd", workload="digits-logistic", epochs=3, training=training, engine=engine)
    epochs, _ = train(batch, torch.float64)
    norms = [epoch.grad_norm for epoch in train_ordinarily(batch, 0, torch.float64)]
    assert [epoch.grad_norm[0] for epoch in epochs] == pytest.approx(norms, rel=1e-12)


def test_the_steps_to_the_target_are_those_of_the_first_epoch_that_reaches_it() -> None:
    batch = concatenate(
        make_batch(epochs=6, training=Training(batch_size=50, target_error=0.5, data=LIMITS)),
        make_batch(epochs=6, values={"lr": 1e-4}),
    )
    epochs, finished = train(batch)
    reached, never = finished.outcomes
    errors = [epoch.val_error[epoch.run_ids.index(100)] for epoch in epochs]
    first = next(number for number, error in enumerate(errors, start=1) if error <= 0.5)
    assert 1 < first < 6
    assert reached.steps_to_target == 3 * first
    assert reached.seconds_to_target == pytest.approx(sum(epoch.seconds for epoch in epochs[:first]))
    assert reached.seconds_to_target < reached.seconds
    assert never.steps_to_target is None
    assert never.seconds_to_target is None


def test_a_run_that_diverged_after_it_reached_the_target_did_not_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def schedule(progress: float) -> float:
        return 1.0 if progress < 0.6 else 1e6

    workload = dataclasses.replace(get_workload("digits-mlp"), name="exploding", schedule=schedule)
    monkeypatch.setitem(registry._SHIPPED, "exploding", workload)
    batch = make_batch("sgd", epochs=5, training=Training(batch_size=50, target_error=0.88, data=LIMITS))
    batch = dataclasses.replace(batch, workload=WorkloadReference("exploding"))
    epochs, finished = train(batch)
    (outcome,) = finished.outcomes
    assert min(epoch.val_error[0] for epoch in epochs[:3]) <= 0.88
    assert outcome.termination is Termination.DIVERGED
    assert outcome.epochs == 4
    assert outcome.steps_to_target is None
    assert outcome.seconds_to_target is None


@pytest.mark.parametrize("engine", ["looped", "auto"])
def test_a_run_whose_error_is_no_number_has_diverged(engine: EngineName, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an objective that is the loss, the error says nothing."""

    def no_error(outputs: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return outputs.new_full((), math.nan)

    workload = dataclasses.replace(get_workload("digits-mlp"), name="erring", error=no_error)
    monkeypatch.setitem(registry._SHIPPED, "erring", workload)
    batch = make_batch("sgd", seeds=(0, 1), epochs=2, training=Training(data=LIMITS), engine=engine)
    batch = dataclasses.replace(batch, workload=WorkloadReference("erring"))
    epochs, finished = train(batch)
    assert len(epochs) == 1
    for outcome, objective in zip(finished.outcomes, epochs[0].objective, strict=True):
        assert (outcome.termination, outcome.reason) == (Termination.DIVERGED, "validation error became nan")
        assert outcome.objective == objective == pytest.approx(0.9)
        assert outcome.at_chance
        assert math.isfinite(outcome.val_loss)
    _, finished = train(dataclasses.replace(batch, objective="val_loss"))
    assert {outcome.termination for outcome in finished.outcomes} == {Termination.COMPLETED}


@pytest.mark.parametrize("factor", [-0.25, math.nan, math.inf, None, "much"])
def test_a_factor_that_no_learning_rate_can_have_ends_the_batch_with_the_progress(
    factor: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def schedule(progress: float) -> object:
        return 1.0 if progress < 0.5 else factor

    workload = dataclasses.replace(get_workload("digits-mlp"), name="scheduled", schedule=schedule)
    monkeypatch.setitem(registry._SHIPPED, "scheduled", workload)
    batch = make_batch("sgd", epochs=4, training=Training(batch_size=50, data=LIMITS))
    events = train_batch(dataclasses.replace(batch, workload=WorkloadReference("scheduled")), worker="test")
    assert [next(events).epoch for _ in range(2)] == [1, 2]  # type: ignore[union-attr]
    with pytest.raises(
        ValueError, match=f"the schedule of workload 'scheduled' gives {factor!r} at progress 0.5; the fac"
    ):
        next(events)


def test_a_target_that_is_met_exactly_is_reached() -> None:
    batch = make_batch(training=Training(data=LIMITS), epochs=1)
    error = train(batch)[1].outcomes[0].val_error
    exact = dataclasses.replace(batch, training=Training(data=LIMITS, target_error=error))
    assert train(exact)[1].outcomes[0].steps_to_target == 3


@pytest.mark.parametrize("workload", ["small-cnn", "small-augmented", "small-recurrent"])
def test_global_generators_are_left_as_they_were(workload: str) -> None:
    before = GeneratorStates.read()
    train(make_batch(workload=workload, seeds=(0, 1)))
    assert before.moved() == ()


def test_results_do_not_hang_on_global_generators() -> None:
    batch = make_batch(workload="small-cnn", seeds=(0, 1))
    before = GeneratorStates.read()
    results = []
    try:
        for seed in (1, 2):
            torch.manual_seed(seed)
            np.random.seed(seed)
            random.seed(seed)
            results.append(histories(batch))
    finally:
        before.restore()
    assert results[0] == results[1]


def test_bfloat16_learns_and_differs_from_float32() -> None:
    histories_of_precisions = []
    for precision in ("float32", "bfloat16"):
        batch = make_batch("adam", epochs=4, training=Training(precision=precision), engine="looped")
        epochs, finished = train(batch)
        histories_of_precisions.append([epoch.val_loss[0] for epoch in epochs])
        (outcome,) = finished.outcomes
        assert outcome.test_error is not None
        assert outcome.test_error < 0.15
        assert ("bfloat16" in finished.placement.engine) == (precision == "bfloat16")
    full, reduced = histories_of_precisions
    assert all(ours != theirs for ours, theirs in zip(reduced, full, strict=True))
    assert reduced == pytest.approx(full, rel=0.1)


def test_a_run_in_bfloat16_does_not_depend_on_its_company() -> None:
    batch = make_batch(workload="small-cnn", seeds=(0, 3, 0), training=Training(precision="bfloat16"))
    assert histories(batch) == [histories(select_runs(batch, row))[0] for row in range(3)]


@pytest.mark.parametrize("engine", ["stacked", "looped"])
def test_labels_are_smoothed_in_training_and_not_in_validation(engine: EngineName) -> None:
    """With a learning rate of zero the model stays, and so must what validation says of it."""
    smooth, plain = (
        train(
            make_batch(
                "sgd", values={"lr": 0.0}, training=Training(label_smoothing=smoothing, data=LIMITS), engine=engine
            )
        )
        for smoothing in (0.3, 0.0)
    )
    assert smooth[0][0].train_loss != plain[0][0].train_loss
    assert smooth[0][0].val_loss == plain[0][0].val_loss
    assert smooth[1].outcomes[0].test_loss == plain[1].outcomes[0].test_loss


@pytest.mark.parametrize(
    ("training", "error", "message"),
    [
        (Training(label_smoothing=0.1), ValueError, "no cross-entropy loss, so label_smoothing = 0.1 means nothing"),
        (Training(schedule="often"), KeyError, "often"),
    ],
)
def test_training_that_means_nothing_is_refused_by_name(
    training: Training, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train(make_batch("sgd", workload="quadratic", objective="val_loss", training=training))


def test_curvature_is_measured_when_asked_for_and_changes_nothing() -> None:
    """Of every second epoch and the last of each row; not of a row that diverged."""
    batch = concatenate(
        make_batch("sgd", workload="small-cnn", epochs=(3, 4), seeds=(0, 1)),
        make_batch("sgd", workload="small-cnn", values={"lr": 1e30}),
    )
    measuring = dataclasses.replace(batch, training=Training(curvature=CurvatureRequest(every=2, examples=10)))
    epochs, _ = train(measuring)
    assert [set(epoch.curvature) for epoch in epochs] == [set(), {100, 101}, {100}, {101}]
    assert epochs[1].curvature[100].keys() == epochs[3].curvature[101].keys()
    assert epochs[1].curvature[100] != epochs[2].curvature[100] != epochs[1].curvature[101]
    assert histories(measuring) == histories(batch)


def test_events_come_epoch_by_epoch() -> None:
    events = train_batch(make_batch(workload="small-mlp", epochs=10**9), worker="test")
    assert [event.epoch for event in itertools.islice(events, 3) if isinstance(event, EpochMetrics)] == [1, 2, 3]
    events.close()


def test_the_placement_names_worker_and_engine() -> None:
    _, finished = train(make_batch(workload="small-mlp"))
    assert finished.placement.worker == "test"
    assert finished.placement.device == "cpu"
    assert finished.placement.engine.startswith("stacked, ")
    assert finished.batch_id == 1


def test_the_default_loss_of_a_batch_is_the_workloads_own() -> None:
    """Zero smoothing leaves it alone, or a workload with other losses could not be trained."""
    assert get_rule("sgd").name == "sgd"
    epochs, _ = train(make_batch("sgd", workload="quadratic", objective="val_loss", values={"lr": 0.1}, epochs=1))
    assert epochs[0].val_loss[0] < math.inf
    assert math.isnan(epochs[0].val_error[0])
    assert CrossEntropy().label_smoothing == 0.0
