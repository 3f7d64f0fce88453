"""toy.py: its exact quantities against independent calculations, its figures, and the effects that they are to show."""
import math
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import toy  # noqa: E402
from advantages import ESTIMATORS  # noqa: E402


def test_exact_max_of_a_bandit_equals_enumeration():
    rng = np.random.default_rng(0)
    pi, rewards = rng.dirichlet(np.ones(5)), np.sort(rng.standard_normal(5))
    for k in (1, 2, 3):
        outcomes = np.stack(np.meshgrid(*[np.arange(5)] * k), -1).reshape(-1, k)
        truth = pi[outcomes].prod(1) @ rewards[outcomes].max(1)
        assert toy.exact_max(pi, rewards, k) == pytest.approx(truth, abs=1e-14)


def test_exact_cliff_equals_the_analytic_mean_and_its_own_slope():
    theta, h = np.array([-0.1, 0.5, 0.95, 1.05]), 1e-4
    for k in (1, 4, 16):
        slope = (toy.exact_cliff(theta + h, k)[0] - toy.exact_cliff(theta - h, k)[0]) / (2 * h)
        np.testing.assert_allclose(toy.exact_cliff(theta, k)[1], slope, atol=1e-5)
    x = np.linspace(0, 1, 200_001)  # k = 1: int x^2 N(x; theta, SIGMA) dx
    density = np.exp(-((x - theta[:, None]) / toy.SIGMA) ** 2 / 2) / (toy.SIGMA * math.sqrt(2 * math.pi))
    np.testing.assert_allclose(toy.exact_cliff(theta, 1)[0], np.trapezoid(density * x**2, x, axis=1), atol=1e-6)


def test_moments_over_unordered_groups_equal_those_over_all_samples():
    pi = np.array([0.5, 0.2, 0.3])
    rewards = np.array([0.0, 1.0, 0.4])
    y = np.stack(np.meshgrid(*[np.arange(3)] * 4), -1).reshape(-1, 4)
    all_samples = toy.moments(ESTIMATORS["max_centred"](rewards[y], 2), y, pi[y].prod(1), pi)
    y, probability = toy.groups_of(pi, 4)
    assert len(y) == 15 and probability.sum() == pytest.approx(1)
    for a, b in zip(all_samples, toy.moments(ESTIMATORS["max_centred"](rewards[y], 2), y, probability, pi)):
        np.testing.assert_allclose(a, b, atol=1e-15)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """name of figure -> its lines; draws all of them."""
    out = tmp_path_factory.mktemp("toy")
    return out, {figure.__name__: figure(out) for figure in toy.FIGURES}


def test_every_figure_is_drawn_small_and_its_numbers_are_those_kept_in_results(numbers):
    out, lines = numbers
    kept = (ROOT / "results" / "toy" / "numbers.txt").read_text(encoding="utf-8").split("\n\n")
    for section, name in zip(kept, lines, strict=True):
        picture = (out / f"{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG") and 10_000 < len(picture) < 150_000
        title, *old = section.strip().split("\n  ")
        assert title == name
        for before, now in zip(old, lines[name], strict=True):
            assert toy_numbers(now) == pytest.approx(toy_numbers(before), rel=0.02, abs=0.02), name


def toy_numbers(line):
    """Numbers of a line, less the sizes of round-off, which differ between machines."""
    words = line.replace(",", " ").replace(";", " ").replace(":", " ").split()
    values = [float(word) for word in words if word.lstrip("-").replace(".", "", 1).replace("e-", "", 1).isdigit()]
    return [x for x in values if not 0 < abs(x) < 1e-9]


def after(line, *words):
    """The first number after these words, each sought after the one before."""
    for word in words:
        line = line[line.index(word) + len(word):]
    return float(line.replace(",", " ").replace(";", " ").split()[0])


def test_the_effects_of_the_papers_are_there(numbers):
    _, lines = numbers
    mean, best, biased = lines["tang_figure_1"]
    assert after(mean, "updates") > after(biased, "updates") > after(best, "updates")          # mean reward after 100
    assert after(mean, "pass@4 after 4000") < min(after(x, "pass@4 after 4000") for x in (best, biased))
    assert after(mean, "at KL 2", "pass@4") < min(after(x, "at KL 2", "pass@4") for x in (best, biased))
    tops = [after(line, "theta =") for line in lines["pkpo_figure_1"]]
    assert tops == sorted(tops) and tops[0] < 0.9 < 0.98 < tops[-1]  # larger k dares the cliff
    exact, variance = lines["pkpo_figure_4"]
    order = ("partition", "pkpo_s", "pkpo_s_loo", "pkpo_s_loo_minus_one")
    values = [after(variance.replace("n = 16:", ","), f", {name} ") for name in order]
    assert values == sorted(values, reverse=True) and after(exact, "within") < 4
    assert after(lines["off_policy"][0], "exact forms") < 1e-12 and after(lines["off_policy"][5], "exact forms") < 1e-12
    # maj@4, KL 0.1
    assert after(lines["off_policy"][8], "none") > 1 and after(lines["off_policy"][8], "loo 0.000,") < 1.5
    # the last of each: nearest the max
    way = {line.split(":")[0]: line for line in lines["between_mean_and_max"][1:10]}
    dense = {name: after(line, "non-zero advantages") for name, line in way.items()}
    assert dense["leave-p-out, p = n - k (max_leave_p_out; p = 0"] < 0.1
    baseline = [after(line, "|gradient|^2") for line in lines["between_mean_and_max"][10:]]
    assert baseline == sorted(baseline, reverse=True) and baseline[0] > 10 * baseline[-1]
    assert after(lines["off_policy"][3], "first") > 0.5
    sets, subsets = (after(lines["majority"][0], f"{name} ") for name in ("maj_loo", "maj_centred"))
    assert subsets < sets / 2
