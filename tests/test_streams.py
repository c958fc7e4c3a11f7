"""Counter-based randomness: pinned values, independence and the shape of the distributions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.tasks import Sinusoid

LANES, COUNT = 1000, 400

TRIAL_0_0 = 4653832624802233270
TRIAL_1_31 = 848949075017173724
WEIGHTS_5 = [563426011, 3455429204]
WORDS = [3245019658, 2105752796]


@pytest.fixture(scope="module")
def lanes() -> Any:
    """Streams as a program makes them: tasks of an iteration of a trial. uint32 [lane, 2]."""
    trial = tf.constant(streams.key("tasks", streams.trial_seed(0, 0)))[tf.newaxis]
    return streams.fold_in(streams.fold_in(trial, 7), tf.range(LANES)).numpy()


@pytest.fixture(scope="module")
def unit(lanes: np.ndarray) -> Any:
    """float64 [lane, draw], uniform in [0, 1)."""
    return streams.uniform(lanes, COUNT, tf.float64).numpy()


def mixed(x: int) -> int:
    """`lowbias32` in Python's integers."""
    x = (x ^ x >> 16) * 0x7FEB352D % 2**32
    x = (x ^ x >> 15) * 0x846CA68B % 2**32
    return x ^ x >> 16


def test_bits_are_two_rounds_of_the_mixer() -> None:
    high, low = 0x12345678, 0xFEDCBA98
    found = streams.bits(tf.constant([[high, low]], tf.uint32), 5).numpy()[0]
    assert found.tolist() == [mixed(mixed(c * 0x9E3779B9 % 2**32 ^ high) ^ low) for c in range(5)]


def test_folding_mixes_both_words() -> None:
    high, low, datum = 0x12345678, 0xFEDCBA98, 41
    first = mixed(high ^ mixed((datum + 0x9E3779B9) % 2**32))
    second = mixed(low ^ mixed((first + 0x85EBCA6B) % 2**32))
    assert streams.fold_in(tf.constant([high, low], tf.uint32), datum).numpy().tolist() == [
        first,
        second,
    ]


def test_seeds_are_pinned() -> None:
    """Recorded seeds must go on meaning the same data, on every machine and in every version."""
    assert streams.trial_seed(0, 0) == TRIAL_0_0
    assert streams.trial_seed(1, 31) == TRIAL_1_31
    assert streams.key("weights", 5).tolist() == WEIGHTS_5
    words = streams.bits(tf.constant(streams.key("tasks", TRIAL_0_0))[tf.newaxis], 2)
    assert words.numpy()[0].tolist() == WORDS


def test_seeds_lie_in_63_bits_and_differ() -> None:
    seeds = {streams.trial_seed(seed, slot) for seed in range(20) for slot in range(200)}
    assert len(seeds) == 4000
    assert min(seeds) >= 0
    assert 2**62 < max(seeds) < 2**63  # storage keeps signed 64-bit integers


def test_repeats_start_with_the_trials_own_seed() -> None:
    seeds = [streams.repeat_seed(17, repeat) for repeat in range(4)]
    assert seeds[0] == 17
    assert len(set(seeds)) == 4


def test_words_are_kept_apart() -> None:
    keys = [("a", 12), ("a", 1, 2), ("a1", 2), ("tasks", 1), ("weights", 1)]
    assert len({streams.key(*words).tobytes() for words in keys}) == len(keys)


def test_keys_of_lanes_iterations_and_trials_differ(lanes: np.ndarray) -> None:
    trials = np.stack([streams.key("tasks", streams.trial_seed(0, slot)) for slot in range(50)])
    folded = streams.fold_in(
        streams.fold_in(trials[:, None], tf.range(100))[:, :, tf.newaxis], tf.range(20)
    )
    keys = folded.numpy().reshape(-1, 2)
    assert len(np.unique(keys, axis=0)) == 50 * 100 * 20
    assert len(np.unique(lanes, axis=0)) == LANES


def test_draws_have_the_moments_of_a_uniform(unit: np.ndarray) -> None:
    """Mean ½ and variance 1/12, within five deviations of those of a sample of this size."""
    assert 0 <= unit.min() < unit.max() < 1
    assert abs(unit.mean() - 0.5) < 5 * math.sqrt(1 / 12 / unit.size)
    assert abs(unit.var() - 1 / 12) < 5 * math.sqrt(1 / 180 / unit.size)


def test_draws_fill_every_bin_alike(unit: np.ndarray) -> None:
    """Chi-square over 256 bins: mean 255 and deviation √510; also for every lane on its own."""
    counts = np.histogram(unit, 256, (0, 1))[0]
    statistic = np.sum((counts - unit.size / 256) ** 2) / (unit.size / 256)
    assert abs(statistic - 255) < 4 * math.sqrt(510)
    own = np.apply_along_axis(lambda row: np.histogram(row, 16, (0, 1))[0], 1, unit)
    statistics = np.sum((own - COUNT / 16) ** 2, axis=1) / (COUNT / 16)
    assert abs(statistics.mean() - 15) < 5 * math.sqrt(30 / LANES)
    assert statistics.max() < 55  # 1e-6 of a chi-square with 15 degrees of freedom


@pytest.mark.parametrize("lag", [1, 2, 7])
def test_neighbours_are_uncorrelated(unit: np.ndarray, lag: int) -> None:
    """Between lanes at one draw, and between draws of one lane: deviation 1/√n."""
    bound = 5 / math.sqrt(unit.size)
    assert abs(np.corrcoef(unit[:-lag].ravel(), unit[lag:].ravel())[0, 1]) < bound
    assert abs(np.corrcoef(unit[:, :-lag].ravel(), unit[:, lag:].ravel())[0, 1]) < bound


def test_iterations_and_trials_are_uncorrelated() -> None:
    trials = np.stack([streams.key("tasks", slot) for slot in range(40)])
    keys = streams.fold_in(trials[:, None], tf.range(50))  # [trial, iteration, 2]
    draws = streams.uniform(keys, 100, tf.float64).numpy() - 0.5
    bound = 5 / math.sqrt(draws.size) / 12
    assert abs(np.mean(draws[1:] * draws[:-1])) < bound
    assert abs(np.mean(draws[:, 1:] * draws[:, :-1])) < bound


def test_bits_change_half_where_a_bit_of_the_key_changes(lanes: np.ndarray) -> None:
    for word, bit in ((0, 0), (0, 31), (1, 0), (1, 17)):
        flipped = lanes.copy()
        flipped[:, word] ^= np.uint32(1 << bit)
        changed = streams.bits(lanes, 4).numpy() ^ streams.bits(flipped, 4).numpy()
        assert abs(np.unpackbits(changed.view(np.uint8)).mean() - 0.5) < 0.01


def test_both_precisions_draw_the_same(lanes: np.ndarray) -> None:
    single, double = (streams.uniform(lanes, 50, kind).numpy() for kind in (tf.float32, tf.float64))
    np.testing.assert_array_equal(single.astype(np.float64), double)
    single, double = (
        streams.truncated_normal(lanes, 50, k).numpy() for k in (tf.float32, tf.float64)
    )
    np.testing.assert_array_equal(single, double.astype(np.float32))


def test_both_precisions_draw_the_same_tasks(lanes: np.ndarray) -> None:
    task = Sinusoid(5, 7)
    single, double = (task.episodes("train", lanes, kind) for kind in (tf.float32, tf.float64))
    for a, b in zip(tf.nest.flatten(single), tf.nest.flatten(double), strict=True):
        assert a.dtype == tf.float32
        assert b.dtype == tf.float64
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_draws_of_more_begin_with_those_of_fewer(lanes: np.ndarray) -> None:
    few, many = streams.bits(lanes, 3).numpy(), streams.bits(lanes, 9).numpy()
    np.testing.assert_array_equal(few, many[:, :3])


def test_bounds_of_a_uniform(lanes: np.ndarray) -> None:
    draws = streams.uniform(lanes, COUNT, tf.float64, -3.0, 1.0).numpy()
    np.testing.assert_allclose(draws, 4 * streams.uniform(lanes, COUNT, tf.float64).numpy() - 3)
    assert -3 <= draws.min() < draws.max() < 1


def test_truncated_normal(lanes: np.ndarray) -> None:
    """Deviation one after the cut at two; its kurtosis tells it from a uniform (1.8).

    Of a standard normal cut at c = 2 with mass m = 0.9545 and density φ(2) = 0.05399, the
    variance is 1 - 2cφ/m = 0.77374 and the fourth moment 3·0.77374 - 2c³φ/m = 1.41614.
    """
    draws = streams.truncated_normal(lanes, COUNT, tf.float64).numpy()
    assert np.abs(draws).max() <= 2 / math.sqrt(0.77374) + 1e-4
    assert abs(draws.mean()) < 5 / math.sqrt(draws.size)
    assert abs(draws.var() - 1) < 5 * math.sqrt(1.37 / draws.size)
    assert np.mean(draws**4) == pytest.approx(1.41614 / 0.77374**2, abs=0.02)


def test_normal(lanes: np.ndarray) -> None:
    """Moments 0, 1, 0, 3, whose squares' variances are 1, 2, 15 and 96; and shares of quantiles."""
    draws = streams.normal(lanes, COUNT, tf.float64).numpy()
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        bound = 5 * math.sqrt(variance / draws.size)
        assert abs(np.mean(draws**power) - moment) < bound
    for quantile in (-3.0, -2.0, -1.0, -0.25, 0.0, 0.5, 1.5, 2.5):
        share = 0.5 * (1 + math.erf(quantile / math.sqrt(2)))
        bound = 5 * math.sqrt(share * (1 - share) / draws.size)
        assert abs(np.mean(draws < quantile) - share) < bound
    single = streams.normal(lanes, COUNT, tf.float32).numpy()
    np.testing.assert_array_equal(single, draws.astype(np.float32))


def test_normal_is_finite_at_the_ends_and_symmetric(monkeypatch: pytest.MonkeyPatch) -> None:
    """The outermost of 2**24 cells has its middle at 2**-25, the quantile of -5.4199..."""
    words = tf.constant([[0, 2**31 - 256, 2**31, 2**32 - 1]], tf.uint32)
    monkeypatch.setattr(streams, "bits", lambda keys, count: words)
    low, below, above, high = streams.normal(None, 4, tf.float64).numpy()[0]
    assert low == -high and below == -above and 0 < above < 1e-6
    assert 0.5 * math.erfc(high / math.sqrt(2)) == pytest.approx(2.0**-25, rel=1e-6)
    assert 5.41 < high < 5.42


# -- sine waves ----------------------------------------------------------------------------------


def test_sinusoid_examples_lie_on_their_wave(lanes: np.ndarray) -> None:
    """y = a sin x cos p - a cos x sin p: a fit of two numbers leaves nothing over."""
    episode = Sinusoid(10, 10).episodes("train", lanes, tf.float64)
    x, y = (np.concatenate([a, b], 1)[..., 0] for a, b in zip(*episode[:2], strict=True))
    amplitudes, phases = [], []
    for xs, ys in zip(x, y, strict=True):
        basis = np.stack([np.sin(xs), -np.cos(xs)], 1)
        (c, s), *_ = np.linalg.lstsq(basis, ys)
        np.testing.assert_allclose(basis @ [c, s], ys, atol=1e-10)
        amplitudes.append(math.hypot(c, s))
        phases.append(math.atan2(s, c))
    for values, low, high in ((amplitudes, 0.1, 5), (phases, 0, math.pi), (x, -5, 5)):
        assert low <= np.min(values) < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < np.max(values) <= high
        assert np.mean(values) == pytest.approx((low + high) / 2, abs=0.06 * (high - low))


def test_sinusoid_support_and_query_share_no_example(lanes: np.ndarray) -> None:
    episode = Sinusoid(10, 15).episodes("train", lanes, tf.float64)
    support, query = episode.support.x.numpy(), episode.query.x.numpy()
    assert support.shape == (LANES, 10, 1)
    assert query.shape == (LANES, 15, 1)
    assert np.abs(support - query.transpose(0, 2, 1)).min() > 0
    assert abs(np.corrcoef(support[:, 0, 0], query[:, 0, 0])[0, 1]) < 5 / math.sqrt(LANES)
