"""The papers' toy experiments and some of ours: estimators of advantages.py on problems whose exact answer is known.

    python toy.py                    # all figures into results/toy/, and their numbers into results/toy/numbers.txt

No language model. Where a quantity has an exact value (max@k of a policy, the mean and the variance of an estimator
over all possible groups) that value is drawn; only the bandit (50 seeds) and PKPO's figure 4 (10,000 estimates) sample.

    tang_figure_1    bandit of 100 actions: mean reward and pass@k of the mean, pass@k and biased gradients
    pkpo_figure_1    max@k and its derivative for a Gaussian policy and a cliff, k = 1..16
    pkpo_figure_2    weight of each rank in the max@k estimate
    pkpo_figure_4    variance of gradient estimates of max@4 against the number of samples
    pkpo_figure_5    transformed against raw reward
    off_policy       bias and spread of off-policy max@k and maj@k gradients as the policy drifts, against exact ones
    between_mean_and_max   Tang et al. B.2: from the mean to max@n by leave-p-out and by softmax
    majority         variance of majority gradients: groups of exactly k against all k-subsets of n
"""
import argparse
import itertools
import math
from pathlib import Path

import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

import advantages  # noqa: E402
from advantages import ESTIMATORS, hypergeometric_weights  # noqa: E402

plt.rcParams.update({"figure.constrained_layout.use": True, "font.size": 9, "legend.frameon": False,
                     "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25})


def save(fig, out, name):
    fig.savefig(out / f"{name}.png", dpi=100)
    plt.close(fig)


# ------------------------------------------------------------------------------------------------ Tang et al., figure 1


def exact_max(pi, rewards, k):
    """E[max of k draws], for pi (..., m) over actions in ascending order of reward."""
    cdf = np.minimum(np.cumsum(pi, axis=-1), 1.0)
    return (np.diff(cdf**k, axis=-1, prepend=0.0) * rewards).sum(axis=-1)


def tang_figure_1(out, actions=100, k=4, steps=4000, seeds=50, learning_rate=1.0):
    """Softmax policy, deterministic rewards drawn once from N(0, 1), k samples an update, plain gradient ascent."""
    rewards = np.sort(np.random.default_rng(0).standard_normal(actions))
    curves = {}
    for name in ("rloo", "max_loo", "max_loo_biased"):
        rng = np.random.default_rng(1)
        theta = np.zeros((seeds, actions))
        mean, best, kl = [], [], []
        for _ in range(steps + 1):
            pi = np.exp(theta - theta.max(axis=1, keepdims=True))
            pi /= pi.sum(axis=1, keepdims=True)
            mean.append(pi @ rewards)
            best.append(exact_max(pi, rewards, k))
            kl.append((pi * np.log(np.maximum(pi * actions, 1e-300))).sum(axis=1))  # to the uniform initial policy
            y = np.minimum((np.cumsum(pi, axis=1)[:, None, :] < rng.random((seeds, k, 1))).sum(axis=2), actions - 1)
            A = ESTIMATORS[name](rewards[y], k)
            gradient = -A.sum(axis=1, keepdims=True) * pi
            np.add.at(gradient, (np.arange(seeds)[:, None], y), A)  # sum_i A_i grad log pi(y_i)
            theta += learning_rate * gradient
        curves[name] = np.array(mean), np.array(best), np.array(kl)

    fig, axes = plt.subplots(1, 3, figsize=(11, 3.6))
    labels = {"rloo": "mean (rloo)", "max_loo": "pass@k (max_loo)", "max_loo_biased": "pass@k biased (max_loo_biased)"}
    text = []
    for colour, (name, label) in zip(("C0", "C1", "C2"), labels.items()):
        mean, best, kl = curves[name]
        grid = np.linspace(0, np.median(kl[-1]), 150)  # each seed has its own KL at a step: average at equal KL
        at_kl = {key: np.array([np.interp(grid, np.maximum.accumulate(kl[:, s]), values[:, s]) for s in range(seeds)]).T
                 for key, values in (("mean", mean), ("best", best))}
        for ax, x, values in zip(axes, (np.arange(steps + 1), grid, grid), (mean, at_kl["mean"], at_kl["best"])):
            ax.plot(x, values.mean(axis=1), color=colour, label=label)
            ax.fill_between(x, *np.quantile(values, (0.25, 0.75), axis=1), color=colour, alpha=0.15, linewidth=0)
        at_2 = [np.interp(2.0, grid, at_kl[key].mean(axis=1), right=math.nan) for key in ("mean", "best")]
        late = " ".join(f"{mean[step].mean():.3f}" for step in (100, 1000, steps))
        text.append(f"{label}: mean reward after 100, 1000, {steps} updates {late}; pass@{k} after {steps} "
                    f"{best[-1].mean():.3f}; at KL 2 mean {at_2[0]:.3f}, pass@{k} {at_2[1]:.3f}; "
                    f"last KL {kl[-1].mean():.2f}")
    for ax, x, y in zip(axes, ("update", "KL to the initial policy", "KL to the initial policy"),
                        ("mean reward", "mean reward", f"pass@{k}, exact")):
        ax.set(xlabel=x, ylabel=y)
    axes[0].set_xscale("log")
    axes[0].set_xlim(1, steps)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncol=3)
    save(fig, out, "tang_figure_1")
    return text


# ---------------------------------------------------------------------------------------------------- PKPO, the figures

SIGMA = 0.1  # x ~ N(theta, SIGMA), the reward is x^2 on [0, 1] and 0 elsewhere: a slope that ends in a cliff


def reward(x):
    return np.where((x >= 0) & (x <= 1), x**2, 0.0)


def exact_cliff(theta, k):
    """max@k of N(theta, SIGMA) and its derivative in theta, (T,) each: E[max] = int_0^1 1 - P(reward <= t)^k dt."""
    edges = np.linspace(0, 1, 4001)  # of sqrt(t); midpoint rule
    root = (edges[1:] + edges[:-1]) / 2
    dt = np.diff(edges**2)
    z_cliff, z_root = (1 - theta[:, None]) / SIGMA, (root - theta[:, None]) / SIGMA
    normal = np.vectorize(lambda z: 0.5 * math.erfc(-z / math.sqrt(2)), otypes=[float])
    below = np.clip(1 - normal(z_cliff) + normal(z_root), 0, 1)
    d_below = (np.exp(-z_cliff**2 / 2) - np.exp(-z_root**2 / 2)) / (SIGMA * math.sqrt(2 * math.pi))
    return (1 - below**k) @ dt, -(k * below ** (k - 1) * d_below) @ dt


def pkpo_figure_1(out):
    theta = np.linspace(-0.2, 1.6, 181)
    fig, axes = plt.subplots(1, 2, figsize=(9, 3.4))
    text = []
    for i, k in enumerate((1, 2, 4, 8, 16)):
        value, slope = exact_cliff(theta, k)
        colour = plt.cm.viridis(i / 5)
        axes[0].plot(theta, value, color=colour, label=f"k = {k}")
        axes[1].plot(theta, slope, color=colour, label=f"k = {k}")
        top = value.argmax()
        axes[0].plot(theta[top], value[top], "o", color=colour, markersize=4)
        text.append(f"k = {k}: largest max@k {value[top]:.3f} at theta = {theta[top]:.2f}")
    axes[0].set(xlabel="theta", ylabel="max@k", title="exact; dots: the best theta", ylim=(-0.03, 1.03))
    axes[1].set(xlabel="theta", ylabel="d max@k / d theta")
    axes[1].axvline(1, color="0.6", linewidth=0.8, linestyle=":")
    axes[0].legend()
    save(fig, out, "pkpo_figure_1")
    return text


def pkpo_figure_2(out, n=8):
    fig, ax = plt.subplots(figsize=(5.5, 3.4))
    rank = np.arange(1, n + 1)
    for i, k in enumerate(rank):
        weight = hypergeometric_weights(n, int(k), 1)[1:]
        ax.plot(rank, weight, "o-", markersize=3.5, color=plt.cm.viridis(i / n), label=f"k = {k}")
    ax.set(xlabel="rank i of the reward, lowest to highest", ylabel="C(i-1, k-1) / C(n, k)", title=f"n = {n}")
    ax.legend(ncol=2)
    save(fig, out, "pkpo_figure_2")
    half = [int((np.cumsum(hypergeometric_weights(n, k, 1)[:0:-1]) < 0.5).sum()) + 1 for k in range(1, n + 1)]
    return [f"best samples that hold half of the weight, of n = {n}, k = 1..{n}: {' '.join(map(str, half))}"]


def pkpo_figure_4(out, theta=1.0, k=4, estimates=10_000):
    """Variance of 10,000 estimates of d max@k / d theta. Every line is unbiased; numbers.txt has the derivative."""
    sizes = np.array([4, 8, 12, 16, 24, 32, 48, 64])
    rng = np.random.default_rng(0)
    labels = {"partition": "sets of k, no baseline", "partition_loo": "sets of k, less the mean of the other sets",
              "partition_max_loo": "sets of k, max_loo in each (Tang)", "pkpo_s": "pkpo_s", "pkpo_s_loo": "pkpo_s_loo",
              "pkpo_s_loo_minus_one": "pkpo_s_loo_minus_one", "max_centred": "max_centred"}
    variance = {name: [] for name in labels}
    error = {name: [] for name in labels}
    truth = float(exact_cliff(np.array([theta]), k)[1][0])
    for n in sizes:
        x = rng.normal(theta, SIGMA, (estimates, n))
        r, score = reward(x), (x - theta) / SIGMA**2
        sets = r.reshape(-1, k)
        best = r.reshape(estimates, n // k, k).max(axis=2)
        others = (best.sum(axis=1, keepdims=True) - best) / max(n // k - 1, 1)
        A = {"partition": np.repeat(best, k, axis=1) * k / n,
             "partition_loo": np.repeat(best - others, k, axis=1) * k / n if n > k else None,
             "partition_max_loo": ESTIMATORS["max_loo"](sets, k).reshape(estimates, n) * k / n}
        A |= {name: ESTIMATORS[name](r, k) if n > k or name in ("pkpo_s", "pkpo_s_loo_minus_one") else None
              for name in labels if name in ESTIMATORS}
        for name, a in A.items():
            gradient = np.full(estimates, math.nan) if a is None else (a * score).sum(axis=1)
            variance[name].append(gradient.var())
            error[name].append((gradient.mean() - truth) / (gradient.std() / math.sqrt(estimates)))
    fig, ax = plt.subplots(figsize=(6.5, 4))
    for name, label in labels.items():
        ax.loglog(sizes, variance[name], "o--" if "partition" in name else "o-", markersize=3.5, label=label)
    ax.set(xlabel="samples n", ylabel=f"variance of the estimate of d max@{k} / d theta", title=f"theta = {theta:g}")
    ax.set_xticks(sizes, sizes)
    ax.minorticks_off()
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    save(fig, out, "pkpo_figure_4")
    at = list(sizes).index(16)
    off = np.nanmax(np.abs(list(error.values())))
    return [f"exact derivative {truth:.4f}; every mean lies within {off:.1f} standard errors of it",
            "variance at n = 16: " + ", ".join(f"{name} {v[at]:.2f}" for name, v in variance.items())]


def pkpo_figure_5(out, n=32):
    r = np.sort(np.random.default_rng(0).uniform(-0.5, 0.5, n))
    names = ("pkpo_s", "pkpo_s_loo", "pkpo_s_loo_minus_one", "max_centred")
    fig, axes = plt.subplots(1, 4, figsize=(12, 3.2))
    for ax, name in zip(axes, names):
        for i, k in enumerate((1, 2, 4, 8, 16)):
            ax.plot(r, ESTIMATORS[name](r[None], k)[0] * n / k, "o-", markersize=2.5, linewidth=0.8,
                    color=plt.cm.viridis(i / 5), label=f"k = {k}")
        ax.set(xlabel="reward", title=name)
    axes[0].set_ylabel("transformed reward x n/k")
    axes[0].legend()
    save(fig, out, "pkpo_figure_5")
    share = {name: (ESTIMATORS[name](r[None], 8)[0] > 0).mean() for name in names}
    return ["share of samples pushed up at k = 8: " + ", ".join(f"{name} {v:.2f}" for name, v in share.items())]


# ------------------------------------------------------------------------------------ ours: exact moments of estimators


def groups_of(pi, n):
    """All groups of n draws from pi (m,), up to order: actions (O, n) and their probabilities (O,)."""
    y = np.array(list(itertools.combinations_with_replacement(range(len(pi)), n)))
    counts = (y[:, :, None] == np.arange(len(pi))).sum(axis=1)
    ways = np.array([math.factorial(n) / math.prod(math.factorial(c) for c in row) for row in counts.tolist()])
    return y, ways * np.prod(pi**counts, axis=1)


def moments(A, y, probability, pi):
    """Mean (m,) and total variance of sum_i A_i grad log pi(y_i) over all groups, in the logits of pi: no sampling."""
    gradient = (A[:, :, None] * (np.eye(len(pi)) - pi)[y]).sum(axis=1)
    mean = probability @ gradient
    return mean, probability @ ((gradient - mean) ** 2).sum(axis=1)


def softmax(theta):
    e = np.exp(theta - theta.max())
    return e / e.sum()


def drift(start, direction, target, estimators, y, probability):
    """Samples of softmax(start), where the policy is pushed along `direction` by a growing step: KL (40,), and by name
    bias and standard deviation of sum_i A_i grad log pi, relative to the norm of the gradient target(pi)."""
    old = softmax(start)
    kl, bias, spread = [], {name: [] for name in estimators}, {name: [] for name in estimators}
    for step in np.geomspace(0.02, 3, 40):
        pi = softmax(start + step * direction)
        truth = target(pi)
        kl.append(pi @ np.log(pi / old))
        for name, estimate in estimators.items():
            mean, variance = moments(estimate(np.log(pi / old)[y]), y, probability, pi)
            bias[name].append(np.linalg.norm(mean - truth) / np.linalg.norm(truth))
            spread[name].append(math.sqrt(variance) / np.linalg.norm(truth))
    return np.array(kl), bias, spread


def first_order_without_clamp(r, k, log_ratio):
    clamp, advantages.DELTA_MAX = advantages.DELTA_MAX, math.inf
    A = ESTIMATORS["bon_off_policy_first_order"](r, k, log_ratio=log_ratio)
    advantages.DELTA_MAX = clamp
    return A


def off_policy(out, n=8, k=4):
    """Samples of pi_old, gradient of max@k and of maj@k of pi, where pi is pi_old pushed along that gradient."""
    rewards = np.array([0.0, 0.2, 0.45, 0.6, 1.0])
    start = np.array([0.8, 0.6, 0.3, 0.0, -1.0])
    y, probability = groups_of(softmax(start), n)
    r, E = rewards[y], ESTIMATORS
    s, maj_s = E["pkpo_s"](r, k), E["maj_off_policy"](r, k, votes=y)
    objectives = {"max": (lambda z: rewards[z].max(axis=1), {
        "exact": lambda d: E["bon_off_policy"](r, k, log_ratio=d),
        "loo": lambda d: E["bon_off_policy_loo_minus_one"](r, k, log_ratio=d),
        "first": lambda d: E["bon_off_policy_first_order"](r, k, log_ratio=d),
        "unclamped": lambda d: first_order_without_clamp(r, k, d),
        "own": lambda d: s * np.exp(d), "none": lambda d: s})}
    objectives["maj"] = lambda z: advantages.maj_at_k(rewards[z], z, k), {
        "exact": lambda d: E["maj_off_policy"](r, k, votes=y, log_ratio=d),
        "loo": lambda d: E["maj_off_policy_loo_minus_one"](r, k, votes=y, log_ratio=d),
        "own": lambda d: maj_s * np.exp(d), "none": lambda d: maj_s}
    labels = {"exact": "exact (.._off_policy)", "loo": "exact, with baseline (.._off_policy_loo_minus_one)",
              "first": "first order, as published", "unclamped": "first order, deltas not clamped",
              "own": "own ratio only (rho_i s_i)", "none": "no correction (s_i)"}
    fig, axes = plt.subplots(2, 3, figsize=(10, 5.6))
    text = []
    for row, (objective, (value, estimators)) in zip(axes, objectives.items()):

        def target(pi):
            z, p = groups_of(pi, k)
            return moments(np.repeat(value(z)[:, None], k, axis=1), z, p, pi)[0]

        direction = target(softmax(start)) / np.linalg.norm(target(softmax(start)))
        kl, bias, spread = drift(start, direction, target, estimators, y, probability)
        rms = {name: np.hypot(bias[name], spread[name]) for name in estimators}
        panels = (bias, "bias"), (spread, "standard deviation"), (rms, "root mean square error")
        for ax, (values, title) in zip(row, panels):
            for i, (name, label) in enumerate(labels.items()):
                if name in estimators:
                    ax.loglog(kl, values[name], color=f"C{i}", label=label, linestyle="-" if i < 2 else "--")
            ax.set(xlabel="KL of the policy to the behaviour policy", title=f"{objective}@{k}: {title}")
        row[0].set(ylabel="relative to |true gradient|", ylim=(1e-5, 10))
        for ax in row[1:]:
            ax.set_yticks([1, 2, 5, 10, 20, 50], [1, 2, 5, 10, 20, 50])
            ax.yaxis.set_minor_locator(plt.NullLocator())
        row[0].text(0.97, 0.04, "exact: below 1e-13", transform=row[0].transAxes, ha="right", color="C0")
        largest = max(bias["exact"] + bias["loo"])
        text.append(f"{objective}@k, n = {n}, k = {k}; largest bias of the exact forms {largest:.0e}")
        for at in (0.001, 0.01, 0.1, 0.5):
            i = np.abs(np.log(kl / at)).argmin()
            text.append(f"KL {kl[i]:.3g}: bias, standard deviation " + "; ".join(
                f"{name} {bias[name][i]:.3f}, {spread[name][i]:.2f}" for name in estimators))
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncol=3)
    save(fig, out, "off_policy")
    return text


def between_mean_and_max(out, n=8):
    """The objectives of Tang et al. App. B.2 between mean and max@n: how far on the way, variance, density."""
    rewards, pi = np.array([0.0, 0.0, 0.5, 1.0]), softmax(np.array([0.9, 0.6, 0.0, -0.6]))
    y, probability = groups_of(pi, n)
    r, E = rewards[y], ESTIMATORS
    mean, best = pi @ rewards, probability @ r.max(axis=1)
    z, p = groups_of(pi, n - 1)

    def average(r, beta):  # f_beta of each row
        weight = np.exp(beta * (r - 1.0))
        return (weight * r).sum(axis=1) / weight.sum(axis=1)

    betas = np.concatenate([[0.0], np.geomspace(0.1, 300, 36)])
    families = {  # label: parameters, objective and estimator at a parameter
        "leave-p-out, p = n - k (max_leave_p_out; p = 0: max_loo)": (
            range(1, n + 1), lambda k: exact_max(pi, rewards, k),
            lambda k: E["max_leave_p_out"](r, k) if k < n else E["max_loo"](r, n)),
        "softmax (softmax_loo)": (
            betas, lambda b: probability @ average(r, b), lambda b: E["softmax_loo"](r, n, beta=b)),
        "softmax, centred (softmax_loo_biased)": (
            betas, lambda b: p @ average(rewards[z], b), lambda b: E["softmax_loo_biased"](r, n, beta=b)),
        "max, softmax baseline (max_softmax_baseline)": (
            [0.0, 2.0, 4.0, 8.0], lambda b: best, lambda b: E["max_softmax_baseline"](r, n, beta=b))}
    fig, axes = plt.subplots(1, 3, figsize=(12, 4.2))
    above, text = axes[0].twiny(), []
    for i, (label, (parameters, objective, estimate)) in enumerate(families.items()):
        way, variance, dense = [], [], []
        for parameter in parameters:
            A = estimate(parameter)
            gradient, total = moments(A, y, probability, pi)
            way.append((objective(parameter) - mean) / (best - mean))
            variance.append(total / (gradient @ gradient))
            dense.append(probability @ (np.abs(A) > 1e-9).mean(axis=1))
        style = {"color": f"C{i}", "linestyle": "" if i == 3 else "-", "marker": "os.D"[i], "markersize": 4}
        if i < 3:
            ax = above if i else axes[0]
            ax.plot(np.maximum(parameters, 0.05) if i else parameters, way, label=label, **style)
        for ax, values in zip(axes[1:], (variance, dense)):
            ax.plot(way, values, label=label, **style)
        shown = range(len(way)) if i == 3 else [np.abs(np.array(way) - at).argmin() for at in (0.5, 0.9, 1.0)]
        for j in shown:
            text.append(f"{label}: at {way[j]:.2f} of the way (parameter {parameters[j]:.3g}) variance / |gradient|^2 "
                        f"{variance[j]:.2f}, share of non-zero advantages {dense[j]:.2f}")
            if i == 3:
                axes[1].annotate(f"beta = {parameters[j]:g}", (1, variance[j]), xytext=(-7, 4),
                                 textcoords="offset points", ha="right", fontsize=7, color="C3")
    axes[0].set(xlabel="k of leave-p-out", ylabel="objective: 0 is the mean, 1 is max@8")
    above.set(xscale="log", xlabel="beta of the softmax")
    above.grid(False)
    axes[1].set(xlabel="objective: 0 is the mean, 1 is max@8", ylabel="variance / |gradient|^2", yscale="log")
    axes[2].set(xlabel="objective: 0 is the mean, 1 is max@8", ylabel="share of non-zero advantages", ylim=(0, 1.02))
    fig.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncol=2)
    save(fig, out, "between_mean_and_max")
    return [f"n = {n}; mean {mean:.3f}, max@{n} {best:.3f}", *text]


def majority(out, k=8):
    """Gradient of maj@k from n samples: split into sets of exactly k (Tang et al.), or over all k-subsets."""
    pi = np.array([0.36, 0.40, 0.24])  # the right answer is second
    sizes = np.array([8, 9, 10, 12, 16, 24, 32])
    labels = {"maj_loo": "sets of k = n = 8: maj_loo", "maj_loo_minus_one": "all 8-subsets of n: maj_loo_minus_one",
              "maj_centred": "all 8-subsets of n: maj_centred"}
    variance = {name: [] for name in labels}
    for n in sizes:
        y, probability = groups_of(pi, n)
        target = None
        for name in labels:
            if name == "maj_loo":
                z, p = groups_of(pi, k)
                mean, one_set = moments(ESTIMATORS[name]((z == 0) * 1.0, k, votes=z), z, p, pi)
                total = one_set * k / n  # n / k independent sets, averaged
            elif n == k and name == "maj_centred":
                total = math.nan
            else:
                mean, total = moments(ESTIMATORS[name]((y == 0) * 1.0, k, votes=y), y, probability, pi)
            target = mean if target is None else target
            assert np.allclose(mean, target, atol=1e-12)  # all three are unbiased for the same gradient
            variance[name].append(total / (target @ target))

    n, rates = 16, np.linspace(0.02, 0.98, 49)
    settings = [("maj_loo", 16), ("maj_loo_minus_one", 8), ("maj_centred", 8), ("maj_centred", 4)]
    signal = {setting: [] for setting in settings}
    for rate in rates:
        mixed = np.array([rate, 0.6 * (1 - rate), 0.4 * (1 - rate)])
        y, probability = groups_of(mixed, n)
        for name, size in settings:
            A = ESTIMATORS[name]((y == 0) * 1.0, size, votes=y)
            signal[name, size].append(probability @ (np.abs(A) > 1e-12).mean(axis=1))

    fig, axes = plt.subplots(1, 2, figsize=(10, 4.3))
    for i, (name, label) in enumerate(labels.items()):
        axes[0].loglog(sizes, variance[name], "o-", color=f"C{i}", markersize=3.5, label=label)
    axes[0].set_xticks(sizes, sizes)
    axes[0].set_yticks([0.1, 0.2, 0.5, 1, 2], [0.1, 0.2, 0.5, 1, 2])
    axes[0].minorticks_off()
    axes[0].set(xlabel="samples n", ylabel="variance / |gradient|^2", title="gradient of maj@8, exact variance")
    for (name, size), colour in zip(settings, ("C0", "C1", "C2", "C3")):
        axes[1].plot(rates, signal[name, size], color=colour, label=f"{name}, k = {size}")
    axes[1].set(xlabel="probability of the right answer (the rest split 60:40)", ylabel="share of non-zero advantages",
                title=f"n = {n}", ylim=(0, 1.02))
    for ax in axes:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncol=1 + (ax is axes[1]))
    save(fig, out, "majority")
    at, middle = list(sizes).index(16), np.abs(rates - 0.36).argmin()
    return ["maj@8, 16 samples, variance / |gradient|^2: " + ", ".join(f"{x} {v[at]:.2f}" for x, v in variance.items()),
            f"expected share of non-zero advantages at n = 16, rate {rates[middle]:.2f}: "
            + ", ".join(f"{name} k = {size} {v[middle]:.2f}" for (name, size), v in signal.items())]


FIGURES = (tang_figure_1, pkpo_figure_1, pkpo_figure_2, pkpo_figure_4, pkpo_figure_5, off_policy, between_mean_and_max,
           majority)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False,
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "results" / "toy",
                        help="folder of the figures and of numbers.txt")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    sections = []
    for figure in FIGURES:
        sections.append("\n  ".join([figure.__name__, *figure(args.out)]))
        print(sections[-1], flush=True)
    (args.out / "numbers.txt").write_text("\n\n".join(sections) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
