"""Counter-based dropout: masks that hang on the run's seeds, the step, the site and the element, and on nothing else.

``torch.nn.Dropout`` draws from torch's global generator, so a run's masks would hang on its company. Here a mask is
Philox4x32-10 (Salmon et al., SC 2011) of a key that the engine supplies as a buffer, in integer tensor operations:
the same bits on every device, eager or compiled, alone or under ``torch.vmap``.
"""

import torch
from torch import Tensor, nn

from workers.random import Purpose, random_words

_BITS_32 = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_INCREMENTS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
#: A site's number is below it; above it the counter word holds how often the site ran before in this forward pass.
_SITES = 1 << 16


def philox4x32(counter: Tensor, key: Tensor) -> Tensor:
    """Philox4x32-10 (Salmon et al., SC 2011, section 3.3; constants of the Random123 library).

    Args:
        counter: (4, ...) int64, each a 32-bit word from 0 to 2**32 - 1.
        key: (2,) int64, likewise.

    Returns:
        (4, ...) int64, 32-bit words.
    """
    word0, word1, word2, word3 = counter.unbind(0)
    key0, key1 = key.unbind(0)
    for _ in range(_ROUNDS):
        high0, low0 = _product(word0, _MULTIPLIERS[0])
        high1, low1 = _product(word2, _MULTIPLIERS[1])
        word0, word1, word2, word3 = high1 ^ word1 ^ key0, low1, high0 ^ word3 ^ key1, low0
        key0 = (key0 + _KEY_INCREMENTS[0]) & _BITS_32
        key1 = (key1 + _KEY_INCREMENTS[1]) & _BITS_32
    return torch.stack((word0, word1, word2, word3))


def _product(word: Tensor, multiplier: int) -> tuple[Tensor, Tensor]:
    """High and low 32 bits of a 64-bit product.

    Both multipliers exceed 2**31, so that the product would overflow int64, which C++ leaves undefined; less 2**32
    they do not, and the high half is then short by ``word``.
    """
    product = word * (multiplier - (1 << 32))
    return (product >> 32) + word, product & _BITS_32


def dropout_key(*, study_seed: int, seed: int, step: int) -> Tensor:
    """The key of one training step of one run: (4,) int64 words of 32 bits, to be put into every ``dropout_key``.

    A 128-bit Philox4x64-10 block of the arguments, so two steps share a key with probability 2**-128.

    Args:
        study_seed: The study's seed, 0 to 2**64 - 1.
        seed: The seed index of the run.
        step: Number of the training step in the run, from 0.
    """
    words = random_words(2, seed=study_seed, index=seed, purpose=Purpose.DROPOUT, step=step)
    return torch.tensor([half for word in words.tolist() for half in (word & _BITS_32, word >> 32)])


class CounterDropout(nn.Module):
    """Drop-in for ``torch.nn.Dropout``: zeroes elements with probability ``p`` and scales the rest by 1 / (1 - p).

    In training, an element's fate depends on ``dropout_key``, ``site``, ``call`` and its position in the input (by
    logical order, not memory format). Evaluation, and p = 0, give the input back.

    Attributes:
        dropout_key: Buffer (4,) int64, of :func:`dropout_key`; not saved with the model. The engine sets it before
            each step. Until then kept elements are NaN, so that a forgotten key cannot pass as dropout.
        site: Number of this module in its model, 0 to 65,535; set by :func:`replace_dropout`.
        call: How often this module ran before in this forward pass of the model; counted by :func:`replace_dropout`'s
            hooks, else 0.
    """

    dropout_key: Tensor

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"dropout probability is {p}; give a number from 0 to 1")
        self.p = p
        self.inplace = inplace
        self.site = 0
        self.call = 0
        self.register_buffer("dropout_key", torch.full((4,), -1), persistent=False)

    def extra_repr(self) -> str:
        """The arguments, as ``nn.Dropout`` shows them."""
        return f"p={self.p}, inplace={self.inplace}"

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name, which callers may use
        """``input`` (any shape, floating) with elements dropped; of the same shape and dtype."""
        if not self.training or self.p == 0.0:
            return input
        factor = 1.0 / (1.0 - self.p) if self.p < 1.0 else 0.0
        scale = torch.full((), factor, dtype=input.dtype, device=input.device)
        scale = scale.masked_fill(self.dropout_key[0] < 0, torch.nan)
        # Not a product with a mask: 0 * inf would be NaN.
        dropped = torch.where(self._keep(input), input * scale, 0.0)
        return input.copy_(dropped) if self.inplace else dropped

    def _keep(self, input: Tensor) -> Tensor:  # noqa: A002
        """Which elements stay, with probability 1 - p to within 2**-33."""
        blocks = -(-input.numel() // 4)
        block = torch.arange(blocks, device=input.device)
        place = torch.full_like(block, self.site + self.call * _SITES)
        key0, key1, high0, high1 = self.dropout_key.unbind(0)
        counter = torch.stack((block, place, high0.expand(blocks), high1.expand(blocks)))
        words = philox4x32(counter, torch.stack((key0, key1))).flatten()[: input.numel()]
        return (words < round((1.0 - self.p) * 2**32)).view(input.shape)


def replace_dropout(model: nn.Module) -> nn.Module:
    """Replace each ``nn.Dropout`` (exactly that type) in ``model`` by a CounterDropout, and number the sites.

    Sites are numbered in ``named_modules`` order, those that are CounterDropout already included, so doing it twice
    changes nothing. Hooks count how often a site runs in one forward pass of ``model`` itself: a module used twice
    drops different elements each time. Not for gradient checkpointing, whose second pass would be counted as more use.

    Args:
        model: Changed in place. Other modules that drop at random (nn.Dropout2d, nn.LSTM, nn.MultiheadAttention, …)
            are left; workers.global_generators.find_hidden_randomness names them.

    Returns:
        ``model``, or its replacement if it is an ``nn.Dropout`` itself.

    Raises:
        ValueError: More than 65,536 sites.
    """
    replacements: dict[nn.Module, CounterDropout] = {}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if type(module) is nn.Dropout:
            if module not in replacements:
                replacements[module] = CounterDropout(module.p, module.inplace).train(module.training)
            if not name:
                model = replacements[module]
            else:
                model.set_submodule(name, replacements[module])
    _number_sites(model)
    return model


def _number_sites(model: nn.Module) -> None:
    sites = [module for module in model.modules() if isinstance(module, CounterDropout)]
    if len(sites) > _SITES:
        raise ValueError(f"the model has {len(sites)} dropout modules; at most {_SITES} can be numbered: share some")
    for site, module in enumerate(sites):
        module.site = site
        if _count_call not in module._forward_hooks.values():
            module.register_forward_hook(_count_call)
    if sites and _restart_calls not in model._forward_hooks.values():
        model.register_forward_hook(_restart_calls, always_call=True)


def _count_call(site: CounterDropout, _inputs: object, _output: object) -> None:
    site.call += 1


def _restart_calls(model: nn.Module, _inputs: object, _output: object) -> None:
    for module in model.modules():
        if isinstance(module, CounterDropout):
            module.call = 0


def dropout_keys(model: nn.Module) -> tuple[str, ...]:
    """Names of the ``dropout_key`` buffers of ``model``, one per site, for ``torch.func.functional_call``."""
    return tuple(
        f"{name}.dropout_key".lstrip(".")
        for name, module in model.named_modules()
        if isinstance(module, CounterDropout)
    )
