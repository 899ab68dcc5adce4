"""What our ``torch.optim.Optimizer`` classes share: checks, closures, precision, loading, the compiled step."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim.optimizer import Optimizer, ParamsT

from adai.compiled import library, why_unavailable
from adai.rules import UpdateRule, get_rule, is_verified
from adai.segments import Segments

#: Keys of a group that are true or false.
_FLAGS = {"maximize", "decoupled", "capturable", "running_v_bar", "amsgrad", "amsbound", "nesterov"}
_LOW_PRECISION = (torch.float16, torch.bfloat16)
Group = dict[str, Any]


class RuleOptimizer(Optimizer):
    """An update rule as a ``torch.optim.Optimizer``: each parameter tensor is stepped as one row of its own.

    A subclass names its rule, passes its arguments on, and writes its docstring::

        class AdaBound(RuleOptimizer):
            rule_name = "adabound"
            option_names = ("amsbound",)

            def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), ..., amsbound=False, *, maximize=False, fused=None):
                defaults = {"lr": lr, "betas": betas, ..., "amsbound": amsbound, "maximize": maximize, "fused": fused}
                super().__init__(params, defaults)

    A group's keys are the rule's hyperparameters (``betas`` stands for those in ``beta_names``), its options,
    ``maximize`` and ``fused``; each hyperparameter is checked against the rule's valid range. Every subclass gets:
    groups with their own values, closures that may call ``backward``, gradients that are never changed, parameters
    without a gradient skipped with their step count kept, float32 state for float16 and bfloat16 parameters,
    ``state_dict`` to and from any device and precision, and refusal of sparse and complex gradients before anything
    changes. A subclass whose hyperparameters are not the group's own values overrides :meth:`values_of`.

    State of a parameter: ``step`` (int64), and each field of the rule's state without its shape suffix (``m_TP`` is
    ``m``), elementwise ones in the parameter's shape.

    Attributes:
        rule_name: The rule, as :func:`adai.get_rule` knows it.
        option_names: Keys of a group that are options of the rule.
        beta_names: The hyperparameters that ``betas`` holds.
    """

    rule_name: ClassVar[str]
    option_names: ClassVar[tuple[str, ...]] = ()
    beta_names: ClassVar[tuple[str, ...]] = ("beta1", "beta2")

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        self._segments: dict[Any, Any] = {}
        self._kinds: dict[Any, tuple[UpdateRule, Any]] = {}
        self._check_group(defaults)
        super().__init__(params, defaults)

    def rule_of(self, group: Group) -> UpdateRule:
        """The rule of a group, in the variant that its options choose."""
        return self._kind_of(group)[0]

    def _kind_of(self, group: Group) -> tuple[UpdateRule, Any]:
        """A group's rule and the NamedTuple of its state, looked up once: torch.compile cannot follow a look-up."""
        key = tuple(group[name] for name in self.option_names)
        if key not in self._kinds:
            rule = self._find_rule(group)
            self._kinds[key] = rule, type(rule.init(torch.zeros(1, 1, device="cpu")))
        return self._kinds[key]

    def _find_rule(self, group: Group) -> UpdateRule:
        return get_rule(self.rule_name, **{name: group[name] for name in self.option_names})

    def values_of(self, group: Group) -> dict[str, Any]:
        """The hyperparameters of a group under the rule's names; numbers, or tensors of one element."""
        betas = dict(zip(self.beta_names, group["betas"], strict=True)) if "betas" in group else {}
        names = [h.name for h in self.rule_of(group).hyperparameters]
        return {name: betas[name] if name in betas else group[name] for name in names}

    def add_param_group(self, param_group: Group) -> None:
        """Add a group of parameters, with its own hyperparameters if given.

        Raises:
            TypeError: A hyperparameter is not a number.
            ValueError: A hyperparameter is out of its range; the optimizer is unchanged.
        """
        self._check_group({**self.defaults, **param_group})
        super().add_param_group(param_group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state made by :meth:`state_dict`, onto the parameters' device and into the state's precision.

        torch would cast float32 state to half precision with the parameters; in it an inertia of 0.999 may be 1.
        """
        given: dict[str, Any] = {}

        def keep(_: Optimizer, loaded: dict[str, Any]) -> None:
            given.update(loaded)
            group_of = {index: group for group in loaded["param_groups"] for index in group["params"]}
            for index, state in loaded["state"].items():
                missing = [name for name in self._state_names(group_of[index]) if name not in state]
                if state and missing:
                    raise ValueError(
                        f"{type(self).__name__}: the loaded state has no {', '.join(missing)}, only "
                        f"{', '.join(state)}; load a state of the same class and options"
                    )

        def restore(_: Optimizer) -> None:
            saved = [index for group in given["param_groups"] for index in group["params"]]
            own = [(group, parameter) for group in self.param_groups for parameter in group["params"]]
            for index, (group, parameter) in zip(saved, own, strict=True):
                for name, value in given["state"].get(index, {}).items():
                    self.state[parameter][name] = _loaded(name, value, group, parameter)

        # Between the user's own hooks: what they change before counts, and what they change after stays.
        before = self.register_load_state_dict_pre_hook(keep)
        after = self.register_load_state_dict_post_hook(restore, prepend=True)
        try:
            super().load_state_dict(state_dict)
        finally:
            before.remove()
            after.remove()

    def _state_names(self, group: Group) -> tuple[str, ...]:
        """What the state of every parameter of a group holds."""
        kind = self._kind_of({**self.defaults, **group})[1]
        return tuple(field_name(name) for name in kind._fields)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._segments = {}
        self._kinds = {}
        for group in self.param_groups:  # pickles and checkpoints of versions and classes that lack a key
            for name, value in self.defaults.items():
                group.setdefault(name, value)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step.

        Args:
            closure: Reevaluates the model and returns the loss; called with gradients enabled.

        Returns:
            What the closure returned, or None.

        Raises:
            RuntimeError: A gradient is sparse or complex, or ``fused=True`` and there is no compiled step for the
                parameters; nothing has changed.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._step_again():
            return loss
        work = [(group, p) for group in self.param_groups for p in group["params"] if p.grad is not None]
        # All gradients are checked before the first parameter changes.
        for _, parameter in work:
            check_gradient(type(self).__name__, parameter.grad)
        self._step(work)
        return loss

    def _step_again(self) -> bool:
        """Take the step if it can be done as the last one, without looking everything up; tell whether it was."""
        return False

    def _step(self, work: list[tuple[Group, Tensor]]) -> None:
        """Step these parameters, all of which have a gradient."""
        variants: dict[Any, list[tuple[Group, Tensor]]] = {}
        for group, parameter in work:
            options = tuple(group[name] for name in self.option_names)
            compiled = self._takes_kernel(group, parameter)
            variants.setdefault((compiled, options, parameter.dtype), []).append((group, parameter))
        for (compiled, *variant), members in variants.items():
            if compiled:
                self._step_compiled(tuple(variant), members)
            else:
                for group, parameter in members:
                    self._step_plainly(group, parameter)

    def _takes_kernel(self, group: Group, parameter: Tensor) -> bool:
        """Whether the compiled step is wanted and can be had.

        Raises:
            RuntimeError: ``fused=True`` and it cannot be had.
        """
        if group["fused"] is False or torch.compiler.is_compiling():
            return False
        reason = self._why_plain(group, parameter)
        if reason and group["fused"]:
            raise RuntimeError(f"{type(self).__name__}: fused=True cannot be had: {reason}; use fused=None or False")
        return not reason

    def _why_plain(self, group: Group, parameter: Tensor) -> str:
        """Why a parameter cannot be stepped by the kernel; empty if it can."""
        rule = self.rule_of(group)
        if rule.kernel is None:
            return f"{rule.name} has no compiled step"
        if parameter.device.type != "cpu":
            return f"it runs on the CPU, and a parameter is on {parameter.device}"
        if type(parameter) not in (Tensor, Parameter):
            return f"a parameter is a {type(parameter).__name__}, which may not lie in memory as a Tensor does"
        if not parameter.is_contiguous() or parameter.is_neg():
            return "a parameter is not contiguous, or a lazily negated view"
        if library(parameter.dtype) is None:
            return why_unavailable(parameter.dtype)
        grad = parameter.grad
        if grad is not None and (grad.dtype is not parameter.dtype or grad.shape != parameter.shape):
            return "a gradient has another precision or shape than its parameter"
        if not is_verified(rule, parameter.dtype):
            return "it does not compute on this machine what the rule says"
        return ""

    def _step_compiled(self, variant: Any, members: Sequence[tuple[Group, Tensor]]) -> None:
        """One call of the kernel for all parameters of one variant and precision."""
        rule = self.rule_of(members[0][0])
        kernel = rule.kernel
        assert kernel is not None  # noqa: S101 - narrows the type: _step asked
        segments = self.segments_of(variant, members, [field_name(name) for name in kernel.arrays])
        rows = [self.kernel_values(group) for group in self.param_groups]
        gradients = [parameter.grad for _, parameter in members]
        segments.run(kernel.function, kernel.option, gradients, rows, slots=kernel.slots)

    def kernel_values(self, group: Group) -> tuple[float, ...]:
        """A group's hyperparameters in the kernel's order, and whether it maximizes."""
        return (*map(float, self.values_of(group).values()), float(group["maximize"]))

    def segments_of(self, key: Any, members: Sequence[tuple[Group, Tensor]], arrays: Sequence[str]) -> Any:
        """The segments for ``members``, those of the last step where nothing that they point at has changed."""
        parameters = [parameter for _, parameter in members]
        states = [self._state_of(group, parameter) for group, parameter in members]
        place = {id(group): place for place, group in enumerate(self.param_groups)}
        groups = [place[id(group)] for group, _ in members]
        segments = self._segments.get(key)
        if segments is None or not segments.hold(parameters, states, groups):
            for (group, parameter), state in zip(members, states, strict=True):
                self._fit_state(group, parameter, state, arrays)
            segments = self._segments[key] = self.new_segments(parameters, states, groups, arrays)
        return segments

    def _fit_state(self, group: Group, parameter: Tensor, state: dict[str, Any], arrays: Sequence[str]) -> None:
        """Give the state the parameter's precision and order: the kernel sees addresses only, as if it had them.

        Raises:
            RuntimeError: It has another size, so that the kernel would write beyond its end.
        """
        sizes = self.state_sizes(group, parameter)
        for name in arrays:
            if state[name].numel() != sizes[name]:
                raise RuntimeError(
                    f"{type(self).__name__}: {name} in the state of a parameter of shape {tuple(parameter.shape)} has "
                    f"{state[name].numel()} elements instead of {sizes[name]}; delete its state, or load that of this "
                    "model"
                )
            state[name] = state[name].to(parameter).contiguous()

    def state_sizes(self, group: Group, parameter: Tensor) -> dict[str, int]:
        """How many elements each tensor of a parameter's state has."""
        shapes = self.rule_of(group).init(torch.empty(1, parameter.numel(), device="meta"))
        return {field_name(name): field.numel() for name, field in shapes._asdict().items()}

    def new_segments(
        self,
        parameters: Sequence[Tensor],
        states: Sequence[dict[str, Any]],
        groups: Sequence[int],
        arrays: Sequence[str],
    ) -> Any:
        """Where the kernel finds these parameters and their states."""
        return Segments(parameters, states, groups, arrays)

    def _step_plainly(self, group: Group, parameter: Tensor) -> None:
        """The rule's own update on the parameter as one row."""
        rule, state = self.rule_of(group), self._state_of(group, parameter)
        assert parameter.grad is not None  # noqa: S101 - narrows the type: step() left out those without
        grad = parameter.grad.to(state_dtype(parameter), copy=True)
        if group["maximize"]:
            grad.neg_()
        # Where it is not contiguous or of half precision this is a copy; what was computed is then copied back.
        theta_TP = parameter.detach().to(grad.dtype).reshape(1, -1)
        rows = _as_rows(self._kind_of(group)[1], state, parameter)
        values = {name: _row_value(value, parameter) for name, value in self.values_of(group).items()}
        rule.plain_update_(theta_TP, grad.reshape(1, -1), rows, values)
        if theta_TP.data_ptr() != parameter.data_ptr():
            parameter.copy_(theta_TP.view(parameter.shape))
        if hasattr(rows, "step_T"):
            state["step"].copy_(rows.step_T[0])

    def _state_of(self, group: Group, parameter: Tensor) -> dict[str, Any]:
        """The parameter's state, made if this is its first step."""
        state: dict[str, Any] = self.state[parameter]
        if not state:
            like = torch.zeros(1, parameter.numel(), dtype=state_dtype(parameter), device=parameter.device)
            state["step"] = step_tensor(0, group, parameter)
            for name, rows in self.rule_of(group).init(like)._asdict().items():
                if name != "step_T":
                    state[field_name(name)] = rows.view(parameter.shape) if name.endswith("_TP") else rows[0]
        return state

    def _check_group(self, group: Group) -> None:
        """Refuse a group with a value out of its range, by the name of the argument."""
        owner = type(self).__name__
        betas = group.get("betas", ())
        if "betas" in group and (not isinstance(betas, tuple | list) or len(betas) != len(self.beta_names)):
            raise ValueError(f"{owner}: betas must be ({', '.join(self.beta_names)}), not {betas!r}")
        for name in _FLAGS & group.keys():
            if not isinstance(group[name], bool):
                raise TypeError(f"{owner}: {name} must be True or False, not {group[name]!r}")
        if group["fused"] not in (None, True, False):
            raise TypeError(f"{owner}: fused must be True, False or None, not {group['fused']!r}")
        rule = self._find_rule(group)
        for name, value in self.values_of(group).items():
            place = f"betas[{self.beta_names.index(name)}] ({name})" if name in self.beta_names else name
            check_value(owner, place, value, rule.hyperparameter(name).bounds)


def check_value(owner: str, argument: str, value: Any, bounds: tuple[float, float, bool]) -> None:
    """Refuse a value outside ``(minimum, bound, whether the bound itself is allowed)``.

    Raises:
        TypeError: It is not a number.
        ValueError: It is out of range.
    """
    minimum, bound, included = bounds
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ValueError(f"{owner}: {argument} must be a number or a tensor of one element, not of {value.numel()}")
    if isinstance(value, bool | str) or not hasattr(value, "__float__"):
        raise TypeError(f"{owner}: {argument} must be a number, not {value!r}")
    number = float(value)
    if not (minimum <= number <= bound if included else minimum <= number < bound):
        upper = "finite" if math.isinf(bound) else f"at most {bound:g}" if included else f"below {bound:g}"
        raise ValueError(f"{owner}: {argument} must be at least {minimum:g} and {upper}, not {value!r}")


def state_dtype(parameter: Tensor) -> torch.dtype:
    """The precision of a parameter's state: its own, but float32 for half precision."""
    return torch.float32 if parameter.dtype in _LOW_PRECISION else parameter.dtype


def step_tensor(step: int, group: Group, parameter: Tensor) -> Tensor:
    """A step count: on the CPU, or beside the parameter where a CUDA graph shall capture the step."""
    return torch.tensor(step, dtype=torch.int64, device=parameter.device if group.get("capturable") else "cpu")


def field_name(name: str) -> str:
    """A field of a rule's state as a key of an optimizer's state: without the suffix that tells its shape."""
    return name.rpartition("_")[0]


def check_gradient(owner: str, grad: Tensor | None) -> None:
    """Refuse a gradient that our rules do not take.

    Raises:
        RuntimeError: It is sparse or complex.
    """
    assert grad is not None  # noqa: S101 - narrows the type: step() left out those without
    if grad.layout is not torch.strided:
        raise RuntimeError(f"{owner} does not support sparse gradients: use dense ones (sparse=False in Embedding)")
    if grad.is_complex():
        raise RuntimeError(f"{owner} does not support complex parameters: use torch.view_as_real")


def _loaded(name: str, value: Any, group: Group, parameter: Tensor) -> Any:
    if name == "step":
        return step_tensor(int(value), group, parameter)
    if not isinstance(value, Tensor):
        return value
    # A copy: the loaded optimizer must not share memory with the one that it was saved from.
    dtype = state_dtype(parameter) if value.is_floating_point() else value.dtype
    return value.detach().clone(memory_format=torch.contiguous_format).to(device=parameter.device, dtype=dtype)


def _row_value(value: Any, parameter: Tensor) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().to(device=parameter.device, dtype=torch.float64).reshape(1)
    return torch.full((1,), value, dtype=torch.float64, device=parameter.device)


def _as_rows(kind: Any, state: Mapping[str, Any], parameter: Tensor) -> Any:
    """The rule's state over one row, sharing memory with the parameter's state (the step count is a copy)."""
    rows = {}
    for name in kind._fields:
        value = state[field_name(name)]
        if name == "step_T":
            rows[name] = value.reshape(1).to(parameter.device, copy=True)
        else:
            rows[name] = value.reshape(1, -1) if name.endswith("_TP") else value.unsqueeze(0)
    return kind(**rows)
