"""Rewards of a group of samples -> advantages: every estimator of the gradient of the mean, max@k (pass@k) and maj@k.

One stage of the pipe; a row is one prompt with its n samples, and gains `estimator`, `k` and `advantages`. (What a row
is for all stages, and how they read and say it, stands here too: "the rows", at the end.)

    python advantages.py --estimator pkpo_s_loo_minus_one --k 8 < rewarded.jsonl > advantages.jsonl
    python advantages.py --estimator max_centred --k "8@0 1@1500" < rewarded.jsonl > advantages.jsonl
    python advantages.py --benchmark

ONE CONVENTION. An estimator returns A (P, n) such that the gradient estimate of a prompt is the SUM over its samples

    sum_i A_i * grad log pi(y_i)        (to be averaged over prompts; never divided by n again).

Papers that average over the group (GRPO, Dr. GRPO, Bagirov et al.'s heuristics, Pass@k Training, entropic, RS-GRPO)
have their 1/n inside A_i here. Off-policy estimators have the importance ratios inside A_i: same sum, no further ratio.

Each estimator is `f(rewards, k, *, votes=None, log_ratio=None)`, and all are listed in ESTIMATORS. What is special
about one stands with it: @reads, which inputs it reads beside the rewards; its docstring, which k and rewards.
    rewards    (P, n) finite numbers of any real, integer or boolean type
    k          size of the sets that the objective scores, 1 <= k <= n or the narrower range that the docstring gives;
               where k has no part in the objective (the mean, MaxRL, ...) it is only checked
    votes      (P, n) integer class of the answer, -1 for no answer; @reads("votes")
    log_ratio  (P, n) log pi_theta(y) - log pi_old(y), None: on policy; @reads("log_ratio")
    beta       inverse temperature >= 0 of the softmax objectives; @reads("beta")
    returns    (P, n) float64
    raises     ValueError with the estimator's name and the offending value. k is never clamped.

Notation: P prompts, n samples per prompt, r_(1) <= ... <= r_(n) the sorted rewards, gap_j = r_(j) - r_(j-1), y_-i the
group without sample i, C(a, b) binomial coefficients, M_k(y) the mean of the objective over all k-subsets of y, which
is its unbiased estimate. For max@k nearly everything is one running sum over the sorted rewards,
A_(i) = sum_{j<=i} gap_j w_j, and the estimators differ in w.

Papers: Tang et al. 2025 (arXiv 2503.19595); Walder and Karkhanis 2025, PKPO (2505.15201); Bagirov et al. 2025
(2510.23393); OrderGrad (2606.06096); Pass@k Training (2508.10751); MaxRL (2602.02710); TailRL (2609.02987);
TTT-Discover (2601.16175); RS-GRPO (2509.24261).
"""
import argparse
import functools
import itertools
import json
import math
import os
import reprlib
import select
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

# -------------------------------------------------------------------------------------------------------- shared pieces


def reads(*inputs):
    """Mark an estimator with what it reads beside the rewards: of "votes", "log_ratio" and "beta"."""
    def mark(estimator):
        estimator.reads = inputs
        return estimator
    return mark


def check(name, rewards, k, rule="1 <= k <= n", n_min=2):
    """Refuse what the estimator is not defined for; returns rewards (P, n) as float64."""
    rewards = np.asarray(rewards)
    if rewards.ndim != 2 or rewards.dtype.kind not in "biuf":
        raise ValueError(f"{name}: rewards must be (P, n) numbers, got {rewards.dtype} of shape {rewards.shape}")
    n = rewards.shape[1]
    low, high = {"1 <= k <= n": (1, n), "1 <= k < n": (1, n - 1), "2 <= k <= n": (2, n), "k = n": (n, n)}[rule]
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not low <= k <= high:
        raise ValueError(f"{name}: k = {k!r} with n = {n} samples, but it needs an integer {rule}")
    if n < n_min:
        raise ValueError(f"{name}: n = {n} samples, but it needs n >= {n_min}")
    rewards = rewards.astype(np.float64)
    if not np.isfinite(rewards).all():
        raise ValueError(f"{name}: rewards hold {rewards[~np.isfinite(rewards)][0]}, expected finite numbers")
    return rewards


def centre(x):
    """(P, n) minus the mean of each row."""
    return x - x.mean(axis=1, keepdims=True)


def relative(rewards):
    """Rewards less the group's first: baselines cancel any shift, and a group of equal rewards becomes exact zeros."""
    return rewards - rewards[:, :1]


def z_score(x):
    """(P, n) centred and divided by the (population) standard deviation of the row; 0 where all are equal."""
    x = relative(x)
    std = x.std(axis=1, keepdims=True)
    return np.divide(centre(x), std, out=np.zeros_like(x), where=std > 0)


def hypergeometric_weights(n, k, a):
    """C(j-a, k-a) / C(n, k) for j = 0..n, (n + 1,): the share of all k-subsets of n ranks that lies within the j lowest
    ranks and contains `a` given ones of them. By ratios of neighbours, from j = n down: no factorial ever forms."""
    if k < a:
        return np.zeros(n + 1)
    j = np.arange(n, 0, -1)
    steps = np.cumprod(np.maximum(j - k, 0) / np.maximum(j - a, 1))
    return math.perm(k, a) / math.perm(n, a) * np.append(steps[::-1], 1.0)


def unsort(values, order):
    """Put (P, n) values listed by rank back in the order of the samples."""
    out = np.empty_like(values)
    np.put_along_axis(out, order, values, axis=1)
    return out


def climb(rewards, weights):
    """A_(i) = sum_{1 < j <= i} gap_j weights_j, weights (n,): a step up in reward counts for all samples above it."""
    order = np.argsort(rewards, axis=1)
    gaps = np.diff(np.take_along_axis(rewards, order, axis=1), axis=1)
    values = np.zeros_like(rewards)
    np.cumsum(gaps * weights[1:], axis=1, out=values[:, 1:])
    return unsort(values, order)


# ----------------------------------------------------------------- metrics: exact means over all k-subsets of n samples


def pass_at_k(correct, k):
    """pass@k: the share of k-subsets with a correct sample, 1 - C(n-c, k)/C(n, k) for c correct of n. Unbiased.
    (P, n) bool or 0/1 -> (P,). ValueError unless 1 <= k <= n. Chen et al. 2021; PKPO."""
    correct = binary("pass_at_k", check("pass_at_k", correct, k, n_min=1))
    n = correct.shape[1]
    return 1.0 - hypergeometric_weights(n, k, 0)[n - correct.sum(axis=1)]


def max_at_k(scores, k):
    """max@k: the mean over k-subsets of the largest score, (1/C(n,k)) sum_i C(i-1, k-1) r_(i). Unbiased.
    (P, n) -> (P,). ValueError unless 1 <= k <= n. PKPO; on 0/1 scores it is pass@k."""
    scores = check("max_at_k", scores, k, n_min=1)
    return scores[:, 0] + np.sort(relative(scores), axis=1) @ hypergeometric_weights(scores.shape[1], k, 1)[1:]


def maj_at_k(scores, votes, k):
    """maj@k: the mean over k-subsets of the majority answer's score. Unbiased.
    (P, n) scores, (P, n) integer votes, -1: none -> (P,). ValueError unless 1 <= k <= n and votes are as said.
    Ties are split evenly: the expectation under a uniform draw. An abstention takes a seat and never wins; a set in
    which all abstain scores their mean. If an answer's voters differ in score, it scores their mean in the set."""
    scores = check("maj_at_k", scores, k, n_min=1)
    n, low = scores.shape[1], scores.min(axis=1)
    _, counts, sums = tally("maj_at_k", scores - low[:, None], votes)
    if k == n:
        return low + majority_value(counts, sums)
    value = low + hypergeometric_weights(n, k, 0)[counts[0]] * sums[0] / np.maximum(counts[0], 1)  # all k abstain
    # Only answers that score more than the lowest count: of 0/1 scores one in each problem, the right one.
    answer, problem = np.nonzero(sums[1:])
    own, others = counts[1:][answer, problem], counts[1:, problem].T.copy()
    others[np.arange(len(own)), answer] = 0
    others = np.sort(others, axis=1)[:, ::-1]
    order = np.lexsort((-own, (others > 0).sum(axis=1)))  # alike ones together: they cost what the largest of them does
    wins, step = np.zeros(len(own)), max(1, 2**20 // k**2)
    for some in (order[i:i + step] for i in range(0, len(order), step)):
        some = some[np.argsort(-own[some], kind="stable")]
        wins[some] = win_probability(own[some], others[some], n, k)
    np.add.at(value, problem, wins * sums[1:][answer, problem] / own)
    return value


def binary(name, rewards):
    """0/1 rewards as booleans."""
    correct = rewards == 1.0
    if (rewards != correct).any():
        raise ValueError(f"{name}: {rewards[rewards != correct][0]:g} is neither 0 nor 1, the values it is defined for")
    return correct


def tally(name, rewards, votes):
    """Votes by answer: the slot (P, n) of each sample's answer; votes (S, P) and sum of rewards (S, P) of each slot.
    Slot 0 holds the abstentions."""
    votes = np.asarray(votes)
    if votes.shape != rewards.shape or votes.dtype.kind not in "iu" or (votes < -1).any():
        raise ValueError(f"{name}: votes must be integers >= -1, one class per answer, of shape {rewards.shape}")
    P = len(votes)
    order = np.argsort(votes, axis=1)
    in_order = np.take_along_axis(votes, order, axis=1).astype(np.int64)
    slot = unsort(np.cumsum(np.diff(in_order, axis=1, prepend=-1) != 0, axis=1), order)
    S = slot.max(initial=0) + 1
    flat = (slot * P + np.arange(P)[:, None]).ravel()
    counts = np.bincount(flat, minlength=S * P).reshape(S, P)
    sums = np.bincount(flat, weights=rewards.ravel(), minlength=S * P).reshape(S, P)
    return slot, counts, sums


def majority_value(counts, sums):
    """Reward of the majority of a group: the mean over the winners' voters, who are equally many for each winner.
    counts, sums (S, ...) as in tally -> (...)."""
    top = counts[1:].max(axis=0, initial=0)
    wins = counts == top
    wins[0] = top == 0
    return (sums * wins).sum(axis=0) / (counts * wins).sum(axis=0)


def add_answer(poly, heads, z):
    """poly (D, Z, U), coefficients of x^0..x^(D-1), times that of an answer: fewer than v votes, or v and a tie (z).
    heads (v + 1, U): its probability of 0..v votes. z (Z, 1)."""
    v = len(heads) - 1
    out = heads[0] * poly
    for u in range(1, min(v, len(poly) - 1) + 1):
        out[u:] += (heads[u] if u < v else heads[v] * z) * poly[:-u]
    return out


def win_probability(own, others, n, k):
    """Probability (U,) that an answer with own (U,) votes, in descending order, wins the vote in a random k-subset of n
    samples against others (U, A), in descending order; what is missing to n abstains. Ties are split evenly.

    Draw the subset with n coins of heads probability k/n, given that k heads come up. Before that condition answers are
    independent, answer b has Binomial(c_b, k/n) votes, and their sum is a product of polynomials in x, whose power
    counts heads. Where the winner has v votes, every other answer has fewer, or v and shares the win. Mark each such
    tie by z: t ties leave the winner 1/(1+t) = integral of z^t over [0, 1], which Gauss-Legendre points give exactly.
    All terms are positive, so nothing cancels.
    """
    coins, wins = binomial_pmf(n, k), np.zeros(len(own))
    for v in range(1, min(k, int(own.max(initial=0))) + 1):
        U = np.searchsorted(-own, -v, side="right")  # those after the U-th never have v votes
        A = int((others[:U] >= v).any(axis=0).sum())  # those after the A-th never reach v: as good as abstentions
        z, dz = ties(A + 1, v, k)
        poly = np.repeat(coins[:k - v + 1, None, n - own[:U] - others[:U, :A].sum(axis=1)], len(z), axis=1)
        for a in range(A):
            poly = add_answer(poly, coins[:v + 1, others[:U, a]], z[:, None])
        wins[:U] += coins[v, own[:U]] * (dz @ poly[k - v])
    return wins / coins[k, n]


def ties(answers, v, k):
    """Points z and weights of the integral over [0, 1] of z^t, exact for as many ties t as k seats at v votes allow."""
    z, dz = np.polynomial.legendre.leggauss(min(answers - 1, k // v - 1) // 2 + 1)
    return (1 + z) / 2, dz / 2


def binomial_pmf(n, k):
    """(k + 1, n + 1): entry [u, c] is the probability of u heads among c coins of heads probability k/n."""
    p, coins = k / n, np.zeros((k + 1, n + 1))
    coins[0] = (1 - p) ** np.arange(n + 1)
    for c in range(n):
        coins[1:, c + 1] = (1 - p) * coins[1:, c] + p * coins[:-1, c]
    return coins


# ------------------------------------------------------------------------------------------- the mean objective, E[r]


def rloo(rewards, k, *, votes=None, log_ratio=None):
    """A_i = (r_i - mean_{j != i} r_j) / n. Unbiased for grad E[r]. n >= 2, any k. RLOO; Tang et al. eq. 2, f = mean."""
    rewards = check("rloo", rewards, k)
    return centre(relative(rewards)) / (rewards.shape[1] - 1)


def grpo(rewards, k, *, votes=None, log_ratio=None):
    """A_i = (r_i - mean r) / (n std r), 0 where all rewards are equal. n >= 2, any k. DeepSeekMath (2402.03300).
    Heuristic: the division weighs prompts by 1/std. Population std, no epsilon."""
    rewards = check("grpo", rewards, k)
    return z_score(rewards) / rewards.shape[1]


def dr_grpo(rewards, k, *, votes=None, log_ratio=None):
    """A_i = (r_i - mean r) / n: unbiased for (1 - 1/n) grad E[r]. n >= 2, any k. Dr. GRPO (2503.20783)."""
    rewards = check("dr_grpo", rewards, k)
    return centre(relative(rewards)) / rewards.shape[1]


# ------------------------------------------------------------------------------------------------- max@k, on policy


def max_loo(rewards, k, *, votes=None, log_ratio=None):
    """A_i = max(y) - max(y_-i): r_(n) - r_(n-1) for the best sample, 0 for the others. Unbiased for grad max@n.
    k = n >= 2. Tang et al. eq. 2."""
    rewards = check("max_loo", rewards, k, "k = n")
    second, top = np.partition(rewards, k - 2, axis=1)[:, -2:].T
    return np.where(rewards == top[:, None], (top - second)[:, None], 0.0)


def max_loo_biased(rewards, k, *, votes=None, log_ratio=None):
    """max_loo, centred over the group. k = n >= 2. Tang et al. eq. 3. The same as max_leave_p_out at p = 1.
    Biased for max@n; unbiased for grad max@(n-1), the mean over i of max(y_-i) (Lemma 2)."""
    return centre(max_loo(check("max_loo_biased", rewards, k, "k = n"), k))


def max_centred(rewards, k, *, votes=None, log_ratio=None):
    """A_i = M_k(y) - M_k(y_-i) = (k/n) (mean over k-subsets with i of their max - mean over k-subsets of the others).
    Unbiased for grad max@k, sums to zero. 1 <= k < n; k = 1 is rloo. OrderGrad."""
    return centred_max(check("max_centred", rewards, k, "1 <= k < n"), k)


def centred_max(rewards, k):
    """M_k(y) - M_k(y_-i): the running sum with w_j = C(j-2, k-1) / C(n-1, k), centred over the group."""
    return centre(climb(rewards, hypergeometric_weights(rewards.shape[1] - 1, k, 1)))  # its entry j - 1 is w_j


def max_leave_p_out(rewards, k, *, votes=None, log_ratio=None):
    """With p = n - k: A_i = (1/C(n-1, p-1)) sum over p-subsets s with i in s of (A_s - mean of all A_s), where
    A_s = max(y) - max(y without s). 1 <= k < n; k = n - 1 is max_loo_biased, k = 1 is rloo. Tang et al. App. B.2.
    Biased for max@n; unbiased for grad max@k. What s leaves is a k-subset: summed up, this is max_centred."""
    return centred_max(check("max_leave_p_out", rewards, k, "1 <= k < n"), k)


def pkpo_s(rewards, k, *, votes=None, log_ratio=None):
    """s_i = (1/C(n,k)) sum over k-subsets with i of their max, that is, for the i-th lowest,
    (C(i-1,k-1) r_(i) + sum_{j>i} C(j-2,k-2) r_(j)) / C(n,k). Unbiased for grad max@k. No baseline. 1 <= k <= n.
    PKPO eq. 19; Bagirov et al., on policy."""
    rewards = check("pkpo_s", rewards, k, n_min=1)
    n = rewards.shape[1]
    order = np.argsort(rewards, axis=1)
    r = np.take_along_axis(rewards, order, axis=1)
    values = r * hypergeometric_weights(n, k, 1)[1:]
    values[:, :-1] += sum_from(r * hypergeometric_weights(n, k, 2)[1:])[:, 1:]
    return unsort(values, order)


def sum_from(x):
    """Sum over j >= i along each row of (P, n)."""
    return np.cumsum(x[:, ::-1], axis=1)[:, ::-1]


def pkpo_s_loo(rewards, k, *, votes=None, log_ratio=None):
    """s_i minus the mean over j != i of s_j as computed in y_-i: s_i - k/(n-1) M_k(y_-i). Unbiased for grad max@k.
    1 <= k < n (at k = n the others hold no k-subset). PKPO eq. 29. Not zero for equal rewards: s_i carries k/n of the
    reward, the baseline k/(n-1); the difference is what is added to max_centred below."""
    rewards = check("pkpo_s_loo", rewards, k, "1 <= k < n")
    n = rewards.shape[1]
    centred = centred_max(rewards, k)
    max_of_others = max_at_k(rewards, k)[:, None] - centred  # M_k(y_-i)
    return centred - k / (n * (n - 1)) * max_of_others


def pkpo_s_loo_minus_one(rewards, k, *, votes=None, log_ratio=None):
    """A_i = (1/C(n,k)) sum over k-subsets I with i of max(I) - max(I without i): w_j = C(j-1, k-1) / C(n, k).
    Unbiased for grad max@k, never negative for k > 1. 1 <= k <= n, n >= 2. PKPO eq. 33; Bagirov et al., BoN LOO-1.
    k = n is max_loo. k = 1: the max of an empty set is taken to be the mean of the other rewards, which is rloo."""
    rewards = check("pkpo_s_loo_minus_one", rewards, k)
    return climb(rewards, hypergeometric_weights(rewards.shape[1], k, 1)[1:]) if k > 1 else rloo(rewards, k)


def bon_max_mean(rewards, k, *, votes=None, log_ratio=None):
    """A_i = (r_i - mean r) / n for the best samples, else 0. Heuristic. n >= 2, any k. Bagirov et al., BoN-max mean."""
    rewards = check("bon_max_mean", rewards, k)
    best = rewards == rewards.max(axis=1, keepdims=True)
    return np.where(best, centre(relative(rewards)), 0.0) / rewards.shape[1]


def bon_max_second(rewards, k, *, votes=None, log_ratio=None):
    """A_i = (r_i - largest reward below the max) / n for the best samples, else 0; all equal: 0. Heuristic.
    n >= 2, any k. Bagirov et al., BoN-max second."""
    rewards = check("bon_max_second", rewards, k)
    top = rewards.max(axis=1, keepdims=True)
    below = np.where(rewards < top, rewards, -np.inf).max(axis=1, keepdims=True)
    return np.where((rewards == top) & (below > -np.inf), rewards - below, 0.0) / rewards.shape[1]


def bon_mean(rewards, k, *, votes=None, log_ratio=None):
    """z-score of the s_i over the group, / n. Heuristic, for max@k. 1 <= k < n: at k = n all s_i are equal.
    Bagirov et al., BoN mean. The s_i less their mean are (1 - k/n) max_centred, and a z-score ignores the factor."""
    rewards = check("bon_mean", rewards, k, "1 <= k < n")
    return z_score(centred_max(rewards, k)) / rewards.shape[1]


# ---------------------------------------------------- between mean and max: f_beta(y) = sum_i softmax(beta r)_i r_i

BETA = 1.0  # where none is given


def softmax_averages(name, rewards, k, beta):
    """f_beta(y) (P, 1) and f_beta(y_-i) (P, n), both less max(y). Sums of exp(beta (r_i - max)), each at most 1."""
    rewards = check(name, rewards, k, "k = n")
    number = isinstance(beta, (int, float, np.integer, np.floating)) and not isinstance(beta, bool)
    if not number or not 0 <= beta < math.inf:
        raise ValueError(f"{name}: beta = {beta!r}, but it needs a finite number >= 0")

    def averages(r):  # of rows in ascending order: of all, and of all but one, for each but the last
        below = r - r[:, -1:]
        with np.errstate(over="ignore"):  # exp(-inf) is 0
            e = np.exp(beta * below)
        total, weighted = e.sum(axis=1, keepdims=True), (e * below).sum(axis=1, keepdims=True)
        e, below = e[:, :-1], below[:, :-1]
        return weighted / total, (weighted - e * below) / (total - e)

    order = np.argsort(rewards, axis=1)
    r = np.take_along_axis(rewards, order, axis=1)
    whole, without = averages(r)
    without_best = averages(r[:, :-1])[0] + r[:, -2:-1] - r[:, -1:]
    return whole, unsort(np.hstack([without, without_best]), order)


@reads("beta")
def softmax_loo(rewards, k, *, votes=None, log_ratio=None, beta=BETA):
    """A_i = f_beta(y) - f_beta(y_-i). Unbiased for grad E[f_beta of n samples]. k = n >= 2. Tang et al. App. B.2.
    beta = 0 is rloo; beta -> infinity is max_loo. Rewards times c is beta times c: beta is in units of 1/reward."""
    whole, without = softmax_averages("softmax_loo", rewards, k, beta)
    return whole - without


@reads("beta")
def softmax_loo_biased(rewards, k, *, votes=None, log_ratio=None, beta=BETA):
    """softmax_loo, centred over the group. k = n >= 2. Tang et al. App. B.2 with eq. 3.
    Biased for E[f_beta of n samples]; unbiased for grad E[f_beta of n - 1], the mean of f_beta(y_-i) (Lemma 2)."""
    return centre(-softmax_averages("softmax_loo_biased", rewards, k, beta)[1])


@reads("beta")
def max_softmax_baseline(rewards, k, *, votes=None, log_ratio=None, beta=BETA):
    """A_i = max(y) - f_beta(y_-i). Unbiased for grad max@n at every beta: the baseline leaves i out. Never negative,
    and zero only where all others have the max. k = n >= 2. Tang et al. App. B.2. beta -> infinity is max_loo."""
    return -softmax_averages("max_softmax_baseline", rewards, k, beta)[1]


# ------------------------------------------------------------------------------------------------ max@k, off policy

DELTA_MAX = 0.2  # bound on |rho - 1| in the first-order form: the clipping range of the paper's loss


def ratios(name, rewards, log_ratio, k, float64_to=0.8 * math.log(sys.float_info.max)):
    """rho = exp(log_ratio), (P, n), in extended precision where products of k of them may leave [e^-x, e^x] with
    x = float64_to: the range of a float64, which a product may leave on the way to a value within it."""
    log_ratio = np.zeros_like(rewards) if log_ratio is None else np.asarray(log_ratio, dtype=np.float64)
    if log_ratio.shape != rewards.shape or not np.isfinite(log_ratio).all():
        raise ValueError(f"{name}: log_ratio must be finite and of shape {rewards.shape}")
    reach = k * np.abs(log_ratio).max(initial=0.0)
    if reach >= 0.8 * float(np.log(np.finfo(np.longdouble).max)):
        raise ValueError(f"{name}: products of {k} ratios with |log_ratio| up to {reach / k:.4g} do not fit a float: "
                         "clip the ratios first")
    return np.exp(log_ratio.astype(np.float64 if reach < float64_to else np.longdouble))


def ranked(rewards, rho):
    """By rank: order, rewards and ratios, (P, n) each."""
    order = np.argsort(rewards, axis=1)
    return order, np.take_along_axis(rewards, order, axis=1), np.take_along_axis(rho, order, axis=1)


def to_float64(name, values):
    with np.errstate(over="ignore"):
        values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: an advantage does not fit a float64: clip the ratios first")
    return values


def binomial_given_k(n, k):
    """A k-subset is n coins of heads probability p, given k heads. Returns p = k/n and Prob(k heads), rounded once."""
    k = int(k)  # these integers have thousands of digits
    return k / n, math.comb(n, k) * k**k * (n - k) ** (n - k) / n**n


@reads("log_ratio")
def bon_off_policy(rewards, k, *, votes=None, log_ratio=None):
    """Exact off-policy max@k: g_i = (1/C(n,k)) sum over k-subsets I with i of prod_{j in I} rho_j * max(I).
    For samples of pi_old, unbiased for grad max@k of pi_theta. No baseline. 1 <= k <= n. log_ratio = 0 gives pkpo_s.
    O(n k); ours.

    Bagirov et al. call this sum exponential and expand it. It is not: cut a subset at sample i. Of the part ranked
    below i only the size and the product of ratios matter (elementary symmetric polynomials); the part above also fixes
    the max. One pass up the ranks gives the first, one pass down the second, and g_i is their convolution.
    Subsets are drawn by coins (binomial_given_k): a sum is a probability times ratios, not a count near C(n, k)."""
    rewards = check("bon_off_policy", rewards, k, n_min=1)
    order, r, rho = ranked(rewards, ratios("bon_off_policy", rewards, log_ratio, k))
    P, n = r.shape
    p, norm = binomial_given_k(n, k)
    r, heads = r.T, p * rho.T
    below = np.zeros((n, k, P), rho.dtype)  # [i, m]: sum over all choices of m ranks below i of coins x ratios
    below[0, 0] = 1.0
    for i in range(1, n):
        np.multiply(1 - p, below[i - 1], out=below[i])
        below[i, 1:] += heads[i - 1] * below[i - 1, :-1]
    above = np.zeros((k, P), rho.dtype)  # [m]: the same over m ranks above i, times the reward of the highest
    values = np.empty_like(heads)
    for i in reversed(range(n)):
        above[0] = (1 - p) ** (n - 1 - i) * r[i]  # none above: i is the highest
        values[i] = heads[i] * np.einsum("mp,mp->p", below[i], above[::-1])
        step = heads[i] * above[:-1]
        above *= 1 - p
        above[1:] += step
    return unsort(to_float64("bon_off_policy", values.T / norm), order)


@reads("log_ratio")
def bon_off_policy_loo_minus_one(rewards, k, *, votes=None, log_ratio=None):
    """bon_off_policy with PKPO's baseline: (1/C(n,k)) sum over k-subsets I with i of prod rho * (max(I) - max(I - i)).
    The baseline leaves r_i out, so still unbiased for grad max@k of pi_theta. n >= 2, 1 <= k <= n. O(n k); ours.
    log_ratio = 0 gives pkpo_s_loo_minus_one. k = 1: A_i = rho_i (r_i - mean of the other rewards) / n.
    A running sum again: A_(i) = rho_i sum_{j<=i} gap_j e_{k-1}(rho_(1), ..., rho_(j-1)) / C(n,k), where e_m is the
    elementary symmetric polynomial."""
    name = "bon_off_policy_loo_minus_one"
    rewards = check(name, rewards, k)
    rho = ratios(name, rewards, log_ratio, k)
    if k == 1:
        return to_float64(name, rloo(rewards, k) * rho)
    order, r, rho = ranked(rewards, rho)
    P, n = r.shape
    p, norm = binomial_given_k(n, k)
    gaps, rho = np.diff(r, axis=1).T, rho.T
    below = np.zeros((k, P), rho.dtype)  # [m]: sum over all choices of m ranks below j of coins x ratios
    below[0] = 1.0
    values = np.zeros_like(rho)
    for j in range(1, n):
        step = p * rho[j - 1] * below[:-1]
        below *= 1 - p
        below[1:] += step
        values[j] = values[j - 1] + gaps[j - 1] * below[k - 1] * (p * (1 - p) ** (n - 1 - j) / norm)
    return unsort(to_float64(name, (rho * values).T), order)


@reads("log_ratio")
def bon_off_policy_first_order(rewards, k, *, votes=None, log_ratio=None):
    """bon_off_policy to first order in d = rho - 1, with d clamped to +-DELTA_MAX. Biased. No baseline. 1 <= k <= n.
    Bagirov et al.:
    g_(i) = (1/C(n,k)) sum_{j>=i} w_ij r_(j),    w_ii = C(i-1,k-1) (1 + d_i) + C(i-2,k-2) sum_{l<i} d_l,
    w_ij = C(j-2,k-2) (1 + d_i + d_j) + C(j-3,k-3) sum_{l<j, l!=i} d_l. log_ratio = 0 gives pkpo_s."""
    name = "bon_off_policy_first_order"
    rewards = check(name, rewards, k, n_min=1)
    order, r, rho = ranked(rewards, ratios(name, rewards, log_ratio, 1))
    d = np.clip(rho - 1, -DELTA_MAX, DELTA_MAX).astype(np.float64)
    d_below = np.cumsum(d, axis=1) - d
    c1, c2, c3 = (hypergeometric_weights(r.shape[1], k, a)[1:] for a in (1, 2, 3))
    values = r * (c1 * (1 + d) + c2 * d_below)
    values[:, :-1] += sum_from(r * (c2 * (1 + d) + c3 * d_below))[:, 1:] + d[:, :-1] * sum_from(r * (c2 - c3))[:, 1:]
    return unsort(values, order)


@reads("log_ratio")
def bon_off_policy_first_order_z(rewards, k, *, votes=None, log_ratio=None):
    """z-score of bon_off_policy_first_order over the group, / n. Heuristic. 1 <= k < n. Bagirov et al. do not say which
    variance reduction their off-policy weights get: none is one reading, this, that of their BoN mean, the other.
    log_ratio = 0 gives bon_mean. Not zero for equal rewards: the ratios differ."""
    rewards = check("bon_off_policy_first_order_z", rewards, k, "1 <= k < n")
    ratios("bon_off_policy_first_order_z", rewards, log_ratio, 1)  # checked under this name
    weights = bon_off_policy_first_order(rewards, k, log_ratio=log_ratio)
    rounding = 1e-12 * np.abs(weights).max(axis=1, keepdims=True)
    equal = np.ptp(weights, axis=1, keepdims=True) <= rounding
    return np.where(equal, 0.0, z_score(weights)) / rewards.shape[1]


# ---------------------------------------------------------------------------------------- maj@k, exact for any k <= n


def leave_one_out(rewards, slot, counts, sums):
    """The majority's reward in y_-i for every i, (P, n). slot, counts, sums as in tally."""
    gone = slot == np.arange(len(counts))[:, None, None]  # (S, P, n)
    return majority_value(counts[:, :, None] - gone, sums[:, :, None] - gone * rewards)


@reads("votes")
def maj_loo(rewards, k, *, votes=None, log_ratio=None):
    """A_i = r(maj(y)) - r(maj(y_-i)), ties in expectation. Unbiased for grad maj@n. k = n >= 2. Tang et al. eq. 2.
    Zero unless i voted for a winner whose lead is at most one vote."""
    rewards = relative(check("maj_loo", rewards, k, "k = n"))
    group = tally("maj_loo", rewards, votes)
    return majority_value(*group[1:])[:, None] - leave_one_out(rewards, *group)


@reads("votes")
def maj_loo_biased(rewards, k, *, votes=None, log_ratio=None):
    """maj_loo, centred over the group. k = n >= 2. Tang et al. eq. 3.
    Biased for maj@n; unbiased for grad maj@(n-1), the mean over i of r(maj(y_-i)) (Lemma 2)."""
    rewards = relative(check("maj_loo_biased", rewards, k, "k = n"))
    return centre(-leave_one_out(rewards, *tally("maj_loo_biased", rewards, votes)))


@reads("votes")
def maj_loo_minus_one(rewards, k, *, votes=None, log_ratio=None):
    """A_i = (1/C(n,k)) sum over k-subsets I with i of maj(I) - maj(I without i).
    Unbiased for grad maj@k. 2 <= k <= n; k = n is maj_loo. Ours, after PKPO eq. 33."""
    rewards = relative(check("maj_loo_minus_one", rewards, k, "2 <= k <= n"))
    return majority_with_less_without("maj_loo_minus_one", rewards, k, votes, np.ones_like(rewards))


@reads("votes")
def maj_centred(rewards, k, *, votes=None, log_ratio=None):
    """A_i = M_k(y) - M_k(y_-i) = (k/n) (mean over k-subsets with i of maj - mean over k-subsets of the others).
    Unbiased for grad maj@k, sums to zero. 1 <= k < n; k = n - 1 is maj_loo_biased. Ours, after OrderGrad."""
    rewards = relative(check("maj_centred", rewards, k, "1 <= k < n"))
    n = rewards.shape[1]
    without_i = vote_sums(rewards, *tally("maj_centred", rewards, votes)[:2], np.ones_like(rewards), k)[1]
    return centre(-n / (n - k) * without_i)  # M_k(y_-i) has C(n-1,k) terms; the mean of M_k(y_-i) is M_k(y)


@reads("votes", "log_ratio")
def maj_off_policy(rewards, k, *, votes=None, log_ratio=None):
    """Exact off-policy maj@k: g_i = (1/C(n,k)) sum over k-subsets I with i of prod_{j in I} rho_j * maj(I).
    For samples of pi_old, unbiased for grad maj@k of pi_theta. 1 <= k <= n. No baseline. Ours."""
    name = "maj_off_policy"
    rewards = check(name, rewards, k, n_min=1)
    slot, counts, _ = tally(name, rewards, votes)
    return to_float64(name, vote_sums(rewards, slot, counts, ratios(name, rewards, log_ratio, k), k)[0])


@reads("votes", "log_ratio")
def maj_off_policy_loo_minus_one(rewards, k, *, votes=None, log_ratio=None):
    """maj_off_policy with a baseline: (1/C(n,k)) sum over k-subsets I with i of prod rho * (maj(I) - maj(I without i)).
    The baseline leaves r_i and a_i out, so still unbiased for grad maj@k of pi_theta. 2 <= k <= n. Ours.
    log_ratio = 0 gives maj_loo_minus_one. A difference of two sums: its error is relative to maj_off_policy, and
    products of ratios beyond e^8 are taken in extended precision."""
    name = "maj_off_policy_loo_minus_one"
    rewards = relative(check(name, rewards, k, "2 <= k <= n"))
    rho = ratios(name, rewards, log_ratio, k, float64_to=8)
    return to_float64(name, majority_with_less_without(name, rewards, k, votes, rho))


def majority_with_less_without(name, rewards, k, votes, rho):
    """(1/C(n,k)) sum over k-subsets I with i of prod_{j in I} rho_j * (maj(I) - maj(I without i))."""
    slot, counts, _ = tally(name, rewards, votes)
    n = rewards.shape[1]
    baseline = rho * vote_sums(rewards, slot, counts, rho, k - 1)[1] * (k / (n - k + 1))  # C(n,k-1) / C(n,k)
    return vote_sums(rewards, slot, counts, rho, k)[0] - baseline


def vote_sums(rewards, slot, counts, rho, k):
    """(1/C(n,k)) sum over k-subsets I of prod_{j in I} rho_j * maj(I): (2, P, n), over those with sample i, and over
    those without it. slot, counts as in tally. A part of the groups at a time, which bounds the memory."""
    rank = np.argsort(np.argsort(-counts[1:], axis=0, kind="stable"), axis=0)  # answers by descending count
    slot = np.take_along_axis(np.vstack([0 * counts[:1], 1 + rank]), slot.T, axis=0).T
    counts = np.vstack([counts[:1], -np.sort(-counts[1:], axis=0)])
    step = max(1, 2**18 // (len(counts) * k))
    parts = [slice(i, i + step) for i in range(0, max(1, len(slot)), step)]
    return np.concatenate([vote_sums_of(rewards[i], slot[i], counts[:, i], rho[i], k) for i in parts], axis=1)


def vote_sums_of(rewards, slot, counts, rho, k):
    """As win_probability, but an answer's binomial becomes the elementary symmetric polynomial of its voters' ratios:
    within an answer only the number of votes, the product of the ratios and, if it wins, the sum of rewards matter.
    The whole is linear in each sample's coin, heads p rho_i, tails 1 - p: its derivatives are the two sums. One pass up
    gives the polynomials, one pass down their adjoints, and nothing is subtracted."""
    P, n = slot.shape
    p, norm = binomial_given_k(n, k)
    order = np.argsort(slot, axis=1, kind="stable")
    slot, r, heads = (np.take_along_axis(x, order, axis=1).T for x in (slot, rewards, p * rho))
    first, groups = np.diff(slot, axis=0, prepend=-1) > 0, np.arange(P)
    last = np.vstack([first[1:], np.full((1, P), True)])
    # poly[a, 0, u]: sum over the sets of u voters of answer a of coins x ratios; poly[a, 1, u]: of that x their rewards
    poly, before = np.zeros((len(counts), 2, k + 1, P), rho.dtype), np.zeros((n, 2, k + 1, P), rho.dtype)
    poly[:, 0, 0] = 1.0
    after = empty = np.zeros_like(poly[0])
    empty[0, 0] = 1.0
    for i in range(n):
        before[i] = np.where(first[i], empty, after)
        after = (1 - p) * before[i]
        after[:, 1:] += heads[i] * before[i, :, :-1]
        after[1, 1:] += heads[i] * r[i] * before[i, 0, :-1]
        poly[slot[i], :, :, groups] = np.moveaxis(after, -1, 0)
    d_poly, d_after = majority_adjoint(poly, counts, k, 1 - p), 0.0
    sums = np.zeros((2, n, P), rho.dtype)
    for i in reversed(range(n)):
        d_after = np.where(last[i], np.moveaxis(d_poly[slot[i], :, :, groups], 0, -1), d_after)
        d_before = (1 - p) * d_after
        d_before[:, :-1] += heads[i] * d_after[:, 1:]
        d_before[0, :-1] += heads[i] * r[i] * d_after[1, 1:]
        sums[0, i] = heads[i] * ((d_after[:, 1:] * before[i, :, :-1]).sum(axis=(0, 1))
                                 + r[i] * (d_after[1, 1:] * before[i, 0, :-1]).sum(axis=0))
        sums[1, i] = (1 - p) * (d_after * before[i]).sum(axis=(0, 1))
        d_after = d_before
    return np.stack([unsort(x.T, order) for x in sums / norm])


def majority_adjoint(poly, counts, k, tails):
    """dF/d poly, (S, 2, k + 1, P), of F = sum over answers a and their votes v of poly[a, 1, v] / v x what the other
    answers can have beside it in k seats, ties split as in win_probability; and slot 0's where all k abstain."""
    S, d_poly, most = len(poly), np.zeros_like(poly), counts.max(axis=1, initial=0)
    outside = counts[1:].sum(axis=0)  # samples that voted
    d_poly[0, 1, k] = tails ** outside / k
    d_poly[1:, 0, 0] = poly[0, 1, k] / k * tails ** (outside - counts[1:])
    for v in range(1, min(k, int(most[1:].max(initial=0))) + 1):
        A = int((most[1:] >= v).sum())
        cannot_win = [0, *range(A + 1, S)]
        rest = [np.zeros_like(poly[0, 0, v:])]
        rest[0][0] = 1.0
        for a in cannot_win:
            rest.append(add_answer(rest[-1], poly[a, 0, :most[a] + 1], 1.0))
        d_rest = np.zeros_like(rest[0])
        for z, dz in zip(*ties(A, v, k)):
            open_, won = [rest[-1]], [np.zeros_like(rest[0])]  # no winner yet; one of the answers up to a
            for a in range(1, A + 1):
                won.append(add_answer(won[-1], poly[a, 0, :v + 1], z) + poly[a, 1, v] / v * open_[-1])
                open_.append(add_answer(open_[-1], poly[a, 0, :v + 1], z))
            d_open, d_won = np.zeros_like(rest[0]), np.zeros_like(rest[0])
            d_won[-1] = dz
            for a in reversed(range(1, A + 1)):
                d_poly[a, 1, v] += (d_won * open_[a - 1]).sum(axis=0) / v
                d_open = add_answer_adjoint(d_open, open_[a - 1], poly[a, 0, :v + 1], z, d_poly[a, 0])
                d_open += poly[a, 1, v] / v * d_won
                d_won = add_answer_adjoint(d_won, won[a - 1], poly[a, 0, :v + 1], z, d_poly[a, 0])
            d_rest += d_open
        for a, before in reversed(list(zip(cannot_win, rest))):
            d_rest = add_answer_adjoint(d_rest, before, poly[a, 0, :most[a] + 1], 1.0, d_poly[a, 0])
    return d_poly


def add_answer_adjoint(d_out, poly, heads, z, d_heads):
    """For out = add_answer(poly, heads, z), dF/d out -> dF/d poly; dF/d heads is added to d_heads."""
    v = len(heads) - 1
    d_poly = heads[0] * d_out
    d_heads[0] += (d_out * poly).sum(axis=0)
    for u in range(1, min(v, len(poly) - 1) + 1):
        share = 1.0 if u < v else z
        d_poly[:-u] += share * heads[u] * d_out[u:]
        d_heads[u] += share * (d_out[u:] * poly[:-u]).sum(axis=0)
    return d_poly


# ----------------------------------------------------------------------------------------------------- from 2025-26


def pass_at_k_training(rewards, k, *, votes=None, log_ratio=None):
    """With rho = pass@k of the group, sigma = sqrt(rho (1 - rho)), c correct: n A_i = (1 - rho)/sigma if correct, else
    (1 - rho - C(n-c-1, k-1)/C(n-1, k-1))/sigma; 0 if sigma = 0. 0/1 rewards. 1 <= k < n: at k = n all are 0.
    Heuristic; tends to grad (2/k) arcsin sqrt(pass@k) as n grows. Pass@k Training."""
    correct = binary("pass_at_k_training", check("pass_at_k_training", rewards, k, "1 <= k < n"))
    n = correct.shape[1]
    rho = 1 - hypergeometric_weights(n, k, 0)  # tables over the number of wrong samples in the group, 0..n
    others_fail = np.append(0.0, hypergeometric_weights(n - 1, k - 1, 0))  # C(n-c-1, k-1)/C(n-1, k-1); unused if c = n
    scale = n * np.sqrt(rho * (1 - rho))
    scale = np.divide(1, scale, out=np.zeros(n + 1), where=scale > 0)
    wrong = n - correct.sum(axis=1, keepdims=True)
    return np.where(correct, ((1 - rho) * scale)[wrong], ((1 - rho - others_fail) * scale)[wrong])


def maxrl(rewards, k, *, votes=None, log_ratio=None):
    """A_i = (r_i - mean r) / (n mean r), 0 if mean r = 0. Rewards >= 0, n >= 2, any k. MaxRL.
    On 0/1 rewards unbiased for the gradient of sum_{t=1..n-1} pass@t / t, log E[r] cut off after n - 1 terms."""
    rewards = check("maxrl", rewards, k)
    if (rewards < 0).any():
        raise ValueError(f"maxrl: reward {rewards.min():g}, but it needs rewards >= 0")
    total = rewards.sum(axis=1, keepdims=True)
    return np.divide(centre(relative(rewards)), total, out=np.zeros_like(rewards), where=total > 0)


def maxrl_maclaurin(rewards, k, *, votes=None, log_ratio=None):
    """n A_i = 1 if correct, else -sum_{t=2..k} C(n-c-1, t-1)/C(n-1, t-1), c correct. 0/1 rewards, 1 <= k <= n.
    Unbiased for the gradient of sum_{t=1..k} pass@t / t: the Maclaurin form of MaxRL with T = k terms.
    No baseline, so not zero for equal rewards."""
    correct = binary("maxrl_maclaurin", check("maxrl_maclaurin", rewards, k, n_min=1))
    n = correct.shape[1]
    wrong = np.arange(n + 1)[:, None]  # in the group, a table over all counts
    t = np.arange(2, k + 1)
    lost = np.cumprod(np.maximum(wrong - t + 1, 0) / (n - t + 1), axis=1).sum(axis=1)
    return np.where(correct, 1.0, -lost[n - correct.sum(axis=1, keepdims=True)]) / n


def tailrl(rewards, k, *, votes=None, log_ratio=None):
    """A_(i) = sum_{j<=i} gap_j / (n - j + 1), centred over the group: MaxRL at every threshold of the reward, and maxrl
    on 0/1 rewards. Unbiased for the gradient of sum_{t=1..n-1} max@t / t. n >= 2, any k. TailRL."""
    rewards = check("tailrl", rewards, k)
    return centre(climb(rewards, 1.0 / np.arange(rewards.shape[1], 0, -1)))


def entropic(rewards, k, *, votes=None, log_ratio=None):
    """n A_i = e_i / mean_{j != i} e_j - 1, e = exp(beta (r - max r)), beta such that KL(softmax(beta r) || uniform) is
    ln 2, or 1e6 where none is (half of the group or more shares the max). Heuristic, for log E[exp(beta r)].
    n >= 3 (at n = 2 beta is infinite), any k. TTT-Discover."""
    rewards = check("entropic", rewards, k, n_min=3)
    n = rewards.shape[1]
    below_max = rewards - rewards.max(axis=1, keepdims=True)
    low, high = np.zeros((len(rewards), 1)), np.full((len(rewards), 1), 1e6)
    for _ in range(64):  # bisection: KL grows with beta
        beta = (low + high) / 2
        e = np.exp(beta * below_max)
        total = e.sum(axis=1, keepdims=True)
        kl = beta * (e * below_max).sum(axis=1, keepdims=True) / total - np.log(total / n)
        low, high = np.where(kl < math.log(2), beta, low), np.where(kl < math.log(2), high, beta)
    e = np.exp(low * below_max)
    return (e * (n - 1) / (e.sum(axis=1, keepdims=True) - e) - 1) / n


def rs_grpo(rewards, k, *, votes=None, log_ratio=None):
    """n A_i = (exp(beta r_i) / mean_j exp(beta r_j) - 1) / beta, beta = 2. n >= 2, any k. RS-GRPO.
    Heuristic; tends to the gradient of log E[exp(beta r)] / beta as n grows."""
    rewards = check("rs_grpo", rewards, k)
    beta = 2.0
    e = np.exp(beta * (rewards - rewards.max(axis=1, keepdims=True)))
    return (e / e.mean(axis=1, keepdims=True) - 1) / (beta * rewards.shape[1])


ESTIMATORS = {f.__name__: f for f in (
    rloo, grpo, dr_grpo,
    max_loo, max_loo_biased, max_leave_p_out, softmax_loo, softmax_loo_biased, max_softmax_baseline,
    maj_loo, maj_loo_biased,
    pkpo_s, pkpo_s_loo, pkpo_s_loo_minus_one, max_centred,
    bon_max_mean, bon_max_second, bon_mean, bon_off_policy_first_order, bon_off_policy_first_order_z,
    bon_off_policy, bon_off_policy_loo_minus_one,
    maj_loo_minus_one, maj_centred, maj_off_policy, maj_off_policy_loo_minus_one,
    pass_at_k_training, maxrl, maxrl_maclaurin, tailrl, entropic, rs_grpo)}


def uses(name, what):
    """Whether an estimator reads `what`, see `reads`; of a name that is not ours nothing is known, and it is False."""
    return what in getattr(ESTIMATORS.get(name), "reads", ())


def k_schedule(text, step):
    """k in force at a training step: "8" is always 8; "8@0 1@1500" is 8 until step 1500, then 1 (PKPO's annealing);
    a comma separates as well as a space. ValueError if the text is not that, or step not an integer >= 0."""
    try:
        pairs = [part.split("@") for part in text.replace(",", " ").split()] if "@" in text else [(text, 0)]
        ks, starts = zip(*((int(k), int(start)) for k, start in pairs))
    except ValueError:
        raise ValueError(f"k schedule {text!r}: expected an integer or K@STEP pairs such as '8@0 1@1500'") from None
    if min(ks) < 1 or starts[0] != 0 or any(b <= a for a, b in itertools.pairwise(starts)):
        raise ValueError(f"k schedule {text!r}: k must be positive, the first step 0, and steps must rise")
    if isinstance(step, bool) or not isinstance(step, (int, np.integer)) or step < 0:
        raise ValueError(f"step {step!r}: expected an integer >= 0")
    return [k for k, start in zip(ks, starts) if start <= step][-1]


# ---------------------------------------------------------------------------------------------------------- the rows
# What the stages say to each other: JSON lines, a row is one prompt with its n samples. A stage adds keys and drops
# none, and keys that are not described here pass through. Every stage reads with `read_rows`, which checks the keys
# that this stage reads, and that all lists of samples are equally long. A null is the same as no key. The README's
# table is ROW, that of results/rows.md is TESTS. A new key that a stage shall check: one line of one of them.

MAX_DEPTH = 200  # levels of lists and objects in a row: json and all that walks a row go down by recursion


class BadRow(ValueError):
    """Input that is not as described here; in one line: which row, which key, what was expected, what was found."""


def shown(value):
    """A value in a message: one line, and not a long one."""
    text = repr(value) if isinstance(value, str) else reprlib.repr(value)
    return text if len(text) <= 100 else text[:97] + "..."


@dataclass
class Scalar:
    """A JSON value that is judged as a whole: of one of `types` (exactly: true is no number), low <= value <= high, and
    for which `rule` holds. `words` name it."""
    words: str
    types: frozenset
    low: float | None = None
    high: float | None = None
    rule: Callable | None = None

    def fit(self, values):
        """Whether all of a list's values are so."""
        if not self.types.issuperset(map(type, values)):
            return False
        if self.low is not None and values and not (self.low <= min(values) and max(values) <= self.high
                                                    and math.isfinite(sum(values))):  # min and max pass over NaN
            return False
        return self.rule is None or all(map(self.rule, values))

    def fault(self, value, name):
        """What is wrong with a value, or None."""
        return None if self.fit([value]) else f"{name}: expected {self.words}, found {shown(value)}"


@dataclass
class ListOf:
    """A list of at least `least` values, all of type `of`, for which `rule` holds."""
    of: "Scalar | ListOf"
    words: str
    least: int = 0
    rule: Callable | None = None

    def fit(self, values):
        """Whether all of `values` are such lists. Looks at their entries all at once: rows hold many numbers."""
        return ({list}.issuperset(map(type, values)) and min(map(len, values), default=self.least) >= self.least
                and self.of.fit(list(itertools.chain.from_iterable(values)))
                and (self.rule is None or all(map(self.rule, values))))

    def fault(self, value, name):
        """What is wrong with its first entry that is at fault, else with the list, or None."""
        if self.fit([value]):
            return None
        entries = value if type(value) is list and len(value) >= self.least else []
        faults = (self.of.fault(entry, f"{name}[{i}]") for i, entry in enumerate(entries))
        return next(filter(None, faults), f"{name}: expected {self.words}, found {shown(value)}")


class By(NamedTuple):
    """A type for each value of another key of the same object: not read where that key has no such value."""
    key: str
    types: dict


class Object:
    """An object with described `keys`; the lists among them that are named in `parallel` are equally long."""

    def __init__(self, words, keys, parallel=()):
        self.words, self.keys, self.parallel = words, keys, parallel
        self.known = [(key, entry.type, entry.needed, "") for key, entry in keys.items()]

    def fault(self, value, name):
        if type(value) is not dict:
            return f"{name}: expected {self.words}, found {shown(value)}"
        return fault_in(value, self.known, f"{name}.") or ragged(value, self.parallel, f"{name}: ")


class Key(NamedTuple):
    """A key of an object in a row: its type, whether it has to be there, and what it is."""
    type: "Scalar | ListOf | Object | By"
    needed: bool
    meaning: str


class RowKey(NamedTuple):
    """A key of a row: its type, who adds it, which stages need it, which read it where it is, and what it is."""
    type: "Scalar | ListOf | Object | By"
    writer: str
    needed: str
    used: str
    meaning: str


ANYTHING = Scalar("any JSON", frozenset({str, int, float, bool, list, dict, type(None)}))
TEXT = Scalar("text", frozenset({str}))
WORDS = Scalar("text that is not blank", frozenset({str}), rule=str.strip)
FLAG = Scalar("true or false", frozenset({bool}))
LABEL = Scalar("text or an integer", frozenset({str, int}))
NUMBER = Scalar("a finite number", frozenset({int, float}), -1e38, 1e38)  # train.py has float32
LOGPROB = Scalar("a log-probability, at most 0", frozenset({int, float}), -1e38, 1e-3)  # of rounding
SHARE = Scalar("a probability", frozenset({int, float}), 0, 1)
VOTE = Scalar("an integer, -1 or more", frozenset({int}), -1, 2**62)
STEP = Scalar("an integer from 0 to 999999", frozenset({int}), 0, 999_999)  # the checkpoints' names have six digits
COUNT = Scalar("an integer, 1 or more", frozenset({int}), 1, 2**31 - 1)
WHOLE = Scalar("an integer", frozenset({int}), -2**63, 2**63)
TOKEN = Scalar("a token id, an integer, 0 or more", frozenset({int}), 0, 2**31 - 1)
REASON = Scalar('"stop" or "length"', frozenset({str}), rule=("stop", "length").__contains__)
CELL = Scalar("a digit", frozenset({int}), 0, 9)
GRID = ListOf(ListOf(CELL, "a list of digits", 1), "a grid: a list of equally long lists of digits", 1,
              lambda grid: len(set(map(len, grid))) == 1)
A_SAMPLE = "a list with one entry a sample"


def each(of):
    """One entry a sample."""
    return ListOf(of, A_SAMPLE, 1)


TESTS = {
    "type": Key(Scalar("stdin, call, assert or check", frozenset({str}),
                       rule=("stdin", "call", "assert", "check").__contains__), True,
                "a run with this standard input; a call of a function, its value compared as JSON; "
                "an expression, its value compared as Python's; a check function of the dataset"),
    "inputs": Key(By("type", {"stdin": ListOf(TEXT, "a list of texts", 1),
                              "call": ListOf(ListOf(ANYTHING, "a list of arguments"), "a list of argument lists", 1),
                              "assert": ListOf(TEXT, "a list of expressions", 1)}),
                  True, "what each test gives to the program"),
    "outputs": Key(By("type", {"stdin": ListOf(TEXT, "a list of texts", 1), "call": ListOf(ANYTHING, "a list", 1),
                               "assert": ListOf(TEXT, "a list of literals", 1)}),
                   True, "what each test expects"),
    "check": Key(By("type", {"check": WORDS}), True,
                 "source of `def check(candidate)`, which raises if the program is wrong"),
    "entry_point": Key(By("type", {"call": WORDS, "assert": WORDS, "check": WORDS}), True,
                       "the function that is called"),
    "setup": Key(TEXT, False, "source that runs before the program"),
    "template": Key(Scalar("text with {program} in it", frozenset({str}), rule=lambda text: "{program}" in text), False,
                    "what is run, with the completion's program for {program}"),
    "extract": Key(FLAG, False,
                   "false: the whole completion is the program, else its last fenced block that defines the function"),
    "weights": Key(ListOf(Scalar("a number, 0 or more", frozenset({int, float}), 0, 1e38),
                          "a list with one number a test, not all 0", 1, any), False,
                   "how much each test counts in the score; 0: it is run and does not count"),
    "time_limit_s": Key(Scalar("a number from 0.001 to 86400", frozenset({int, float}), 1e-3, 86_400), False,
                        "seconds of processor time a test; else --timeout-s"),
    "memory_limit_mb": Key(Scalar("a number from 1 to 1000000", frozenset({int, float}), 1, 1e6), False,
                           "of a program; else --memory-mb"),
}
SAMPLING = {
    "temperature": Key(NUMBER, False, ""), "top_p": Key(SHARE, False, ""), "top_k": Key(WHOLE, False, ""),
    "max_tokens": Key(COUNT, False, ""), "seed": Key(WHOLE, False, ""), "model": Key(TEXT, False, ""),
}
# Stages that read: reward, advantages, train (its RL losses), sft (train.py --loss sft), evaluate.
ROW = {
    "task_id": RowKey(TEXT, "generate", "train sft evaluate", "", "the prompt's name, unique in its dataset"),
    "dataset": RowKey(TEXT, "generate", "", "evaluate", "`--dataset`"),
    "split": RowKey(TEXT, "generate", "", "evaluate", "`--split`"),
    "level": RowKey(LABEL, "generate", "", "evaluate", "difficulty, as the dataset has it"),
    "kind": RowKey(TEXT, "generate", "reward", "", "which grader: math, code or grid"),
    "prompt": RowKey(TEXT, "generate", "train sft", "evaluate", "before the chat template"),
    "gold": RowKey(By("kind", {"math": WORDS, "grid": GRID}), "generate", "reward", "", "the reference answer"),
    "tests": RowKey(By("kind", {"code": Object("an object", TESTS, ("inputs", "outputs", "weights"))}), "generate",
                    "reward", "", "how programs are tested: results/rows.md"),
    "choices": RowKey(Scalar("an object of texts", frozenset({dict}), rule=lambda texts: TEXT.fit(texts.values())),
                      "generate", "", "reward", "math: what the letters stand for that an answer may be"),
    "completions": RowKey(each(TEXT), "generate", "reward train sft", "evaluate", "the texts of the n samples"),
    "token_ids": RowKey(each(ListOf(TOKEN, "a list of token ids", 1)), "generate", "train sft", "",
                        "the tokens that were drawn, the end of sequence included"),
    "logprobs": RowKey(each(ListOf(LOGPROB, "a list of log-probabilities", 1)), "generate", "train", "evaluate",
                       "of each token, under the distribution that was sampled"),
    "finish_reasons": RowKey(each(REASON), "generate", "train", "evaluate", "length: cut off by --max-tokens"),
    "prompt_token_ids": RowKey(ListOf(TOKEN, "a list of token ids", 1), "generate", "train sft", "",
                               "what the model was given, after the chat template"),
    "step": RowKey(STEP, "generate", "train sft", "advantages evaluate", "of the loop; 0 for one pass over a dataset"),
    "step_prompts": RowKey(COUNT, "generate", "train sft", "", "rows of this step"),
    "policy_step": RowKey(STEP, "generate", "", "train evaluate", "updates that the weights had that drew the samples"),
    "sampling": RowKey(Object("an object", SAMPLING), "generate", "", "train evaluate",
                       "temperature, top_p, top_k, max_tokens, seed, model"),
    "reload_s": RowKey(NUMBER, "generate", "", "train", "seconds until the sampler had the weights"),
    "posterior": RowKey(ListOf(SHARE, "a list of probabilities that sum to 1", 1, lambda p: abs(sum(p) - 1) < 1e-3),
                        "generate", "", "evaluate", "embedded task, split test: of each distinct behaviour"),
    "scores": RowKey(each(NUMBER), "reward", "train evaluate", "", "fraction of tests passed, in [0, 1]; max@k"),
    "correct": RowKey(each(FLAG), "reward", "train evaluate", "", "everything passed; pass@k, maj@k"),
    "preds": RowKey(each(Scalar("text or null", frozenset({str, type(None)}))), "reward", "", "",
                    "the answer, or a digest of the program's outputs; null: none"),
    "votes": RowKey(each(VOTE), "reward", "train evaluate", "advantages",
                    "classes of equal answers within the row; -1: no answer, it abstains"),
    "rewards": RowKey(each(NUMBER), "reward", "advantages train", "sft", "what is optimised: `--reward`"),
    "verdicts": RowKey(each(TEXT), "reward", "", "", "ok, wrong, no answer, timeout, ...: the head of reward.py"),
    "estimator": RowKey(TEXT, "advantages", "train", "", "`--estimator`"),
    "k": RowKey(COUNT, "advantages", "train", "", "size of the sets that the objective scores"),
    "beta": RowKey(NUMBER, "advantages", "", "", "`--beta`, with the estimators that have one"),
    "advantages": RowKey(each(NUMBER), "advantages", "train", "", "A_i of sum_i A_i grad log pi(y_i)"),
}
OF_SAMPLES = tuple(key for key, entry in ROW.items() if getattr(entry.type, "words", "") == A_SAMPLE)


def fault_in(owner, known, prefix=""):
    """What is wrong with an object of which [(key, type, needed, who adds it)] are known, or None."""
    for key, kind, needed, adds in known:
        if type(kind) is By and (kind := kind.types.get(owner.get(kind.key))) is None:
            continue
        value = owner.get(key)
        if value is None:
            if needed:
                return f"no {prefix + key!r}{adds}"
        elif fault := kind.fault(value, prefix + key):
            return fault
    return None


def ragged(owner, keys, prefix=""):
    """What is wrong with the lengths of lists that belong together, or None."""
    found = {key: owner[key] for key in keys if owner.get(key) is not None}
    if {list}.issuperset(map(type, found.values())) and len(set(map(len, found.values()))) <= 1:
        return None
    lengths = [f"{key}: {len(value) if type(value) is list else type(value).__name__}" for key, value in found.items()]
    return f"{prefix}expected lists of one length, found {', '.join(lengths)}"


@functools.cache
def known_to(stage, needed):
    """What fault_in is told of the keys that a stage reads; `needed`: optional ones that its flags make needed."""
    return [(key, entry.type, stage in entry.needed.split() or key in needed, f": {entry.writer}.py adds it")
            for key, entry in ROW.items() if stage in (entry.needed + " " + entry.used).split()]


def parse(line):
    """A line of bytes as the object that it holds; BadRow if it is anything else."""
    if line[:2] == b"\x1f\x8b":
        raise BadRow("gzip data, expected JSON lines: let zcat read it")
    if line[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in line[:4]:
        raise BadRow("UTF-16 or UTF-32 text, expected UTF-8")
    try:
        text = line.removeprefix(b"\xef\xbb\xbf").decode()
        row = json.loads(text)
    except UnicodeDecodeError as error:
        raise BadRow(f"not UTF-8 text: {error.reason} at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise BadRow(f"not JSON: {error.msg} at character {error.pos + 1} of {len(text.rstrip())}") from None
    except RecursionError:
        raise BadRow(f"nested more than {MAX_DEPTH} levels deep") from None
    if type(row) is not dict:
        raise BadRow(f"expected a JSON object, found {shown(row)}")
    if line.count(b"[") + line.count(b"{") > MAX_DEPTH and depth(row) > MAX_DEPTH:
        raise BadRow(f"nested more than {MAX_DEPTH} levels deep")
    return row


def depth(value):
    """How many lists and objects are inside one another, counted level by level."""
    level, count = [value], 0
    while level := [entry for entry in level if type(entry) in (list, dict)]:
        level = [inner for entry in level for inner in (entry if type(entry) is list else entry.values())]
        count += 1
    return count


def read_rows(lines, stage, needed=(), source=""):
    """The rows of an iterable of lines of bytes: yields (number of the line from 1, row). Blank lines are passed over.

    stage: a reader in ROW, whose keys are checked, or None: the lines are only parsed. needed: optional keys of it that
    have to be there. source: what stands before "row" in a message. Raises BadRow at the first row that is not so.
    """
    sys.set_int_max_str_digits(0)  # a dataset's integers may have any length
    known = known_to(stage, tuple(needed)) if stage else []
    for number, line in enumerate(lines, 1):
        if not line or line.isspace():
            continue
        row = {}
        try:
            row = parse(line)
            if stage and (fault := fault_in(row, known) or ragged(row, OF_SAMPLES)):
                raise BadRow(fault)
        except BadRow as error:
            raise at_row(number, row, error, source) from None
        yield number, row


def check_input():
    """BadRow if standard input is closed. Says that rows are read from a terminal: there `< FILE` was forgotten, and
    nothing else would be seen."""
    if sys.stdin is None:
        raise BadRow("standard input is closed; expected rows there")
    if os.isatty(0):
        tell(os.path.basename(sys.argv[0]), "reading rows from the terminal; expected < FILE")


def own_output():
    """Standard output as a file for rows alone: whatever else prints from here on goes to standard error."""
    if sys.stdout is None:
        raise BadRow("standard output is closed; rows would go there")
    rows_out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return rows_out


def rows_in(stream):
    """How many rows a file has from where it stands; None for a pipe."""
    if not stream.seekable():
        return None
    start = stream.tell()
    count = sum(not line.isspace() for line in stream)
    stream.seek(start)
    return count


def progress(stage, total, shown=True, unit="row", **more):
    """tqdm's bar on a terminal; a line a minute in a log, or where the length is not known: input from another stage,
    which may have a bar of its own."""
    from tqdm import tqdm
    bar = sys.stderr.isatty() and total is not None
    every = BAR_S if bar else LINE_S
    form = {"unit": unit, "dynamic_ncols": True} if bar else {"unit": unit, "ncols": 0, "file": Lines()}
    return tqdm(total=total, desc=stage, disable=not shown, delay=every, mininterval=every, miniters=1, **form,
                **more)


BAR_S, LINE_S = 0.5, 60


def tell(stage, message):
    """A line on standard error, above the progress bar where there is one."""
    from tqdm import tqdm
    tqdm.write(f"{stage}: {' '.join(str(message).split())}", file=sys.stderr)


class Lines:
    """What tqdm draws, a line each."""

    def write(self, text):
        if text.strip():
            print(("\r\x1b[K" if sys.stderr.isatty() else "") + text.strip(), file=sys.stderr)  # over another's bar


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Of --help: a flag's default stands in its help, unless it has none or its help says what it depends on."""

    def _get_help_string(self, action):
        none = action.default is None or action.default is False or action.default == []
        return action.help if none else super()._get_help_string(action)


def at_row(number, row, what, source=""):
    """A BadRow that says which row it is about."""
    return BadRow(f"{source}row {number}, task_id {shown(row.get('task_id'))}: {what}")


# ------------------------------------------------------------------------------------------------------- the filter


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False,
                                     usage="%(prog)s [--estimator NAME] [--k K] < rewarded.jsonl > advantages.jsonl",
                                     formatter_class=Help)
    parser.add_argument("--estimator", choices=ESTIMATORS, default="pkpo_s_loo_minus_one",
                        help="README.md, Estimators, says what each is for")
    parser.add_argument("--k", default="8", help="set size, or a schedule over the rows' step: '8@0 1@1500'")
    softmax = ", ".join(sorted(name for name in ESTIMATORS if uses(name, "beta")))
    parser.add_argument("--beta", type=float, help=f"of {softmax}: 0 is the mean, large the max; default: {BETA:g}")
    parser.add_argument("--benchmark", action="store_true", help="time every estimator against a plain loop, and exit")
    args = parser.parse_args()
    if args.benchmark:
        from tests.benchmark_advantages import benchmark
        return benchmark()
    try:
        k_schedule(args.k, 0)
    except ValueError as error:
        parser.error(str(error))
    if args.beta is not None and not uses(args.estimator, "beta"):
        parser.error(f"--beta has no effect with {args.estimator}")
    if args.beta is not None and not 0 <= args.beta < math.inf:
        parser.error(f"--beta {args.beta:g}: expected a finite number >= 0")
    estimate = ESTIMATORS[args.estimator]
    wanted = ["votes"] * uses(args.estimator, "votes") + ["step"] * ("@" in args.k)

    try:
        rows_out = own_output()
        add_advantages(estimate, wanted, args, rows_out)
    except BadRow as error:
        tell("advantages.py", error)
        sys.exit(2)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), rows_out.fileno())  # what is buffered would fail again at exit
        gone = isinstance(error, BrokenPipeError)
        tell("advantages.py", "stopped, the next stage is gone" if gone else error)
        sys.exit(1 if gone else 2)
    except KeyboardInterrupt:
        sys.exit(130)


def add_advantages(estimate, wanted, args, rows_out):
    """The filter itself, from standard input to `rows_out`."""
    beta = {"beta": BETA if args.beta is None else args.beta} if uses(args.estimator, "beta") else {}
    check_input()
    number = 0
    for number, row in read_rows(lines_while_read(rows_out), "advantages", wanted):
        try:
            k = k_schedule(args.k, row["step"] if "step" in wanted else 0)
            # Off-policy estimators write on-policy values: train.py calls the same function again with its ratios.
            votes = [row["votes"]] if "votes" in wanted else None
            advantages = estimate([row["rewards"]], k, votes=votes, **beta)[0].tolist()
            if fault := ROW["advantages"].type.fault(advantages, "advantages"):
                raise ValueError(fault)
        except ValueError as error:
            raise at_row(number, row, error) from None
        row.update(estimator=args.estimator, k=k, **beta, advantages=advantages)
        print(json.dumps(row), file=rows_out, flush=True)
    if not number:
        nothing_came()


def nothing_came():
    """Say that the input had no row. It is an error, but not in a pipe: there a finished run looks the same to a filter
    as a stage that died, and it is the status of the stage before that tells them apart."""
    message = "no row came in"
    if not stat.S_ISFIFO(os.fstat(0).st_mode):
        raise BadRow(message)
    tell(os.path.basename(sys.argv[0]), message)


def lines_while_read(rows_out):
    """Lines of standard input. BrokenPipeError as soon as the reader of `rows_out` is gone, also while there is no
    input: generate.py, which waits for train.py's weights, learns through here that train.py has died."""
    ready, tail = select.poll(), b""
    ready.register(0, select.POLLIN)
    ready.register(rows_out, 0)  # reports only errors
    while True:
        if rows_out.fileno() in dict(ready.poll()):
            raise BrokenPipeError
        chunk = os.read(0, 1 << 20)
        *lines, tail = (tail + chunk).split(b"\n")
        yield from lines
        if not chunk:
            break
    if tail:
        yield tail


if __name__ == "__main__":
    main()
