"""Known errors in listings and implementations of these estimators and metrics: input, wrong value and right value.

    python -m pytest tests/test_errata.py                  # ours give the right values, and the errors are what is said
    python tests/test_errata.py                            # the list
    python tests/test_errata.py mypackage.rl:advantages    # which of them a function of yours has

Every entry restates, in a few lines of ours from the formula, what was seen in the place and version named (summer 2026
where no date is given; some have been mended since). Your function is called as the entries of its kind call
theirs: f(rewards (P, n), k), f(rewards, k, log_ratio) or f(scores, votes, k), arrays of numpy or else tensors of torch.

Not restated: equations 14, 31 and 32 of the first versions of PKPO (2505.15201), which its later versions correct;
those forms are checked by enumeration in tests/test_advantages.py.
"""
import importlib
import itertools
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import advantages  # noqa: E402
from advantages import ESTIMATORS, hypergeometric_weights  # noqa: E402

REFUSED = "refused"  # the right answer where the input has none


class Erratum(NamedTuple):
    number: str
    where: str
    what: str
    kind: str  # how the function is called
    wrong: Callable
    right: Callable
    inputs: tuple
    wrong_value: object
    right_value: object
    measure: Callable = lambda f, *inputs: f(*inputs)  # what is compared


def C(a, b):
    return math.comb(a, b) if 0 <= b <= a else 0


def one_group(f):
    """A function of a list as a function of (P, n)."""
    return lambda rewards, k: np.array([f(list(row), k) for row in np.asarray(rewards)])


# ------------------------------------------------------------------------------------------- Bagirov et al. 2510.23393


def listing_3(rewards, k, log_ratio=None, batched=False):
    """First-order weights of (P, n) ascending rewards: the diagonal term w_ii, a column, is added to whole rows."""
    r = np.asarray(rewards, dtype=float)
    n, j = r.shape[1], np.arange(1, r.shape[1] + 1)
    later = np.triu(np.array([[C(b - 2, k - 2) for b in j] for _ in j], dtype=float), 1)
    weights = later + np.array([[C(a - 1, k - 1)] for a in j])
    if batched:  # (P, n) times (P, n, n): every prompt meets every prompt's weights
        return r @ np.repeat(weights.T[None], len(r), axis=0) / C(n, k)
    return r @ weights.T / C(n, k)


def one_plus_deltas(rewards, k, log_ratio):
    """k = n: the weight of the one set, 1 + the sum of the deltas instead of the product of the ratios."""
    return np.repeat((1 + np.expm1(log_ratio).sum(axis=1)) * rewards.max(axis=1), k).reshape(rewards.shape)


def error_against_product(f, rewards, k, log_ratio):
    """Root mean square of the relative error against the exact product."""
    return math.sqrt(np.mean((np.asarray(f(rewards, k, log_ratio)) / exact_product(rewards, k, log_ratio) - 1) ** 2))


def exact_product(rewards, k, log_ratio):
    return ESTIMATORS["bon_off_policy"](rewards, k, log_ratio=log_ratio)


DRIFT = 0.1 * np.random.default_rng(0).standard_normal((4000, 8))

# --------------------------------------------------------------------------------------------- PKPO and what ported it


def s(r, k):
    """PKPO eq. 19 by its definition."""
    sets = list(itertools.combinations(range(len(r)), k))
    return [sum(max(r[j] for j in I) for I in sets if i in I) / len(sets) for i in range(len(r))]


def listing_1(rewards, k):
    """s_loo_minus_one into an array of the rewards' type; the baseline is k / (n (k - 1)) x the others' s at k - 1."""
    out = np.zeros_like(rewards)
    for row, values in zip(np.asarray(rewards), out):
        n = len(row)
        for i in range(n):
            others = np.delete(row, i).tolist()
            share = sum(s(others, k - 1)) if k > 1 else 0.0
            with np.errstate(all="ignore"):
                values[i] = s(row.tolist(), k)[i] - np.float64(k) / (n * np.float64(k - 1)) * share
    return out


def s_loo_any_k(rewards, k):
    """s less the mean of the others' s as computed without i: at k = n the others hold no set, and 0 is subtracted."""
    return one_group(lambda r, k: [s(r, k)[i] - np.mean(s(r[:i] + r[i + 1:], k)) if k < len(r) else s(r, k)[i]
                                   for i in range(len(r))])(rewards, k)


def s_centred(rewards, k):
    values = one_group(s)(rewards, min(k, np.shape(rewards)[1]))
    return values - values.mean(axis=1, keepdims=True)


def less_mean_of_others(rewards, k):
    values = ESTIMATORS["pkpo_s_loo_minus_one"](rewards, k)
    n = values.shape[1]
    return values - (values.sum(axis=1, keepdims=True) - values) / (n - 1)


def gradient_factor(n, k, p):
    """measure: the expected gradient of n Bernoulli(p) rewards over the derivative of pass@k, k (1 - p)^(k - 1)."""
    def measure(f, *_):
        rewards = np.tril(np.ones((n + 1, n)), -1)
        score = np.where(rewards == 1, 1 / p, -1 / (1 - p))
        weight = [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
        return weight @ (np.asarray(f(rewards, k)) * score).sum(axis=1) / (k * (1 - p) ** (k - 1))
    return measure


def best_less_second_over_std(rewards, k):
    """k has no part; the best sample's lead over the second, divided by the group's (sample) standard deviation."""
    r = np.asarray(rewards, dtype=float)
    lead = np.zeros_like(r)
    top = np.sort(r, axis=1)
    lead[np.arange(len(r)), r.argmax(axis=1)] = top[:, -1] - top[:, -2]
    return lead / (r.std(axis=1, ddof=1, keepdims=True) + 1e-6)


def scores_but_the_best(rewards, k):
    values = np.array(rewards, dtype=float)
    for row in values:
        row[row.argmax()] -= np.sort(row)[-2]
    return values


def one_group_if_ragged(rewards, n, k):
    whole = len(rewards) % n == 0
    return ESTIMATORS["pkpo_s_loo_minus_one"](np.reshape(rewards, (-1, n) if whole else (1, -1)), k).ravel()


def groups_of_n(rewards, n, k):
    return ESTIMATORS["pkpo_s_loo_minus_one"](np.reshape(rewards, (-1, n)), k).ravel()


def only_zero_and_one_replaced(rewards, k):
    """Pass@k Training's two values for rewards 1 and 0; what is neither stays as it is."""
    r = np.asarray(rewards, dtype=float)
    n, right = r.shape[1], (r == 1).sum(axis=1, keepdims=True)
    rho = 1 - hypergeometric_weights(n, k, 0)[n - right]
    sigma = np.sqrt(rho * (1 - rho))
    fail = np.vectorize(lambda c: C(n - c - 1, k - 1) / C(n - 1, k - 1))(right)
    return np.where(r == 1, (1 - rho) / sigma, np.where(r == 0, (1 - rho - fail) / sigma, r))


# ------------------------------------------------------------------------------------------------------------- metrics


def any_of_the_best(scores, k):
    return (np.sort(scores, axis=1)[:, -k:] > 0).any(axis=1) * 1.0


def with_replacement(scores, k):
    """The value that a bootstrap with replacement tends to: E[max of k draws from the n samples]."""
    r = np.sort(np.asarray(scores, dtype=float), axis=1)
    share = (np.arange(r.shape[1] + 1) / r.shape[1]) ** k
    return r @ np.diff(share)


def sum_as_count(scores, k):
    """1 - prod_{i = n-c+1..n} (1 - k / i) with c = the sum of the scores, a fraction too."""
    return np.array([1.0 if len(r) - sum(r) < k else 1 - np.prod(1 - k / np.arange(len(r) - sum(r) + 1, len(r) + 1))
                     for r in np.asarray(scores, dtype=float)])


def first_seen_wins(scores, votes, k):
    """Majority over all k-subsets, "no answer" (-1) as an answer, the first seen of those that tie; only a 1 counts."""
    def subset(r, a, I):
        winner = Counter(a[i] for i in I).most_common(1)[0][0]
        return float(r[a.index(winner)] == 1)
    return np.array([np.mean([subset(r, a, I) for I in itertools.combinations(range(len(r)), k)])
                     for r, a in zip(np.asarray(scores).tolist(), np.asarray(votes).tolist())])


# ------------------------------------------------------------------------------------------------------------ training


def ratios_of_epochs(autocast_around):
    """The ratio to the first policy in three epochs of ascent on one action, under bfloat16 autocast."""
    import torch
    weights = torch.nn.Parameter(torch.tensor([[0.5], [-0.5]]))
    features, ratios, first = torch.ones(1, 1), [], None

    def epoch():
        nonlocal first
        logp = torch.nn.functional.linear(features, weights).float().log_softmax(1)[0, 0]
        first = logp.detach() if first is None else first
        ratios.append((logp.detach() - first).exp().item())
        gradient, = torch.autograd.grad(logp, weights)
        with torch.no_grad():
            weights.add_(gradient)

    context = torch.autocast("cpu", torch.bfloat16)
    if autocast_around == "step":  # copies in bfloat16 are cached until the context is left
        with context:
            for _ in range(3):
                epoch()
    else:
        for _ in range(3):
            with torch.autocast("cpu", torch.bfloat16):
                epoch()
    return ratios


def uses_own(name):
    return lambda rewards, k: ESTIMATORS[name](np.asarray(rewards, dtype=float), k)


QUARTERS = np.array([[0.0, 0.25, 0.5, 1.0]])
ONE_RIGHT = np.array([[1.0, 0.0, 0.0, 0.0]])
S, LOO_1 = uses_own("pkpo_s"), uses_own("pkpo_s_loo_minus_one")
ADVANTAGES, RATIOS = "f(rewards, k)", "f(rewards, k, log_ratio)"
RAGGED, METRIC, VOTES, UPDATE = "f(flat rewards, n, k)", "f(scores, k)", "f(scores, votes, k)", "f(where autocast is)"

ERRATA = [
    Erratum("1", "Bagirov et al. 2510.23393, listing 3", "the diagonal term is added to whole rows", ADVANTAGES,
            listing_3, S, (QUARTERS, 2), [[.2917, .5417, .75, .875]], [[.2917, .2917, .3333, .5]]),
    Erratum("2a", "the same listing", "(P, n) rewards times (P, n, n) weights", ADVANTAGES,
            lambda r, k: listing_3(r, k, batched=True), S, (np.repeat(QUARTERS, 3, axis=0), 2), (3, 3, 4), (3, 4),
            lambda f, *inputs: np.shape(f(*inputs))),
    Erratum("2b", "the same listing", "expects sorted rewards and gives values by rank", ADVANTAGES,
            lambda r, k: S(np.sort(r, axis=1), k), S, (QUARTERS[:, ::-1], 2),
            [[.2917, .2917, .3333, .5]], [[.5, .3333, .2917, .2917]]),
    Erratum("3", "the same paper", "called unbiased, keeps 1 + the sum of the deltas; sigma(log rho) = 0.1, n = k = 8",
            RATIOS, one_plus_deltas, exact_product, (np.ones((4000, 8)), 8, DRIFT), 0.0586, 0.0, error_against_product),
    Erratum("5", "PKPO 2505.15201, listing 1, as ported by several", "zeros_like of integer rewards truncates",
            ADVANTAGES, listing_1, LOO_1, (np.array([[0, 1, 0, 1]]), 2), [[0, 0, 0, 0]], [[0, 1 / 3, 0, 1 / 3]]),
    Erratum("6", "the same", "k = 1 of s_loo_minus_one divides 0 by 0", ADVANTAGES,
            listing_1, LOO_1, (QUARTERS, 1), [[math.nan] * 4], [[-.1458, -.0625, .0208, .1875]]),
    Erratum("7", "the same", "s_loo at k = n has no baseline, silently", ADVANTAGES,
            s_loo_any_k, uses_own("pkpo_s_loo"), (QUARTERS, 4), [[1.0] * 4], REFUSED),
    *[Erratum("8", "rllm, pull request 743", f"s centred over the group, k = {k}: expected gradient times 1 - k/n",
              ADVANTAGES, s_centred, LOO_1, (), 1 - k / 8, 1.0, gradient_factor(8, k, 0.3)) for k in (1, 2, 4, 7, 8)],
    Erratum("8", "rllm, pull request 743", "k is clamped to n", ADVANTAGES, s_centred, LOO_1, (QUARTERS, 9), [[0] * 4],
            REFUSED),
    *[Erratum("9", "maxrl repository, the PKPO arm", f"less the mean of the others' values, k = {k}, p = {p}: factor "
              "of the expected gradient", ADVANTAGES, less_mean_of_others, LOO_1, (), factor, 1.0,
              gradient_factor(8, k, p))
      for k, p, factor in ((4, 0.05, 1.022), (4, 0.7, 2.0), (8, 0.05, 1.053), (8, 0.7, 3.333))],
    *[Erratum("10", "verl and EasyR1, GRPO_PASSK", f"k = {k} has no part, divided by the std, p = {p}: factor of the "
              "expected gradient", ADVANTAGES, best_less_second_over_std, LOO_1, (), factor, 1.0,
              gradient_factor(8, k, p)) for k, p, factor in ((2, 0.02, 10.022), (4, 0.3, 1.3582), (2, 0.7, 0.0082))],
    Erratum("11", "EasyR1 before 2025-12-29 (issue 585)", "samples that are not the best keep their score", ADVANTAGES,
            scores_but_the_best, uses_own("max_loo"), (np.array([[0, .2, 1.0]]), 3), [[0, .2, .8]], [[0, 0, .8]]),
    Erratum("12", "TailRL experiments, a PKPO arm", "made for a sum, fed into a mean: 1/n too small", ADVANTAGES,
            lambda r, k: LOO_1(r, k) / np.shape(r)[1], LOO_1, (), 1 / 8, 1.0, gradient_factor(8, 4, 0.3)),
    Erratum("13", "PACEvolve", "a batch that is no multiple of n becomes one group", RAGGED,
            one_group_if_ragged, groups_of_n, (np.array([0, 1.0, 0, 0, 0, 1.0]), 4, 2),
            [0, .2667, 0, 0, 0, .2667], REFUSED),
    Erratum("14", "RUCAIBox, Passk_Training", "rewards of -1 stay as advantages", ADVANTAGES,
            only_zero_and_one_replaced, uses_own("pass_at_k_training"), (2 * ONE_RIGHT - 1, 2), [[1, -1, -1, -1]],
            REFUSED),
    Erratum("15", "a PKPO toy repository", "pass@k as 'any of the best k of all n is right'", METRIC,
            any_of_the_best, advantages.pass_at_k, (ONE_RIGHT, 2), [1.0], [0.5]),
    Erratum("16", "verl, best@k", "bootstrap with replacement", METRIC,
            with_replacement, advantages.max_at_k, (ONE_RIGHT, 4), [0.6836], [1.0]),
    Erratum("17a", "NeMo-RL, pass@k", "the sum of the scores counts as the number of right ones", METRIC,
            sum_as_count, advantages.pass_at_k, (np.array([[0.5, 0.5, 0.0, 0.0]]), 2), [0.5], REFUSED),
    Erratum("17b", "NeMo-RL, cons@k", "a vote for no answer can win", VOTES, first_seen_wins, advantages.maj_at_k,
            (np.array([[0, 0, 1.0]]), np.array([[-1, -1, 0]]), 3), [0.0], [1.0]),
    Erratum("17c", "NeMo-RL, cons@k, the case of its tests", "ties go to the first seen", VOTES, first_seen_wins,
            advantages.maj_at_k, (np.array([[1, 0, 1, 0, 1.0], [0, 1, 0, 1, 0.0]]),
                                  np.array([[0, 1, 0, 2, 0], [3, 0, 4, 0, 4]]), 3), 0.55, 0.6167,
            lambda f, *inputs: np.mean(np.asarray(f(*inputs)))),
    Erratum("18", "seen in several trainers", "autocast around all epochs: updates see the first weights", UPDATE,
            ratios_of_epochs, lambda _: ratios_of_epochs("epoch"), ("step",), [1.0, 1.0, 1.0], [1.0, 1.1262, 1.1885]),
]


def outcome(f, erratum):
    """What `f` gives: a value, or that it refused."""
    try:
        return erratum.measure(f, *erratum.inputs)
    except (ValueError, AssertionError, IndexError, RuntimeError):
        return REFUSED


def same(a, b):
    if a is REFUSED or b is REFUSED:
        return a is b
    return np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=2e-3, atol=2e-4, equal_nan=True)


def errata_of(function):
    """A line for each entry that calls its function as `function` can be called."""
    import torch

    def called(*inputs):
        try:
            return np.asarray(function(*inputs))
        except (TypeError, AttributeError):
            tensors = [torch.from_numpy(np.array(x)) if isinstance(x, np.ndarray) else x for x in inputs]
            return np.asarray(function(*tensors))
    for e in ERRATA:
        try:
            found = outcome(called, e)
        except TypeError:
            continue  # called in another way
        except Exception as error:
            yield f"{e.number:>3} fails      {e.what} ({e.where}): {type(error).__name__}: {error}"
            continue
        if found is not REFUSED and np.shape(found) not in (np.shape(e.wrong_value), np.shape(e.right_value)):
            continue  # an advantage for a metric, or the other way about
        verdict = "right" if same(found, e.right_value) else "THIS ERROR" if same(found, e.wrong_value) else "neither"
        found = found if found is REFUSED else np.round(found, 4).tolist()
        yield f"{e.number:>3} {verdict:10} {e.what} ({e.where}): {found}"


def main():
    if len(sys.argv) == 1:
        for e in ERRATA:
            print(f"{e.number:>3} {e.where}: {e.what}; {e.kind}: {e.wrong_value}, right: {e.right_value}")
    for name in sys.argv[1:]:
        module, _, attribute = name.partition(":")
        sys.path.insert(0, ".")
        try:
            function = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            sys.exit(f"{name}: expected MODULE:FUNCTION: {error}")
        print(*errata_of(function), sep="\n")


@pytest.mark.parametrize("erratum", ERRATA, ids=lambda e: f"{e.number} {e.what}"[:60])
def test_the_error_is_as_described_and_ours_is_right(erratum):
    assert same(outcome(erratum.wrong, erratum), erratum.wrong_value), outcome(erratum.wrong, erratum)
    assert same(outcome(erratum.right, erratum), erratum.right_value), outcome(erratum.right, erratum)
    assert not same(erratum.wrong_value, erratum.right_value)


def test_the_command_finds_the_errors_of_a_function():
    lines = {name: list(errata_of(f)) for name, f in (("listing_1", listing_1), ("centred", s_centred),
                                                      ("ours", ESTIMATORS["pkpo_s_loo_minus_one"]))}
    found = {name: {line.split()[0] for line in text if "THIS ERROR" in line} for name, text in lines.items()}
    assert found == {"listing_1": {"5", "6"}, "centred": {"8"}, "ours": set()}
    assert sum(" right " in line for line in lines["ours"]) >= 14


def test_the_command_takes_functions_of_torch_and_of_a_module(tmp_path):
    (tmp_path / "theirs.py").write_text(
        "def s(rewards, k):\n    top, best = rewards.sort(dim=1).values, rewards.argmax(1, keepdim=True)\n"
        "    return rewards.new_zeros(rewards.shape).scatter(1, best, top[:, -1:] - top[:, -2:-1])\n")
    command = [sys.executable, Path(__file__).resolve(), "theirs:s"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.split()[0] == "11"]
    assert "right" in line and "[[0.0, 0.0, 0.8]]" in line
    for wrong in ("nowhere:s", "theirs:t", "theirs", ":s"):
        done = subprocess.run([*command[:2], wrong], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and wrong in done.stderr, done.stderr
    listed = subprocess.run([sys.executable, Path(__file__).resolve()], capture_output=True, text=True)
    assert len(listed.stdout.splitlines()) == len(ERRATA)


if __name__ == "__main__":
    main()
