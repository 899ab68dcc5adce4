"""The audit of a model before its first step: what the looped engine would train otherwise than ordinary code does.

The engine calls one module with each row's parameters and buffers in turn. Whatever else a run reads or writes is
shared by all rows, or lost; such models are refused by name.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from workers.dropout import dropout_keys
from workers.engines.forward import Forward
from workers.engines.rows import Buffers
from workers.global_generators import find_hidden_randomness
from workers.workloads.base import Workload

#: Examples of the batch that are tried: batch norm needs two, and few cost little.
_EXAMPLES = 8
#: Relative difference from ordinary code per type; what is smaller is rounding.
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
#: Attributes that every module has, and the list in which recurrent layers follow their own parameters.
_OWN = frozenset(vars(nn.Module())) | {"_flat_weights"}

_passed: set[Hashable] = set()
#: The tensors of each module by name.
_Kept = list[tuple[dict[str, Tensor | None], nn.Module]]


def audit(model: nn.Module, workload: Workload, inputs: Tensor, labels: Tensor, *, key: Hashable | None = None) -> None:
    """Refuse a model whose rows the looped engine would not train as ordinary code trains each of them.

    One training and one evaluation pass of a few examples, each through ``torch.func.functional_call`` and through the
    module itself, on the CPU, at parameters near those of ``model``: at its own, code that reads them past
    ``functional_call`` could not be told from code that does not. ``model`` is left as it was, in training mode.

    Args:
        model: For its code and its own parameters and buffers.
        workload: For its loss and error.
        inputs: A training batch, (B, ...).
        labels: Its labels, (B,) or (B, L).
        key: Names everything that the answer depends on: what passed once in this process is not tried again.

    Raises:
        TypeError: Names the workload, the module and what to do.
    """
    if key is not None and key in _passed:
        return
    examples = [part[:_EXAMPLES].to("cpu", copy=True) for part in (inputs, labels)]
    model.to("cpu")
    kept: _Kept = [({**module._parameters, **module._buffers}, module) for module in model.modules()]
    contents = [tensor.detach().clone() for tensors, _ in kept for tensor in tensors.values() if tensor is not None]
    try:
        problem = next(_problems(model, workload, *examples), None)
    finally:
        _put_back(kept, contents)
        model.to(inputs.device).train()
    if problem is not None:
        raise TypeError(f"the model of workload {workload.name!r} {problem}")
    if key is not None:
        _passed.add(key)


def _put_back(kept: _Kept, contents: list[Tensor]) -> None:
    """The tensors that the modules had, with what was in them; code may have put others into their places."""
    values = iter(contents)
    for tensors, module in kept:
        module._buffers.update({name: tensors[name] for name in module._buffers if name in tensors})
        for tensor in tensors.values():
            if tensor is not None:
                tensor.detach().copy_(next(values))


def _problems(model: nn.Module, workload: Workload, inputs: Tensor, labels: Tensor) -> Iterator[str]:
    yield from _unsupported(model)
    yield from _unregistered(model)
    parameters = [perturbed(parameter).requires_grad_() for parameter in model.parameters()]
    for training in (True, False):
        model.train(training)
        yield from _Trial(model, workload, parameters, inputs, labels).problems()


def _label(model: nn.Module, module: nn.Module) -> str:
    name = next(name for name, other in model.named_modules() if other is module)
    return f"{name or 'the model itself'} ({type(module).__name__})"


def _unsupported(model: nn.Module) -> Iterator[str]:
    """Layers and hooks that are known to work in another way here."""
    for module in model.modules():
        if getattr(module, "sparse", False) is True:
            yield f"has sparse gradients in {_label(model, module)}; leave out sparse=True"
        # It writes only where a norm is too large, which none need be in the examples tried.
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and module.max_norm is not None:
            yield (
                f"writes into its parameters in {_label(model, module)}, where the update rule does not see it; leave "
                "out max_norm"
            )
    for name, parameter in model.named_parameters():
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
            yield f"has a hook on parameter {name}, which would not be called; change the loss or the forward pass"


def _unregistered(model: nn.Module) -> Iterator[str]:
    """Tensors, generators and modules that functional_call does not replace: all rows would share one seed's."""
    registered = {id(tensor) for tensor in (*model.parameters(), *model.buffers(), *model.modules())}
    for module in model.modules():
        for attribute, value in vars(module).items():
            for item in () if attribute in _OWN else _items(value):
                if isinstance(item, (Tensor, torch.Generator, nn.Module)) and id(item) not in registered:
                    yield (
                        f"keeps a {type(item).__name__} in attribute {attribute!r} of {_label(model, module)}, which "
                        "all runs would share; use nn.Parameter, register_buffer or nn.ModuleList, a local variable if "
                        "it is computed anew in each pass (torch.nn.utils.parametrizations do so), and no generators"
                    )


def _items(value: object) -> Iterable[object]:
    """What is in a container, and in those within; else the value."""
    if not isinstance(value, (list, tuple, set, dict)):
        return [value]
    inner = value.values() if isinstance(value, dict) else value
    return [item for part in inner for item in _items(part)]


def _numbers(model: nn.Module) -> dict[tuple[nn.Module, str], str]:
    """Numbers among the attributes, also in lists and dictionaries, as text, in which NaN equals itself."""
    return {
        (module, attribute): repr([item for item in _items(value) if isinstance(item, (int, float))])
        for module in model.modules()
        for attribute, value in vars(module).items()
        # The shape of an input is a tuple, and kept by many models for a later layer of the same pass.
        if attribute not in _OWN and not isinstance(value, (str, tuple))
    }


def perturbed(tensor: Tensor) -> Tensor:
    """About 1 % beside ``tensor``, by amounts that differ from element to element and are the same every time."""
    # Computed on the CPU: every device then adds the same.
    waves = torch.arange(1, tensor.numel() + 1, dtype=torch.float64, device="cpu").cos().view(tensor.shape).to(tensor)
    return (tensor.detach() + 0.01 * (1 + tensor.detach().abs()) * waves).contiguous()


class _Ordinary(Forward):
    """The module as ordinary code calls it, with the same values in its own tensors."""

    def outputs(self, parameters: Sequence[Tensor], buffers: Buffers, inputs: Tensor) -> Tensor:
        own = dict(self._model.named_parameters()) | dict(self._model.named_buffers())
        with torch.no_grad():
            for name, value in (dict(zip(self._names, parameters, strict=True)) | buffers).items():
                own[name].copy_(value)
        outputs: Tensor = self._model(inputs)
        buffers.update(self._model.named_buffers())
        return outputs


class _Trial:
    """One pass through functional_call and one through the module, in the mode in which the model is."""

    def __init__(
        self, model: nn.Module, workload: Workload, parameters: list[Tensor], inputs: Tensor, labels: Tensor
    ) -> None:
        self._model = model
        self._workload = workload
        self._parameters = parameters
        self._names = [name for name, _ in model.named_parameters()]
        self._inputs, self._labels = inputs, labels
        self._buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
        self._buffers |= dict.fromkeys(dropout_keys(model), torch.arange(4))

    def problems(self) -> Iterator[str]:
        """What is wrong, the most telling first."""
        watched = {f"parameter {name}": tensor for name, tensor in zip(self._names, self._parameters, strict=True)}
        writes = _Writes(self._model, watched | {"its inputs": self._inputs, "its labels": self._labels})
        numbers = _numbers(self._model)
        found: dict[str, Tensor] = {}

        def run() -> None:
            found.update(self._run(Forward, self._parameters, writes))

        yield from self._randomness(find_hidden_randomness(self._model, run))
        for what, where in writes.found.items():
            yield f"writes into {what}, in {where}, which other passes then see; write into a copy (x.clone())"
        if self._inputs.requires_grad:
            yield "asks for gradients of its inputs, which runs share; use those of a copy"
        yield from self._changed_numbers(numbers)
        yield from _unregistered(self._model)
        if not self._model.training:
            yield from self._changed_buffers(found)
        yield from self._differences(found, self._run(_Ordinary, list(self._model.parameters())))

    def _run(self, kind: type[Forward], leaves: list[Tensor], watch: "_Writes | None" = None) -> dict[str, Tensor]:
        """Loss, buffers and, in training, gradients with respect to ``leaves``, by what they are called."""
        forward = kind(self._model, self._workload.loss, self._names)
        buffers = {name: buffer.clone() for name, buffer in self._buffers.items()}
        measure = forward if self._model.training else forward.for_evaluation(self._workload)
        with watch or nullcontext(), torch.set_grad_enabled(self._model.training):
            loss = measure(self._parameters, buffers, self._inputs, self._labels)
        grads = torch.autograd.grad(loss, leaves, materialize_grads=True) if self._model.training else ()
        results = {f"the gradient of parameter {name}": grad for name, grad in zip(self._names, grads, strict=False)}
        results |= {f"buffer {name}": buffer for name, buffer in buffers.items()}
        return results | {"the loss": loss.detach()}

    def _randomness(self, hidden: Sequence[str]) -> Iterator[str]:
        if hidden:
            yield (
                f"draws from a global random generator while it {'trains' if self._model.training else 'is evaluated'}"
                f", in {', '.join(hidden)}: its runs would depend on their company; use nn.Dropout, which is made "
                "counter-based, or layers without randomness (no F.dropout, no dropout inside nn.LSTM, nn.GRU or "
                "attention)"
            )

    def _changed_numbers(self, before: dict[tuple[nn.Module, str], str]) -> Iterator[str]:
        for (module, attribute), now in _numbers(self._model).items():
            if before.get((module, attribute), "[]") != now:
                yield (
                    f"changes attribute {attribute!r} of {_label(self._model, module)} in its forward pass, which all "
                    "runs would share; keep it in a buffer (register_buffer) or in a local variable"
                )

    def _changed_buffers(self, found: dict[str, Tensor]) -> Iterator[str]:
        for name, before in self._buffers.items():
            if not _equal(before, found[f"buffer {name}"]):
                yield (
                    f"changes buffer {name} while it is evaluated: its runs would depend on how often that happens; "
                    "change it only if self.training"
                )

    def _differences(self, found: dict[str, Tensor], ordinary: dict[str, Tensor]) -> Iterator[str]:
        grads = [grad for name, grad in ordinary.items() if name.startswith("the gradient") and grad.numel()]
        largest = max((float(grad.abs().nan_to_num(0.0, 0.0, 0.0).max()) for grad in grads), default=0.0)
        differing = [
            name
            for name, value in ordinary.items()
            if not _equal(found[name], value, scale=largest if name.startswith("the gradient") else 1.0)
        ]
        for name, value in ordinary.items():
            if name.startswith("buffer") and value.requires_grad:
                yield f"keeps a graph in {name}; detach what is written into it"
        if differing:
            yield (
                f"has another value of {', '.join(differing[:4])} when its parameters and buffers are replaced "
                f"(torch.func.functional_call), {'in training' if self._model.training else 'in evaluation'}: some "
                "module or hook takes them from elsewhere, recomputes them later (torch.utils.checkpoint) or keeps "
                "state of its own; read them as self.weight, self.l1.weight, … in forward, without copies in lists "
                "or closures"
            )


def _equal(left: Tensor, right: Tensor, *, scale: float = 0.0) -> bool:
    """Exactly so, NaN included, or up to rounding where ``scale`` is given."""
    if left.shape != right.shape:
        return False
    if not (left.is_floating_point() or left.is_complex()):
        return torch.equal(left, right)
    tolerance = _TOLERANCE.get(left.dtype, 1e-2) if scale else 0.0
    return torch.allclose(left, right.to(left.dtype), rtol=tolerance, atol=0.1 * tolerance * scale, equal_nan=True)


class _Writes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes operations that write into watched tensors, also those that leave the numbers as they are.

    Args:
        model: Its modules are followed through forward hooks, to say where.
        watched: Tensors by what they are called.

    Attributes:
        found: For each tensor that was written into, where.
    """

    supports_higher_order_operators = True

    def __init__(self, model: nn.Module, watched: dict[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._model = model
        self._names = {tensor.untyped_storage().data_ptr(): name for name, tensor in watched.items() if tensor.numel()}
        self._inside: list[str] = []
        self.found: dict[str, str] = {}

    def __enter__(self) -> Any:
        """Follow the modules, too."""
        self._hooks: list[Any] = []
        for name, module in self._model.named_modules():
            label = f"{name or 'the model itself'} ({type(module).__name__})"
            enter, leave = partial(self._enter, label), self._leave
            self._hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
        return super().__enter__()  # type: ignore[no-untyped-call]

    def _enter(self, label: str, *_: object) -> None:
        self._inside.append(label)

    def _leave(self, *_: object) -> None:
        self._inside.pop()

    def __exit__(self, *error: object) -> None:
        """Leave the modules."""
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for hook in self._hooks:
            hook.remove()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run ``func``, after a look at what it says that it writes into."""
        schema = getattr(func, "_schema", None)
        if schema is not None:
            values = {argument.name: value for argument, value in zip(schema.arguments, args, strict=False)}
            values |= kwargs or {}
            for argument in schema.arguments:
                if argument.alias_info is not None and argument.alias_info.is_write:
                    self._note(values.get(argument.name))
        return func(*args, **(kwargs or {}))

    def _note(self, written: object) -> None:
        for item in _items(written):
            if isinstance(item, Tensor):
                name = self._names.get(item.untyped_storage().data_ptr())
                if name is not None:
                    self.found.setdefault(name, self._inside[-1] if self._inside else "the loss or error")
