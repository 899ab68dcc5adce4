"""A random forest over the unit cube, with draws that several forests can share."""

from collections.abc import Sequence

import numpy as np
from sklearn.tree import DecisionTreeRegressor

from study.report.observations import Bools, Floats

#: Points of a leaf at least.
_LEAST_IN_LEAF = 2
#: Share of the points that a bootstrap sample has: 1 - 1 / e.
_BOOTSTRAPPED = 0.632
#: Points of a sample at least, if a bootstrap sample had them.
_LEAST_DRAWN = 32


def draw_samples(points: int, trees: int, *, seed: int) -> Bools:
    """Which points each tree learns from, of shape (T, N): half of them, drawn without replacement.

    Half without replacement is as good as a bootstrap sample (Buja and Stuetzle 2006, "Observations on bagging"), and
    follows noise less closely. Of few points it is as many as a bootstrap sample has different ones.
    """
    size = max(points // 2, min(round(_BOOTSTRAPPED * points), _LEAST_DRAWN))
    generator = np.random.Generator(np.random.Philox(seed))
    order_TN = np.argsort(generator.random((trees, points)), axis=1, kind="stable")
    drawn_TN = np.zeros((trees, points), dtype=bool)
    np.put_along_axis(drawn_TN, order_TN[:, :size], values=True, axis=1)
    return drawn_TN


class Forest:
    """Trees over the places themselves; an axis that is not active stands at -1, which one split tells apart.

    Breiman 2001, "Random forests", with all axes tried at every split, but for the samples. Scikit-learn's own forest
    sets the warnings' filters of the whole process while it learns: nothing may where several threads compute.
    """

    def __init__(self, unit_ND: Floats, value_N: Floats, drawn_TN: Bools) -> None:
        """Learned from N points by T trees.

        Args:
            unit_ND: Places; NaN where an axis is not active.
            value_N: The number at each.
            drawn_TN: Which points each tree learns from, one at least.
        """
        self._places, self._value_N, self._drawn_TN = _single(unit_ND), value_N, drawn_TN
        self.trees: Sequence[DecisionTreeRegressor] = [
            DecisionTreeRegressor(min_samples_leaf=_LEAST_IN_LEAF, random_state=number).fit(
                self._places[drawn_N], value_N[drawn_N, None], check_input=False
            )
            for number, drawn_N in enumerate(drawn_TN)
        ]

    def predict(self, unit_MD: Floats) -> Floats:
        """See :class:`study.report.measures.surrogate.Model`."""
        return np.asarray(self._ask(_single(unit_MD)).mean(axis=0))

    def spread(self, unit_MD: Floats) -> Floats:
        """See :class:`study.report.measures.surrogate.Model`: the standard deviation over trees."""
        return np.asarray(self._ask(_single(unit_MD)).std(axis=0))

    def score_out_of_bag(self) -> float:
        """Coefficient of determination where each point is predicted by the trees that have not drawn it."""
        out_TN = ~self._drawn_TN
        known_N = out_TN.any(axis=0)
        total_N = np.where(out_TN, self._ask(self._places), 0.0).sum(axis=0)
        left_N = self._value_N[known_N] - total_N[known_N] / out_TN.sum(axis=0)[known_N]
        value_N = self._value_N[known_N]
        return 1.0 - float(np.sum(left_N**2)) / float(np.sum((value_N - value_N.mean()) ** 2))

    def _ask(self, places: Floats) -> Floats:
        return np.stack([tree.predict(places, check_input=False) for tree in self.trees])


def _single(unit_MD: Floats) -> Floats:
    """Places as trees hold them, in single precision."""
    return np.nan_to_num(unit_MD, nan=-1.0).astype(np.float32)
