"""Adai transcribed naively from the paper, one number at a time, for tests only."""

from collections.abc import Sequence


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
