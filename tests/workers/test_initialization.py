"""Counter-based initial weights: fixed by the seeds and the code, distributed as torch's own; nothing global moves."""

import hashlib
import itertools
import random
import subprocess
import sys
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from workers.global_generators import GeneratorStates
from workers.initialization import build_model, counter_based, midpoints
from workers.random import Purpose, random_words, uniform

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(60, 50),
    "conv1d": lambda: nn.Conv1d(20, 30, 5),
    "conv2d": lambda: nn.Conv2d(20, 30, 3),
    "transposed": lambda: nn.ConvTranspose2d(20, 30, 3),
    "batchnorm": lambda: nn.BatchNorm2d(8),
    "layernorm": lambda: nn.LayerNorm(8),
    "lstm": lambda: nn.LSTM(20, 30, num_layers=2),
    "gru": lambda: nn.GRU(20, 30, bidirectional=True),
    "embedding": lambda: nn.Embedding(100, 20),
    "attention": lambda: nn.MultiheadAttention(32, 4),
    "transformer": lambda: nn.TransformerEncoderLayer(32, 4, 64),
    "bilinear": lambda: nn.Bilinear(10, 10, 10),
    "spectral": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(20, 30)),
}
FILLS: dict[str, Callable[[Tensor], Tensor]] = {
    "uniform": lambda x: x.uniform_(-2, 5),
    "normal": lambda x: x.normal_(3, 0.5),
    "log_normal": lambda x: x.log_normal_(0.5, 0.7),
    "exponential": lambda x: x.exponential_(2.5),
    "cauchy": lambda x: x.cauchy_(1, 2),
    "geometric": lambda x: x.geometric_(0.3),
    "bernoulli": lambda x: x.bernoulli_(0.3),
    "bernoulli_of_tensor": lambda x: torch.bernoulli(torch.full_like(x, 0.3)),
    "bernoulli_by_tensor": lambda x: x.bernoulli_(torch.tensor(0.3)),
    "bernoulli_like": lambda x: torch.bernoulli(x, 0.3),
    "random_to": lambda x: x.random_(7),
    "random_from": lambda x: x.random_(-3, 7),
    "rand": lambda x: torch.rand(x.shape),
    "randn": lambda x: torch.randn(x.shape),
    "rand_like": torch.rand_like,
    "randn_like": torch.randn_like,
    "randint": lambda x: torch.randint(9, x.shape),
    "randint_low": lambda x: torch.randint(-4, 9, x.shape),
    "randint_like": lambda x: torch.randint_like(x, 9),
    "randint_like_low": lambda x: torch.randint_like(x, -4, 9),
    "randperm": lambda x: torch.randperm(x.numel()),
    "normal_of_floats": lambda x: torch.normal(1.0, 2.0, x.shape),
    "normal_of_means": lambda x: torch.normal(torch.full_like(x, 3.0), 2.0),
    "normal_of_stds": lambda x: torch.normal(3.0, torch.full_like(x, 2.0)),
    "normal_of_tensors": lambda x: torch.normal(torch.full_like(x, 3.0), torch.tensor(2.0)),
    "trunc_normal": lambda x: nn.init.trunc_normal_(x, std=2.0),
    "xavier": nn.init.xavier_normal_,
    "kaiming": nn.init.kaiming_uniform_,
    "orthogonal": nn.init.orthogonal_,
    "sparse": lambda x: nn.init.sparse_(x, 0.4),
    "dropout": lambda x: nn.functional.dropout(torch.ones_like(x), 0.3),
}


def build(factory: Callable[[], nn.Module], seed: int = 0) -> dict[str, Tensor]:
    return build_model(factory, study_seed=5, seed=seed).state_dict()


def draw(fill: Callable[[Tensor], Tensor], seed: int = 0, size: int = 100) -> Tensor:
    x = torch.zeros(size, size)
    with counter_based(study_seed=5, seed=seed):
        return fill(x)


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_starts_from_the_seeds_alone_whatever_was_drawn_before(layer: str) -> None:
    first = build(LAYERS[layer])
    torch.rand(3)
    assert equal(first, build(LAYERS[layer]))
    if layer not in {"batchnorm", "layernorm"}:
        assert not equal(first, build(LAYERS[layer], seed=1))


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_is_distributed_as_torchs_own(layer: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected = LAYERS[layer]().state_dict()
    for name, tensor in build(LAYERS[layer]).items():
        assert tensor.shape == expected[name].shape
        assert tensor.dtype == expected[name].dtype
        if len(expected[name].unique()) == 1:
            assert torch.equal(tensor, expected[name]), name
        else:
            assert stats.ks_2samp(tensor.flatten(), expected[name].flatten(), method="asymp").pvalue > 1e-3, name


@pytest.mark.parametrize("name", FILLS)
def test_a_random_call_is_distributed_as_torchs_own(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected = FILLS[name](torch.zeros(100, 100))
    values = draw(FILLS[name])
    assert values.shape == expected.shape
    assert values.dtype == expected.dtype
    assert values.isfinite().all()
    assert stats.ks_2samp(values.flatten(), expected.flatten(), method="asymp").pvalue > 1e-3


@pytest.mark.parametrize("name", FILLS)
def test_a_random_call_is_fixed_by_the_seeds(name: str) -> None:
    values = draw(FILLS[name])
    assert torch.equal(values, draw(FILLS[name]))
    assert not torch.equal(values, draw(FILLS[name], seed=1))


@pytest.mark.parametrize("name", FILLS)
def test_torchs_generator_is_not_touched(name: str) -> None:
    before = torch.get_rng_state()
    draw(FILLS[name])
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("fill", "distribution"),
    [
        ("uniform", stats.uniform(-2, 7)),
        ("normal", stats.norm(3, 0.5)),
        ("log_normal", stats.lognorm(0.7, scale=np.exp(0.5))),
        ("exponential", stats.expon(scale=0.4)),
        ("cauchy", stats.cauchy(1, 2)),
        ("normal_of_tensors", stats.norm(3, 2)),
        ("trunc_normal", stats.truncnorm(-1, 1, scale=2)),
    ],
)
def test_continuous_distributions_are_exact(fill: str, distribution: stats.rv_continuous) -> None:
    values = draw(FILLS[fill], size=400).flatten().double().numpy()
    assert stats.kstest(values, distribution.cdf).pvalue > 1e-3


def test_linear_layers_start_uniform_within_one_over_root_fan_in() -> None:
    widths = (12, 7, 5, 3)
    layers = [nn.Linear(*pair) for pair in itertools.pairwise(widths)]
    tensors = build(lambda: nn.Sequential(*[nn.Linear(*pair) for pair in itertools.pairwise(widths)]))
    assert len(tensors) == 2 * len(layers)
    for step, (name, tensor) in enumerate(tensors.items()):
        bound = widths[int(name[0])] ** -0.5
        unit = uniform(tensor.numel(), seed=5, index=0, purpose=Purpose.INITIAL_WEIGHTS, step=step)
        expected = torch.from_numpy(bound * (2.0 * unit - 1.0)).float().view_as(tensor)
        torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-7)


def test_normal_weights_are_quantiles_of_the_midpoints_of_two_to_the_52_intervals() -> None:
    with counter_based(study_seed=5, seed=3):
        torch.rand(4)  # call 0
        weight = nn.Embedding(6, 5, dtype=torch.float64).weight
    words = random_words(30, seed=5, index=3, purpose=Purpose.INITIAL_WEIGHTS, step=1)
    quantile = NormalDist().inv_cdf
    expected = [quantile(((int(word) >> 12) + 0.5) / 2**52) for word in words]
    torch.testing.assert_close(weight.flatten(), torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-14)


def test_the_most_extreme_words_give_finite_numbers() -> None:
    ends = torch.from_numpy(midpoints(np.array([0, 2**64 - 1], dtype=np.uint64)))
    assert ends.tolist() == [2.0**-53, 1 - 2.0**-53]
    for transformed in (torch.special.ndtri(ends), ends.log()):
        assert transformed.isfinite().all()
        assert transformed.all()


@pytest.mark.parametrize(
    ("dtype", "bits"), [(torch.float16, 10), (torch.bfloat16, 7), (torch.float32, 23), (torch.float64, 52)]
)
def test_uniform_numbers_stay_below_the_upper_end_when_they_are_rounded(dtype: torch.dtype, bits: int) -> None:
    step = 2.0**-bits
    with counter_based(study_seed=0, seed=0):
        values = torch.empty(1000, dtype=dtype).uniform_(1, 1 + 4 * step)
        narrow = torch.empty(1000, dtype=dtype).uniform_(1 - step)
        point = torch.empty(3, dtype=dtype).uniform_(3, 3)
    assert values.unique().tolist() == [1, 1 + step, 1 + 2 * step, 1 + 3 * step]
    assert narrow.unique().tolist() == [1 - step, 1 - step / 2]
    assert point.tolist() == [3, 3, 3]


def test_each_call_and_each_seed_has_numbers_of_its_own() -> None:
    def rows() -> Tensor:
        return torch.stack([torch.randn(4000) for _ in range(4)])

    numbers = []
    for study_seed, seed in itertools.product((0, 1), (0, 1)):
        with counter_based(study_seed=study_seed, seed=seed):
            numbers.append(rows())
    correlation = torch.corrcoef(torch.cat(numbers)) - torch.eye(16)
    assert correlation.abs().max() < 5 / 4000**0.5


def test_complex_numbers_are_torchs() -> None:
    with counter_based(study_seed=0, seed=0):
        normal = torch.empty(20000, dtype=torch.cfloat).normal_(3, 2)
        square = torch.rand(20000, dtype=torch.cfloat)
    for part, mean in ((normal.real, 3.0), (normal.imag, 0.0)):
        assert stats.kstest(part.numpy(), stats.norm(mean, 2**0.5).cdf).pvalue > 1e-3
    for part in (square.real, square.imag):
        assert stats.kstest(part.numpy(), stats.uniform.cdf).pvalue > 1e-3
    assert abs(np.corrcoef(square.real, square.imag)[0, 1]) < 0.03


def test_orthogonal_weights_are_orthogonal() -> None:
    weight = draw(lambda _: nn.init.orthogonal_(torch.empty(20, 20, dtype=torch.float64)))
    torch.testing.assert_close(weight @ weight.T, torch.eye(20, dtype=torch.float64))


def test_memory_format_changes_no_number() -> None:
    def filled(memory_format: torch.memory_format) -> Tensor:
        return nn.init.normal_(torch.empty(2, 3, 4, 5, memory_format=memory_format))

    assert torch.equal(draw(lambda _: filled(torch.channels_last)), draw(lambda _: filled(torch.contiguous_format)))


def hash_weights(threads: int) -> str:
    """Of a model that uses many kinds of random calls, built after torch's generator was seeded with ``threads``."""
    torch.set_num_threads(threads)
    torch.manual_seed(threads)
    model = build_model(
        lambda: nn.Sequential(
            nn.Linear(300, 400),
            nn.TransformerEncoderLayer(64, 4),
            nn.Embedding(300, 200),
            nn.LSTM(60, 70),
            nn.utils.parametrizations.orthogonal(nn.Linear(6, 6)),
        ),
        study_seed=2**64 - 1,
        seed=7,
    )
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())).hexdigest()


def test_weights_have_the_same_bits_in_another_process_and_with_other_threads() -> None:
    threads, states = torch.get_num_threads(), GeneratorStates.read()
    here = hash_weights(1)
    torch.set_num_threads(threads)
    states.restore()
    code = f"import runpy; print(runpy.run_path({__file__!r})['hash_weights'](2))"
    there = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert there.stdout == f"{here}\n"


def test_an_inner_context_has_its_own_numbers_and_costs_the_outer_one_none() -> None:
    with counter_based(study_seed=5, seed=0):
        expected = torch.rand(2, 3)
    with counter_based(study_seed=5, seed=1):
        first = torch.rand(3)
        with counter_based(study_seed=5, seed=0):
            inner = torch.stack([torch.rand(3), torch.empty(3).uniform_()])
            torch.randperm(4), torch.randint(3, (2,)), torch.rand_like(first), torch.normal(first, 1.0)
        second = torch.rand(3)
    with counter_based(study_seed=5, seed=1):
        assert torch.equal(first, torch.rand(3))
        assert torch.equal(second, torch.rand(3))
    assert torch.equal(inner[0], expected[0])


def test_an_exception_leaves_no_mode_behind() -> None:
    before = GeneratorStates.read()
    with pytest.raises(ZeroDivisionError), counter_based(study_seed=0, seed=0):
        torch.rand(1 // 0)
    torch.manual_seed(3)
    free = torch.rand(3)
    assert torch.equal(free, torch.rand(3, generator=torch.Generator().manual_seed(3)))
    before.restore()


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: torch.multinomial(torch.ones(4), 2), "aten.multinomial.default"),
        (lambda: torch.poisson(torch.ones(4)), "aten.poisson.default"),
        (lambda: torch.empty(4).random_(), "aten.random_.default"),
        (lambda: torch.empty(4).random_(1, None), "aten.random_.from"),
        (lambda: torch.rand(4, out=torch.zeros(4)), "aten.rand.out"),
        (lambda: torch.distributions.Gamma(1.0, 1.0).sample(), "aten._standard_gamma.default"),
        (lambda: torch.rand(4, generator=torch.Generator()), "aten.rand.generator"),
        (lambda: torch.empty(4).normal_(generator=torch.Generator()), "torch.Generator"),
    ],
)
def test_what_is_not_served_is_refused_by_name_and_draws_nothing(call: Callable[[], object], name: str) -> None:
    before = torch.get_rng_state()
    with pytest.raises(TypeError, match=name), counter_based(study_seed=0, seed=0):
        call()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    "call",
    [
        lambda: torch.empty(4).uniform_(2, 1),
        lambda: torch.empty(4).normal_(0, -1),
        lambda: torch.randint(3, 3, (4,)),
        lambda: torch.empty(4).bernoulli_(1.5),
        lambda: torch.bernoulli(torch.full((4,), 1.5)),
        lambda: torch.normal(0.0, -torch.ones(4)),
        lambda: torch.empty(4, dtype=torch.int64).normal_(),
        lambda: torch.empty(4, dtype=torch.int64).uniform_(),
        lambda: torch.randn(4, dtype=torch.int64),
    ],
)
def test_parameters_that_torch_refuses_are_refused(call: Callable[[], object]) -> None:
    with pytest.raises((RuntimeError, ValueError)):
        call()
    with pytest.raises((RuntimeError, TypeError, ValueError)), counter_based(study_seed=0, seed=0):
        call()


def test_operations_that_only_may_draw_are_let_through() -> None:
    query = torch.ones(1, 1, 4, 4)
    with counter_based(study_seed=0, seed=0):
        assert torch.equal(nn.functional.scaled_dot_product_attention(query, query, query), query)
        assert torch.equal(nn.functional.rrelu(query, training=False), query)


@pytest.mark.parametrize(
    ("drawing", "name"),
    [
        (lambda: np.random.rand(3), "numpy.random"),
        (lambda: np.random.seed(0), "numpy.random"),
        (lambda: random.gauss(0, 1), "random"),
        (lambda: torch.manual_seed(0), "torch"),
    ],
)
def test_other_global_generators_are_refused_by_name_and_put_back(drawing: Callable[[], object], name: str) -> None:
    def build() -> nn.Module:
        drawing()
        return nn.Linear(2, 2)

    before = GeneratorStates.read()
    with pytest.raises(TypeError, match=f"the global generator of {name};"):
        build_model(build, study_seed=0, seed=0)
    assert before.moved() == ()


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: torch.ones(2), TypeError, "returned Tensor"),
        (lambda: nn.LazyLinear(2), ValueError, "weight has no shape yet"),
        (lambda: nn.Linear(2, 2, device="meta"), ValueError, "weight was made on meta"),
        (lambda: nn.ParameterDict({"scale": nn.Parameter(torch.Tensor(3))}), ValueError, "scale holds NaN"),
        (lambda: nn.ParameterDict({"scale": nn.Parameter(torch.ones(3).new_empty(3))}), ValueError, "scale holds NaN"),
    ],
)
def test_what_is_no_initialized_model_on_the_cpu_is_refused(
    build: Callable[[], nn.Module], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build_model(build, study_seed=0, seed=0)


def test_models_are_built_in_float32_on_the_cpu_whatever_the_defaults() -> None:
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        weight = build_model(lambda: nn.Linear(2, 2), study_seed=0, seed=0).weight
        assert torch.get_default_dtype() == torch.float64
        assert torch.empty(1).device.type == "meta"
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert weight.dtype == torch.float32
    assert weight.device.type == "cpu"
    assert weight.requires_grad


def test_a_resnet_builds_and_learns() -> None:
    torchvision = pytest.importorskip("torchvision")
    model = build_model(lambda: torchvision.models.resnet18(num_classes=10), study_seed=0, seed=0)
    assert sum(parameter.numel() for parameter in model.parameters()) == 11_181_642
    model(torch.ones(2, 3, 32, 32)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
