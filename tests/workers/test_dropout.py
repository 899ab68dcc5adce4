"""Counter-based dropout: Philox's known answers, and masks that hang on seeds, step, site and element alone."""

import copy
import itertools
import shutil

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from workers.dropout import CounterDropout, dropout_key, dropout_keys, philox4x32, replace_dropout
from workers.global_generators import find_hidden_randomness

KEY = dropout_key(study_seed=1, seed=2, step=3)

#: Random123's kat_vectors for philox4x32, 10 rounds: counter, key, answer.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def parse(words: str) -> list[int]:
    return [int(word, 16) for word in words.split()]


def philox_of_integers(counter: list[int], key: list[int]) -> list[int]:
    """The paper's definition in Python's unbounded integers."""
    x0, x1, x2, x3 = counter
    for round_number in range(10):
        k0, k1 = ((k + round_number * w) % 2**32 for k, w in zip(key, (0x9E3779B9, 0xBB67AE85), strict=True))
        high0, low0 = divmod(0xD2511F53 * x0, 2**32)
        high1, low1 = divmod(0xCD9E8D57 * x2, 2**32)
        x0, x1, x2, x3 = high1 ^ x1 ^ k0, low1, high0 ^ x3 ^ k1, low0
    return [x0, x1, x2, x3]


def with_key(model: nn.Module, key: Tensor = KEY) -> nn.Module:
    for name in dropout_keys(model):
        model.get_buffer(name).copy_(key)
    return model


def drop(p: float, key: Tensor, size: int = 1000, site: int = 0) -> Tensor:
    module = with_key(CounterDropout(p), key)
    module.site = site
    return module(torch.ones(size))


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_gives_random123s_known_answers(counter: str, key: str, answer: str) -> None:
    words = philox4x32(torch.tensor(parse(counter)), torch.tensor(parse(key)))
    assert words.tolist() == parse(answer)
    assert philox_of_integers(parse(counter), parse(key)) == parse(answer)


def test_philox_equals_its_definition_in_unbounded_integers() -> None:
    generator = torch.Generator().manual_seed(0)
    counter = torch.randint(2**32, (4, 300), generator=generator)
    key = torch.randint(2**32, (2,), generator=generator)
    expected = [philox_of_integers(column, key.tolist()) for column in counter.T.tolist()]
    assert philox4x32(counter, key).T.tolist() == expected


def test_a_mask_is_the_philox_words_of_block_site_and_key() -> None:
    p, size, site = 0.3, 11, 7
    key0, key1, high0, high1 = KEY.tolist()
    blocks = [philox_of_integers([block, site, high0, high1], [key0, key1]) for block in range(3)]
    words = [block[word] for word in range(4) for block in blocks][:size]
    expected = [1 / (1 - p) if word < 0.7 * 2**32 else 0.0 for word in words]
    torch.testing.assert_close(drop(p, KEY, size, site), torch.tensor(expected))


def test_the_key_is_32_bit_words_that_differ_with_every_argument() -> None:
    keys = [
        tuple(dropout_key(study_seed=study_seed, seed=seed, step=step).tolist())
        for study_seed, seed, step in itertools.product((0, 1, 2**64 - 1), (0, 1, 10**9), (0, 1, 2**40))
    ]
    assert len(set(keys)) == 27
    assert all(0 <= word < 2**32 for key in keys for word in key)
    assert dropout_key(study_seed=0, seed=0, step=0).dtype == torch.int64


@pytest.mark.parametrize("p", [0.0, 0.01, 0.1, 0.5, 0.9, 1.0])
def test_elements_stay_with_probability_one_minus_p_and_are_scaled(p: float) -> None:
    size = 200_000
    values = drop(p, KEY, size)
    kept = (values != 0).double().mean().item()
    assert abs(kept - (1 - p)) <= 5 * (p * (1 - p) / size) ** 0.5
    assert set(values.tolist()) <= {0.0, torch.tensor(1 / (1 - p)).item() if p < 1 else 0.0}


def test_masks_of_other_steps_seeds_sites_and_elements_are_independent() -> None:
    arguments = [(1, 2, 3, 0), (2, 2, 3, 0), (1, 3, 3, 0), (1, 2, 4, 0), (1, 2, 5, 0), (1, 2, 3, 1), (1, 2, 3, 65535)]
    size = 40_000
    masks = [
        drop(0.5, dropout_key(study_seed=study_seed, seed=seed, step=step), size, site)
        for study_seed, seed, step, site in arguments
    ]
    shifted = [masks[0].roll(shift) for shift in (1, 2, 3, 4, 8, size // 4, size // 2)]
    correlation = torch.corrcoef(torch.stack(masks + shifted)) - torch.eye(len(masks) + len(shifted))
    assert correlation.abs().max() < 5 / size**0.5


@pytest.mark.parametrize("p", [0.0, 0.4, 1.0])
def test_evaluation_is_the_identity(p: float) -> None:
    x = torch.arange(6.0)
    assert with_key(CounterDropout(p)).eval()(x) is x


def test_no_dropout_is_the_identity_and_full_dropout_is_zero() -> None:
    x = torch.tensor([1.0, -2.0, torch.inf, torch.nan], requires_grad=True)
    assert with_key(CounterDropout(0.0))(x) is x
    zeros = with_key(CounterDropout(1.0))(x)
    assert torch.equal(zeros, torch.zeros(4))
    zeros.sum().backward()
    assert not x.grad.any()


def test_gradients_pass_through_kept_elements_only() -> None:
    x = torch.linspace(-1, 1, 100, dtype=torch.float64, requires_grad=True)
    dropped = with_key(CounterDropout(0.3))(x)
    (gradient,) = torch.autograd.grad(dropped.sum(), x)
    torch.testing.assert_close(gradient, torch.where(dropped != 0, 1 / 0.7, 0.0).double())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (4,), (5, 3), (2, 3, 4, 5), (0, 3)])
def test_shape_and_dtype_stay_and_the_mask_does_not_hang_on_the_dtype(
    dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    module = with_key(CounterDropout(0.5))
    dropped = module(torch.ones(shape, dtype=dtype))
    assert dropped.shape == shape
    assert dropped.dtype == dtype
    assert torch.equal(dropped.double(), module(torch.ones(shape, dtype=torch.float64)))


def test_the_mask_does_not_hang_on_memory_format_threads_or_torchs_generator() -> None:
    module = with_key(CounterDropout(0.5))
    x = torch.ones(8, 16, 16, 16)
    dropped = module(x)
    assert torch.equal(dropped, module(x.to(memory_format=torch.channels_last)))
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(3 - threads if threads < 3 else 1)
    assert torch.equal(dropped, module(x))
    torch.set_num_threads(threads)
    assert torch.equal(before, torch.get_rng_state())


def test_a_forgotten_key_shows_as_nan() -> None:
    assert CounterDropout(0.5)(torch.ones(100)).isnan().any()


def test_an_impossible_probability_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1\.5; give a number from 0 to 1"):
        CounterDropout(1.5)


def test_in_place_dropout_changes_its_input() -> None:
    x = torch.ones(50)
    dropped = with_key(CounterDropout(0.5, inplace=True))(x)
    assert dropped is x
    assert torch.equal(x, drop(0.5, KEY, 50))


class Reused(nn.Module):
    """One dropout module used twice in a pass, as many models do."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.other = nn.Sequential(nn.Linear(64, 64), nn.Dropout(0.2), self.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Three passes through the same module."""
        return torch.stack((self.dropout(x), self.dropout(x), self.other(x)))


def test_every_plain_dropout_is_replaced_and_numbered_and_nothing_else() -> None:
    model = Reused()
    model.feature = nn.Dropout2d(0.5)
    model.other[1].eval()
    assert replace_dropout(model) is model
    assert isinstance(model.dropout, CounterDropout)
    assert model.other[2] is model.dropout
    assert type(model.feature) is nn.Dropout2d
    assert (model.dropout.p, model.other[1].p) == (0.5, 0.2)
    assert (model.dropout.training, model.other[1].training) == (True, False)
    assert (model.dropout.site, model.other[1].site) == (0, 1)
    assert dropout_keys(model) == ("dropout.dropout_key", "other.1.dropout_key")
    assert not any("dropout_key" in name for name in model.state_dict())


def test_a_model_that_is_a_dropout_is_replaced() -> None:
    model = replace_dropout(nn.Dropout(0.3))
    assert isinstance(model, CounterDropout)
    assert dropout_keys(model) == ("dropout_key",)
    x = torch.ones(50)
    with_key(model)
    assert torch.equal(model(x), model(x))


def test_a_module_used_twice_drops_other_elements_and_each_pass_starts_anew() -> None:
    model = with_key(replace_dropout(Reused()))
    x = torch.ones(300, 64)
    first = model(x)
    masks = (first[:2] != 0).double().flatten(1)
    assert abs(torch.corrcoef(masks)[0, 1]) < 5 / (300 * 64) ** 0.5
    assert torch.equal(first, model(x))
    with pytest.raises(RuntimeError):
        model(torch.ones(300, 63))
    assert torch.equal(first, model(x))


def test_replacing_twice_and_copying_change_nothing() -> None:
    model = with_key(replace_dropout(Reused()))
    x = torch.ones(3, 64)
    first = model(x)
    assert torch.equal(first, copy.deepcopy(model)(x))
    assert torch.equal(first, replace_dropout(model)(x))


def test_without_dropout_a_model_gets_no_hooks() -> None:
    model = replace_dropout(nn.Sequential(nn.Linear(2, 2)))
    assert dropout_keys(model) == ()
    assert not model._forward_hooks


def make_network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return replace_dropout(
            nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Dropout(0.5), nn.Linear(20, 20), nn.Dropout(0.1))
        ).double()


def test_a_run_under_vmap_has_the_bits_of_a_run_alone() -> None:
    model = make_network()
    x = torch.linspace(-1, 1, 30, dtype=torch.float64).view(5, 6)
    key_T4 = torch.stack([dropout_key(study_seed=0, seed=seed, step=9) for seed in range(4)])

    def forward(key: Tensor) -> Tensor:
        return functional_call(model, dict.fromkeys(dropout_keys(model), key), (x,))

    together = torch.vmap(forward)(key_T4)
    for row, key in enumerate(key_T4):
        alone = forward(key)
        assert torch.equal(together[row] != 0, alone != 0)
        torch.testing.assert_close(together[row], alone, rtol=0, atol=1e-15)
    assert not torch.equal(together[0] != 0, together[1] != 0)


@pytest.mark.parametrize(
    "backend",
    [
        "eager",
        pytest.param("inductor", marks=pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")),
    ],
)
def test_compiled_masks_have_the_same_bits(backend: str) -> None:
    model = replace_dropout(nn.Sequential(nn.Tanh(), nn.Dropout(0.3)))
    x = torch.linspace(-1, 1, 30, dtype=torch.float64).view(5, 6)

    def output(key: Tensor) -> Tensor:
        return functional_call(model, dict.fromkeys(dropout_keys(model), key), (x,))

    torch._dynamo.reset()
    compiled = torch.compile(output, backend=backend, fullgraph=True)
    for step in range(3):
        key = dropout_key(study_seed=0, seed=0, step=step)
        # A second graph would cost its compilation: passes must leave no count behind that a graph depends on.
        with torch.compiler.set_stance("default" if step == 0 else "fail_on_recompile"):
            values = compiled(key)
        assert torch.equal(values != 0, output(key) != 0)
        torch.testing.assert_close(values, output(key), rtol=0, atol=1e-15)


def test_a_replaced_model_draws_nothing() -> None:
    model = with_key(replace_dropout(nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5))))
    x = torch.linspace(-1, 1, 96).view(12, 8)
    assert find_hidden_randomness(model, lambda: model(x).sum().backward()) == ()


def test_in_a_replaced_transformer_attention_alone_still_draws() -> None:
    model = with_key(replace_dropout(nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)))
    x = torch.linspace(-1, 1, 96).view(3, 4, 8)
    found = find_hidden_randomness(model, lambda: model(x).sum().backward())
    assert found == ("layers.0.self_attn (MultiheadAttention)", "layers.1.self_attn (MultiheadAttention)")
    assert model.eval()(x).isfinite().all()
