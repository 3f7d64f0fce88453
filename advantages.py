"""Rewards of a group of samples -> advantages: every estimator of the gradient of mean, max@k (pass@k) and maj@k.

One stage of the pipe; each row is one prompt with its n samples, and gains `estimator`, `k`, `advantages`:

    python advantages.py --estimator pkpo_s_loo_minus_one --k 8 < rewarded.jsonl > advantages.jsonl
    python advantages.py --estimator max_centred --k "8@0 1@1500" < rewarded.jsonl > advantages.jsonl   # k falls to 1 at step 1500
    python advantages.py --benchmark

ONE CONVENTION. An estimator returns A (P, n) such that the gradient estimate of a prompt is the SUM over its samples

    sum_i A_i * grad log pi(y_i)        (to be averaged over prompts, never divided by n again).

Papers that average over the group (GRPO, Dr. GRPO, Bagirov et al., Pass@k Training, entropic, RS-GRPO) have their 1/n inside A_i here.
Off-policy estimators have the importance ratios inside A_i: use them in the same sum, with no further ratio.

Each estimator is `f(rewards, k, *, votes=None, log_ratio=None)`, listed in ESTIMATORS at the end of the estimators:
    rewards    (P, n) finite numbers of any real, integer or boolean type
    k          size of the sets that the objective scores; 1 <= k <= n, or the narrower range that the docstring states
    votes      (P, n) integer class of the answer, -1 for no answer; read by those in USES_VOTES
    log_ratio  (P, n) log pi_theta(y) - log pi_old(y), None for on-policy; read by those in USES_LOG_RATIO
    returns    (P, n) float64; raises ValueError, with the estimator's name and the value, and never clamps k.
Where k has no part in an objective (the mean, MaxRL, ...) it is only checked to be in 1..n.

Notation: P prompts, n samples per prompt, r_(1) <= ... <= r_(n) a group's sorted rewards, gap_j = r_(j) - r_(j-1), y_-i the group without
sample i, C(a, b) binomial coefficients. M_k(y) is the mean of the objective over all k-subsets of y: its unbiased estimate ("max@k").
Nearly everything for max@k is a running sum over the sorted rewards, A_(i) = sum_{j<=i} gap_j w_j; the estimators differ in w.

Papers: Tang et al. 2025 (arXiv 2503.19595); Walder and Karkhanis 2025, PKPO (2505.15201); Bagirov et al. 2025 (2510.23393); OrderGrad
(2606.06096); Pass@k Training (2508.10751); MaxRL (2602.02710); TailRL (2609.02987); TTT-Discover (2601.16175); RS-GRPO (2509.24261).
"""
import argparse
import itertools
import json
import math
import os
import statistics
import sys
import time

import numpy as np

# ---------------------------------------------------------------------------------------------------------------- shared pieces


def check(name, rewards, k, rule="1 <= k <= n", n_min=2):
    """Refuse what the estimator is not defined for; returns rewards (P, n) as float64."""
    rewards = np.asarray(rewards)
    if rewards.ndim != 2 or rewards.dtype.kind not in "biuf":
        raise ValueError(f"{name}: rewards must be a (P, n) array of numbers, got shape {rewards.shape} of {rewards.dtype}")
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


def lifted(rewards):
    """Rewards above the worst of their group. Baselines cancel any shift, so a group of equal rewards becomes exact zeros."""
    return rewards - rewards.min(axis=1, keepdims=True)


def z_score(x):
    """(P, n) centred and divided by the (population) standard deviation of the row; 0 where all are equal."""
    x = lifted(x)
    std = x.std(axis=1, keepdims=True)
    return np.divide(centre(x), std, out=np.zeros_like(x), where=std > 0)


def subset_share(n, k, a):
    """C(j-a, k-a) / C(n, k) for j = 0..n, as (n + 1,) float64: of all k-subsets of n ranks, the share that lies within the j lowest and
    contains `a` given ones of them. By ratios of neighbours from j = n down; no factorial is formed, n = 1024 is safe."""
    j = np.arange(n, 0, -1)
    ratio = np.maximum(j - k, 0) / np.maximum(j - a, 1)
    return math.perm(k, a) / math.perm(n, a) * np.cumprod(np.concatenate([[1.0], ratio]))[::-1] if k >= a else np.zeros(n + 1)


def unsort(values, order):
    """Put (P, n) values listed by rank back in the order of the samples."""
    out = np.empty_like(values)
    np.put_along_axis(out, order, values, axis=1)
    return out


def climb(rewards, weights):
    """A_(i) = sum_{1 < j <= i} gap_j * weights_j, for weights (n,): every step up in reward counts for all samples above it."""
    order = np.argsort(rewards, axis=1)
    gaps = np.diff(np.take_along_axis(rewards, order, axis=1), axis=1)
    values = np.zeros_like(rewards)
    np.cumsum(gaps * weights[1:], axis=1, out=values[:, 1:])
    return unsort(values, order)


# -------------------------------------------------------------------------------- metrics: exact means over all k-subsets of n samples


def pass_at_k(correct, k):
    """pass@k: share of the k-subsets with a correct sample, 1 - C(n-c, k)/C(n, k) for c correct of n. (P, n) bool or 0/1 -> (P,).
    Unbiased (Chen et al. 2021; PKPO eq. 4). ValueError unless 1 <= k <= n and correct is 0/1."""
    correct = check("pass_at_k", correct, k, n_min=1)
    if not np.isin(correct, (0.0, 1.0)).all():
        raise ValueError("pass_at_k: correct must be 0 or 1")
    n = correct.shape[1]
    return 1.0 - subset_share(n, k, 0)[n - correct.sum(axis=1).astype(int)]


def max_at_k(scores, k):
    """max@k: mean over the k-subsets of the largest score, (1/C(n,k)) sum_i C(i-1, k-1) r_(i). (P, n) -> (P,).
    Unbiased (PKPO eq. 17); on 0/1 scores it is pass@k. ValueError unless 1 <= k <= n."""
    scores = check("max_at_k", scores, k, n_min=1)
    return scores.min(axis=1) + np.sort(lifted(scores), axis=1) @ subset_share(scores.shape[1], k, 1)[1:]


def maj_at_k(scores, votes, k):
    """maj@k: mean over the k-subsets of the majority answer's score. (P, n) scores, (P, n) votes, -1: none -> (P,).
    Ties are split evenly (the expectation under a uniform draw); an abstention takes a seat and never wins; a set in which all abstain
    scores their mean. Where the voters of one answer differ in score, the answer scores the mean of its voters in the set.
    Unbiased. ValueError unless 1 <= k <= n and votes are integers >= -1 of the same shape."""
    scores = check("maj_at_k", scores, k, n_min=1)
    _, counts, sums = tally("maj_at_k", lifted(scores), votes)
    return scores.min(axis=1) + majority_value(counts, sums, k)


def tally(name, rewards, votes):
    """Votes by answer: slot (P, n) of each sample, counts (P, S) and sums of rewards (P, S) of each slot. Slot 0 holds the abstentions."""
    votes = np.asarray(votes)
    if votes.shape != rewards.shape or votes.dtype.kind not in "iu" or (votes < -1).any():
        raise ValueError(f"{name}: votes must be integers >= -1 of the shape of rewards {rewards.shape}, one class per answer")
    order = np.argsort(votes, axis=1)
    new_answer = np.diff(np.take_along_axis(votes.astype(np.int64), order, axis=1), axis=1, prepend=-1) != 0
    slot = unsort(np.cumsum(new_answer, axis=1), order)
    S = slot.max(initial=0) + 1
    P = len(votes)
    flat = (slot + S * np.arange(P)[:, None]).ravel()
    counts = np.bincount(flat, minlength=P * S).reshape(P, S)
    sums = np.bincount(flat, weights=rewards.ravel(), minlength=P * S).reshape(P, S)
    return slot, counts, sums


def majority_value(counts, sums, k):
    """Mean over the k-subsets of the majority answer's reward; counts and sums (..., S) as in `tally`, all of one total n -> (...)."""
    n = int(counts[..., :1].size and counts.reshape(-1, counts.shape[-1])[0].sum())
    if k == n:  # one subset, the whole group: the winners have equally many votes, so the mean over answers is the mean over voters
        top = counts[..., 1:].max(axis=-1, keepdims=True, initial=0)
        seats = np.where(counts == top, counts, 0)
        seats[..., 0] = np.where(top[..., 0] == 0, n, 0)
        return (sums * (seats > 0)).sum(axis=-1) / seats.sum(axis=-1)
    # How likely an answer is to win depends on the vote counts alone, so the work is done once per distinct list of counts.
    flat = counts.reshape(-1, counts.shape[-1])
    profiles, which = np.unique(np.sort(flat[:, 1:].astype(np.int32), axis=1)[:, ::-1], axis=0, return_inverse=True)
    step = max(1, 2**25 // (n * k * k))  # bounds the memory, about 100 MB
    chunks = [win_probability(profiles[i:i + step], n, k) for i in range(0, len(profiles), step)]
    wins = np.concatenate(chunks)[which.reshape(-1, 1), flat]
    wins[:, 0] = subset_share(n, k, 0)[flat[:, 0]]  # all k abstain
    mean_reward = sums / np.maximum(counts, 1)
    return (wins.reshape(counts.shape) * mean_reward).sum(axis=-1)


def win_probability(profiles, n, k):
    """Probability that an answer wins the vote in a random k-subset, ties split evenly.

    profiles (U, A): vote counts of U groups of n samples, each in descending order (what is missing to n abstains).
    Returns (U, n + 1): the probability at [u, c] for an answer with c votes; all answers of c votes have the same.

    Draw a subset by n coins that show heads with probability k/n, given that k heads come up. Then answers are independent, answer b
    gets Binomial(c_b, k/n) votes, and all is a product of polynomials in x whose power counts heads. For the winner to have v votes every
    other answer has fewer, or v and shares the win; t such ties leave it 1/(1 + t) = integral of z^t over 0 <= z <= 1, so each tie is
    marked by z and the integral is taken at Gauss-Legendre points, which is exact for polynomials. Every term is positive.
    """
    U = len(profiles)
    p = k / n
    coins = np.zeros((k + 1, n + 1))  # coins[u, c]: probability of u heads among c coins
    coins[0] = (1 - p) ** np.arange(n + 1)
    for c in range(n):
        coins[1:, c + 1] = (1 - p) * coins[1:, c] + p * coins[:-1, c]
    wins = np.zeros((U, n + 1))
    for v in range(1, min(k, int(profiles.max(initial=0))) + 1):
        A = int((profiles >= v).any(axis=0).sum())  # the answers after these can never reach v votes: they count as abstentions
        heads = [coins[:v + 1, profiles[:, a]] for a in range(A)]  # (v + 1, U) each
        z, dz = np.polynomial.legendre.leggauss(min(A - 1, k // v - 1) // 2 + 1)
        z, dz = (1 + z[:, None]) / 2, dz / 2

        def times(poly, a):
            """Multiply (k - v + 1, Z, U) coefficients of x by those of answer a having fewer than v votes, or v and a tie."""
            out = heads[a][0] * poly
            for u in range(1, min(v, k - v) + 1):
                out[u:] += (heads[a][u] if u < v else heads[a][v] * z) * poly[:-u]
            return out

        before = [np.repeat(coins[:k - v + 1, None, n - profiles[:, :A].sum(axis=1)], len(z), axis=1)]
        for a in range(A - 1):
            before.append(times(before[-1], a))
        after = np.zeros_like(before[0])
        after[0] = 1.0
        with_v_votes = np.zeros_like(wins)
        for a in reversed(range(A)):
            others = dz @ (before[a] * after[::-1]).sum(axis=0)  # all answers but a, k - v heads among them
            with_v_votes[np.arange(U), profiles[:, a]] = heads[a][v] * others  # 0 for those with fewer than v votes
            after = times(after, a)
        wins += with_v_votes
    return wins / coins[k, n]


# --------------------------------------------------------------------------------------------------------- the mean objective, E[r]


def rloo(rewards, k, *, votes=None, log_ratio=None):
    """A_i = (r_i - mean_{j != i} r_j) / n. Unbiased for grad E[r]. RLOO; Tang et al. eq. 2 with f = mean. Needs n >= 2."""
    rewards = check("rloo", rewards, k)
    return centre(lifted(rewards)) / (rewards.shape[1] - 1)


def grpo(rewards, k, *, votes=None, log_ratio=None):
    """A_i = (r_i - mean r) / (n std r), 0 where all rewards are equal. Heuristic (the division weighs prompts by 1/std). DeepSeekMath."""
    rewards = check("grpo", rewards, k)
    return z_score(rewards) / rewards.shape[1]


def dr_grpo(rewards, k, *, votes=None, log_ratio=None):
    """A_i = (r_i - mean r) / n: RLOO times (n-1)/n, so unbiased for (1 - 1/n) grad E[r]. Dr. GRPO (2503.20783)."""
    rewards = check("dr_grpo", rewards, k)
    return centre(lifted(rewards)) / rewards.shape[1]


# --------------------------------------------------------------------------------------------------------------- max@k, on policy


def max_loo(rewards, k, *, votes=None, log_ratio=None):
    """A_i = max(y) - max(y_-i): only the best sample has weight, r_(n) - r_(n-1). Unbiased for grad max@n. k = n only, n >= 2.
    Tang et al. eq. 2."""
    rewards = check("max_loo", rewards, k, "k = n")
    return climb(rewards, np.arange(1, k + 1) == k)


def max_loo_biased(rewards, k, *, votes=None, log_ratio=None):
    """max_loo, centred over the group (Tang et al. eq. 3). k = n only. Unbiased for grad max@(n-1), not max@n: its objective is
    the mean over i of max(y_-i) (Lemma 2). The same as max_leave_p_out at p = 1."""
    rewards = check("max_loo_biased", rewards, k, "k = n")
    return centre(climb(rewards, np.arange(1, k + 1) == k))


def max_centred(rewards, k, *, votes=None, log_ratio=None):
    """A_i = M_k(y) - M_k(y_-i) = s_i - (k/n) M_k(y_-i): subsets with i against subsets without. Unbiased for grad max@k, sums to zero.
    OrderGrad. 1 <= k < n; k = 1 is rloo. As a running sum: w_j = C(j-2, k-1) / C(n-1, k), then centred."""
    rewards = check("max_centred", rewards, k, "1 <= k < n")
    return centred_max(rewards, k)


def centred_max(rewards, k):
    n = rewards.shape[1]
    return centre(climb(rewards, subset_share(n - 1, k, 1)))  # entry j - 1, for rank j, is C(j-2, k-1) / C(n-1, k)


def max_leave_p_out(rewards, k, *, votes=None, log_ratio=None):
    """Tang et al. App. B.2 with p = n - k: A_i = (1/C(n-1, p-1)) sum over p-subsets s with i in s of (A_s - mean A), where
    A_s = max(y) - max(y without s). 1 <= k < n; p = 1 (k = n-1) is max_loo_biased, p = n-1 (k = 1) is rloo.
    Sums over s of max(y without s) are sums over k-subsets, which makes it the same as max_centred: unbiased for grad max@k, k = n - p."""
    rewards = check("max_leave_p_out", rewards, k, "1 <= k < n")
    return centred_max(rewards, k)


def pkpo_s(rewards, k, *, votes=None, log_ratio=None):
    """s_i = (1/C(n,k)) sum over k-subsets with i of their max = (C(i-1,k-1) r_(i) + sum_{j>i} C(j-2,k-2) r_(j)) / C(n,k).
    Unbiased for grad max@k, no baseline. PKPO eq. 19; Bagirov et al. on-policy. 1 <= k <= n."""
    rewards = check("pkpo_s", rewards, k, n_min=1)
    n = rewards.shape[1]
    order = np.argsort(rewards, axis=1)
    r = np.take_along_axis(rewards, order, axis=1)
    values = r * subset_share(n, k, 1)[1:]
    values[:, :-1] += from_above(r * subset_share(n, k, 2)[1:])[:, 1:]
    return unsort(values, order)


def from_above(x):
    """Sum over j >= i along each row of (P, n)."""
    return np.cumsum(x[:, ::-1], axis=1)[:, ::-1]


def pkpo_s_loo(rewards, k, *, votes=None, log_ratio=None):
    """s_i minus the mean over j != i of s_j computed in y_-i (PKPO eq. 29) = s_i - k/(n-1) M_k(y_-i). Unbiased for grad max@k.
    1 <= k < n: at k = n the others hold no k-subset. Does not vanish for equal rewards: s_i carries k/n of them, the baseline k/(n-1)."""
    rewards = check("pkpo_s_loo", rewards, k, "1 <= k < n")
    n = rewards.shape[1]
    centred = centred_max(rewards, k)
    max_of_others = max_at_k(rewards, k)[:, None] - centred
    return centred - k / (n * (n - 1)) * max_of_others


def pkpo_s_loo_minus_one(rewards, k, *, votes=None, log_ratio=None):
    """A_i = (1/C(n,k)) sum over k-subsets I with i of max(I) - max(I without i) (PKPO eq. 33, the paper's choice; Bagirov et al. LOO-1).
    Unbiased for grad max@k, never negative. As a running sum: w_j = C(j-1, k-1) / C(n, k).
    1 <= k <= n, n >= 2. k = n is max_loo. k = 1: the max of the empty set is taken as the mean of the other rewards, which is rloo."""
    rewards = check("pkpo_s_loo_minus_one", rewards, k)
    return climb(rewards, subset_share(rewards.shape[1], k, 1)[1:]) if k > 1 else rloo(rewards, k)


def bon_max_mean(rewards, k, *, votes=None, log_ratio=None):
    """A_i = (r_i - mean r)/n for the best samples, else 0. Heuristic. Bagirov et al., "BoN-max mean"."""
    rewards = check("bon_max_mean", rewards, k)
    best = rewards == rewards.max(axis=1, keepdims=True)
    return np.where(best, centre(lifted(rewards)), 0.0) / rewards.shape[1]


def bon_max_second(rewards, k, *, votes=None, log_ratio=None):
    """A_i = (r_i - largest reward below the max)/n for the best samples, else 0; all equal: 0. Heuristic. Bagirov et al., "BoN-max second"."""
    rewards = check("bon_max_second", rewards, k)
    best = rewards == rewards.max(axis=1, keepdims=True)
    second = np.where(best, rewards.min(axis=1, keepdims=True), rewards).max(axis=1, keepdims=True)
    return np.where(best, rewards - second, 0.0) / rewards.shape[1]


def bon_mean(rewards, k, *, votes=None, log_ratio=None):
    """z-score of the s_i over the group, / n (Bagirov et al., "BoN mean"). Heuristic, for max@k. 1 <= k < n: at k = n all s_i are equal.
    s_i less its mean is (1 - k/n) times max_centred, and a z-score does not see the factor."""
    rewards = check("bon_mean", rewards, k, "1 <= k < n")
    return z_score(centred_max(rewards, k)) / rewards.shape[1]


# -------------------------------------------------------------------------------------------------------------- max@k, off policy

DELTA_MAX = 0.2  # the bound on |rho - 1| in the first-order form: the clipping range of the paper's loss


def off_policy(name, rewards, log_ratio, k):
    """Sorted rewards and their ratios, by rank: order (P, n), r (P, n), rho (P, n). rho is in extended precision where products of k
    ratios could leave the range of a float64 on the way to a result that fits."""
    log_ratio = np.zeros_like(rewards) if log_ratio is None else np.asarray(log_ratio, dtype=np.float64)
    if log_ratio.shape != rewards.shape or not np.isfinite(log_ratio).all():
        raise ValueError(f"{name}: log_ratio must be finite and of the shape of rewards {rewards.shape}")
    reach = k * np.abs(log_ratio).max(initial=0.0)
    for dtype in (np.float64, np.longdouble):
        if reach < 0.8 * float(np.log(np.finfo(dtype).max)):
            break
    else:
        raise ValueError(f"{name}: products of k = {k} ratios with |log_ratio| up to {reach / k:.4g} do not fit a float: clip the ratios first")
    order = np.argsort(rewards, axis=1)
    return (order, np.take_along_axis(rewards, order, axis=1),
            np.exp(np.take_along_axis(log_ratio, order, axis=1).astype(dtype)))


def to_float64(name, values):
    with np.errstate(over="ignore"):
        values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: an advantage does not fit a float64: clip the ratios first")
    return values


def coin_weights(n, k):
    """Draw a k-subset by n coins of heads probability p = k/n, given k heads. Returns p and Prob(k heads), correctly rounded."""
    k = int(k)  # these integers have thousands of digits, which a numpy integer has not
    return k / n, math.comb(n, k) * k**k * (n - k) ** (n - k) / n**n


def bon_off_policy(rewards, k, *, votes=None, log_ratio=None):
    """Exact off-policy max@k: g_i = (1/C(n,k)) sum over k-subsets I with i of prod_{j in I} rho_j * max(I), rho = exp(log_ratio).
    For samples from pi_old, unbiased for grad max@k of pi_theta. 1 <= k <= n. log_ratio = 0 gives pkpo_s. Ours, O(n k).

    Bagirov et al. call this sum exponential. It is not: split a subset at sample i into its part below and its part above. Below, only the
    number of members and the product of their ratios matter (elementary symmetric polynomials); above, they also fix the max. One pass up
    the sorted rewards gives the first, one pass down the second, and g_i is their convolution. Subsets are drawn by coins (coin_weights),
    which keeps all the sums near 1 instead of near C(n, k).
    """
    rewards = check("bon_off_policy", rewards, k, n_min=1)
    order, r, rho = off_policy("bon_off_policy", rewards, log_ratio, k)
    P, n = r.shape
    p, norm = coin_weights(n, k)
    r, rho = r.T, p * rho.T
    below = np.zeros((n, k, P), rho.dtype)  # [i, m]: m chosen among the ranks below i; weights x ratios summed over the choices
    below[0, 0] = 1.0
    for i in range(1, n):
        np.multiply(1 - p, below[i - 1], out=below[i])
        below[i, 1:] += rho[i - 1] * below[i - 1, :-1]
    above = np.zeros((k, P), rho.dtype)     # [m]: m chosen among the ranks above i; the same, times the reward of the highest
    values = np.empty_like(rho)
    for i in reversed(range(n)):
        above[0] = (1 - p) ** (n - 1 - i) * r[i]  # none above: i itself is the highest
        values[i] = np.einsum("mp,mp->p", below[i], above[::-1])
        step = rho[i] * above[:-1]
        above *= 1 - p
        above[1:] += step
    return unsort(to_float64("bon_off_policy", (values * rho / norm).T), order)


def bon_off_policy_loo_minus_one(rewards, k, *, votes=None, log_ratio=None):
    """bon_off_policy with the baseline of PKPO eq. 33: g_i - (rho_i/C(n,k)) sum over (k-1)-subsets J of the others of prod rho * max(J).
    The baseline leaves sample i out, so it stays unbiased for grad max@k of pi_theta. n >= 2. log_ratio = 0 gives pkpo_s_loo_minus_one.
    A running sum again: A_(i) = rho_i sum_{j<=i} gap_j e_{k-1}(rho_(1..j-1)) / C(n,k), e_m the elementary symmetric polynomial.
    k = 1: A_i = rho_i (r_i - mean of the other rewards) / n."""
    name = "bon_off_policy_loo_minus_one"
    rewards = check(name, rewards, k)
    order, r, rho = off_policy(name, rewards, log_ratio, k)
    if k == 1:
        return to_float64(name, rloo(rewards, 1) * unsort(rho, order))
    P, n = r.shape
    p, norm = coin_weights(n, k)
    gaps, rho = np.diff(r, axis=1).T, rho.T
    chosen = np.zeros((k, P), rho.dtype)    # [m]: coins x ratios, summed over the choices of m among the ranks below j
    chosen[0] = 1.0
    values = np.zeros_like(rho)
    for j in range(1, n):
        step = p * rho[j - 1] * chosen[:-1]
        chosen *= 1 - p
        chosen[1:] += step
        values[j] = values[j - 1] + gaps[j - 1] * chosen[k - 1] * (p * (1 - p) ** (n - 1 - j) / norm)
    return unsort(to_float64(name, (values * rho).T), order)


def bon_off_policy_first_order(rewards, k, *, votes=None, log_ratio=None):
    """bon_off_policy with products of ratios expanded to first order in delta = rho - 1, delta clamped to +-DELTA_MAX. Biased.
    Bagirov et al.: g_i = (1/C(n,k)) sum_{j>=i} w_ij r_(j),   w_ii = C(i-1,k-1)(1 + d_i) + C(i-2,k-2) sum_{l<i} d_l,
    w_ij = C(j-2,k-2)(1 + d_i + d_j) + C(j-3,k-3) sum_{l<j, l != i} d_l. 1 <= k <= n. log_ratio = 0 gives pkpo_s."""
    name = "bon_off_policy_first_order"
    rewards = check(name, rewards, k, n_min=1)
    order, r, rho = off_policy(name, rewards, log_ratio, 1)
    n = r.shape[1]
    d = np.clip(rho.astype(np.float64) - 1, -DELTA_MAX, DELTA_MAX)
    c1, c2, c3 = (subset_share(n, k, a)[1:] for a in (1, 2, 3))
    d_below = np.cumsum(d, axis=1) - d
    values = r * (c1 * (1 + d) + c2 * d_below)
    values[:, :-1] += (from_above(r * (c2 * (1 + d) + c3 * d_below))[:, 1:]
                       + d[:, :-1] * from_above(r * (c2 - c3))[:, 1:])
    return unsort(values, order)


# --------------------------------------------------------------------------------------------------------- maj@k (consensus), ours for k < n


def leave_one_out(rewards, k, slot, counts, sums):
    """maj@k of y_-i for every i: (P, n)."""
    gone = slot[:, :, None] == np.arange(counts.shape[1])
    return majority_value(counts[:, None] - gone, sums[:, None] - gone * rewards[:, :, None], k)


def maj_loo(rewards, k, *, votes=None, log_ratio=None):
    """A_i = r(maj(y)) - r(maj(y_-i)), ties in expectation; zero unless i voted for the winner and its lead is at most one vote.
    Unbiased for grad maj@n. k = n only, n >= 2. Tang et al. eq. 2."""
    rewards = lifted(check("maj_loo", rewards, k, "k = n"))
    slot, counts, sums = tally("maj_loo", rewards, votes)
    return majority_value(counts, sums, k)[:, None] - leave_one_out(rewards, k - 1, slot, counts, sums)


def maj_loo_biased(rewards, k, *, votes=None, log_ratio=None):
    """maj_loo, centred over the group (Tang et al. eq. 3). k = n only. Unbiased for grad maj@(n-1), not maj@n (Lemma 2)."""
    rewards = lifted(check("maj_loo_biased", rewards, k, "k = n"))
    slot, counts, sums = tally("maj_loo_biased", rewards, votes)
    return centre(-leave_one_out(rewards, k - 1, slot, counts, sums))


def maj_loo_minus_one(rewards, k, *, votes=None, log_ratio=None):
    """A_i = (1/C(n,k)) sum over k-subsets I with i of maj(I) - maj(I without i) = s_i - (k/n) M_{k-1}(y_-i), exact over all k-subsets.
    Unbiased for grad maj@k. 2 <= k <= n; k = n is maj_loo. Ours, after PKPO eq. 33."""
    rewards = lifted(check("maj_loo_minus_one", rewards, k, "2 <= k <= n"))
    n = rewards.shape[1]
    slot, counts, sums = tally("maj_loo_minus_one", rewards, votes)
    s = majority_value(counts, sums, k)[:, None]
    if k < n:
        s = s - (1 - k / n) * leave_one_out(rewards, k, slot, counts, sums)
    return s - k / n * leave_one_out(rewards, k - 1, slot, counts, sums)


def maj_centred(rewards, k, *, votes=None, log_ratio=None):
    """A_i = M_k(y) - M_k(y_-i), exact over all k-subsets: subsets with i against subsets of the others. Sums to zero.
    Unbiased for grad maj@k. 1 <= k < n; k = n - 1 is maj_loo_biased. Ours, after OrderGrad."""
    rewards = lifted(check("maj_centred", rewards, k, "1 <= k < n"))
    slot, counts, sums = tally("maj_centred", rewards, votes)
    return majority_value(counts, sums, k)[:, None] - leave_one_out(rewards, k, slot, counts, sums)


# ------------------------------------------------------------------------------------------------------------------ from 2025-26


def pass_at_k_training(rewards, k, *, votes=None, log_ratio=None):
    """With rho = pass@k of the group, sigma = sqrt(rho (1 - rho)), c correct: n A_i = (1 - rho)/sigma if correct, else
    (1 - rho - C(n-c-1, k-1)/C(n-1, k-1))/sigma; 0 if sigma = 0. Pass@k Training. 0/1 rewards only. 1 <= k < n: all zero at k = n.
    Heuristic at finite n; tends to grad (2/k) arcsin sqrt(pass@k) as n grows."""
    correct = binary("pass_at_k_training", check("pass_at_k_training", rewards, k, "1 <= k < n"))
    n = correct.shape[1]
    rho = pass_at_k(correct, k)[:, None]
    failed_peers = np.append(subset_share(n - 1, k - 1, 0), 0.0)[n - 1 - correct.sum(axis=1, keepdims=True)]
    sigma = np.sqrt(rho * (1 - rho))
    return np.divide(1 - rho - np.where(correct, 0.0, failed_peers), n * sigma, out=np.zeros(correct.shape), where=sigma > 0)


def binary(name, rewards):
    if not np.isin(rewards, (0.0, 1.0)).all():
        raise ValueError(f"{name}: reward {rewards[~np.isin(rewards, (0.0, 1.0))][0]:g}, but it is defined for rewards 0 and 1 only")
    return rewards == 1.0


def maxrl(rewards, k, *, votes=None, log_ratio=None):
    """A_i = (r_i - mean r) / (n mean r), 0 if mean r = 0. MaxRL. Rewards >= 0. For 0/1 rewards unbiased for the gradient of
    sum_{t=1..n-1} pass@t / t, the log-likelihood of success cut off at n - 1 terms."""
    rewards = check("maxrl", rewards, k)
    if (rewards < 0).any():
        raise ValueError(f"maxrl: reward {rewards.min():g}, but it is defined for rewards >= 0 only")
    total = rewards.sum(axis=1, keepdims=True)
    return np.divide(centre(lifted(rewards)), total, out=np.zeros_like(rewards), where=total > 0)


def maxrl_maclaurin(rewards, k, *, votes=None, log_ratio=None):
    """n A_i = 1 if correct, else -sum_{t=2..k} C(n-c-1, t-1)/C(n-1, t-1), c correct. Unbiased for the gradient of
    sum_{t=1..k} pass@t / t: MaxRL's Maclaurin series with T = k terms. 0/1 rewards only, 1 <= k <= n. No baseline: not zero for equal rewards."""
    correct = binary("maxrl_maclaurin", check("maxrl_maclaurin", rewards, k, n_min=1))
    n = correct.shape[1]
    peers = np.arange(n)[:, None]  # failed samples among the other n - 1
    t = np.arange(2, k + 1)
    terms = np.cumprod(np.maximum(peers - t + 2, 0) / (n - t + 1), axis=1)
    lost = np.append(terms.sum(axis=1), 0.0)[n - 1 - correct.sum(axis=1, keepdims=True)]
    return np.where(correct, 1.0, -lost) / n


def tailrl(rewards, k, *, votes=None, log_ratio=None):
    """A_(i) = sum_{j<=i} gap_j / (n - j + 1), centred over the group. TailRL: MaxRL at every threshold of the reward; on 0/1 rewards it is
    maxrl. Unbiased for the gradient of sum_{t=1..n-1} max@t / t."""
    rewards = check("tailrl", rewards, k)
    n = rewards.shape[1]
    return centre(climb(rewards, 1.0 / np.arange(n, 0, -1)))


def entropic(rewards, k, *, votes=None, log_ratio=None):
    """n A_i = e_i / mean_{j != i} e_j - 1, e = exp(beta (r - max r)), with beta such that KL(softmax(beta r) || uniform) = ln 2, at most 1e6
    (reached where half of the group or more shares the max). TTT-Discover. Heuristic: an adaptive log E[exp(beta r)] / beta. n >= 3."""
    rewards = check("entropic", rewards, k, n_min=3)
    n = rewards.shape[1]
    below_best = rewards - rewards.max(axis=1, keepdims=True)
    low, high = np.zeros((len(rewards), 1)), np.full((len(rewards), 1), 1e6)
    for _ in range(64):  # bisection; KL grows with beta
        beta = (low + high) / 2
        e = np.exp(beta * below_best)
        total = e.sum(axis=1, keepdims=True)
        kl = beta * (e * below_best).sum(axis=1, keepdims=True) / total - np.log(total / n)
        low, high = np.where(kl < math.log(2), beta, low), np.where(kl < math.log(2), high, beta)
    e = np.exp(low * below_best)
    return (e * (n - 1) / (e.sum(axis=1, keepdims=True) - e) - 1) / n


def rs_grpo(rewards, k, *, votes=None, log_ratio=None):
    """n A_i = (exp(beta r_i) / mean_j exp(beta r_j) - 1) / beta, beta = 2. RS-GRPO. Heuristic at finite n; tends to the gradient of
    log E[exp(beta r)] / beta as n grows."""
    rewards = check("rs_grpo", rewards, k)
    beta = 2.0
    e = np.exp(beta * (rewards - rewards.max(axis=1, keepdims=True)))
    return (e / e.mean(axis=1, keepdims=True) - 1) / (beta * rewards.shape[1])


ESTIMATORS = {f.__name__: f for f in (
    rloo, grpo, dr_grpo,
    max_loo, max_loo_biased, maj_loo, maj_loo_biased, max_leave_p_out,
    pkpo_s, pkpo_s_loo, pkpo_s_loo_minus_one, max_centred,
    bon_max_mean, bon_max_second, bon_mean, bon_off_policy_first_order, bon_off_policy, bon_off_policy_loo_minus_one,
    maj_loo_minus_one, maj_centred,
    pass_at_k_training, maxrl, maxrl_maclaurin, tailrl, entropic, rs_grpo)}
USES_VOTES = {"maj_loo", "maj_loo_biased", "maj_loo_minus_one", "maj_centred"}
USES_LOG_RATIO = {"bon_off_policy_first_order", "bon_off_policy", "bon_off_policy_loo_minus_one"}


def k_schedule(text, step):
    """k in force at a training step: "8" is 8 throughout, "8@0 1@1500" is 8 until step 1500, then 1 (PKPO's annealing)."""
    try:
        pairs = [tuple(map(int, part.split("@"))) for part in text.split()] if "@" in text else [(int(text), 0)]
        ks, starts = zip(*pairs, strict=True)
    except ValueError:
        raise ValueError(f"k schedule {text!r}: expected an integer or K@STEP pairs such as '8@0 1@1500'") from None
    if min(ks) < 1 or starts[0] != 0 or any(b <= a for a, b in itertools.pairwise(starts)):
        raise ValueError(f"k schedule {text!r}: needs k >= 1, a first step of 0 and rising steps")
    return max((start, k) for k, start in pairs if start <= step)[1]


# -------------------------------------------------------------------------------------------------------------------- the filter


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False,
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--estimator", choices=ESTIMATORS, default="pkpo_s_loo_minus_one", help="see the docstrings")
    parser.add_argument("--k", default="8", help="set size of the objective, or a schedule by the row's `step` such as '8@0 1@1500'")
    parser.add_argument("--benchmark", action="store_true", help="time every estimator against a loop over groups, and exit")
    args = parser.parse_args()
    if args.benchmark:
        return benchmark()
    try:
        k_schedule(args.k, 0)
    except ValueError as error:
        parser.error(str(error))

    # Rows own standard output: whatever else prints goes to standard error.
    rows_out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for number, line in enumerate(sys.stdin, start=1):
        task_id = None
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"expected a JSON object, got {type(row).__name__}")
            task_id = row.get("task_id")
            for key in ["rewards", *(["votes"] if args.estimator in USES_VOTES else []), *(["step"] if "@" in args.k else [])]:
                if key not in row:
                    raise ValueError(f"no key {key!r}, which {args.estimator} with k = {args.k} needs")
            k = k_schedule(args.k, row.get("step", 0))
            votes = [row["votes"]] if args.estimator in USES_VOTES else None
            # Off-policy estimators write their on-policy values here; train.py calls the same function again with its ratios.
            row["advantages"] = ESTIMATORS[args.estimator]([row["rewards"]], k, votes=votes)[0].tolist()
        except ValueError as error:  # json.JSONDecodeError is one
            print(f"advantages.py: row {number}, task_id {task_id!r}: {error}", file=sys.stderr)
            sys.exit(2)
        row.update(estimator=args.estimator, k=k)
        print(json.dumps(row), file=rows_out, flush=True)


# ------------------------------------------------------------------------------------------------------------------ the benchmark


def benchmark(P=4096, n=16, k=8):
    """Time each estimator on P groups against a plain loop (timed on as many groups as one second allows), and compare their values."""
    from tests.test_advantages import loops  # one group at a time, as the papers write it

    rng = np.random.default_rng(0)
    votes = rng.integers(-1, 5, (P, n))
    graded = rng.integers(0, 11, (P, n)) / 10
    by_answer = (votes == 0).astype(float)
    log_ratio = 0.1 * rng.standard_normal((P, n))
    slow = {kk: loops(n, kk) for kk in (k, n)}
    print(f"{P} groups of n = {n} samples, k = {k} (k = n for *_loo and *_loo_biased), one process, median of 7 runs\n"
          f"{'estimator':32}{'all groups':>12}{'loop, scaled':>15}{'ratio':>10}{'largest difference':>21}")
    for name, f in ESTIMATORS.items():
        kk = n if name in ("max_loo", "max_loo_biased", "maj_loo", "maj_loo_biased") else k
        rewards = by_answer if name in USES_VOTES or name in ("pass_at_k_training", "maxrl_maclaurin") else graded
        keys = {"votes": votes if name in USES_VOTES else None, "log_ratio": log_ratio if name in USES_LOG_RATIO else None}
        times = []
        for _ in range(7):
            start = time.perf_counter()
            fast = f(rewards, kk, **keys)
            times.append(time.perf_counter() - start)
        start, groups, difference = time.perf_counter(), 0, 0.0
        while groups < P and time.perf_counter() - start < 1:
            group = rewards[groups].tolist(), votes[groups].tolist(), np.exp(log_ratio[groups]).tolist()
            difference = max(difference, np.abs(fast[groups] - slow[kk][name](*group)).max())
            groups += 1
        loop = (time.perf_counter() - start) * P / groups
        print(f"{name:32}{1e3 * statistics.median(times):9.2f} ms{loop:13.2f} s{loop / statistics.median(times):9.0f}x{difference:21.1e}", flush=True)


if __name__ == "__main__":
    main()
