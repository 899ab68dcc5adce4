"""Adai and some of its rivals transcribed naively, one number at a time, for tests only."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any


def adai_step(
    theta: list[float],
    grads: Sequence[float],
    state: dict[str, list[float]],
    *,
    lr: float,
    beta0: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> None:
    """One step of Algorithm 2 of Xie et al. (ICML 2022) on one model, in place, in Python floats.

    Args:
        theta: All parameters of the model in one list.
        grads: Their gradients.
        state: Empty before the first step.
        lr: Learning rate, as the others in the paper's notation.
        beta0: Inertia sensitivity.
        beta2: Decay of the second moment.
        eps: Inertia bound.
        weight_decay: Weight decay.
        decoupled: AdaiW instead of Adai.
    """
    size = len(theta)
    if not state:
        state.update(t=[0.0], m=[0.0] * size, v=[0.0] * size, product=[1.0] * size)
    state["t"][0] += 1
    t = state["t"][0]
    g = list(grads)
    for i in range(size):
        if decoupled:
            theta[i] *= 1 - lr * weight_decay
        else:
            g[i] += weight_decay * theta[i]
        state["v"][i] = beta2 * state["v"][i] + (1 - beta2) * g[i] ** 2
    v_hat = [v / (1 - beta2**t) for v in state["v"]]
    v_bar = sum(v_hat) / size
    for i in range(size):
        mu = min(max(1 - beta0 * v_hat[i] / v_bar, 0.0), 1 - eps)
        state["product"][i] *= mu
        state["m"][i] = mu * state["m"][i] + (1 - mu) * g[i]
        theta[i] -= lr * state["m"][i] / (1 - state["product"][i])


def adabound_step(
    theta: list[float],
    grads: Sequence[float],
    state: dict[str, list[float]],
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    final_lr: float,
    gamma: float,
    amsbound: bool,
) -> None:
    """One step of Luo et al. (ICLR 2019), as the authors' code has it, in place, in Python floats.

    Args:
        theta: All parameters of the model in one list.
        grads: Their gradients.
        state: Empty before the first step.
        lr: Learning rate before bounds.
        beta1: Decay of the momentum.
        beta2: Decay of the second moment.
        eps: Added to the denominator.
        weight_decay: Weight decay, coupled.
        final_lr: What the bounds tend to.
        gamma: How fast they do.
        amsbound: Divide by the largest second moment so far.
    """
    t = _begin(state, len(theta))
    lower = final_lr * (1.0 - 1.0 / (gamma * t + 1.0))
    upper = final_lr * (1.0 + 1.0 / (gamma * t))
    for i, plain in enumerate(grads):
        g = plain + weight_decay * theta[i]
        _average(state, i, g, beta1, beta2)
        second = state["v_max"][i] if amsbound else state["v"][i]
        rate = lr * math.sqrt(1 - beta2**t) / (1 - beta1**t) / (math.sqrt(second) + eps)
        theta[i] -= min(max(rate, lower), upper) * state["m"][i]


def padam_step(
    theta: list[float],
    grads: Sequence[float],
    state: dict[str, list[float]],
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    partial: float,
    amsgrad: bool,
) -> None:
    """One step of Chen et al. (IJCAI 2020), as the authors' code has it, in place, in Python floats.

    Args:
        theta: All parameters of the model in one list.
        grads: Their gradients.
        state: Empty before the first step.
        lr: Learning rate.
        beta1: Decay of the momentum.
        beta2: Decay of the second moment.
        eps: Added to the root of the second moment.
        weight_decay: Weight decay, coupled.
        partial: Power of the second moment.
        amsgrad: Divide by the largest second moment so far.
    """
    t = _begin(state, len(theta))
    for i, plain in enumerate(grads):
        g = plain + weight_decay * theta[i]
        _average(state, i, g, beta1, beta2)
        second = state["v_max"][i] if amsgrad else state["v"][i]
        denominator = (math.sqrt(second) + eps) ** (2 * partial)
        theta[i] -= lr * math.sqrt(1 - beta2**t) / (1 - beta1**t) * state["m"][i] / denominator


def yogi_step(
    theta: list[float],
    grads: Sequence[float],
    state: dict[str, list[float]],
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    initial_accumulator: float,
) -> None:
    """One step of Zaheer et al. (NeurIPS 2018) with Adam's bias corrections, in place, in Python floats.

    Args:
        theta: All parameters of the model in one list.
        grads: Their gradients.
        state: Empty before the first step.
        lr: Learning rate.
        beta1: Decay of the momentum.
        beta2: How little the second moment moves.
        eps: Added to the denominator.
        weight_decay: Weight decay, coupled.
        initial_accumulator: Second moment before the first step.
    """
    t = _begin(state, len(theta), v=initial_accumulator)
    for i, plain in enumerate(grads):
        g = plain + weight_decay * theta[i]
        state["m"][i] = beta1 * state["m"][i] + (1 - beta1) * g
        if state["v"][i] > g * g:
            state["v"][i] -= (1 - beta2) * g * g
        elif state["v"][i] < g * g:
            state["v"][i] += (1 - beta2) * g * g
        m_hat = state["m"][i] / (1 - beta1**t)
        v_hat = state["v"][i] / (1 - beta2**t)
        theta[i] -= lr * m_hat / (math.sqrt(v_hat) + eps)


def adashift_step(
    theta: list[float],
    grads: Sequence[float],
    state: dict[str, list[list[float]]],
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    keep_num: int,
    reduce: str,
) -> None:
    """One step of AdaShift (Zhou et al., ICLR 2019) on one parameter tensor, as in the authors' first release.

    Args:
        theta: The tensor's elements, changed.
        grads: Their gradients.
        state: Empty before the first step.
        lr: Learning rate.
        beta1: Decay of the weights in the window.
        beta2: Decay of the second moment.
        eps: Added to the denominator.
        keep_num: n, the gradients in the window.
        reduce: ``max`` or ``mean`` over the tensor, or ``none``.
    """
    size = len(theta)
    if not state:
        state.update(g=[[0.0] * size for _ in range(keep_num)], v=[[0.0] * size], z=[[0.0] * size], b2p=[[0.0] * size])
    oldest = [g * g for g in state["g"][0]]
    phi = {"max": [max(oldest)] * size, "mean": [sum(oldest) / size] * size, "none": oldest}[reduce]
    state["g"] = [*state["g"][1:], list(grads)]
    (v,), (z,), (b2p,) = state["v"], state["z"], state["b2p"]
    weights = [beta1 ** (keep_num - 1 - i) for i in range(keep_num)]
    for k in range(size):
        v[k] = beta2 * v[k] + (1 - beta2) * phi[k]
        m = sum(s * g[k] for s, g in zip(weights, state["g"], strict=True)) / sum(weights)
        z[k] = 1.0 if v[k] > 0 or z[k] > 0 else 0.0
        b2p[k] = b2p[k] * beta2 * z[k] + (1 - z[k])
        # While z is 0, b2p is 1: the power starts to count when v is first above 0.
        theta[k] -= lr * z[k] * m / (math.sqrt(v[k] / max(1e-8, 1 - b2p[k])) + eps)


def cprop_scale(
    grads: Sequence[float], state: dict[str, list[Any]], *, beta: float, c: float, eps: float, cdf: str
) -> list[float]:
    """The scale of CProp (Preechakul and Kijsirikul, 2019) for each element, by the authors' biased means.

    Args:
        grads: Gradients.
        state: Empty before the first step.
        beta: Decay of the means.
        c: Factor of the scale.
        eps: Numerical guard, above 0.
        cdf: ``normal``, ``bft``, ``bfo`` or ``logistic``.
    """
    t = _begin(state, len(grads))
    scales = []
    exact_beta = Fraction(beta)
    for k, g in enumerate(map(Fraction, grads)):
        # Exact fractions: in floats, what is left of a variance of 0 is noise of 1e-17, whose root counts.
        m, v = Fraction(state["m"][k]), Fraction(state["v"][k])
        state["m"][k] = m + (1 - exact_beta) * (g - m)
        state["v"][k] = v + (1 - exact_beta) * (g * g - v)
        correction = 1 - exact_beta ** int(t)
        mean, square = state["m"][k] / correction, state["v"][k] / correction
        count = correction / (1 - exact_beta)
        se = math.sqrt((square - mean * mean) / (count - 1 + Fraction(eps))) + eps
        z = -float(mean) / se
        exponent = {
            "normal": 0.0,
            "bft": -0.07056 * z**3 - 1.5976 * z,
            "bfo": -1.702 * z,
            "logistic": float(mean) / (se * math.sqrt(3) / math.pi),
        }[cdf]
        probability = math.erfc(-z / math.sqrt(2)) / 2 if cdf == "normal" else 1 / (1 + math.exp(min(exponent, 700)))
        scales.append(min(2 * c * abs(probability - 0.5), 1.0))
    return scales


def _begin(state: dict[str, list[float]], size: int, v: float = 0.0) -> float:
    """The number of this step; moments are made before the first."""
    if not state:
        state.update(t=[0.0], m=[0.0] * size, v=[v] * size, v_max=[0.0] * size)
    state["t"][0] += 1
    return state["t"][0]


def _average(state: dict[str, list[float]], i: int, g: float, beta1: float, beta2: float) -> None:
    """Adam's moments of element ``i``, and the largest second moment so far."""
    state["m"][i] = beta1 * state["m"][i] + (1 - beta1) * g
    state["v"][i] = beta2 * state["v"][i] + (1 - beta2) * g * g
    state["v_max"][i] = max(state["v_max"][i], state["v"][i])
