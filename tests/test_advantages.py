"""advantages.py against enumeration: of all k-subsets in exact fractions, and of all outcomes of a small softmax policy."""
import itertools
import json
import math
import statistics
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import advantages  # noqa: E402
from advantages import DELTA_MAX, ESTIMATORS, USES_LOG_RATIO, USES_VOTES  # noqa: E402

# ------------------------------------------------------------------------------------------ the definitions, over all subsets


def best(rewards, votes):
    return max(rewards)


def majority(rewards, votes):
    """Reward of the majority answer, ties in expectation; all abstain: the mean."""
    counts = Counter(a for a in votes if a != -1)
    top = max(counts.values(), default=0)
    voters = [x for x, a in zip(rewards, votes) if not counts or counts[a] == top]
    return sum(voters) / Fraction(len(voters))


def definition(f, r, votes, rho, k):
    """By name, the exact advantages of one group for objective f as sums over subsets, all in fractions."""
    n = len(r)
    samples = range(n)
    C = math.comb(n, k)

    def f_of(subset):
        return f([r[i] for i in subset], [votes[i] for i in subset])

    def mean_over_subsets(of):
        subsets = list(itertools.combinations(of, k))
        return sum(map(f_of, subsets)) / Fraction(len(subsets))

    with_i = [[s for s in itertools.combinations(samples, k) if i in s] for i in samples]
    others = [[j for j in samples if j != i] for i in samples]
    weight = {s: math.prod(rho[i] for i in s) for s in itertools.combinations(samples, k)}

    def without(s, i):
        rest = [j for j in s if j != i]
        return f_of(rest) if rest else sum(r[j] for j in others[i]) / Fraction(n - 1)

    out = {"s": [sum(map(f_of, with_i[i])) / Fraction(C) for i in samples],
           "off_policy": [sum(weight[s] * f_of(s) for s in with_i[i]) / C for i in samples],
           "off_policy_loo_minus_one": [sum(weight[s] * (f_of(s) - without(s, i)) for s in with_i[i]) / C for i in samples],
           "loo_minus_one": [sum(f_of(s) - without(s, i) for s in with_i[i]) / Fraction(C) for i in samples]}
    if k < n:
        out["centred"] = [mean_over_subsets(samples) - mean_over_subsets(others[i]) for i in samples]
        s_without = [{j: sum(f_of(s) for s in itertools.combinations(others[i], k) if j in s) / Fraction(math.comb(n - 1, k))
                      for j in others[i]} for i in samples]  # s_j computed in y_-i
        out["s_loo"] = [out["s"][i] - sum(s_without[i].values()) / (n - 1) for i in samples]
        gain = {s: f_of(samples) - f_of([j for j in samples if j not in s]) for s in itertools.combinations(samples, n - k)}
        mean_gain = sum(gain.values()) / Fraction(len(gain))
        out["leave_p_out"] = [sum(g - mean_gain for s, g in gain.items() if i in s) / Fraction(math.comb(n - 1, n - k - 1))
                              for i in samples]
    if k == n:
        out["loo"] = [f_of(samples) - f_of(others[i]) for i in samples]
        out["loo_biased"] = [x - sum(out["loo"]) / n for x in out["loo"]]
    return out


BY_SUBSETS = {"pkpo_s": (best, "s"), "pkpo_s_loo": (best, "s_loo"), "pkpo_s_loo_minus_one": (best, "loo_minus_one"),
              "max_centred": (best, "centred"), "max_leave_p_out": (best, "leave_p_out"), "max_loo": (best, "loo"),
              "max_loo_biased": (best, "loo_biased"), "maj_loo": (majority, "loo"), "maj_loo_biased": (majority, "loo_biased"),
              "maj_loo_minus_one": (majority, "loo_minus_one"), "maj_centred": (majority, "centred"),
              "bon_off_policy": (best, "off_policy"), "bon_off_policy_loo_minus_one": (best, "off_policy_loo_minus_one")}
KINDS = {"normal": lambda rng, n: rng.standard_normal(n), "tied": lambda rng, n: rng.integers(0, 3, n) / 4,
         "binary": lambda rng, n: rng.integers(0, 2, n), "signed": lambda rng, n: rng.choice([-1.0, 1.0], n),
         "integer": lambda rng, n: rng.integers(-3, 9, n), "bool": lambda rng, n: rng.integers(0, 2, n) == 1,
         "all equal": lambda rng, n: np.full(n, 0.1)}


def fractions(x):
    return [Fraction(float(v)) for v in x]


@pytest.mark.parametrize("n", range(1, 9))
@pytest.mark.parametrize("kind", KINDS)
def test_every_subset_estimator_and_metric_equals_enumeration(kind, n):
    rng = np.random.default_rng(n)
    rewards = KINDS[kind](rng, n)
    votes = rng.integers(-1, 3, n)
    log_ratio = rng.uniform(-1, 1, n)
    r, a, rho = fractions(rewards), votes.tolist(), fractions(np.exp(log_ratio))
    for k in range(1, n + 1):
        if n > 1:
            exact = {f: definition(f, r, a, rho, k) for f in (best, majority)}
            for name, (f, which) in BY_SUBSETS.items():
                if which not in exact[f] or name == "maj_loo_minus_one" and k == 1:
                    with pytest.raises(ValueError, match=f"^{name}: k = {k} with n = {n}"):
                        ESTIMATORS[name](rewards[None], k, votes=votes[None])
                    continue
                got = ESTIMATORS[name](rewards[None], k, votes=votes[None], log_ratio=log_ratio[None])
                assert got.dtype == np.float64 and got.shape == (1, n)
                np.testing.assert_allclose(got[0], [float(x) for x in exact[f][which]], rtol=1e-12, atol=1e-12, err_msg=f"{name} k={k}")
        metrics = {"max_at_k": (advantages.max_at_k(rewards[None], k), best), "maj_at_k": (advantages.maj_at_k(rewards[None], votes[None], k), majority)}
        if kind in ("binary", "bool"):
            metrics["pass_at_k"] = advantages.pass_at_k(rewards[None], k), best
        for name, (got, f) in metrics.items():
            values = [f([r[i] for i in s], [a[i] for i in s]) for s in itertools.combinations(range(n), k)]
            assert got.shape == (1,) and abs(got[0] - float(sum(values) / len(values))) < 1e-12, name


# ------------------------------------------------------------------------------------------ the papers' formulas, one group at a time


def loops(n, k):
    """One group at a time, in plain Python, as the papers write it: name -> f(r, votes, rho), lists of n -> list of n advantages."""
    mean, exp = statistics.fmean, math.exp

    def C(a, b):
        return math.comb(a, b) if 0 <= b <= a else 0

    def without(y, i):
        return y[:i] + y[i + 1:]

    def centred(a):
        return [x - mean(a) for x in a]

    def z(a):
        return [x / statistics.pstdev(a) / n if max(a) > min(a) else 0.0 for x in centred(a)]

    def maj(r, votes):
        counts = Counter(a for a in votes if a != -1)
        return mean(x for x, a in zip(r, votes) if not counts or counts[a] == max(counts.values()))

    def best(r, votes):
        return max(r)

    def maj_at(r, votes):
        return mean(maj(*y) for y in zip(itertools.combinations(r, k), itertools.combinations(votes, k)))

    def ranked(f):  # f(i, sorted r, sorted rho) for ranks i = 1..n, given back in the order of the samples
        def advantages(r, votes, rho):
            order = sorted(range(len(r)), key=r.__getitem__)
            a = [0.0] * len(r)
            for i, sample in enumerate(order, start=1):
                a[sample] = f(i, [0.0] + [r[j] for j in order], [1.0] + [rho[j] for j in order])
            return a
        return advantages

    def s_rank(i, r, rho):
        m = len(r) - 1
        return (C(i - 1, k - 1) * r[i] + sum(C(j - 2, k - 2) * r[j] for j in range(i + 1, m + 1))) / C(m, k)

    s = ranked(s_rank)

    def first_order(i, r, rho):
        d = [min(max(x - 1, -DELTA_MAX), DELTA_MAX) for x in rho]
        w = [C(i - 1, k - 1) * (1 + d[i]) + C(i - 2, k - 2) * sum(d[1:i]) if j == i else
             C(j - 2, k - 2) * (1 + d[i] + d[j]) + C(j - 3, k - 3) * (sum(d[1:j]) - d[i]) for j in range(i, n + 1)]
        return sum(x * y for x, y in zip(w, r[i:])) / C(n, k)

    def by_subsets(f, r, votes, rho, baseline):
        a = [0.0] * n
        for subset in itertools.combinations(range(n), k):
            value, weight = f([r[j] for j in subset], [votes[j] for j in subset]), math.prod(rho[j] for j in subset) / C(n, k)
            for i in subset:
                rest = [j for j in subset if j != i]
                a[i] += weight * (value - (f([r[j] for j in rest], [votes[j] for j in rest]) if baseline else 0.0))
        return a

    def leave_p_out(r, votes, rho):
        gain = {out: max(r) - max(r[j] for j in range(n) if j not in out) for out in itertools.combinations(range(n), n - k)}
        base = mean(gain.values())
        return [sum(g - base for out, g in gain.items() if i in out) / C(n - 1, n - k - 1) for i in range(n)]

    def entropic_loop(r, votes, rho):
        low, high = 0.0, 1e6
        for _ in range(64):
            beta = (low + high) / 2
            e = [exp(beta * (x - max(r))) for x in r]
            kl = sum(x / sum(e) * math.log(n * x / sum(e)) for x in e if x > 0)
            low, high = (beta, high) if kl < math.log(2) else (low, beta)
        e = [exp(low * (x - max(r))) for x in r]
        return [(e[i] / mean(without(e, i)) - 1) / n for i in range(n)]

    def pass_training(r, votes, rho):
        c = int(sum(r))
        p = 1 - C(n - c, k) / C(n, k)
        lost = C(n - c - 1, k - 1) / C(n - 1, k - 1) if c < n else 0.0
        return [(1 - p - (x == 0) * lost) / (n * math.sqrt(p * (1 - p))) if 0 < p < 1 else 0.0 for x in r]

    def maclaurin(r, votes, rho):
        c = int(sum(r))
        return [1 / n if x else -sum(C(n - c - 1, t - 1) / C(n - 1, t - 1) for t in range(2, min(k, n - c) + 1)) / n for x in r]

    return {
        "rloo": lambda r, v, q: [(r[i] - mean(without(r, i))) / n for i in range(n)],
        "grpo": lambda r, v, q: z(r),
        "dr_grpo": lambda r, v, q: [x / n for x in centred(r)],
        "max_loo": lambda r, v, q: [max(r) - max(without(r, i)) for i in range(n)],
        "max_loo_biased": lambda r, v, q: centred([max(r) - max(without(r, i)) for i in range(n)]),
        "maj_loo": lambda r, v, q: [maj(r, v) - maj(without(r, i), without(v, i)) for i in range(n)],
        "maj_loo_biased": lambda r, v, q: centred([maj(r, v) - maj(without(r, i), without(v, i)) for i in range(n)]),
        "max_leave_p_out": leave_p_out,
        "pkpo_s": s,
        "pkpo_s_loo": lambda r, v, q: [x - mean(s(without(r, i), v, q)) for i, x in enumerate(s(r, v, q))],
        "pkpo_s_loo_minus_one": lambda r, v, q: [x - sum(C(j - 1, k - 2) * y for j, y in enumerate(sorted(without(r, i)), 1)) / C(n, k)
                                                 for i, x in enumerate(s(r, v, q))],
        "max_centred": lambda r, v, q: [x - k / n * mean(s(without(r, i), v, q)) * (n - 1) / k for i, x in enumerate(s(r, v, q))],
        "bon_max_mean": lambda r, v, q: [(x - mean(r)) / n * (x == max(r)) for x in r],
        "bon_max_second": lambda r, v, q: [(x - max((y for y in r if y < max(r)), default=x)) / n * (x == max(r)) for x in r],
        "bon_mean": lambda r, v, q: z(s(r, v, q)),
        "bon_off_policy_first_order": ranked(first_order),
        "bon_off_policy": lambda r, v, q: by_subsets(best, r, v, q, baseline=False),
        "bon_off_policy_loo_minus_one": lambda r, v, q: by_subsets(best, r, v, q, baseline=True),
        "maj_loo_minus_one": lambda r, v, q: by_subsets(maj, r, v, [1.0] * n, baseline=True),
        "maj_centred": lambda r, v, q: [maj_at(r, v) - maj_at(without(r, i), without(v, i)) for i in range(n)],
        "pass_at_k_training": pass_training,
        "maxrl": lambda r, v, q: [(x - mean(r)) / sum(r) if any(r) else 0.0 for x in r],
        "maxrl_maclaurin": maclaurin,
        "tailrl": lambda r, v, q: centred(ranked(lambda i, r, _: sum((r[j] - r[j - 1]) / (n - j + 1) for j in range(1, i + 1)))(r, v, q)),
        "entropic": entropic_loop,
        "rs_grpo": lambda r, v, q: [(exp(2 * x) / mean(exp(2 * y) for y in r) - 1) / (2 * n) for x in r],
    }


@pytest.mark.parametrize("k", (2, 3, 5, 7))  # the papers' sums have no k = 1 of their own; enumeration above has
def test_every_estimator_equals_the_papers_formula_in_a_loop(k):
    rng = np.random.default_rng(k)
    P, n = 6, 7
    votes = rng.integers(-1, 4, (P, n))
    log_ratio = 0.2 * rng.standard_normal((P, n))
    graded, correct = rng.integers(0, 5, (P, n)) / 4, (votes == 0).astype(float)
    for name, f in ESTIMATORS.items():
        rewards = correct if name in USES_VOTES or name in ("pass_at_k_training", "maxrl_maclaurin") else graded
        try:
            got = f(rewards, k, votes=votes, log_ratio=log_ratio)
        except ValueError as error:
            assert f"{name}: k = {k} with n = {n}" in str(error)
            continue
        for i in range(P):
            loop = loops(n, k)[name](rewards[i].tolist(), votes[i].tolist(), np.exp(log_ratio[i]).tolist())
            np.testing.assert_allclose(got[i], loop, rtol=1e-10, atol=1e-12, err_msg=name)
