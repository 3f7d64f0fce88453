"""advantages.py against enumeration: of all k-subsets, in fractions, and of all outcomes of a small softmax policy."""
import itertools
import json
import math
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import advantages  # noqa: E402
import advantages  # noqa: E402
from advantages import BETA, DELTA_MAX, ESTIMATORS, uses  # noqa: E402

# ------------------------------------------------------------------------------------ the definitions, over all subsets


def best(rewards, votes):
    return max(rewards)


def majority(rewards, votes):
    """Reward of the majority answer, ties in expectation; all abstain: the mean."""
    counts = Counter(a for a in votes if a != -1)
    top = max(counts.values(), default=0)
    voters = [x for x, a in zip(rewards, votes) if not counts or counts[a] == top]
    return sum(voters) / Fraction(len(voters))


def soft(beta):
    """sum_i p_i r_i, p = softmax(beta r). The exponentials are floats, what follows is exact."""
    def average(rewards, votes):
        weights = [Fraction(math.exp(beta * float(x - max(rewards)))) for x in rewards]
        return sum(w * x for w, x in zip(weights, rewards)) / sum(weights)
    return average


def definition(f, r, votes, rho, k):
    """By name, the exact advantages of one group for objective f as sums over subsets, all in fractions."""
    n = len(r)
    samples = range(n)
    C, C_others = math.comb(n, k), math.comb(n - 1, k)

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
           "off_policy_loo_minus_one": [sum(weight[s] * (f_of(s) - without(s, i)) for s in with_i[i]) / C
                                        for i in samples],
           "loo_minus_one": [sum(f_of(s) - without(s, i) for s in with_i[i]) / Fraction(C) for i in samples]}
    if k < n:
        out["centred"] = [mean_over_subsets(samples) - mean_over_subsets(others[i]) for i in samples]
        s_without = [[sum(f_of(s) for s in itertools.combinations(others[i], k) if j in s) / Fraction(C_others)
                      for j in others[i]] for i in samples]  # s_j as computed in y_-i
        out["s_loo"] = [out["s"][i] - sum(s_without[i]) / (n - 1) for i in samples]
        left_out = itertools.combinations(samples, n - k)
        gain = {s: f_of(samples) - f_of([j for j in samples if j not in s]) for s in left_out}
        mean_gain = sum(gain.values()) / Fraction(len(gain))
        ways = Fraction(math.comb(n - 1, n - k - 1))
        out["leave_p_out"] = [sum(g - mean_gain for s, g in gain.items() if i in s) / ways for i in samples]
    if k == n:
        out["loo"] = [f_of(samples) - f_of(others[i]) for i in samples]
        out["loo_biased"] = [x - sum(out["loo"]) / n for x in out["loo"]]
    return out


BY_SUBSETS = {
    "pkpo_s": (best, "s"), "pkpo_s_loo": (best, "s_loo"), "pkpo_s_loo_minus_one": (best, "loo_minus_one"),
    "max_centred": (best, "centred"), "max_leave_p_out": (best, "leave_p_out"), "max_loo": (best, "loo"),
    "max_loo_biased": (best, "loo_biased"), "maj_loo": (majority, "loo"), "maj_loo_biased": (majority, "loo_biased"),
    "maj_loo_minus_one": (majority, "loo_minus_one"), "maj_centred": (majority, "centred"),
    "bon_off_policy": (best, "off_policy"), "bon_off_policy_loo_minus_one": (best, "off_policy_loo_minus_one"),
    "maj_off_policy": (majority, "off_policy"), "maj_off_policy_loo_minus_one": (majority, "off_policy_loo_minus_one"),
    "softmax_loo": (soft(BETA), "loo"), "softmax_loo_biased": (soft(BETA), "loo_biased")}
OBJECTIVES_OF_SETS = {f for f, _ in BY_SUBSETS.values()}
KINDS = {"normal": lambda rng, n: rng.standard_normal(n), "tied": lambda rng, n: rng.integers(0, 3, n) / 4,
         "binary": lambda rng, n: rng.integers(0, 2, n), "signed": lambda rng, n: rng.choice([-1.0, 1.0], n),
         "integer": lambda rng, n: rng.integers(-3, 9, n), "bool": lambda rng, n: rng.integers(0, 2, n) == 1,
         "all equal": lambda rng, n: np.full(n, 0.1)}


def fractions(x):
    return [Fraction(float(v)) for v in x]


def close(got, expected, about="", **tolerance):
    np.testing.assert_allclose(got, expected, **{"rtol": 1e-12, "atol": 1e-13} | tolerance, err_msg=str(about))


@pytest.mark.parametrize("n", [*range(1, 8), pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_every_subset_estimator_and_metric_equals_enumeration(kind, n):
    rng = np.random.default_rng(n)
    rewards = KINDS[kind](rng, n)
    votes = rng.integers(-1, 3, n)
    log_ratio = rng.uniform(-1, 1, n)
    r, a, rho = fractions(rewards), votes.tolist(), fractions(np.exp(log_ratio))
    for k in range(1, n + 1):
        if n > 1:
            exact = {f: definition(f, r, a, rho, k) for f in OBJECTIVES_OF_SETS}
            for name, (f, which) in BY_SUBSETS.items():
                if which not in exact[f] or f is majority and which.endswith("loo_minus_one") and k == 1:
                    with pytest.raises(ValueError, match=f"^{name}: k = {k} with n = {n}"):
                        ESTIMATORS[name](rewards[None], k, votes=votes[None])
                    continue
                got = ESTIMATORS[name](rewards[None], k, votes=votes[None], log_ratio=log_ratio[None])
                assert got.dtype == np.float64 and got.shape == (1, n)
                close(got[0], [float(x) for x in exact[f][which]], (name, k), atol=1e-12)
        metrics = {"max_at_k": (advantages.max_at_k(rewards[None], k), best),
                   "maj_at_k": (advantages.maj_at_k(rewards[None], votes[None], k), majority)}
        if kind in ("binary", "bool"):
            metrics["pass_at_k"] = advantages.pass_at_k(rewards[None], k), best
        for name, (got, f) in metrics.items():
            values = [f([r[i] for i in s], [a[i] for i in s]) for s in itertools.combinations(range(n), k)]
            assert got.shape == (1,) and abs(got[0] - float(sum(values) / len(values))) < 1e-12, name


# ---------------------------------------------------------------------------- the papers' formulas, one group at a time


def loops(n, k):
    """One group at a time, in plain Python, as the papers write it: name -> f(r, votes, rho), lists of n."""
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
            value = f([r[j] for j in subset], [votes[j] for j in subset])
            weight = math.prod(rho[j] for j in subset) / C(n, k)
            for i in subset:
                rest = [j for j in subset if j != i]
                a[i] += weight * (value - (f([r[j] for j in rest], [votes[j] for j in rest]) if baseline else 0.0))
        return a

    def leave_p_out(r, votes, rho):
        left_out = itertools.combinations(range(n), n - k)
        gain = {out: max(r) - max(r[j] for j in range(n) if j not in out) for out in left_out}
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
        lost = sum(C(n - c - 1, t - 1) / C(n - 1, t - 1) for t in range(2, min(k, n - c) + 1))
        return [1 / n if x else -lost / n for x in r]

    def tail(i, r, rho):
        return sum((r[j] - r[j - 1]) / (n - j + 1) for j in range(1, i + 1))

    def s_less_one(r, votes, rho):  # s_i less the same sum over the (k-1)-subsets of the others
        return [x - sum(C(j - 1, k - 2) * y for j, y in enumerate(sorted(without(r, i)), 1)) / C(n, k)
                for i, x in enumerate(s(r, votes, rho))]

    def s_centred(r, votes, rho):  # the s_j of n - 1 samples sum to k max@k
        return [x - k / n * sum(s(without(r, i), votes, rho)) / k for i, x in enumerate(s(r, votes, rho))]

    def f_beta(r):
        p = [exp(BETA * x) for x in r]
        return sum(x * y for x, y in zip(p, r)) / sum(p)

    def second(r):
        return max((x for x in r if x < max(r)), default=max(r))

    return {
        "rloo": lambda r, v, q: [(r[i] - mean(without(r, i))) / n for i in range(n)],
        "grpo": lambda r, v, q: z(r),
        "dr_grpo": lambda r, v, q: [x / n for x in centred(r)],
        "max_loo": lambda r, v, q: [max(r) - max(without(r, i)) for i in range(n)],
        "max_loo_biased": lambda r, v, q: centred([max(r) - max(without(r, i)) for i in range(n)]),
        "softmax_loo": lambda r, v, q: [f_beta(r) - f_beta(without(r, i)) for i in range(n)],
        "softmax_loo_biased": lambda r, v, q: centred([f_beta(r) - f_beta(without(r, i)) for i in range(n)]),
        "max_softmax_baseline": lambda r, v, q: [max(r) - f_beta(without(r, i)) for i in range(n)],
        "maj_loo": lambda r, v, q: [maj(r, v) - maj(without(r, i), without(v, i)) for i in range(n)],
        "maj_loo_biased": lambda r, v, q: centred([maj(r, v) - maj(without(r, i), without(v, i)) for i in range(n)]),
        "max_leave_p_out": leave_p_out,
        "pkpo_s": s,
        "pkpo_s_loo": lambda r, v, q: [x - mean(s(without(r, i), v, q)) for i, x in enumerate(s(r, v, q))],
        "pkpo_s_loo_minus_one": s_less_one,
        "max_centred": s_centred,
        "bon_max_mean": lambda r, v, q: [(x - mean(r)) / n * (x == max(r)) for x in r],
        "bon_max_second": lambda r, v, q: [(x - second(r)) / n * (x == max(r)) for x in r],
        "bon_mean": lambda r, v, q: z(s(r, v, q)),
        "bon_off_policy_first_order": ranked(first_order),
        "bon_off_policy_first_order_z": lambda r, v, q: z(ranked(first_order)(r, v, q)),
        "bon_off_policy": lambda r, v, q: by_subsets(best, r, v, q, baseline=False),
        "bon_off_policy_loo_minus_one": lambda r, v, q: by_subsets(best, r, v, q, baseline=True),
        "maj_loo_minus_one": lambda r, v, q: by_subsets(maj, r, v, [1.0] * n, baseline=True),
        "maj_centred": lambda r, v, q: [maj_at(r, v) - maj_at(without(r, i), without(v, i)) for i in range(n)],
        "maj_off_policy": lambda r, v, q: by_subsets(maj, r, v, q, baseline=False),
        "maj_off_policy_loo_minus_one": lambda r, v, q: by_subsets(maj, r, v, q, baseline=True),
        "pass_at_k_training": pass_training,
        "maxrl": lambda r, v, q: [(x - mean(r)) / sum(r) if any(r) else 0.0 for x in r],
        "maxrl_maclaurin": maclaurin,
        "tailrl": lambda r, v, q: centred(ranked(tail)(r, v, q)),
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
        rewards = correct if uses(name, "votes") or name in ("pass_at_k_training", "maxrl_maclaurin") else graded
        try:
            got = f(rewards, k, votes=votes, log_ratio=log_ratio)
        except ValueError as error:
            assert f"{name}: k = {k} with n = {n}" in str(error)
            continue
        for i in range(P if name in loops(n, k) else 0):
            loop = loops(n, k)[name](rewards[i].tolist(), votes[i].tolist(), np.exp(log_ratio[i]).tolist())
            close(got[i], loop, name, rtol=1e-10, atol=1e-12)


# --------------------------------------------------------------------------------------- the true gradient, no sampling
# A softmax policy over a few actions; every n-sample outcome is enumerated with its probability, so the expectation
# of sum_i A_i grad log pi is exact, and autograd differentiates the exact objective.


def probabilities(theta):
    import torch
    return torch.softmax(torch.as_tensor(theta, dtype=torch.float64), 0)


def at(f, k, rewards, votes):
    """objective(pi) = E[f of k samples], differentiable."""
    import torch
    outcomes = torch.cartesian_prod(*[torch.arange(len(rewards))] * k).reshape(-1, k)
    values = [float(f([Fraction(float(rewards[a])) for a in y], [int(votes[a]) for a in y])) for y in outcomes.tolist()]
    return lambda pi: (pi[outcomes].prod(1) * torch.tensor(values, dtype=torch.float64)).sum()


def true_gradient(objective, theta):
    import torch
    theta = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
    objective(probabilities(theta)).backward()
    return theta.grad.numpy()


def expected_gradient(estimator, theta, rewards, votes, n, k, behaviour=None, **beta):
    """E[sum_i A_i grad log pi_theta(y_i)] over all samples of `behaviour` (theta itself by default)."""
    pi = probabilities(theta).numpy()
    pi_old = pi if behaviour is None else probabilities(behaviour).numpy()
    y = np.array(list(itertools.product(range(len(pi)), repeat=n)))
    log_ratio = None if behaviour is None else np.log(pi / pi_old)[y]
    A = ESTIMATORS[estimator](rewards[y], k, votes=votes[y], log_ratio=log_ratio, **beta)
    score = np.eye(len(pi)) - pi  # [action, parameter]
    return np.einsum("o,oi,oip->p", pi_old[y].prod(1), A, score[y])


def series(f, terms, rewards, votes):
    """sum_{t <= terms} f@t / t."""
    parts = [at(f, t, rewards, votes) for t in range(1, terms + 1)]
    return lambda pi: sum(part(pi) / t for t, part in enumerate(parts, start=1))


def mean_objective(scale, rewards):
    return lambda pi: scale * (pi @ pi.new_tensor(rewards))


# What an estimator is unbiased for: (rewards, votes, n, k) -> objective(pi). Where its docstring says max@k, maj@(n-1)
# and the like, that; here what is said in other words. All others are heuristics.
OBJECTIVES = {
    "rloo": lambda r, a, n, k: mean_objective(1, r),
    "dr_grpo": lambda r, a, n, k: mean_objective(1 - 1 / n, r),
    "bon_off_policy_first_order": lambda r, a, n, k: at(best, k, r, a),  # on policy only
    "softmax_loo": lambda r, a, n, k: at(soft(BETA), n, r, a),
    "softmax_loo_biased": lambda r, a, n, k: at(soft(BETA), n - 1, r, a),
    "maxrl": lambda r, a, n, k: series(best, n - 1, r, a),
    "maxrl_maclaurin": lambda r, a, n, k: series(best, k, r, a),
    "tailrl": lambda r, a, n, k: series(best, n - 1, r, a)}
OF_SET = {"max": best, "min": lambda rewards, votes: min(rewards), "maj": majority}
SIZE = {"k": lambda n, k: k, "n": lambda n, k: n, "(n-1)": lambda n, k: n - 1}
for _name, _f in ESTIMATORS.items():
    if _claim := re.search(r"nbiased for grad (max|min|maj)@(k|n|\(n-1\))", " ".join(_f.__doc__.split())):
        OBJECTIVES[_name] = lambda r, a, n, k, f=OF_SET[_claim[1]], m=SIZE[_claim[2]]: at(f, m(n, k), r, a)
HEURISTIC = {name for name, f in ESTIMATORS.items() if "Heuristic" in f.__doc__}
BINARY = {"maxrl", "maxrl_maclaurin", "pass_at_k_training"}  # what they claim, they claim for 0/1 rewards


def test_every_estimator_states_its_objective_or_that_it_is_a_heuristic():
    unsaid = ESTIMATORS.keys() - OBJECTIVES.keys() - HEURISTIC
    assert not unsaid, f'{unsaid}: a docstring says "Unbiased for grad max@k" (min@k, maj@n, ...) or "Heuristic"'
    assert OBJECTIVES.keys() | HEURISTIC == ESTIMATORS.keys() and not OBJECTIVES.keys() & HEURISTIC
    assert HEURISTIC >= {"grpo", "bon_max_mean", "bon_max_second", "bon_mean", "pass_at_k_training", "entropic",
                         "rs_grpo"}
    for name in OBJECTIVES.keys() - {"bon_off_policy_first_order"}:
        assert says(name, "nbiased for"), name


THETA = [0.3, -0.7, 0.9, 0.1]
POLICIES = {"4 actions, one abstains": (THETA, [0.25, 1.0, -0.5, 0.7], [0, 1, 2, -1]),
            "4 actions, two of one answer": (THETA, [0.0, 1.0, 0.4, 1.0], [0, 1, 2, 1]),
            "3 actions, 0/1": (THETA[:3], [0.0, 1.0, 0.0], [0, 1, -1]),
            "3 actions, both abstentions differ": (THETA[:3], [0.2, 1.0, -1.0], [-1, 4, -1])}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_expected_gradient_is_that_of_the_stated_objective(name, policy):
    theta, rewards, votes = (np.array(x) for x in POLICIES[policy])
    if name in BINARY:
        rewards = (rewards == 1).astype(float)
    tried = 0
    for n in (2, 3, 4) if len(theta) == 4 else (2, 3, 5):
        for k in range(1, n + 1):
            try:
                got = expected_gradient(name, theta, rewards, votes, n, k)
            except ValueError as error:
                assert f"{name}: k = {k} with n = {n}" in str(error)
                continue
            truth = true_gradient(OBJECTIVES[name](rewards, votes, n, k), theta)
            close(got, truth, (n, k), rtol=0, atol=1e-10)
            assert np.abs(truth).max() > 1e-5 or k == 1
            tried += 1
    assert tried >= 3


@pytest.mark.parametrize("name, f", [("max_loo_biased", best), ("maj_loo_biased", majority),
                                     ("softmax_loo_biased", soft(BETA))])
def test_the_biased_estimators_are_biased_for_the_n_sample_objective(name, f):
    theta, rewards, votes = (np.array(x) for x in POLICIES["4 actions, two of one answer"])
    got = expected_gradient(name, theta, rewards, votes, 4, 4)
    truth = true_gradient(at(f, 4, rewards, votes), theta)
    assert np.linalg.norm(got - truth) > 0.02 * np.linalg.norm(truth)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("beta", (0, 0.3, 2.5, 40.0))
def test_the_softmax_estimators_are_unbiased_at_every_beta(beta, policy):
    theta, rewards, votes = (np.array(x) for x in POLICIES[policy])
    for n in (2, 3, 4):
        objectives = {"softmax_loo": at(soft(beta), n, rewards, votes),
                      "max_softmax_baseline": at(best, n, rewards, votes),
                      "softmax_loo_biased": at(soft(beta), n - 1, rewards, votes)}
        for name, objective in objectives.items():
            got = expected_gradient(name, theta, rewards, votes, n, n, beta=beta)
            close(got, true_gradient(objective, theta), (name, n), rtol=0, atol=1e-10)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("n", (2, 3, 4, 5))
def test_off_policy_majority_is_unbiased_with_ratios_up_to_e_squared(policy, n):
    old, rewards, votes = (np.array(x) for x in POLICIES[policy])
    theta = old + np.array([2.1, -1.0, -0.6, 0.3])[:len(old)]
    assert 1.8 < np.abs(np.log((probabilities(theta) / probabilities(old)).numpy())).max() < 2.1
    for k in range(1, n + 1):
        truth = true_gradient(at(majority, k, rewards, votes), theta)
        for name in ("maj_off_policy", "maj_off_policy_loo_minus_one")[:2 if k > 1 else 1]:
            close(expected_gradient(name, theta, rewards, votes, n, k, old), truth, (name, k), rtol=0, atol=1e-10)


# Relative error of the first-order form's expected gradient with ratios of up to e^1.8: published, and with no clamp.
@pytest.mark.parametrize("n, k, clamped, unclamped", [(2, 2, 1.74, 0.94), (3, 1, 1.30, 0.0), (4, 2, 1.74, 0.94),
                                                      (4, 3, 2.76, 0.69), (4, 4, 3.25, 0.58)])
def test_off_policy_exact_is_unbiased_and_first_order_is_not(n, k, clamped, unclamped, monkeypatch):
    old, rewards, votes = (np.array(x) for x in POLICIES["4 actions, one abstains"])
    theta = old + np.array([1.9, -1.0, -0.6, 0.3])
    assert 1.8 < np.abs(np.log((probabilities(theta) / probabilities(old)).numpy())).max() < 2
    truth = true_gradient(at(best, k, rewards, votes), theta)
    for name in ("bon_off_policy", "bon_off_policy_loo_minus_one"):
        close(expected_gradient(name, theta, rewards, votes, n, k, old), truth, rtol=0, atol=1e-10)
    for bound, expected in ((DELTA_MAX, clamped), (math.inf, unclamped)):
        monkeypatch.setattr(advantages, "DELTA_MAX", bound)
        first_order = expected_gradient("bon_off_policy_first_order", theta, rewards, votes, n, k, old)
        assert np.linalg.norm(first_order - truth) / np.linalg.norm(truth) == pytest.approx(expected, abs=0.01)


def gradient_in_p(name, n, k, p):
    """Expected gradient for one Bernoulli(p) reward, by enumeration of the number of correct samples: d/dp."""
    rewards = np.tril(np.ones((n + 1, n)), -1)  # c = 0..n correct
    A = ESTIMATORS[name](rewards, k)
    score = np.where(rewards == 1, 1 / p, -1 / (1 - p))
    weight = [float(math.comb(n, c) * Fraction(p) ** c * Fraction(1 - p) ** (n - c)) for c in range(n + 1)]
    return np.array(weight) @ (A * score).sum(1)


@pytest.mark.parametrize("name, limit", [
    ("pass_at_k_training", lambda p, k: 2 / k * math.asin(math.sqrt(1 - (1 - p) ** k))),
    ("rs_grpo", lambda p, k: math.log(1 - p + p * math.exp(2)) / 2),
    ("grpo", lambda p, k: 2 * math.asin(math.sqrt(p))),
    ("maxrl", lambda p, k: math.log(p))])
def test_what_the_heuristics_tend_to_as_n_grows(name, limit):
    p, k, h = 0.2, 3, 1e-5
    truth = (limit(p + h, k) - limit(p - h, k)) / (2 * h)
    errors = [abs(gradient_in_p(name, n, k, p) / truth - 1) for n in (16, 64, 256)]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.02


# ----------------------------------------------------------------------------------------------------------- identities


def groups(seed, P=50, n=9, levels=None):
    rng = np.random.default_rng(seed)
    rewards = rng.standard_normal((P, n)) if levels is None else rng.integers(0, levels, (P, n)) / (levels - 1)
    return rewards, rng.integers(-1, 3, (P, n)), rng.uniform(-1, 1, (P, n))


def test_identities_between_the_estimators():
    E, n = ESTIMATORS, 9
    for levels in (None, 3, 2):
        r, votes, _ = groups(1, n=n, levels=levels)
        close(E["pkpo_s_loo_minus_one"](r, n), E["max_loo"](r, n))
        close(E["maj_loo_minus_one"](r, n, votes=votes), E["maj_loo"](r, n, votes=votes))
        for name in ("pkpo_s_loo_minus_one", "max_centred", "max_leave_p_out", "bon_off_policy_loo_minus_one"):
            close(E[name](r, 1), E["rloo"](r, 1))  # the scale is 1 in this convention
        close(E["pkpo_s"](r, 1), r / n)
        close(E["maj_centred"](r, 1, votes=votes), E["rloo"](r, 1))
        close(E["max_leave_p_out"](r, n - 1), E["max_loo_biased"](r, n))
        close(E["maj_centred"](r, n - 1, votes=votes), E["maj_loo_biased"](r, n, votes=votes))
        close(E["dr_grpo"](r, 1), E["rloo"](r, 1) * (n - 1) / n)
        close(E["softmax_loo"](r, n, beta=0), E["rloo"](r, n))
        close(E["softmax_loo_biased"](r, n, beta=0), E["rloo"](r, n))
        for beta in (1e7, 1e300, np.finfo(float).max):
            close(E["softmax_loo"](r, n, beta=beta), E["max_loo"](r, n))
            close(E["max_softmax_baseline"](r, n, beta=beta), E["max_loo"](r, n))
            close(E["softmax_loo_biased"](r, n, beta=beta), E["max_loo_biased"](r, n))
        close(E["softmax_loo"](3 * r, n, beta=0.5), 3 * E["softmax_loo"](r, n, beta=1.5))
        for k in range(1, n + 1):
            close(E["bon_off_policy"](r, k), E["pkpo_s"](r, k))
            close(E["bon_off_policy_first_order"](r, k), E["pkpo_s"](r, k))
            if k < n:
                close(E["bon_off_policy_first_order_z"](r, k), E["bon_mean"](r, k), rtol=1e-6, atol=1e-7)
            close(E["bon_off_policy_loo_minus_one"](r, k), E["pkpo_s_loo_minus_one"](r, k))
            close(E["pkpo_s"](r, k).sum(1), k * advantages.max_at_k(r, k))
            close(E["maj_off_policy"](r, k, votes=votes).sum(1), k * advantages.maj_at_k(r, votes, k))
            if k > 1:
                close(E["maj_off_policy_loo_minus_one"](r, k, votes=votes), E["maj_loo_minus_one"](r, k, votes=votes))
            if k < n:
                assert np.abs(E["max_centred"](r, k).sum(1)).max() < 1e-13
                assert np.abs(E["maj_centred"](r, k, votes=votes).sum(1)).max() < 1e-13
                close(E["max_centred"](r, k), E["max_leave_p_out"](r, k))
                s = E["pkpo_s"](r, k)
                differ = s.std(1) > 1e-9
                z = (s - s.mean(1, keepdims=True))[differ] / s.std(1, keepdims=True)[differ]
                close(E["bon_mean"](r, k)[differ], z / n, rtol=1e-6)
    r, votes, _ = groups(2, n=n, levels=2)
    close(E["tailrl"](r, 1), E["maxrl"](r, 1))
    for k in range(1, n + 1):
        close(advantages.max_at_k(r, k), advantages.pass_at_k(r == 1, k))
        if k > 1:  # PKPO's form for 0/1 rewards
            others = np.stack([advantages.pass_at_k(np.delete(r, i, 1), k - 1) for i in range(n)], 1)
            close(E["pkpo_s"](r, k), k / n * np.where(r == 1, 1, others))


def says(name, words):
    return words in " ".join(ESTIMATORS[name].__doc__.split())


def size(name, n, k):
    """k, or n if the estimator is defined for groups of k only."""
    return n if says(name, "k = n >= 2") else k


def estimates(r, k, votes, log_ratio):
    """Every estimator at the k it is defined for, with the rewards it is defined for."""
    n = r.shape[1]
    for name, f in ESTIMATORS.items():
        rewards = (r > 0).astype(float) if name in BINARY else r
        yield name, lambda x, v, d, f=f, k=size(name, n, k): f(x, k, votes=v, log_ratio=d), (rewards, votes, log_ratio)


@pytest.mark.parametrize("levels", (None, 3))
def test_order_of_samples_other_groups_and_dtype_do_not_matter(levels):
    r, votes, log_ratio = groups(3, levels=levels)
    order = np.random.default_rng(4).permuted(np.tile(np.arange(9), (50, 1)), axis=1)
    for name, f, data in estimates(r, 4, votes, log_ratio):
        copies = [x.copy() for x in data]
        A = f(*data)
        assert A.dtype == np.float64 and A.shape == r.shape and np.isfinite(A).all() and A.any(), name
        assert all((x == y).all() for x, y in zip(data, copies)), f"{name} changed its input"
        shuffled = f(*(np.take_along_axis(x, order, 1) for x in data))
        close(shuffled, np.take_along_axis(A, order, 1), name, rtol=1e-11)
        close(np.concatenate([f(*(x[i:i + 1] for x in data)) for i in range(50)]), A, name)
    whole = np.random.default_rng(5).integers(0, 2, (20, 9))
    for name, f, _ in estimates(r, 4, votes, log_ratio):
        for dtype in (bool, np.int8, np.uint8, np.int64, np.float32):
            np.testing.assert_array_equal(f(whole.astype(dtype), votes[:20], log_ratio[:20]),
                                          f(whole.astype(float), votes[:20], log_ratio[:20]), name)


def test_each_estimator_reads_what_it_is_marked_with_and_nothing_else():
    r, votes, log_ratio = groups(7)
    for name, f, (x, v, d) in estimates(r, 4, votes, log_ratio):
        plain = f(x, v, d)
        assert uses(name, "votes") != np.array_equal(f(x, (v + 2) % 4 - 1, d), plain), name
        assert uses(name, "log_ratio") != np.array_equal(f(x, v, d / 2), plain), name
        if uses(name, "beta"):
            assert not np.array_equal(ESTIMATORS[name](x, x.shape[1], beta=2 * BETA), plain), name
        else:
            with pytest.raises(TypeError):
                ESTIMATORS[name](x, size(name, x.shape[1], 4), beta=BETA)


def test_equal_rewards_give_exact_zeros():
    _, votes, log_ratio = groups(6)
    for value in (0.0, 1.0, 0.1, -1.0, 1e9 + 0.1):
        for k in range(2, 9):
            for name, f, (r, *rest) in estimates(np.full((50, 9), value), k, votes, log_ratio):
                if not says(name, "No baseline") and not says(name, "Not zero for equal rewards"):
                    assert not f(r, *rest).any(), f"{name} k={k} value={value}"
    same = np.full((3, 7), 0.1)
    for k in range(1, 8):
        assert (advantages.max_at_k(same, k) == 0.1).all()
        assert (advantages.maj_at_k(same, np.zeros((3, 7), int), k) == 0.1).all()
        assert (advantages.pass_at_k(same > 0, k) == 1).all() and (advantages.pass_at_k(same < 0, k) == 0).all()


def test_a_vote_in_which_all_abstain_scores_the_mean():
    r = np.array([[0.0, 1.0, 0.5, 0.2]])
    none = np.full((1, 4), -1)
    for k in range(1, 5):
        assert advantages.maj_at_k(r, none, k)[0] == pytest.approx(r.mean())
        if 1 < k < 4:
            close(ESTIMATORS["maj_centred"](r, k, votes=none), ESTIMATORS["rloo"](r, 1), atol=1e-15)


# --------------------------------------------------------------------------- large groups, in exact rational arithmetic


def test_1024_samples_512_of_them_equal_rational_arithmetic():
    n, k = 1024, 512
    rng = np.random.default_rng(0)
    thousandths = rng.integers(-1000, 1000, n)
    rewards = thousandths[None] / 1000
    r = [Fraction(float(x)) for x in np.sort(rewards[0])]
    rank = np.argsort(np.argsort(thousandths, kind="stable"), kind="stable")
    C = math.comb(n, k)
    own = [Fraction(math.comb(i - 1, k - 1), C) * x for i, x in enumerate(r, 1)]
    shared = [Fraction(math.comb(j - 2, k - 2), C) * x if j > 1 else Fraction(0) for j, x in enumerate(r, 1)]
    above = list(itertools.accumulate(reversed(shared)))[::-1] + [Fraction(0)]
    s = [own[i] + above[i + 1] for i in range(n)]
    M = sum(own)
    M_others = [(M - s[i]) * Fraction(n, n - k) for i in range(n)]
    # (k-1)-subsets of the others, by their highest: a rank j < i has j - 1 others below it, a rank j > i has j - 2.
    below = [Fraction(0), *itertools.accumulate(Fraction(math.comb(j - 1, k - 2), C) * x for j, x in enumerate(r, 1))]
    exact = {"pkpo_s": s, "max_centred": [M - x for x in M_others],
             "pkpo_s_loo": [s[i] - Fraction(k, n - 1) * M_others[i] for i in range(n)],
             "pkpo_s_loo_minus_one": [s[i] - below[i] - above[i + 1] for i in range(n)]}
    exact |= {"bon_off_policy": exact["pkpo_s"], "max_leave_p_out": exact["max_centred"],
              "bon_off_policy_loo_minus_one": exact["pkpo_s_loo_minus_one"]}
    for name, values in exact.items():
        truth = np.array([float(x) for x in values])[rank]
        got = ESTIMATORS[name](rewards, k)[0]
        assert np.abs(got - truth).max() < 1e-10 * np.abs(truth).max(), name
    assert advantages.max_at_k(rewards, k)[0] == pytest.approx(float(M), rel=1e-12)
    for c in (0, 1, 2, 5, 40, 1024):
        correct = np.arange(n)[None] < c
        truth = float(1 - Fraction(math.comb(n - c, k), C))
        assert advantages.pass_at_k(correct, k)[0] == pytest.approx(truth, rel=1e-12, abs=0)


def exact_off_policy(r, rho, k):
    """(with no baseline, with PKPO's) of one group with ratios far apart, in fractions: O(n^2 k)."""
    n = len(r)
    order = sorted(range(n), key=r.__getitem__)
    bits = 2**1100  # integers instead of fractions: every float ratio here is a whole multiple of 2^-1100
    whole = [int(x * bits) for x in rho]
    plain, based = [None] * n, [None] * n
    for i in range(n):
        # e: elementary symmetric polynomials of the ratios so far
        e, lower, upper = [1] + [0] * (k - 1), Fraction(0), Fraction(0)
        for j in range(n):
            term = r[order[j]] * whole[order[j]] * e[k - 2] if k > 1 else 0
            if j < i:
                lower += term
            elif j == i:
                own = r[order[i]] * e[k - 1]
            else:
                upper += term
            if j != i:
                e = [e[0]] + [e[m] + whole[order[j]] * e[m - 1] for m in range(1, k)]
        scale = Fraction(whole[order[i]], bits**k * math.comb(n, k))
        # J, the (k-1)-subset without i, has its highest below i (i is then the max of the set) or above
        plain[order[i]] = scale * (own + upper)
        based[order[i]] = scale * (own - lower)
    return plain, based


@pytest.mark.parametrize("spread, n, k", [(5, 64, 32), (20, 24, 24), (60, 24, 12), (300, 8, 2)])
def test_ratios_far_from_one_equal_rational_arithmetic(spread, n, k):
    rng = np.random.default_rng(n)
    r = rng.integers(0, 20, n) / 10 - 0.5
    log_ratio = rng.uniform(-spread, spread, n)
    exact = exact_off_policy([Fraction(float(x)) for x in r], [Fraction(float(x)) for x in np.exp(log_ratio)], k)
    for name, values in zip(("bon_off_policy", "bon_off_policy_loo_minus_one"), exact):
        got = ESTIMATORS[name](r[None], k, log_ratio=log_ratio[None])[0]
        close(got, [float(x) for x in values], name, rtol=1e-9, atol=1e-14 * max(abs(float(x)) for x in values))


@pytest.mark.parametrize("spread, n, k", [(2, 9, 4), (5, 10, 5), (20, 10, 4), (60, 9, 3), (100, 8, 8), (300, 7, 2)])
def test_majority_with_ratios_far_from_one_equals_rational_arithmetic(spread, n, k):
    rng = np.random.default_rng(n)
    for votes in (rng.integers(-1, 3, n), rng.integers(0, 2, n), np.arange(n)):
        r, log_ratio = rng.integers(0, 20, n) / 10 - 0.5, rng.uniform(-spread, spread, n)
        exact = definition(majority, fractions(r), votes.tolist(), fractions(np.exp(log_ratio)), k)
        whole = np.array([abs(float(x)) for x in exact["off_policy"]])
        for which in ("off_policy", "off_policy_loo_minus_one"):
            got = ESTIMATORS[f"maj_{which}"](r[None], k, votes=votes[None], log_ratio=log_ratio[None])[0]
            # the baseline is subtracted: the error is relative to the sums, and to the largest of them without a
            # baseline
            close(got, [float(x) for x in exact[which]], (which, votes), rtol=1e-9, atol=1e-14 * whole.max())


def off_policy_names():
    return [name for name in ESTIMATORS if uses(name, "log_ratio") and "first_order" not in name]


def test_a_value_that_does_not_fit_is_refused_with_the_remedy():
    r, votes = np.arange(32.0)[None], np.arange(32)[None] % 3
    for name in off_policy_names():
        for log_ratio in (30.0, 400.0, 1e300):
            with pytest.raises(ValueError, match=f"^{name}: .*clip the ratios first"):
                ESTIMATORS[name](r, 32, votes=votes, log_ratio=np.full((1, 32), log_ratio))
        fits = ESTIMATORS[name](r, 16, votes=votes, log_ratio=np.full((1, 32), 40.0))  # e^640 does fit
        assert np.isfinite(fits).all() and fits.any(), name


def test_partial_products_beyond_float64_do_not_spoil_a_value_within_it():
    log_ratio = np.repeat([-100.0, 100.0], 12)[None]  # the lower half multiplies to e^-1200, the whole to 1
    r = np.arange(24.0)[None]
    if np.finfo(np.longdouble).max == np.finfo(np.float64).max:  # no extended precision here: refused instead
        with pytest.raises(ValueError, match="clip the ratios first"):
            ESTIMATORS["bon_off_policy"](r, 24, log_ratio=log_ratio)
    else:
        close(ESTIMATORS["bon_off_policy"](r, 24, log_ratio=log_ratio), np.full((1, 24), 23.0), rtol=1e-10)
        close(ESTIMATORS["bon_off_policy_loo_minus_one"](r, 24, log_ratio=log_ratio), [[0.0] * 23 + [1.0]], rtol=1e-10)
        votes = np.repeat([0, 1], 12)[None]
        close(ESTIMATORS["maj_off_policy"](r, 24, votes=votes, log_ratio=log_ratio), np.full((1, 24), 11.5), rtol=1e-10)
        close(ESTIMATORS["maj_off_policy_loo_minus_one"](r, 24, votes=votes, log_ratio=log_ratio),
              [[11.5 - 17.5] * 12 + [11.5 - 5.5] * 12], rtol=1e-10)


@pytest.mark.parametrize("n, k", [(60, 30), (90, 13)])
def test_votes_of_large_groups_equal_rational_arithmetic(n, k):
    rng = np.random.default_rng(n)
    votes = rng.choice([-1, 0, 1, 2], n, p=[0.1, 0.35, 0.3, 0.25])
    r = np.array([0.2, 1.0, -0.5, 0.0])[votes]  # of answers 0, 1, 2 and of an abstention

    def M(counts):
        total = Fraction(0)
        for u in itertools.product(*(range(min(c, k) + 1) for c in counts[:3])):
            if 0 <= k - sum(u) <= counts[3]:
                winners = [a for a in range(3) if u[a] == max(u)] if any(u) else [3]
                value = sum(Fraction(float([0.2, 1.0, -0.5, 0.0][a])) for a in winners) / len(winners)
                total += value * math.prod(math.comb(c, x) for c, x in zip(counts, (*u, k - sum(u))))
        return total / math.comb(sum(counts), k)

    counts = [int((votes == a).sum()) for a in (0, 1, 2, -1)]
    whole = M(counts)
    assert advantages.maj_at_k(r[None], votes[None], k)[0] == pytest.approx(float(whole), abs=1e-13)
    without = [M([c - (a == b) for b, c in enumerate(counts)]) for a in range(4)]
    got = ESTIMATORS["maj_centred"](r[None], k, votes=votes[None])[0]
    close(got, [float(whole - without[a]) for a in votes], rtol=0, atol=1e-13)
    sums = ESTIMATORS["maj_off_policy"](r[None], k, votes=votes[None])[0]  # s_i = M(y) - (1 - k/n) M(y_-i)
    close(sums, [float(whole - Fraction(n - k, n) * without[a]) for a in votes], rtol=0, atol=1e-13)


@pytest.mark.slow
def test_1024_votes_equal_rational_arithmetic():
    n, k, counts = 1024, 512, (500, 480)  # 44 abstain
    votes = np.repeat([0, 1, -1], [*counts, n - sum(counts)])
    r = (votes == 1).astype(float)
    wins = Fraction(0)
    for u in range(k + 1):
        for w in range(max(0, k - u - (n - sum(counts))), k - u + 1):
            ways = math.comb(counts[0], u) * math.comb(counts[1], w) * math.comb(n - sum(counts), k - u - w)
            wins += ways * (Fraction(w > u) + Fraction(w == u, 2))
    assert advantages.maj_at_k(r[None], votes[None], k)[0] == pytest.approx(float(wins / math.comb(n, k)), rel=1e-10)


# ------------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("name", ESTIMATORS)
def test_bad_input_is_refused_by_name(name):
    def f(r=np.array([[0.0, 1.0, 1.0, 0.0]]), k=size(name, 4, 2), **keys):
        return ESTIMATORS[name](r, k, **{"votes": np.array([[0, 1, 1, -1]])} | keys)

    assert f().shape == (1, 4)
    for k in (0, 5, -1, 2.0, True, None, "2"):
        with pytest.raises(ValueError, match=f"^{name}: k = {k!r}"):
            f(k=k)
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match=f"^{name}: rewards hold {bad}"):
            f(np.array([[0.0, 1.0, bad, 0.0]]))
    for bad in (np.array([0.0, 1.0, 1.0, 0.0]), np.array([["0", "1", "1", "0"]]), np.array([[None, 1, 1, 0]])):
        with pytest.raises(ValueError, match=f"^{name}: rewards must be"):
            f(bad)
    if uses(name, "votes"):
        for votes in (None, [[0, 1, 1]], [[0.0, 1.0, 1.0, 0.0]], [[0, 1, 1, -2]]):
            with pytest.raises(ValueError, match=f"^{name}: votes must be"):
                f(votes=votes)
    if uses(name, "log_ratio"):
        for log_ratio in ([[0.0, 1.0]], [[0.0, math.nan, 0.0, 0.0]], [[0.0, math.inf, 0.0, 0.0]]):
            with pytest.raises(ValueError, match=f"^{name}: log_ratio must be"):
                f(log_ratio=log_ratio)
    if name in BINARY:
        with pytest.raises(ValueError, match=f"^{name}: "):
            f(np.array([[-1.0, 1.0, 1.0, -1.0]]))
    for beta in (-0.1, math.nan, math.inf, "1", None, True) if uses(name, "beta") else ():
        with pytest.raises(ValueError, match=f"^{name}: beta = "):
            f(beta=beta)
    if not says(name, "No baseline"):
        with pytest.raises(ValueError, match=f"^{name}: (n|k) = 1"):
            ESTIMATORS[name](np.array([[1.0]]), 1, votes=np.array([[0]]))


def test_metrics_refuse_bad_input():
    for f, name in ((lambda k: advantages.pass_at_k(np.ones((2, 3), bool), k), "pass_at_k"),
                    (lambda k: advantages.max_at_k(np.ones((2, 3)), k), "max_at_k"),
                    (lambda k: advantages.maj_at_k(np.ones((2, 3)), np.ones((2, 3), int), k), "maj_at_k")):
        for k in (0, 4):
            with pytest.raises(ValueError, match=f"^{name}: k = {k} with n = 3"):
                f(k)
    with pytest.raises(ValueError, match="^pass_at_k: 0.5 is neither"):
        advantages.pass_at_k(np.array([[0.5, 1.0]]), 1)


def test_k_schedule():
    assert [advantages.k_schedule("8@0 1@1500", step) for step in (0, 1, 1499, 1500, 10**6)] == [8, 8, 8, 1, 1]
    assert advantages.k_schedule("4", 7) == 4 and advantages.k_schedule("8@0,1@9", 9) == 1
    for bad in ("", "x", "8@", "8@1", "8@0 4", "8@0 4@0", "8@0 4@9 2@5", "0", "-1@0", "8@0@3", "8 4", "2.5"):
        with pytest.raises(ValueError, match="k schedule"):
            advantages.k_schedule(bad, 0)
    for step in (-1, None, "3", 1.0, True):
        with pytest.raises(ValueError, match="step"):
            advantages.k_schedule("8", step)


# ----------------------------------------------------------------------------------------------------------- the filter


def run_filter(rows, *flags):
    lines = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    return subprocess.run([sys.executable, ROOT / "advantages.py", *flags], input=lines, capture_output=True, text=True)


ROW = {"task_id": "t/1", "step": 3, "prompt": "\u00e9\ud800", "rewards": [1.0, 0.0, 0.5, 0.0], "votes": [0, 1, 2, -1],
       "other": {"a": [None]}}


def test_filter_adds_three_keys_and_passes_the_rest_through():
    for name in ("pkpo_s_loo_minus_one", "maj_centred", "bon_off_policy"):
        done = run_filter([ROW, ROW | {"step": 5, "task_id": "t/2"}], "--estimator", name, "--k", "3@0 2@5")
        assert (done.returncode, done.stderr) == (0, "")
        for line, k in zip(done.stdout.splitlines(), (3, 2), strict=True):
            row = json.loads(line)
            expected = ESTIMATORS[name](np.array([ROW["rewards"]]), k, votes=np.array([ROW["votes"]]))[0]
            assert row.pop("advantages") == expected.tolist()
            assert (row.pop("estimator"), row.pop("k")) == (name, k)
            assert row == ROW | {"step": row["step"], "task_id": row["task_id"]}


@pytest.mark.parametrize("bad, flags, message", [
    (ROW | {"rewards": [1.0, math.nan, 0.0, 0.0]}, (), "rewards[1]: expected a finite number, found nan"),
    (ROW | {"rewards": [1.0], "votes": [0]}, (), "pkpo_s: k = 2 with n = 1"),
    (ROW | {"rewards": [1.0]}, (), "lists of one length, found votes: 4, rewards: 1"),
    (ROW | {"rewards": [1.0, "0", 0.0, 0.0]}, (), "rewards[1]: expected a finite number, found '0'"),
    (ROW | {"rewards": [1.0, True, 0.0, 0.0]}, (), "rewards[1]: expected a finite number, found True"),
    (ROW | {"rewards": [1.0, 1e308, 0.0, 0.0]}, (), "rewards[1]: expected a finite number, found 1e+308"),
    (ROW | {"rewards": None}, (), "no 'rewards': reward.py adds it"),
    ({"task_id": "t/1"}, (), "no 'rewards': reward.py adds it"),
    ({k: v for k, v in ROW.items() if k != "votes"}, ("--estimator", "maj_centred"), "no 'votes'"),
    (ROW | {"votes": [0, 1, 2, -2]}, ("--estimator", "maj_centred"),
     "votes[3]: expected an integer, -1 or more, found -2"),
    ({k: v for k, v in ROW.items() if k != "step"}, ("--k", "2@0 1@5"), "no 'step'"),
    (ROW | {"step": "x"}, ("--k", "2@0 1@5"), "step: expected an integer from 0 to 999999, found 'x'"),
    ("[1, 2]", (), "expected a JSON object"),
    ("{", (), "row 2, task_id None: not JSON")])
def test_filter_stops_at_a_bad_row_with_one_line_and_status_2(bad, flags, message):
    done = run_filter([ROW, bad, ROW], "--estimator", "pkpo_s", "--k", "2", *flags)
    assert done.returncode == 2 and len(done.stdout.splitlines()) == 1  # the row before it is out
    assert done.stderr.count("\n") == 1 and "row 2, task_id" in done.stderr and message in done.stderr


def test_filter_passes_beta_on_and_refuses_it_where_it_has_no_effect():
    for beta in (None, "0", "2.5"):
        done = run_filter([ROW], "--estimator", "softmax_loo", "--k", "4", *(["--beta", beta] if beta else []))
        assert (done.returncode, done.stderr) == (0, "")
        row, expected = json.loads(done.stdout), float(beta or BETA)
        assert row["beta"] == expected
        close(row["advantages"], ESTIMATORS["softmax_loo"](np.array([ROW["rewards"]]), 4, beta=expected)[0], atol=0)
    assert "beta" not in json.loads(run_filter([ROW], "--estimator", "pkpo_s", "--k", "2").stdout)
    for name in [name for name in ESTIMATORS if not uses(name, "beta")]:
        if name in ("pkpo_s", "max_loo", "rs_grpo", "entropic"):
            done = run_filter([ROW], "--estimator", name, "--k", "4", "--beta", "1")
            assert done.returncode == 2 and done.stdout == "" and f"--beta has no effect with {name}" in done.stderr
    for bad in ("-1", "nan", "inf", "x"):
        done = run_filter([ROW], "--estimator", "softmax_loo", "--k", "4", f"--beta={bad}")
        assert done.returncode == 2 and done.stdout == "" and "--beta" in done.stderr


def test_filter_refuses_a_bad_schedule_before_reading():
    done = run_filter([ROW], "--k", "8@5")
    assert done.returncode == 2 and done.stdout == "" and "k schedule '8@5'" in done.stderr


def test_an_estimator_that_is_added_says_itself_what_it_reads(monkeypatch):
    """As the README adds one: an entry after the dict, whatever the function reads."""
    monkeypatch.setitem(ESTIMATORS, "mine", advantages.reads("votes", "log_ratio")(
        lambda rewards, k, *, votes=None, log_ratio=None: rewards))
    assert [what for what in ("votes", "log_ratio", "beta") if uses("mine", what)] == ["votes", "log_ratio"]
    assert not uses("someone_elses", "log_ratio")


@pytest.mark.slow
def test_benchmark_times_every_estimator_and_its_loop_agrees(capsys):
    from tests.benchmark_advantages import benchmark
    benchmark(P=32)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert [line[0] for line in lines] == list(ESTIMATORS)
    assert max(float(line[-1]) for line in lines if line[0] in loops(16, 8)) < 1e-9


