"""The audit: what the looped engine would train wrong is refused by name, and ordinary models pass."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from workers.dropout import dropout_key, replace_dropout
from workers.engines import LoopedEngine, StepData, audit, initial_rows, make_engine
from workers.initialization import build_model
from workers.workloads import Workload, get_workload

FEATURES, CLASSES = 6, 3
_BASE = get_workload("digits-mlp")


class Net(nn.Module):
    """Two layers; ``prepare`` changes the module, ``forward`` is what it computes."""

    def __init__(self, compute: Callable[..., Tensor], prepare: Callable[..., object] = lambda _: None) -> None:
        super().__init__()
        self.l1, self.l2 = nn.Linear(FEATURES, 5), nn.Linear(5, CLASSES)
        self.compute = compute
        prepare(self)

    def forward(self, x: Tensor) -> Tensor:
        """What ``compute`` says."""
        return self.compute(self, x)


def plain(net: Any, x: Tensor) -> Tensor:
    logits: Tensor = net.l2(torch.tanh(net.l1(x)))
    return logits


def make_workload(**changes: Any) -> Workload:
    return dataclasses.replace(_BASE, name="mine", **changes)


def make_batch(step: int = 0, symbols: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    inputs = (
        torch.randint(symbols, (8, 4), generator=generator)
        if symbols
        else torch.randn(8, FEATURES, generator=generator, dtype=torch.float64)
    )
    return inputs, torch.randint(CLASSES, (8,), generator=generator)


def make_model(build: Callable[[], nn.Module]) -> nn.Module:
    return replace_dropout(build_model(build, study_seed=1, seed=0)).double()


def try_out(build: Callable[[], nn.Module], symbols: int = 0) -> None:
    audit.audit(make_model(build), make_workload(), *make_batch(symbols=symbols))


def scale_inputs(net: Any, x: Tensor) -> Tensor:
    return plain(net, x.mul_(0.5))


def clip(net: Any, x: Tensor) -> Tensor:
    # Changes no number: the weights are smaller.
    net.l1.weight.data.clamp_(-10, 10)
    return plain(net, x)


def count(net: Any, x: Tensor) -> Tensor:
    net.calls += 1
    return plain(net, x)


def count_in_list(net: Any, x: Tensor) -> Tensor:
    net.calls[0] += 1
    return plain(net, x)


def scale_by_first_batch(net: Any, x: Tensor) -> Tensor:
    if not hasattr(net, "scale"):
        net.scale = x.std().item()
    return plain(net, x / net.scale)


def remember(net: Any, x: Tensor) -> Tensor:
    net.last = x.mean(0)
    return plain(net, x)


def keep_shape(net: Any, x: Tensor) -> Tensor:
    net.shape = x.shape
    return plain(net, x)


def count_in_buffer(net: Any, x: Tensor) -> Tensor:
    net.calls.add_(1)
    return plain(net, x)


def keep_graph(net: Any, x: Tensor) -> Tensor:
    if net.training:
        net.calls = net.calls + net.l1.weight.sum()
    return plain(net, x)


def with_generator(net: Any, x: Tensor) -> Tensor:
    return plain(net, x + torch.rand(x.shape, generator=net.generator).to(x))


def captured_parameter() -> nn.Module:
    first = nn.Linear(FEATURES, CLASSES)
    return Net(lambda net, x: plain(net, x) + first(x), lambda net: setattr(net, "first", first))


def reaching_past() -> nn.Module:
    net = Net(plain)
    weight = net.l1.weight
    net.compute = lambda self, x: self.l2(torch.tanh(linear(x, weight, self.l1.bias)))
    return net


def setting(name: str, make: Callable[[Any], object]) -> Callable[[Any], None]:
    return lambda net: setattr(net, name, make(net))


REFUSED: list[tuple[str, Callable[[], nn.Module], str]] = [
    ("inputs", lambda: Net(scale_inputs), r"writes into its inputs, in the model itself \(Net\)"),
    ("relu", lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 3)), r"writes into its inputs, in 0 \(ReLU\)"),
    ("clip", lambda: Net(clip), r"writes into parameter l1.weight, in the model itself \(Net\)"),
    (
        "tensor",
        lambda: Net(lambda net, x: plain(net, x @ net.b.to(x)), setting("b", lambda _: torch.randn(6, 6))),
        r"keeps a Tensor in attribute 'b' of the model itself \(Net\)",
    ),
    (
        "tensors in a list",
        lambda: Net(lambda net, x: plain(net, x @ net.b[0].to(x)), setting("b", lambda _: [torch.randn(6, 6)])),
        "keeps a Tensor in attribute 'b'",
    ),
    (
        "modules in a list",
        lambda: Net(lambda net, x: plain(net, net.more[0](x)), setting("more", lambda _: [nn.Linear(6, 6).double()])),
        "keeps a Linear in attribute 'more'",
    ),
    ("tensor of a pass", lambda: Net(remember), "keeps a Tensor in attribute 'last'"),
    ("generator", lambda: Net(with_generator, setting("generator", lambda _: torch.Generator())), "keeps a Generator"),
    (
        "own parameters in a list",
        lambda: Net(
            lambda net, x: net.l2(torch.tanh(linear(x, net.ws[0], net.l1.bias))), setting("ws", lambda n: [n.l1.weight])
        ),
        "has another value of the gradient of parameter l1.weight",
    ),
    ("own parameters in a closure", reaching_past, "has another value of the gradient of parameter l1.weight"),
    (
        "checkpoint",
        lambda: Net(lambda net, x: checkpoint(lambda y: plain(net, y), x, use_reentrant=False)),
        "has another value of the gradient of parameter .* in training.*torch.utils.checkpoint",
    ),
    (
        "reentrant checkpoint",
        lambda: Net(lambda net, x: checkpoint(lambda y: plain(net, y), x.requires_grad_(), use_reentrant=True)),
        "asks for gradients of its inputs",
    ),
    ("hook", lambda: Net(plain, lambda net: net.l1.weight.register_hook(lambda g: g * 0)), "hook on parameter l1.we"),
    ("counter", lambda: Net(count, setting("calls", lambda _: 0)), r"changes attribute 'calls' of the model itself"),
    ("counter in a list", lambda: Net(count_in_list, setting("calls", lambda _: [0])), "changes attribute 'calls'"),
    ("scale of the first batch", lambda: Net(scale_by_first_batch), "changes attribute 'scale'"),
    (
        "buffer in evaluation",
        lambda: Net(count_in_buffer, lambda net: net.register_buffer("calls", torch.zeros(()))),
        "changes buffer calls while it is evaluated",
    ),
    (
        "buffer with a graph",
        lambda: Net(keep_graph, lambda net: net.register_buffer("calls", torch.zeros(()))),
        "keeps a graph in buffer calls",
    ),
    (
        "draws in training",
        lambda: Net(lambda net, x: plain(net, x + torch.rand_like(x) * net.training)),
        r"draws from a global random generator while it trains, in the model itself \(Net\)",
    ),
    (
        "draws in evaluation",
        lambda: Net(lambda net, x: plain(net, x if net.training else x + torch.rand_like(x))),
        r"draws from a global random generator while it is evaluated, in the model itself \(Net\)",
    ),
]


@pytest.mark.parametrize(("build", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_would_be_trained_wrong_is_refused_by_name(build: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(TypeError, match=f"^the model of workload 'mine' .*{message}"):
        try_out(build)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"max_norm": 1e6}, "writes into its parameters in 0 "), ({"sparse": True}, "has sparse gradients in 0 ")],
)
def test_embeddings_that_write_or_are_sparse_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message + r"\(Embedding\).*; leave out"):
        try_out(lambda: nn.Sequential(nn.Embedding(9, 2, **options), nn.Flatten(), nn.Linear(8, 3)), symbols=9)


def test_a_loss_or_an_error_that_writes_labels_is_refused() -> None:
    def clamp(outputs: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(outputs, labels.clamp_(max=1))

    for name in ("loss", "error"):
        with pytest.raises(TypeError, match="writes into its labels, in the loss or error"):
            audit.audit(make_model(lambda: Net(plain)), make_workload(**{name: clamp}), *make_batch())


class _Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, symbols: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layer(self.embedding(symbols)).mean(1))
        return logits


class _Recurrent(nn.Module):
    def __init__(self, kind: type[nn.GRU] | type[nn.LSTM]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 4)
        self.cell = kind(4, 5, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(10, CLASSES)

    def forward(self, symbols: Tensor) -> Tensor:
        logits: Tensor = self.head(self.cell(self.embedding(symbols))[0][:, -1])
        return logits


class _Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 4)
        self.decoder = nn.Linear(4, 9, bias=False)
        self.decoder.weight = self.embedding.weight

    def forward(self, symbols: Tensor) -> Tensor:
        logits: Tensor = self.decoder(self.embedding(symbols).mean(1))
        return logits


def with_unused(net: Net) -> None:
    net.unused, net.empty = nn.Parameter(torch.ones(3)), nn.Parameter(torch.zeros(0))


def normalized() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.3), nn.ReLU(inplace=True), nn.Linear(5, 3))


def parametrized(net: Net) -> None:
    parametrizations.weight_norm(net.l1)
    parametrizations.orthogonal(net.l2)


ORDINARY: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "batch norm and dropout": (normalized, 0),
    "gru": (lambda: _Recurrent(nn.GRU), 9),
    "lstm": (lambda: _Recurrent(nn.LSTM), 9),
    "transformer": (_Transformer, 9),
    "tied": (_Tied, 9),
    "weight norm and orthogonal": (lambda: Net(plain, parametrized), 0),
    "spectral norm": (lambda: Net(plain, lambda net: parametrizations.spectral_norm(net.l1)), 0),
    "unused and empty": (lambda: Net(plain, with_unused), 0),
    "shared module": (captured_parameter, 0),
    "kept shape": (lambda: Net(keep_shape), 0),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_models_pass_and_are_left_as_they_were(name: str) -> None:
    build, symbols = ORDINARY[name]
    model = make_model(build)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    tensors = [id(tensor) for tensor in (*model.parameters(), *model.buffers())]
    inputs, labels = make_batch(symbols=symbols)
    audit.audit(model, make_workload(), inputs, labels)
    assert [id(tensor) for tensor in (*model.parameters(), *model.buffers())] == tensors
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
    assert model.training
    assert not any(m._forward_pre_hooks for m in model.modules() if not hasattr(m, "parametrizations"))
    audit.audit(model.float(), make_workload(), inputs if symbols else inputs.float(), labels)


def test_what_passed_under_a_key_is_not_tried_again() -> None:
    calls = []

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        calls.append(1)
        return cross_entropy(outputs, labels)

    workload, model = make_workload(loss=loss), make_model(lambda: Net(plain))
    for key in ("one", "one", "another"):
        audit.audit(model, workload, *make_batch(), key=("test_audit", key))
    assert len(calls) == 8
    bad = make_model(lambda: Net(clip))
    for _ in range(2):
        with pytest.raises(TypeError, match="writes into parameter"):
            audit.audit(bad, workload, *make_batch(), key=("test_audit", "bad"))


def moving_average(net: Any, x: Tensor) -> Tensor:
    if net.training:
        net.mean = 0.9 * net.mean + 0.1 * x.mean(0)
    return plain(net, nn.functional.dropout(x, 0.0) - net.mean)


def averaging(drop: bool) -> nn.Module:
    net = Net(moving_average, lambda net: net.register_buffer("mean", torch.zeros(FEATURES)))
    return nn.Sequential(net, nn.Dropout(0.0)) if drop else net


@pytest.mark.parametrize("drop", [False, True])
def test_buffers_that_are_assigned_advance_as_in_ordinary_training(drop: bool) -> None:
    model, rows = initial_rows(
        lambda: averaging(drop), study_seed=1, seeds=(0, 1), dtype=torch.float64, device=torch.device("cpu")
    )
    engine = LoopedEngine(model, rows, make_workload())
    means = [torch.zeros(FEATURES, dtype=torch.float64) for _ in range(2)]
    for step in range(3):
        batches = [make_batch(10 * step + seed) for seed in range(2)]
        keys = [dropout_key(study_seed=1, seed=seed, step=step) for seed in range(2)] if drop else None
        inputs, labels = zip(*batches, strict=True)
        engine.compute_gradients(StepData(inputs, labels, (0, 1), keys))
        means = [0.9 * mean + 0.1 * x.mean(0) for mean, (x, _) in zip(means, batches, strict=True)]
    name = "0.mean" if drop else "mean"
    for row, mean in zip(rows.buffers, means, strict=True):
        assert list(row) == [name]
        torch.testing.assert_close(row[name], mean)
        assert not row[name].requires_grad


class _Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.linear(x), x


def of_first(outputs: tuple[Tensor, Tensor], labels: Tensor) -> Tensor:
    return cross_entropy(outputs[0], labels)


def test_models_may_return_several_tensors_but_not_in_bfloat16() -> None:
    workload = make_workload(loss=of_first, error=None)
    inputs, labels = make_batch()
    model, rows = initial_rows(_Two, study_seed=1, seeds=(0,), dtype=torch.float64, device=torch.device("cpu"))
    engine = make_engine("looped", model, rows, workload)
    engine.compute_gradients(StepData([inputs], [labels], (0,)))
    loss_T, error_T = engine.evaluate(inputs, labels)
    weight, bias = rows.theta_TP[0, :18].view(3, 6), rows.theta_TP[0, 18:]
    torch.testing.assert_close(loss_T[0], cross_entropy(linear(inputs, weight, bias), labels))
    assert error_T.isnan().all()
    reduced = make_engine("looped", model, rows, workload, precision="bfloat16")
    with pytest.raises(TypeError, match=r"model \(_Two\) returns a tuple; in bfloat16 it must return one tensor"):
        reduced.compute_gradients(StepData([inputs], [labels], (0,)))


def test_models_without_parameters_or_with_numbers_that_are_drawn_are_refused() -> None:
    cpu = torch.device("cpu")
    with pytest.raises(TypeError, match=r"the model \(Flatten\) has no parameters"):
        initial_rows(nn.Flatten, study_seed=1, seeds=(0,), dtype=torch.float64, device=cpu)

    def drawn() -> nn.Module:
        return Net(plain, setting("scale", lambda _: torch.rand(()).item()))

    with pytest.raises(TypeError, match=r"attribute 'scale' of the model itself \(Net\) is .* with one seed and"):
        initial_rows(drawn, study_seed=1, seeds=(0, 1), dtype=torch.float64, device=cpu)
