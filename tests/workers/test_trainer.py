"""Training: equal to an ordinary PyTorch loop, the same in any company, honest about divergence."""

import dataclasses
import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from adai import (
    AdaBound,
    Adai,
    AdaiV2,
    AdaiW,
    AdaShift,
    CProp,
    CPropAdam,
    CPropSGD,
    Padam,
    Yogi,
    get_rule,
    list_rules,
)
from workers.engines.rows import RowLayout, initial_rows
from workers.messages import BatchFinished, EpochMetrics, RunOutcome, Termination, TrialBatch
from workers.random import Purpose, permutation
from workers.trainer import train_batch
from workers.workloads import get_workload

#: A learning rate at which each optimizer learns within a few epochs.
LR = {
    "adabound": 0.01,
    "adai": 0.5,
    "adaiv2": 0.5,
    "adaiw": 0.5,
    "adam": 0.01,
    "adamw": 0.01,
    "adashift": 0.02,
    "amsgrad": 0.01,
    "cprop": 0.02,
    "cprop_adam": 0.02,
    "cprop_sgd": 0.5,
    "nadam": 0.01,
    "nesterov": 0.1,
    "padam": 0.1,
    "radam": 0.01,
    "sgd": 0.1,
    "yogi": 0.02,
}
Ordinary = Callable[..., torch.optim.Optimizer]


def class_of(cls: type[torch.optim.Optimizer], *betas: str, **fixed: bool) -> Ordinary:
    """The class as a maker that takes a rule's hyperparameters, those named in ``betas`` as one argument."""

    def make(parameters: list[nn.Parameter], settings: dict[str, float]) -> torch.optim.Optimizer:
        others = {name: value for name, value in settings.items() if name not in betas}
        joined = {"betas": tuple(settings[name] for name in betas)} if betas else {}
        return cls(parameters, **others, **joined, **fixed)

    return make


def cprop_around_adamw(parameters: list[nn.Parameter], settings: dict[str, float]) -> torch.optim.Optimizer:
    own = {name.removeprefix("cprop_"): value for name, value in settings.items() if name.startswith("cprop_")}
    inner = {name: value for name, value in settings.items() if not name.startswith("cprop_")}
    return CProp(class_of(torch.optim.AdamW, "beta1", "beta2")(parameters, inner), **own)


#: torch's own class where it has one, else ours in plain torch operations: rows of trial batches are compiled.
ORDINARY: dict[str, Ordinary] = {
    "adabound": class_of(AdaBound, "beta1", "beta2", fused=False),
    "adai": class_of(Adai, "beta0", "beta2", fused=False),
    "adaiv2": class_of(AdaiV2, "beta0", "beta2", fused=False),
    "adaiw": class_of(AdaiW, "beta0", "beta2", fused=False),
    "adam": class_of(torch.optim.Adam, "beta1", "beta2"),
    "adamw": class_of(torch.optim.AdamW, "beta1", "beta2"),
    "adashift": class_of(AdaShift, "beta1", "beta2"),
    "amsgrad": class_of(torch.optim.Adam, "beta1", "beta2", amsgrad=True),
    "cprop": cprop_around_adamw,
    "cprop_adam": class_of(CPropAdam, "beta1", "beta2"),
    "cprop_sgd": class_of(CPropSGD),
    "nadam": class_of(torch.optim.NAdam, "beta1", "beta2"),
    "nesterov": class_of(torch.optim.SGD, nesterov=True),
    "padam": class_of(Padam, "beta1", "beta2", fused=False),
    "radam": class_of(torch.optim.RAdam, "beta1", "beta2"),
    "sgd": class_of(torch.optim.SGD),
    "yogi": class_of(Yogi, "beta1", "beta2", fused=False),
}


def make_batch(
    optimizer: str, *, workload: str = "digits-mlp", seeds: tuple[int, ...] = (0,), epochs: int = 2, **values: float
) -> TrialBatch:
    """One row per seed, all with the same hyperparameters."""
    defaults = {h.name: h.default for h in get_rule(optimizer).hyperparameters}
    settings = defaults | {"lr": LR[optimizer]} | values
    rows = len(seeds)
    hyperparameters = {name: (value,) * rows for name, value in settings.items()}
    return TrialBatch(1, workload, optimizer, tuple(range(rows)), seeds, hyperparameters, 11, epochs, "val_error")


def concatenate(*batches: TrialBatch) -> TrialBatch:
    """All rows of ``batches`` in one batch, with new run ids."""
    seeds = tuple(seed for batch in batches for seed in batch.seeds)
    names = batches[0].hyperparameters
    return dataclasses.replace(
        batches[0],
        run_ids=tuple(range(len(seeds))),
        seeds=seeds,
        hyperparameters={name: tuple(v for b in batches for v in b.hyperparameters[name]) for name in names},
    )


def train(batch: TrialBatch, dtype: torch.dtype = torch.float32) -> tuple[list[EpochMetrics], BatchFinished]:
    *epochs, finished = train_batch(batch, worker="test", dtype=dtype)
    assert isinstance(finished, BatchFinished)
    return [epoch for epoch in epochs if isinstance(epoch, EpochMetrics)], finished


def numbers(outcome: RunOutcome) -> tuple[object, ...]:
    """Everything but the run's name and timing."""
    return tuple(
        repr(getattr(outcome, f.name)) for f in dataclasses.fields(outcome) if f.name not in ("run_id", "seconds")
    )


def train_ordinarily(batch: TrialBatch, dtype: torch.dtype) -> tuple[list[float], float, float]:
    """What a user would write for the first row: module, optimizer class, loop. Losses by epoch, test loss, error."""
    workload = get_workload(batch.workload)
    data = workload.load_data()
    model = workload.build_model(data).to(dtype)
    rows = initial_rows(
        model, study_seed=batch.study_seed, seeds=batch.seeds[:1], dtype=dtype, device=torch.device("cpu")
    )
    model.load_state_dict({name: view[0] for name, view in RowLayout.of(model).views(rows).items()})
    settings = {name: values[0] for name, values in batch.hyperparameters.items()}
    optimizer = ORDINARY[batch.optimizer](model.parameters(), settings)
    losses = []
    inputs, labels = data.train.inputs.to(dtype), data.train.labels
    for epoch in range(1, batch.epochs + 1):
        order = torch.from_numpy(
            permutation(
                len(labels), seed=batch.study_seed, index=batch.seeds[0], purpose=Purpose.DATA_ORDER, step=epoch
            )
        )
        total = 0.0
        for chosen in order.split(workload.batch_size):
            optimizer.zero_grad()
            loss = cross_entropy(model(inputs[chosen]), labels[chosen])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(chosen)
        losses.append(total / len(labels))
    return losses, *evaluate(model, data.test.inputs.to(dtype), data.test.labels)


def evaluate(model: nn.Module, inputs: Tensor, labels: Tensor) -> tuple[float, float]:
    with torch.no_grad():
        logits = model(inputs)
    return cross_entropy(logits, labels).item(), (logits.argmax(1) != labels).double().mean().item()


def test_the_table_of_ordinary_optimizers_is_complete() -> None:
    assert set(ORDINARY) == set(list_rules())


@pytest.fixture
def _double_precision() -> Iterator[None]:
    """Torch keeps NAdam's product of momenta in the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("_double_precision")
@pytest.mark.parametrize("optimizer", list_rules())
@pytest.mark.parametrize("workload", ["digits-logistic", "digits-mlp"])
def test_a_run_equals_an_ordinary_pytorch_loop(optimizer: str, workload: str) -> None:
    decay = {"weight_decay": 1e-3} if "weight_decay" in {h.name for h in get_rule(optimizer).hyperparameters} else {}
    batch = make_batch(optimizer, workload=workload, seeds=(2, 0), epochs=3, **decay)
    epochs, finished = train(batch, torch.float64)
    losses, test_loss, test_error = train_ordinarily(batch, torch.float64)
    assert [epoch.train_loss[0] for epoch in epochs] == pytest.approx(losses, rel=0, abs=1e-11)
    assert finished.outcomes[0].test_loss == pytest.approx(test_loss, rel=0, abs=1e-11)
    assert finished.outcomes[0].test_error == test_error


@pytest.mark.parametrize("optimizer", list_rules())
def test_every_optimizer_learns_digits(optimizer: str) -> None:
    _, finished = train(make_batch(optimizer, seeds=(0, 1), epochs=5))
    for outcome in finished.outcomes:
        assert outcome.termination is Termination.COMPLETED
        assert outcome.test_error is not None
        assert outcome.test_error < 0.2
        assert not outcome.at_chance


@pytest.mark.parametrize("optimizer", list_rules())
def test_a_run_has_the_same_bits_in_any_company_beside_a_diverging_one(optimizer: str) -> None:
    batch = make_batch(optimizer, seeds=(0, 1, 2))
    diverging = make_batch(optimizer, seeds=(0, 1), lr=1e30)
    others = [make_batch(optimizer, seeds=(seed,), lr=LR[optimizer] / (2 + seed)) for seed in range(19)]
    alone = [numbers(o) for seed in (0, 1, 2) for o in train(make_batch(optimizer, seeds=(seed,)))[1].outcomes]
    first = train(concatenate(batch, diverging, *others))[1].outcomes[:3]
    last = train(concatenate(*others, diverging, batch))[1].outcomes[-3:]
    assert [numbers(outcome) for outcome in first] == alone
    assert [numbers(outcome) for outcome in last] == alone


def test_training_twice_gives_the_same_bits() -> None:
    batch = make_batch("adai", seeds=(0, 1))
    assert [numbers(o) for o in train(batch)[1].outcomes] == [numbers(o) for o in train(batch)[1].outcomes]


def test_seeds_are_paired_over_optimizers() -> None:
    """With a learning rate of zero nothing is learnt: equal seeds must then show equal losses for every optimizer."""
    losses = {
        optimizer: [epoch.val_loss for epoch in train(make_batch(optimizer, seeds=(0, 1), lr=0.0, **still))[0]]
        for optimizer in list_rules()
        # AdaBound's step is bounded from below, by final_lr.
        for still in [{"final_lr": 0.0} if optimizer == "adabound" else {}]
    }
    assert len({str(loss) for loss in losses.values()}) == 1
    assert losses["adai"][0][0] != losses["adai"][0][1]


def test_a_diverged_run_is_recorded_with_its_epoch_and_counts_at_chance_level() -> None:
    batch = concatenate(make_batch("sgd", seeds=(0,), epochs=4), make_batch("sgd", seeds=(0,), epochs=4, lr=1e3))
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
    assert [epoch.run_ids for epoch in epochs] == [(0, 1), (0,), (0,), (0,)]


def test_a_batch_whose_rows_all_diverge_ends_early_with_all_outcomes() -> None:
    epochs, finished = train(make_batch("sgd", seeds=(0, 1), epochs=50, lr=1e3))
    assert len(epochs) < 50
    assert [outcome.termination for outcome in finished.outcomes] == [Termination.DIVERGED] * 2


@pytest.mark.parametrize(("objective", "chance"), [("val_error", 0.9), ("val_loss", math.log(10))])
def test_the_objective_never_exceeds_chance_level(objective: str, chance: float) -> None:
    batch = concatenate(make_batch("adai", lr=1e-4), make_batch("adai", lr=5.0), make_batch("adai", lr=1e4))
    epochs, finished = train(dataclasses.replace(batch, objective=objective))
    for epoch in epochs:
        measured = getattr(epoch, objective)
        for value, raw in zip(epoch.objective, measured, strict=True):
            assert value == pytest.approx(chance) or value == raw < chance
    assert all(outcome.objective <= chance + 1e-15 for outcome in finished.outcomes)


def test_the_objective_of_a_completed_run_is_its_metric_after_the_last_epoch() -> None:
    epochs, finished = train(make_batch("adam", epochs=3))
    assert finished.outcomes[0].objective == epochs[-1].val_error[0] == finished.outcomes[0].val_error


def test_an_untrained_run_is_at_chance_though_it_did_not_diverge() -> None:
    _, finished = train(make_batch("sgd", seeds=tuple(range(6)), lr=0.0, epochs=1))
    assert {outcome.termination for outcome in finished.outcomes} == {Termination.COMPLETED}
    assert any(outcome.at_chance for outcome in finished.outcomes)
