"""Where training diverges: the fitted probability, and what the sentence says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic
from planned import FOUR
from simulated import BATCH, META_RATE, RATE, STEPS

from maml_sweep.analysis import divergence, frames
from maml_sweep.analysis.frames import Frames


def study(root: Path, **changes: Any) -> Frames:
    return frames.load(synthetic.make(root, **changes))


def beyond(product: float) -> Any:
    def diverges(values: Mapping[str, Any]) -> bool:
        return bool(values[RATE] * values[STEPS] > product)

    return diverges


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    """Sixty trials; those with α·S > 0.15 diverged."""
    return study(tmp_path_factory.mktemp("usual"), n_trials=60, diverge=beyond(0.15))


def table(lost: list[bool], **numbers: list[float]) -> pd.DataFrame:
    """As `trained` gives it."""
    keys = {"alpha": RATE, "beta": META_RATE, "steps": STEPS}
    columns = {keys[name]: values for name, values in numbers.items()}
    return pd.DataFrame({"slot": range(len(lost)), "diverged": lost} | columns)


# -- the fit --------------------------------------------------------------------------------------


def test_the_probability_tells_the_trials_apart(usual: Frames) -> None:
    fitted, trained = divergence.fit(usual), divergence.trained(usual)
    assert fitted is not None
    chance = fitted.probability({key: trained[key] for key in (RATE, META_RATE, STEPS)})
    lost = trained["diverged"].to_numpy()
    assert fitted.diverged == lost.sum() > 0 and fitted.trials == 60
    assert set(fitted.parameters) == {RATE, META_RATE, STEPS}
    assert chance[lost].min() > np.quantile(chance[~lost], 0.9)
    assert chance[lost].mean() > 0.5 > 10 * chance[~lost].mean()
    # The score equation of the free constant: the mean probability is the share that diverged.
    assert chance.mean() == pytest.approx(lost.mean(), abs=1e-5)


def test_the_product_is_what_matters(usual: Frames) -> None:
    """Divergence hangs on α·S, so log α and log S weigh about the same, β little."""
    fitted = divergence.fit(usual)
    assert fitted is not None
    weights = dict(zip(fitted.parameters, fitted.weights[1:] / fitted.scale, strict=True))
    assert weights[RATE] > 0 and weights[STEPS] == pytest.approx(weights[RATE], rel=0.5)
    assert abs(weights[META_RATE]) < 0.4 * weights[RATE]


def test_the_fit_solves_the_penalised_score_equations() -> None:
    """At the optimum Σ x (y - p) = w / sd², and Σ (y - p) = 0."""
    x = np.array([[-1.5, 0.2], [-0.5, -1.0], [0.5, 1.3], [1.5, -0.5]])
    y = np.array([0.0, 1.0, 0.0, 1.0])
    constant, *weights = divergence._logistic(x, y)
    p = 1 / (1 + np.exp(-(constant + x @ np.array(weights))))
    assert (y - p).sum() == pytest.approx(0, abs=1e-4)
    assert (y - p) @ x == pytest.approx(np.array(weights) / divergence._SD**2, abs=1e-4)


def test_perfect_separation_stays_finite(tmp_path: Path) -> None:
    space = {RATE: FOUR[RATE]}
    fitted = divergence.fit(study(tmp_path, n_trials=12, space=space,
                                  diverge=lambda values: values[RATE] > 0.02))  # fmt: skip
    assert fitted is not None and np.abs(fitted.weights).max() < 10
    assert fitted.parameters == (RATE,)


def test_numbers_broadcast_and_may_lack(usual: Frames) -> None:
    fitted = divergence.fit(usual)
    assert fitted is not None
    alpha, steps = np.geomspace(1e-3, 0.1, 7), np.array([[1.0], [5.0]])
    chance = fitted.probability({RATE: alpha, META_RATE: 0.001, STEPS: steps})
    assert chance.shape == (2, 7) and (np.diff(chance, axis=1) > 0).all()
    middle = dict(zip(fitted.parameters, np.exp(fitted.centre), strict=True))
    assert fitted.probability({}) == pytest.approx(fitted.probability(middle))


# -- nothing to fit -------------------------------------------------------------------------------

NOTHING: dict[str, tuple[dict[str, Any], str]] = {
    "no trial": ({"n_trials": 0}, ""),
    "waiting": ({"n_trials": 3, "states": "waiting"}, ""),
    "one": ({"n_trials": 1}, "It did not diverge."),
    "one diverged": ({"n_trials": 1, "states": "diverged"}, "The only trial diverged."),
    "all pruned": ({"n_trials": 6, "states": "pruned"}, "None of 6 trials diverged."),
    "all diverged": ({"n_trials": 6, "states": "diverged"}, "All 6 trials diverged."),
    "nothing tells": (
        {"n_trials": 8, "space": {BATCH: FOUR[BATCH]}, "states": {0: "diverged"}},
        "Training diverged in 1 of 8 trials.",
    ),
    "categorical": (
        {"n_trials": 8, "space": {"model.activation": "relu,tanh"}, "states": {0: "diverged"}},
        "Training diverged in 1 of 8 trials.",
    ),
}


@pytest.mark.parametrize("case", NOTHING)
def test_there_is_no_model_where_nothing_tells(tmp_path: Path, case: str) -> None:
    changes, words = NOTHING[case]
    odd = study(tmp_path, **changes)
    assert divergence.fit(odd) is None
    assert divergence.sentence(odd) == words


def test_branches_without_a_rate_are_left_out_of_the_fit(tmp_path: Path) -> None:
    groups = {"algorithm": {"maml": {RATE: FOUR[RATE]}, "other": {}}}
    odd = study(tmp_path, n_trials=30, space={BATCH: FOUR[BATCH]}, groups=groups,
                diverge=lambda values: values.get(RATE, 0.0) > 0.03)  # fmt: skip
    fitted = divergence.fit(odd)
    assert fitted is not None and fitted.parameters == (RATE,)
    assert fitted.trials == (odd.trials["branch"] == "maml").sum() < 30
    assert fitted.probability({RATE: 0.1}) > 0.5 > fitted.probability({RATE: 0.001})


# -- in words -------------------------------------------------------------------------------------


def threshold(words: str) -> float:
    return float(words.rpartition(" = ")[2].removesuffix("."))


def test_the_sentence_names_the_product(usual: Frames) -> None:
    """The trials' products leave a gap around 0.15; the number said lies in it."""
    words, trained = divergence.sentence(usual), divergence.trained(usual)
    lost = int(trained["diverged"].sum())
    assert words.startswith(f"Training diverged in {lost} of 60 trials, mostly above α·steps = 0.")
    product = trained[RATE] * trained[STEPS]
    assert ((product > threshold(words)) == trained["diverged"]).all()
    fitted = divergence.fit(usual)
    assert fitted is not None and fitted.sentence == words


def test_a_threshold_is_counted_by_hand() -> None:
    """α = 1 … 24; those above 18 diverged, and 3: the best split is between 18 and 19.

    The shares above differ by 6/7 - 0/17 there, by less elsewhere; √(18·19) = 18.49.
    """
    alpha = [float(x) for x in range(1, 25)]
    words = divergence._where(table([x == 3 or x > 18 for x in alpha], alpha=alpha))
    assert words.startswith(", mostly above α = ") and 18 < threshold(words) < 19


def test_no_threshold_where_divergence_is_scattered() -> None:
    alpha = [float(x) for x in range(1, 31)]
    assert divergence._where(table([x % 5 == 0 for x in alpha], alpha=alpha)) == ""
    assert divergence._where(table([True, False])) == ""


def test_chance_names_a_threshold_rarely() -> None:
    """Divergence at random in 8 of 40 trials."""
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(200):
        lost = (np.arange(40) < 8).tolist()
        drawn = {name: rng.random(40).tolist() for name in ("alpha", "beta", "steps")}
        found += divergence._where(table(lost, **drawn)) != ""
    assert found <= 8
