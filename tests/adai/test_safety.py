"""Inputs that do not fit: refused by name, or computed as the plain rule does; never read or written out of bounds."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch.nn import Parameter

from adai import AdaBound, Adai, AdaiV2, AdaShift, CPropAdam, CPropSGD, Padam, UpdateRule, Yogi, get_rule, list_rules

ROOT = Path(__file__).parents[2]
CLASSES: dict[str, Callable[[list[Parameter]], torch.optim.Optimizer]] = {
    "AdaBound": AdaBound,
    "AdaShift": lambda p: AdaShift(p, keep_num=2),
    "Adai": lambda p: Adai(p, 0.1),
    "AdaiV2": lambda p: AdaiV2(p, 0.1, dampening=0.5),
    "CPropAdam": CPropAdam,
    "CPropSGD": lambda p: CPropSGD(p, 0.1),
    "Padam": Padam,
    "Yogi": Yogi,
}
every_class = pytest.mark.parametrize("name", CLASSES)


def defaults(rule: UpdateRule, rows: int) -> dict[str, Tensor]:
    return {h.name: torch.full((rows,), h.default, dtype=torch.float64) for h in rule.hyperparameters}


def with_gradient(values: Tensor, gradient: Tensor | None = None) -> Parameter:
    parameter = Parameter(values.clone())
    parameter.grad = torch.ones_like(values) if gradient is None else gradient.clone()
    return parameter


@pytest.mark.parametrize("name", list_rules())
@pytest.mark.parametrize("shape", [(1,), (3,), (4, 1), ()])
def test_hyperparameters_that_are_not_one_a_row_are_refused(name: str, shape: tuple[int, ...]) -> None:
    rule = get_rule(name)
    theta_TP = torch.zeros(4, 5)
    wrong = defaults(rule, 4) | {"lr": torch.ones(shape, dtype=torch.float64)}
    with pytest.raises(ValueError, match=rf"{name}: lr must have one value for each of 4 rows, not the shape"):
        rule.update_(theta_TP, torch.ones(4, 5), rule.init(theta_TP), wrong)
    assert not theta_TP.any()


@pytest.mark.parametrize("name", list_rules())
def test_rows_of_half_precision_are_refused(name: str) -> None:
    rule, theta_TP = get_rule(name), torch.zeros(2, 3, dtype=torch.float16)
    with pytest.raises(TypeError, match=rf"{name}: rows must be float32 or float64, not torch.float16"):
        rule.update_(theta_TP, theta_TP.clone(), rule.init(theta_TP), defaults(rule, 2))


@pytest.mark.parametrize("name", list_rules())
def test_the_last_row_may_be_dropped(name: str) -> None:
    rule, theta_TP = get_rule(name), torch.zeros(0, 3)
    rule.update_(theta_TP, theta_TP.clone(), rule.init(theta_TP), defaults(rule, 0))
    rule.plain_update_(theta_TP, theta_TP.clone(), rule.init(theta_TP), defaults(rule, 0))


@pytest.mark.parametrize("name", list_rules())
def test_a_rows_state_survives_pickling(name: str) -> None:
    rule, theta_TP = get_rule(name), torch.ones(2, 3)
    state = rule.init(theta_TP)
    rule.update_(theta_TP, torch.ones(2, 3), state, defaults(rule, 2))
    loaded = pickle.loads(pickle.dumps(state))  # noqa: S301 - our own
    assert type(loaded) is type(state)
    assert all(torch.equal(a, b) for a, b in zip(loaded, state, strict=True))


def test_a_state_whose_step_counts_became_floats_takes_the_plain_step() -> None:
    rule, theta_TP = get_rule("adam"), torch.ones(2, 5)
    state = rule.init(theta_TP)
    rule.update_(theta_TP, torch.ones(2, 5), state, defaults(rule, 2))
    floats = type(state)._make(tensor.double() for tensor in state)._replace(m_TP=state.m_TP, v_TP=state.v_TP)
    rule.update_(theta_TP, torch.ones(2, 5), floats, defaults(rule, 2))
    assert floats.step_T.tolist() == [2.0, 2.0]
    torch.testing.assert_close(theta_TP, torch.full((2, 5), 0.998))


@every_class
def test_the_default_device_of_torch_does_not_matter(name: str) -> None:
    after = []
    for device in ("meta", "cpu"):
        torch.set_default_device(device)
        try:
            parameter = with_gradient(torch.ones(10, device="cpu"))
            optimizer = CLASSES[name]([parameter])
            for _ in range(4):
                optimizer.step()
        finally:
            torch.set_default_device(None)
        after.append(parameter.detach())
    assert torch.equal(*after)
    assert not torch.equal(after[0], torch.ones(10, device="cpu"))


def test_a_gradient_that_was_made_smaller_in_place_is_refused() -> None:
    parameter = with_gradient(torch.zeros(1000))
    optimizer = Adai([parameter], lr=1.0)
    optimizer.step()
    assert parameter.grad is not None
    parameter.grad.data = torch.arange(2000.0)[:2]
    with pytest.raises(RuntimeError, match="size"):
        optimizer.step()


@every_class
def test_state_of_one_tensor_among_many_may_be_replaced(name: str) -> None:
    after = []
    for fused in (None, False):
        parameters = [with_gradient(torch.ones(3)) for _ in range(3)]
        optimizer = CLASSES[name](parameters)
        optimizer.param_groups[0]["fused"] = fused
        for step in range(4):
            if step == 2:
                state = optimizer.state[parameters[1]]
                key = next(key for key, value in state.items() if key != "step" and value.is_floating_point())
                state[key] = torch.full_like(state[key], 5.0)
            optimizer.step()
        after.append(torch.stack([p.detach() for p in parameters]))
    torch.testing.assert_close(*after)
    assert not torch.equal(after[0][0], after[0][1])


def test_what_a_hook_makes_of_a_loaded_state_counts() -> None:
    first = with_gradient(torch.zeros(3))
    saved = Yogi([first])
    saved.step()
    second = Parameter(torch.zeros(3))
    loaded = Yogi([second])

    def sevens(_: Any, state_dict: dict[str, Any]) -> dict[str, Any]:
        state = {**state_dict["state"][0], "m": torch.full((3,), 7.0)}
        return {**state_dict, "state": {0: state}}

    loaded.register_load_state_dict_pre_hook(sevens)
    loaded.register_load_state_dict_post_hook(lambda o: o.state[second].update(v=torch.full((3,), 9.0)))
    loaded.load_state_dict(saved.state_dict())
    assert loaded.state[second]["m"].tolist() == [7.0] * 3
    assert loaded.state[second]["v"].tolist() == [9.0] * 3


def test_a_checkpoint_that_lacks_something_is_refused_by_name_and_changes_nothing() -> None:
    parameter = with_gradient(torch.zeros(3))
    optimizer = Adai([parameter], 1.0)
    optimizer.step()
    saved = optimizer.state_dict()
    cut = {**saved, "state": {0: {key: v for key, v in saved["state"][0].items() if key != "beta1_prod"}}}
    with pytest.raises(ValueError, match="Adai: the loaded state has no beta1_prod, only step, exp_avg, exp_avg_sq"):
        optimizer.load_state_dict(cut)
    assert "beta1_prod" in optimizer.state[parameter]


@pytest.mark.parametrize("cdf", ["bft", "bfo", "logistic"])
@pytest.mark.parametrize("fused", [True, False])
def test_cprop_without_a_numerical_guard_is_certain_of_a_first_gradient(cdf: Any, fused: bool) -> None:
    parameter = with_gradient(torch.zeros(3), torch.tensor([1.0, -2.0, 0.0]))
    CPropSGD([parameter], lr=0.1, cprop_cdf=cdf, cprop_eps=0.0, fused=fused).step()
    torch.testing.assert_close(parameter.detach(), torch.tensor([-0.1, 0.2, 0.0]))


def test_sums_of_squares_beyond_float32_are_the_same_compiled_and_plain() -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(3, 1000, generator=generator) * 1e18
    compiled, plain = ([with_gradient(torch.zeros(1000))] for _ in range(2))
    for parameters, fused in ((compiled, True), (plain, False)):
        optimizer = Adai(parameters, lr=1e-18, fused=fused)
        for gradient in gradients:
            parameters[0].grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(compiled[0].detach(), plain[0].detach())


def test_groups_that_disagree_on_the_compiled_step_are_refused() -> None:
    first, second = with_gradient(torch.zeros(2)), with_gradient(torch.zeros(2))
    groups = [{"params": [first], "fused": True}, {"params": [second], "fused": False}]
    with pytest.raises(RuntimeError, match="all groups share one v_bar, and another group has fused=False"):
        Adai(groups, lr=1.0).step()
    assert not first.detach().any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: Adai(p, 1.0, betas=0.9), r"Adai: betas must be \(beta0, beta2\), not 0.9"),
        (lambda p: Adai(p, torch.ones(2)), "Adai: lr must be a number or a tensor of one element, not of 2"),
        (lambda p: Adai(p, 1.0, maximize="no"), "Adai: maximize must be True or False, not 'no'"),
        (lambda p: Adai(p, 1.0, fused="maybe"), "Adai: fused must be True, False or None, not 'maybe'"),
        (lambda p: Padam(p, amsgrad="no"), "Padam: amsgrad must be True or False, not 'no'"),
        (lambda p: Yogi(p, initial_accumulator="x"), "initial_accumulator must be at least 0 and finite, not 'x'"),
        (lambda p: AdaShift(p, keep_num=[3]), r"keep_num must be an integer of at least 1, not \[3\]"),
        (lambda p: AdaShift(p, keep_num=True), "keep_num must be an integer of at least 1, not True"),
        (lambda p: AdaShift(p, keep_num=10.0), "keep_num must be an integer of at least 1, not 10.0"),
    ],
)
def test_arguments_of_a_wrong_kind_are_refused_by_name_and_value(make: Callable[..., Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make([Parameter(torch.zeros(2))])


def test_a_learning_rate_that_is_a_tensor_of_one_element_moves_a_parameter_without_dimensions() -> None:
    parameter = with_gradient(torch.tensor(1.0))
    Adai([parameter], lr=torch.tensor([0.1]), fused=False, weight_decay=0.0).step()
    torch.testing.assert_close(parameter.detach(), torch.tensor(0.9))


def test_the_running_mean_is_taken_as_the_groups_say() -> None:
    optimizer = Adai([{"params": [with_gradient(torch.ones(9))], "running_v_bar": True}], lr=0.1)
    optimizer.step()
    optimizer.step()
    (segments,) = optimizer._segments.values()
    assert segments._v_bar_running[1] == 1


def in_a_process(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=variables, timeout=120, check=False
    )


def test_a_compiler_that_breaks_only_the_step_over_tensors_is_found_out(tmp_path: Path) -> None:
    compiler = tmp_path / "cc"
    broken = tmp_path / "broken.c"
    compiler.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = --version ]; then echo broken; exit; fi\n'
        f"sed 's/double v_bar = elements > 0 ? weighted/double v_bar = elements > 0 ? 3 * weighted/' "
        f"{ROOT}/adai/kernels.c > {broken}\n"
        f'for word; do shift; [ "$word" = {ROOT}/adai/kernels.c ] && word={broken}; set -- "$@" "$word"; done\n'
        'exec gcc "$@"\n'
    )
    compiler.chmod(0o755)
    program = """
import torch, warnings
from adai import Adai, get_rule
from torch.nn import Parameter
rule = get_rule("adai")
p = Parameter(torch.ones(50)); p.grad = torch.sin(torch.arange(50.0))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    Adai([p], 0.1).step()
    print(any("does not compute on this machine" in str(w.message) for w in caught))
print(rule.is_compiled_for(torch.zeros(1, 2), torch.zeros(1, 2)))
try:
    Adai([p], 0.1, fused=True).step()
except RuntimeError as error:
    print("fused=True cannot be had" in str(error))
"""
    result = in_a_process(program, CC=str(compiler), XDG_CACHE_HOME=str(tmp_path))
    assert result.stdout.split() == ["True", "True", "True"], result.stderr


@pytest.mark.parametrize(("cc", "works"), [("gcc -O1", True), ("/no/such/compiler -m64", False)])
def test_cc_may_have_arguments_and_is_named_where_it_does_not_exist(cc: str, works: bool, tmp_path: Path) -> None:
    program = "import torch; from adai.compiled import why_unavailable; print(why_unavailable(torch.float32))"
    result = in_a_process(program, CC=cc, XDG_CACHE_HOME=str(tmp_path))
    expected = "" if works else "CC is '/no/such/compiler -m64', and there is no program '/no/such/compiler'"
    assert result.stdout.strip().startswith(expected)
    assert (result.stdout.strip() == "") == works


@pytest.mark.filterwarnings("ignore::UserWarning:torch")  # Dynamo says what it does not record
@every_class
def test_torchs_compiler_takes_the_step_of_every_class(name: str) -> None:
    torch._dynamo.reset()
    traced, plain = with_gradient(torch.ones(5)), with_gradient(torch.ones(5))
    optimizer, twin = CLASSES[name]([traced]), CLASSES[name]([plain])
    counter = CompileCounter()
    step = torch.compile(optimizer.step, backend=counter)
    frames = []
    for _ in range(8):
        step()
        twin.step()
        frames.append(counter.frame_count)
    torch.testing.assert_close(traced.detach(), plain.detach())
    assert frames[2:] == [frames[2]] * 6, "no step after the third is compiled anew"
