"""Engines: equal to each other, to ordinary PyTorch, and to themselves in any company."""

import dataclasses
import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from training_runs import SMALL_WORKLOADS, STUDY_SEED

import workers.engines.stacked
from workers.dropout import dropout_key
from workers.engines import Engine, LoopedEngine, RowLayout, Rows, StackedEngine, StepData, initial_rows, make_engine
from workers.messages import EngineName, WorkloadReference
from workers.workloads import CrossEntropy, Dataset, Split, Workload, get_workload

ENGINES: list[EngineName] = ["looped", "stacked"]
EXAMPLES = 40


def mlp_workload(hidden: tuple[int, ...], *, smoothing: float = 0.0, examples: int = EXAMPLES) -> Workload:
    """Inputs (3, 4), five classes."""

    def build(_: Dataset) -> nn.Module:
        widths = (12, *hidden, 5)
        layers: list[nn.Module] = [nn.Flatten()]
        for fan_in, fan_out in itertools.pairwise(widths):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    def load() -> Dataset:
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(examples, 3, 4, generator=generator, dtype=torch.float64)
        split = Split(inputs, torch.randint(5, (examples,), generator=generator))
        return Dataset(split, split, split, classes=5)

    base = get_workload("digits-mlp")
    return dataclasses.replace(base, build_model=build, load_data=load, loss=CrossEntropy(smoothing))


def small_workload(name: str) -> Workload:
    return get_workload(WorkloadReference(f"small-{name}", SMALL_WORKLOADS))


def make(
    engine: EngineName, workload: Workload, seeds: tuple[int, ...], dtype: torch.dtype = torch.float64
) -> tuple[Engine, Dataset]:
    data = workload.load_data()
    model, rows = initial_rows(
        lambda: workload.build_model(data),
        study_seed=STUDY_SEED,
        seeds=seeds,
        dtype=dtype,
        device=torch.device("cpu"),
    )
    return make_engine(engine, model, rows, workload), data


def make_step(
    data: Dataset, seeds: tuple[int, ...], batch: int, dtype: torch.dtype = torch.float64, step: int = 0
) -> StepData:
    """Every seed has a batch of its own; dropout keys are there whether they are needed or not."""
    distinct = list(dict.fromkeys(seeds))
    chosen = [
        torch.randperm(len(data.train.labels), generator=torch.Generator().manual_seed(100 * step + seed))[:batch]
        for seed in distinct
    ]
    inputs = [data.train.inputs[examples] for examples in chosen]
    return StepData(
        inputs=[part.to(dtype) if part.is_floating_point() else part for part in inputs],
        labels=[data.train.labels[examples] for examples in chosen],
        seed_of_row=[distinct.index(seed) for seed in seeds],
        dropout_keys=[dropout_key(study_seed=STUDY_SEED, seed=seed, step=step) for seed in distinct],
    )


def ordinary_module(workload: Workload, data: Dataset, engine: Engine, row: int) -> nn.Module:
    """A module of its own with the parameters and buffers of a row."""
    model = workload.build_model(data).to(engine.theta_TP.dtype)
    parameters = {name: view[row] for name, view in RowLayout.of(model).views(engine.theta_TP).items()}
    model.load_state_dict({**parameters, **engine.rows.buffers[row]})
    return model


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("hidden", [(), (7,), (16, 8)])
@pytest.mark.parametrize("batch", [1, 16, 17])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_gradients_and_losses_equal_those_of_an_ordinary_module(
    engine_name: EngineName, hidden: tuple[int, ...], batch: int, smoothing: float
) -> None:
    workload = mlp_workload(hidden, smoothing=smoothing)
    seeds = (2, 0, 0)
    engine, data = make(engine_name, workload, seeds)
    assert engine.name == engine_name
    step = make_step(data, seeds, batch)
    loss_T = engine.compute_gradients(step)
    val_loss_T, val_error_T = engine.evaluate(data.train.inputs, data.train.labels)
    for row, seed in enumerate(step.seed_of_row):
        alone = ordinary_module(workload, data, engine, row)
        loss = cross_entropy(alone(step.inputs[seed]), step.labels[seed], label_smoothing=smoothing)
        grads = torch.autograd.grad(loss, list(alone.parameters()))
        torch.testing.assert_close(loss_T[row], loss.detach(), rtol=0, atol=1e-12)
        flat = torch.cat([grad.flatten() for grad in grads])
        torch.testing.assert_close(engine.grad_TP[row], flat, rtol=0, atol=1e-12)
        # Never smoothed in evaluation.
        logits = alone(data.train.inputs)
        torch.testing.assert_close(val_loss_T[row], cross_entropy(logits, data.train.labels), rtol=0, atol=1e-12)
        assert val_error_T[row] == (logits.argmax(1) != data.train.labels).double().mean()


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("name", ["digits-logistic", "digits-mlp"])
def test_the_stacked_and_the_looped_engine_agree(name: str, smoothing: float) -> None:
    workload = dataclasses.replace(get_workload(name), loss=CrossEntropy(smoothing))
    seeds = (0, 0, 1, 2)
    engines = [make(engine, workload, seeds) for engine in ENGINES]
    for batch in (64, 55):
        step = make_step(engines[0][1], seeds, batch)
        (looped, loss_T), (stacked, stacked_loss_T) = [(e, e.compute_gradients(step)) for e, _ in engines]
        torch.testing.assert_close(stacked_loss_T, loss_T, rtol=0, atol=1e-12)
        torch.testing.assert_close(stacked.grad_TP, looped.grad_TP, rtol=0, atol=1e-12)
    validation = engines[0][1].validation
    for theirs, ours in zip(
        *(e.evaluate(validation.inputs.double(), validation.labels) for e, _ in engines), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("name", ["digits-logistic", "digits-mlp"])
@pytest.mark.parametrize("rows", [1, 2, 5, 24, 64])
def test_a_row_has_the_same_bits_in_any_company(
    engine_name: EngineName, name: str, rows: int, dtype: torch.dtype
) -> None:
    workload = get_workload(name)
    seeds = tuple(row // 3 for row in range(rows))
    together, data = make(engine_name, workload, seeds, dtype)
    validation = data.validation.inputs.to(dtype), data.validation.labels
    val_loss_T, val_error_T = together.evaluate(*validation)
    for batch in (64, 55, 7, 1):  # whole batches, and the last one of an epoch
        loss_T = together.compute_gradients(make_step(data, seeds, batch, dtype))
        for row in {0, rows // 2, rows - 1}:
            alone, _ = make(engine_name, workload, seeds[row : row + 1], dtype)
            loss = alone.compute_gradients(make_step(data, seeds[row : row + 1], batch, dtype))
            assert torch.equal(alone.grad_TP[0], together.grad_TP[row])
            assert torch.equal(loss[0], loss_T[row])
            val_loss, val_error = alone.evaluate(*validation)
            assert torch.equal(val_loss[0], val_loss_T[row])
            assert torch.equal(val_error[0], val_error_T[row])


@pytest.mark.parametrize("engine_name", ENGINES)
def test_a_broken_row_leaves_the_others_as_they_are(engine_name: EngineName) -> None:
    workload, seeds = mlp_workload((7,)), (0, 1, 2)
    (healthy, data), (broken, _) = (make(engine_name, workload, seeds) for _ in range(2))
    healthy.compute_gradients(make_step(data, seeds, 16))
    broken.theta_TP[1] = float("nan")
    loss_T = broken.compute_gradients(make_step(data, seeds, 16))
    assert loss_T[1].isnan()
    assert torch.equal(broken.grad_TP[[0, 2]], healthy.grad_TP[[0, 2]])


@pytest.mark.parametrize("name", ["dropout", "recurrent"])
def test_rows_of_any_layers_have_the_gradients_of_an_ordinary_module(name: str) -> None:
    workload, seeds = small_workload(name), (3, 1, 3)
    engine, data = make("auto", workload, seeds)
    assert engine.name == "looped"
    step = make_step(data, seeds, 5)
    loss_T = engine.compute_gradients(step)
    assert isinstance(engine, LoopedEngine)
    for row, seed in enumerate(step.seed_of_row):
        # Ordinary dropout has other masks: the module with counted ones stands beside the row.
        model, _ = initial_rows(
            lambda: workload.build_model(data),
            study_seed=STUDY_SEED,
            seeds=seeds[row : row + 1],
            dtype=torch.float64,
            device=torch.device("cpu"),
        )
        if name == "dropout":
            assert step.dropout_keys is not None
            model[2].dropout_key.copy_(step.dropout_keys[seed])  # type: ignore[index, union-attr, operator]
        loss = cross_entropy(model(step.inputs[seed]), step.labels[seed])
        flat = torch.cat([grad.flatten() for grad in torch.autograd.grad(loss, list(model.parameters()))])
        torch.testing.assert_close(engine.grad_TP[row], flat, rtol=0, atol=1e-12)
        torch.testing.assert_close(loss_T[row], loss.detach(), rtol=0, atol=1e-12)
    assert not torch.equal(engine.grad_TP[0], engine.grad_TP[1])
    assert torch.equal(engine.grad_TP[0], engine.grad_TP[2])


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("examples", [1, 500, 1203])
def test_evaluation_in_parts_equals_that_of_the_whole(
    engine_name: EngineName, examples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Parts of 64 examples, the smallest there are.
    monkeypatch.setattr(workers.engines.stacked, "_EVALUATION_VALUES", 1)
    workload = mlp_workload((9,), examples=examples)
    engine, data = make(engine_name, workload, (0, 1))
    loss_T, error_T = engine.evaluate(data.train.inputs, data.train.labels)
    for row in range(2):
        logits = ordinary_module(workload, data, engine, row)(data.train.inputs).detach()
        torch.testing.assert_close(loss_T[row], cross_entropy(logits, data.train.labels), rtol=1e-12, atol=0)
        assert error_T[row].item() == pytest.approx((logits.argmax(1) != data.train.labels).double().mean().item())


def test_the_error_of_a_sequence_is_that_of_its_positions() -> None:
    workload = small_workload("recurrent")
    engine, data = make("looped", workload, (0,))
    loss_T, error_T = engine.evaluate(data.validation.inputs, data.validation.labels)
    logits = ordinary_module(workload, data, engine, 0)(data.validation.inputs)
    assert error_T.item() == (logits.argmax(1) != data.validation.labels).double().mean().item()
    assert loss_T.item() == pytest.approx(cross_entropy(logits, data.validation.labels).item(), rel=1e-12)


def test_a_workload_without_errors_has_none() -> None:
    engine, data = make("looped", dataclasses.replace(mlp_workload(()), error=None), (0,))
    loss_T, error_T = engine.evaluate(data.train.inputs, data.train.labels)
    assert loss_T.isfinite().all()
    assert error_T.isnan().all()


def test_equal_seeds_start_from_equal_weights_within_torchs_bounds() -> None:
    engine, _ = make("looped", mlp_workload((7,)), (0, 1, 0))
    assert torch.equal(engine.theta_TP[0], engine.theta_TP[2])
    assert not torch.equal(engine.theta_TP[0], engine.theta_TP[1])
    weight_TFI = engine.theta_TP[:, : 12 * 7]
    assert weight_TFI.abs().max() <= 12**-0.5
    assert weight_TFI.abs().max() > 0.9 * 12**-0.5


def test_a_run_in_float64_starts_where_it_does_in_float32() -> None:
    thetas = [
        make("looped", small_workload("cnn"), (0, 4), dtype)[0].theta_TP for dtype in (torch.float32, torch.float64)
    ]
    assert torch.equal(thetas[0].double(), thetas[1])


@pytest.mark.parametrize("engine_name", ENGINES)
def test_selected_rows_go_on_as_they_were(engine_name: EngineName) -> None:
    workload, seeds = mlp_workload((7,)), (0, 1, 2, 3)
    engine, data = make(engine_name, workload, seeds)
    engine.compute_gradients(make_step(data, seeds, 16))
    expected = engine.grad_TP[[3, 1]].clone()
    before = engine.theta_TP
    engine.set_rows(engine.rows.select([3, 1]))
    assert engine.theta_TP.shape == engine.grad_TP.shape == (2, before.shape[1])
    engine.compute_gradients(make_step(data, (3, 1), 16))
    assert torch.equal(engine.grad_TP, expected)
    engine.theta_TP.zero_()
    assert before.abs().sum() > 0


def test_linear_chains_are_stacked_and_everything_else_is_looped() -> None:
    assert isinstance(make("auto", mlp_workload((7,)), (0,))[0], StackedEngine)
    for name in ("cnn", "dropout", "recurrent"):
        assert isinstance(make("auto", small_workload(name), (0,))[0], LoopedEngine)
    without_bias = nn.Sequential(nn.Flatten(), nn.Linear(12, 5, bias=False))
    shared = nn.Linear(12, 12)
    for model in (without_bias, nn.Sequential(nn.Flatten(), shared, nn.ReLU(), shared)):
        workload = dataclasses.replace(mlp_workload(()), build_model=lambda _, model=model: model)
        assert isinstance(make("auto", workload, (0,))[0], LoopedEngine)
    other_loss = dataclasses.replace(mlp_workload(()), loss=lambda outputs, _: outputs.square().mean())
    assert isinstance(make("auto", other_loss, (0,))[0], LoopedEngine)


@pytest.mark.parametrize("name", ["cnn", "dropout", "recurrent"])
def test_the_stacked_engine_refuses_by_name_what_it_cannot_do(name: str) -> None:
    with pytest.raises(TypeError, match=rf"workload 'small-{name}'.*Flatten, Linear, ReLU.*use engine looped"):
        make("stacked", small_workload(name), (0,))


def test_the_stacked_engine_refuses_bfloat16_and_auto_loops_it() -> None:
    workload = mlp_workload((7,))
    _, data = make("looped", workload, (0,))
    model = workload.build_model(data)
    rows = Rows(torch.cat([p.detach().flatten() for p in model.parameters()]).unsqueeze(0), [{}])
    with pytest.raises(TypeError, match="does not compute in bfloat16; use engine looped"):
        make_engine("stacked", model, rows, workload, precision="bfloat16")
    assert make_engine("auto", model, rows, workload, precision="bfloat16").name == "looped"


def test_dropout_from_a_global_generator_is_refused_by_name() -> None:
    engine, data = make("looped", small_workload("hidden-dropout"), (0,))
    before = torch.get_rng_state()
    with pytest.raises(TypeError, match=r"'small-hidden-dropout'.*2 \(_HiddenDropout\).*use nn\.Dropout"):
        engine.compute_gradients(make_step(data, (0,), 8))
    assert torch.equal(torch.get_rng_state(), before)


def test_frozen_parameters_are_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"1\.weight does not require gradients"):
        make("auto", small_workload("frozen"), (0,))


def test_complex_parameters_are_refused_by_name() -> None:
    model = nn.Module()
    model.weight = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    workload = dataclasses.replace(mlp_workload(()), build_model=lambda _: model)
    with pytest.raises(TypeError, match=r"weight is of type torch\.complex64"):
        make("auto", workload, (0,))


def test_a_parameter_that_the_loss_does_not_depend_on_has_a_gradient_of_zero() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    model.register_parameter("unused", nn.Parameter(torch.ones(3)))
    workload = dataclasses.replace(mlp_workload(()), build_model=lambda _: model)
    engine, data = make("auto", workload, (0,))
    assert engine.name == "looped"
    engine.grad_TP.fill_(7.0)
    engine.compute_gradients(make_step(data, (0,), 8))
    position = [name for name, _ in model.named_parameters()].index("unused")
    assert position == 0
    assert torch.equal(engine.grad_TP[0, :3], torch.zeros(3, dtype=torch.float64))
    assert engine.grad_TP[0, 3:].abs().max() > 0


def test_gradients_are_not_added_up_over_steps() -> None:
    for engine_name in ENGINES:
        engine, data = make(engine_name, mlp_workload((7,)), (0,))
        step = make_step(data, (0,), 8)
        engine.compute_gradients(step)
        first: Tensor = engine.grad_TP.clone()
        engine.compute_gradients(step)
        assert torch.equal(engine.grad_TP, first)
