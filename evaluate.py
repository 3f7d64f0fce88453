#!/usr/bin/env python3
"""Evaluate rewarded rows: exact pass@k, max@k and maj@k, intervals, tables beside the papers' numbers, figures.

    python evaluate.py runs/rloo/eval.jsonl                                     one file, table to standard output
    python evaluate.py base=base.jsonl rloo=runs/rloo --k 1 4 16 --out results/mine   methods side by side, with files
    python evaluate.py rloo=runs/rloo-1 rloo=runs/rloo-2 pkpo=runs/pkpo-1 pkpo=runs/pkpo-2    a name twice: two seeds
    python evaluate.py pg-mean=a.jsonl pg-biased=b.jsonl --paper tang-table1    the paper's rows under ours
    python evaluate.py --benchmark                                              speed and memory on synthetic rows

Each argument is NAME=PATH or PATH: a file of rows written by reward.py, or a run directory with eval.jsonl (rows) and
metrics.jsonl (training curves). Rows are read one by one and reduced to a few numbers per problem.

What the numbers are
- Point estimates are exact: the mean over all C(n, k) subsets of a problem's n samples, in closed form (advantages.py), never a
  resampling of the samples. pass@k and maj@k count `correct`, max@k uses `scores`. k > n is refused.
- Intervals are 95 % percentile bootstrap intervals over problems; rows that share a prompt (or `--cluster KEY`) are drawn together.
  The percentiles are widened for few clusters (Hesterberg 2015, expanded percentile interval). With several seeds, "±" is the standard
  error over the seeds' means, as Walder and Karkhanis report it: the first is about other problems, the second about other runs.
- Methods are compared in pairs on the problems that they share; Wilcoxon's signed-rank test as in Bagirov et al., two-sided,
  problems without a difference left out, not corrected for the number of comparisons.
"""
import argparse
import collections
import csv
import hashlib
import itertools
import json
import os
import platform
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version

import numpy as np
import scipy.stats

from advantages import maj_at_k, max_at_k, pass_at_k

METRICS = {  # name: (correct, scores, votes: (P, n) each; k) -> (P,)
    "pass": lambda correct, scores, votes, k: pass_at_k(correct, k),
    "max": lambda correct, scores, votes, k: max_at_k(scores, k),
    "maj": lambda correct, scores, votes, k: maj_at_k(correct.astype(float), votes, k),
}
REQUIRED = ("task_id", "correct", "scores", "votes")
OPTIONAL = ("completions", "logprobs", "finish_reasons", "posterior")  # in all rows of a file or in none
SAMPLING = ("temperature", "top_p", "top_k", "max_tokens")  # must agree for rows to be comparable
CHUNK = 1024  # rows reduced at a time
SURPRISAL_BINS = np.linspace(0, 20, 401)  # nats


def paper(title, percent, columns, rows):
    """One table of a paper. `columns` are "[split, level or dataset] metric"; `rows` one method a line: name, then the numbers."""
    table = {}
    for line in rows.strip().splitlines():
        name, *numbers = line.split()
        table[name] = dict(zip(columns, map(float, numbers), strict=True))
    return {"title": title, "percent": percent, "columns": columns, "rows": table}


def columns(metrics, *where):
    return [f"{w} {m}" for w in where for m in metrics]


PKPO = ["pass@1", "pass@2", "pass@4", "pass@8", "pass@16"]
ARC = ["solved", "pass@1", "pass@16"]
PAPERS = {
    "tang-table1": paper("Tang et al. 2025, table 1: Llama 3.1 70B, CodeContests", True, columns(["pass@1", "pass@10", "pass@100"], "valid", "test"), """
        pg-mean     24.6 32.9 38.1 26.2 35.1 39.8
        pg-pass@k   21.7 42.2 54.9 20.6 41.7 51.8
        pg-biased   18.0 38.4 54.2 19.3 39.5 51.9
        ppo-mean    20.0 27.5 33.5 24.9 34.6 41.1
        ppo-pass@k  19.2 37.3 52.4 21.2 41.4 51.0
        ppo-biased  21.6 41.7 55.8 22.6 45.1 56.3"""),
    "tang-table2": paper("Tang et al. 2025, table 2: Llama 3.1 70B, TACO", True, columns(["pass@1", "pass@10", "pass@100"], "easy", "hard"), """
        pg-mean     29.9 34.5 38.2 8.1  9.9 11.8
        pg-pass@k   29.6 43.2 48.9 7.8 14.4 18.0
        pg-biased   26.7 42.5 51.5 7.0 14.3 21.9
        ppo-mean    27.5 35.3 39.5 7.3  8.8 11.1
        ppo-pass@k  28.0 41.6 49.5 7.6 14.2 18.7
        ppo-biased  27.2 44.8 53.8 7.7 14.6 21.3"""),
    "pkpo-math-gemma2-9b": paper("Walder and Karkhanis 2025: MATH, Gemma 2 9B", True, PKPO, """
        k1      22.24 25.35 30.73 37.08 42.59
        k2      21.46 28.61 32.92 39.59 45.34
        k4      21.25 27.15 34.93 41.71 47.05
        k8      20.69 26.78 33.68 42.62 48.37
        tang    19.48 25.41 31.17 39.34 44.82
        entropy 20.85 26.05 32.48 38.21 43.95"""),
    "pkpo-math-llama3.1-8b": paper("Walder and Karkhanis 2025: MATH, Llama 3.1 8B", True, PKPO, """
        k1      51.15 51.82 53.69 55.41 56.83
        k2      49.72 53.51 55.45 57.23 58.71
        k4      49.18 52.20 57.83 58.47 59.28
        k8      48.63 52.14 56.28 59.04 61.88
        tang    48.21 50.93 54.38 57.11 58.55
        entropy 48.51 51.95 55.33 56.95 58.18"""),
    "pkpo-math-gemma2-2b": paper("Walder and Karkhanis 2025: MATH, Gemma 2 2B", True, PKPO, """
        k1      15.91 18.12 23.37 29.58 35.02
        k2      15.15 20.73 25.81 31.96 37.75
        k4      14.86 19.86 27.59 34.27 38.91
        k8      14.19 19.33 26.45 35.49 40.73
        tang    13.11 18.09 24.58 31.81 37.24
        entropy 14.51 18.95 25.33 30.95 36.18"""),
    "pkpo-code-gemma2-9b": paper("Walder and Karkhanis 2025: HumanEval after MBPP, Gemma 2 9B", True, PKPO, """
        k1      37.71 42.03 48.19 55.07 60.98
        k2      36.84 46.56 52.68 59.73 65.86
        k4      36.49 44.95 57.09 63.64 69.51
        k8      35.75 44.41 55.08 65.56 71.91
        tang    34.36 42.81 52.36 61.07 66.41
        entropy 35.91 43.75 53.28 60.13 65.29"""),
    "pkpo-code-llama3.1-8b": paper("Walder and Karkhanis 2025: HumanEval after MBPP, Llama 3.1 8B", True, PKPO, """
        k1      67.38 67.45 69.22 71.11 72.84
        k2      64.91 69.73 72.03 74.08 75.89
        k4      64.25 68.47 74.67 75.01 77.75
        k8      63.57 68.39 72.84 76.82 79.33
        tang    62.77 66.86 70.83 73.95 75.47
        entropy 63.91 67.85 71.78 72.99 74.31"""),
    "pkpo-code-gemma2-2b": paper("Walder and Karkhanis 2025: HumanEval after MBPP, Gemma 2 2B", True, PKPO, """
        k1      19.82 23.81 29.75 36.33 42.04
        k2      18.70 26.94 33.82 40.95 47.03
        k4      18.69 26.43 36.81 44.81 50.55
        k8      17.94 25.86 35.88 46.45 52.83
        tang    16.81 24.27 33.11 41.98 47.26
        entropy 18.05 25.13 34.01 40.88 46.15"""),
    "pkpo-arc-gemma2-9b": paper("Walder and Karkhanis 2025: ARC-AGI-1, Gemma 2 9B", True, ARC, """
        k1      12.00  2.00  8.18
        k4      82.33 22.00 38.18
        k8      84.14 26.67 44.50
        tang    22.00  6.00 10.16
        entropy 24.67  4.00  8.89"""),
    "pkpo-arc-llama3.1-8b": paper("Walder and Karkhanis 2025: ARC-AGI-1, Llama 3.1 8B", True, ARC, """
        k1      22.00  3.33  8.00
        k4      87.17 24.33 42.00
        k8      88.89 29.67 43.13
        tang    36.00  8.00 18.00
        entropy 28.00  8.00 14.67"""),
    "maxk-table1": paper("Bagirov et al. 2025, table 1: GRPO, Qwen2.5-Coder 7B", False, columns(["pass@1", "pass@128"], "code_contests", "livecodebench"), """
        base       0.211 0.541 0.211 0.510
        continuous 0.257 0.516 0.268 0.493
        binary     0.092 0.227 0.117 0.230"""),
    "maxk-table2": paper("Bagirov et al. 2025, table 2: Qwen2.5-Coder 7B", False,
                         columns(["max@128"], "code_contests", "livecodebench", "livebench", "codeforces", "mbpp"), """
        base       .710 .598 .241 .226 .619
        max-second .678 .557 .235 .230 .546
        max-mean   .702 .593 .222 .242 .609
        loo-1      .647 .530 .227 .200 .484
        bon-mean   .693 .579 .280 .229 .673
        off-policy .718 .616 .278 .255 .710"""),
    "maxk-table3": paper("Bagirov et al. 2025, table 3: Qwen2.5-Coder 7B", False,
                         columns(["max@1"], "code_contests", "livecodebench", "livebench", "codeforces", "mbpp"), """
        base       .317 .266 .158 .061 .070
        max-second .394 .315 .173 .077 .090
        max-mean   .375 .309 .188 .074 .086
        loo-1      .385 .333 .202 .072 .125
        bon-mean   .389 .338 .170 .078 .160
        off-policy .370 .338 .184 .080 .146"""),
    "maxk-table4": paper("Bagirov et al. 2025, table 4: Qwen2.5-Coder 7B", False, columns(["max@1", "max@128"], "livecodebench", "code_contests"), """
        base           .266 .598 .317 .710
        1-epoch        .339 .586 .397 .688
        4-epochs       .361 .609 .428 .696
        ppo3-1-epoch   .343 .608 .401 .701
        ppo3-4-epochs  .347 .627 .404 .703"""),
    "maxk-table6": paper("Bagirov et al. 2025, table 6: Qwen2.5-Coder 7B", False, columns([f"max@{2 ** i}" for i in range(9)], "code_contests"), """
        base       .317 .411 .485 .544 .595 .637 .675 .710 .739
        max-second .394 .458 .509 .554 .594 .627 .654 .678 .699
        max-mean   .375 .453 .512 .562 .605 .641 .672 .702 .732
        loo-1      .385 .435 .480 .521 .559 .593 .622 .647 .669
        bon-mean   .389 .465 .522 .569 .608 .640 .668 .693 .716
        off-policy .370 .450 .512 .565 .613 .654 .689 .718 .742"""),
}


class InputError(ValueError):
    """A file, row or flag that cannot be evaluated: main() prints the message and exits with status 2."""


# ---------------------------------------------------------------- rows to a few numbers per problem

def read_jsonl(path):
    """Yield (row number from 1, row as a dict)."""
    try:
        lines = open(path, "rb")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    with lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputError(f"{path}: row {number}: expected one JSON object per line, found: {error}") from None
            if not isinstance(row, dict):
                raise InputError(f"{path}: row {number}: expected a JSON object, found {type(row).__name__}")
            yield number, row


def samples(row, where):
    """The row's parallel lists as arrays (n,): correct bool, scores float64, votes int; InputError if they are not that."""
    arrays = []
    for key, kind, expected in (("correct", "b", "true or false"), ("scores", "fi", "a number"), ("votes", "i", "an integer class, -1 for none")):
        values = np.asarray(row[key]) if isinstance(row[key], list) and row[key] else None
        if values is None or values.ndim != 1 or values.dtype.kind not in kind:
            raise InputError(f"{where}: {key}: expected a list with {expected} per sample")
        arrays.append(values)
    if not len(arrays[0]) == len(arrays[1]) == len(arrays[2]):
        raise InputError(f"{where}: correct, scores and votes have {', '.join(str(len(a)) for a in arrays)} entries; expected as many in each")
    if not np.isfinite(arrays[1]).all():
        raise InputError(f"{where}: scores: sample {np.flatnonzero(~np.isfinite(arrays[1]))[0]} is not a finite number")
    return arrays[0], arrays[1].astype(float), arrays[2]


def exact_limits(posterior, ks):
    """Exact pass@k of two ideal policies, given the posterior masses of a prompt's answer classes: ([best list], [posterior sampling])."""
    p = np.sort(np.asarray(posterior, dtype=float))[::-1]
    return [p[:k].sum() for k in ks], [(p * (1 - (1 - p) ** k)).sum() for k in ks]


def read_file(path, ks, cluster=None):
    """Read rewarded rows one by one; keep, sorted by task_id, only what the report needs.

    Returns a dict: tasks, clusters, levels, splits, datasets (P,) str; values (P, J), one column per name in column_names(ks); solved
    counts (P,), n; `limits` (P, 2, K) where the rows carry `posterior`; sums over tokens and samples; settings.
    Raises InputError with file, row number and task_id for duplicate task_ids, missing keys, ragged lists, scores that are not finite, k > n.
    """
    seen, problem, values, waiting, limits = {}, collections.defaultdict(list), [], [], []
    totals, surprisal = collections.Counter(), np.zeros(len(SURPRISAL_BINS) - 1, dtype=np.int64)
    settings = collections.defaultdict(set)
    n = optional = None
    binary = True

    def reduce():
        correct, scores, votes = (np.stack(x) for x in zip(*waiting))  # (up to CHUNK, n) each
        values.append(np.stack([f(correct, scores, votes, k) for f in METRICS.values() for k in ks], axis=1))
        waiting.clear()

    for number, row in read_jsonl(path):
        where = f"{path}: row {number}: task_id {row.get('task_id')!r}"
        missing = [key for key in REQUIRED if row.get(key) is None]
        if missing:
            raise InputError(f"{where}: expected the keys {', '.join(REQUIRED)} (rows written by reward.py), missing: {', '.join(missing)}")
        task = str(row["task_id"])
        if task in seen:
            raise InputError(f"{where}: expected unique task_ids, found the same in row {seen[task]}")
        seen[task] = number
        correct, scores, votes = samples(row, where)
        present = [key for key in OPTIONAL if row.get(key) is not None]
        if n is None:
            n, optional = len(correct), present
            if max(ks) > n:
                raise InputError(f"{path}: k = {max(ks)} is larger than the n = {n} samples per problem; expected 1 <= k <= n")
        if len(correct) != n:
            raise InputError(f"{where}: expected n = {n} samples as in row 1, found {len(correct)}")
        if present != optional:
            raise InputError(f"{where}: expected the same optional keys as in row 1 ({', '.join(optional) or 'none'}), found {', '.join(present) or 'none'}")
        for key in present:
            if key != "posterior" and (not isinstance(row[key], list) or len(row[key]) != n):
                raise InputError(f"{where}: {key}: expected a list of n = {n}")

        if cluster is not None and cluster not in row:
            raise InputError(f"{where}: --cluster {cluster}: expected this key in every row")
        shared = row[cluster] if cluster is not None else row.get("prompt", task)
        problem["clusters"].append(hashlib.blake2b(json.dumps(shared, sort_keys=True).encode(), digest_size=12).hexdigest())
        problem["tasks"].append(task)
        for key, name in (("levels", "level"), ("splits", "split"), ("datasets", "dataset")):
            problem[key].append("" if row.get(name) is None else str(row[name]))
        problem["solved"].append(int(correct.sum()))
        problem["answers"].append(len(set(votes.tolist()) - {-1}))
        totals["no answer"] += int((votes == -1).sum())
        binary = binary and np.array_equal(scores, correct)
        if "completions" in present:
            problem["programs"].append(len(set(row["completions"])))
        if "finish_reasons" in present:
            totals["truncated"] += row["finish_reasons"].count("length")
        if "logprobs" in present:
            try:
                nats = -np.fromiter(itertools.chain.from_iterable(row["logprobs"]), dtype=float)
            except (TypeError, ValueError):
                raise InputError(f"{where}: logprobs: expected one list of numbers per sample") from None
            if not np.isfinite(nats).all() or (nats < -1e-3).any():
                raise InputError(f"{where}: logprobs: expected finite log-probabilities <= 0")
            totals["tokens"] += len(nats)
            totals["nats"] += nats.sum()
            surprisal += np.histogram(np.clip(nats, 0, SURPRISAL_BINS[-1]), SURPRISAL_BINS)[0]
        if "posterior" in present:
            try:
                total = float(np.sum(np.asarray(row["posterior"], dtype=float)))
            except (TypeError, ValueError):
                total = np.nan
            if not abs(total - 1) < 1e-3 or min(row["posterior"]) < 0:
                raise InputError(f"{where}: posterior: expected probabilities that sum to 1, found the sum {total:g}")
            limits.append(exact_limits(row["posterior"], ks))
        for key in ("dataset", "split"):
            settings[key].add(row.get(key))
        for key in (*SAMPLING, "seed", "model"):
            settings[key].add((row.get("sampling") or {}).get(key))
        waiting.append((correct, scores, votes))
        if len(waiting) == CHUNK:
            reduce()
    if n is None:
        raise InputError(f"{path}: expected at least one row, found none")
    if waiting:
        reduce()
    order = np.argsort(problem["tasks"])  # so that the order of rows changes nothing, not even the rounding
    result = {key: np.asarray(entries)[order] for key, entries in problem.items()}
    result |= {"path": str(path), "n": n, "values": np.concatenate(values)[order], "binary": binary, "totals": totals, "surprisal": surprisal,
               "optional": optional, "settings": {key: sorted(found, key=str) for key, found in settings.items()}}
    if limits:
        result["limits"] = np.asarray(limits)[order]
    return result


def column_names(ks):
    return [f"{metric}@{k}" for metric in METRICS for k in ks]


def select(file, mask):
    """The problems of a file where mask (P,) is true."""
    return file | {key: file[key][mask] for key in ("tasks", "clusters", "levels", "splits", "datasets", "solved", "values")}


# ---------------------------------------------------------------- statistics

def bootstrap(values, clusters, weights, resamples, seed=0):
    """Weighted mean of values (P, J) over problems, with a 95 % interval from resampling whole clusters (P,) with replacement.

    Returns mean, low, high (J,) and the number of clusters C; low and high are NaN for a single cluster. Percentile bootstrap of a ratio
    of sums, at the percentiles Phi(+-sqrt(C / (C - 1)) t_{.975, C - 1}) instead of 2.5 and 97.5: the plain percentile interval is too
    short by about sqrt((C - 1) / C) z / t, which shows below some 50 clusters (Hesterberg 2015, section 5.2).
    """
    names, index = np.unique(clusters, return_inverse=True)
    sums, totals = np.zeros((len(names), values.shape[1])), np.bincount(index, weights)
    np.add.at(sums, index, values * weights[:, None])
    mean, count = sums.sum(0) / totals.sum(), len(names)
    if count == 1:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan), count
    rng, means = np.random.default_rng(seed), []
    for start in range(0, resamples, 64):  # 64 at a time: memory O(64 C), work in matrix products
        drawn = [np.bincount(rng.integers(count, size=count), minlength=count) for _ in range(min(64, resamples - start))]
        drawn = np.stack(drawn).astype(float)
        means.append(drawn @ sums / (drawn @ totals)[:, None])
    tail = scipy.stats.norm.cdf(np.sqrt(count / (count - 1)) * scipy.stats.t.ppf(0.025, count - 1))
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
    return mean, low, high, count


def estimate(files, ks, resamples):
    """One method from its seeds' files: {column: {"mean", "low", "high", "se_seeds" with several seeds}} and the number of clusters."""
    values = np.concatenate([f["values"] for f in files])
    weights = np.concatenate([np.full(len(f["tasks"]), 1 / len(f["tasks"])) for f in files])  # every seed counts the same
    mean, low, high, count = bootstrap(values, np.concatenate([f["clusters"] for f in files]), weights, resamples)
    result = {name: {"mean": float(m), "low": float(a), "high": float(b)} for name, m, a, b in zip(column_names(ks), mean, low, high)}
    if len(files) > 1:
        errors = np.std([f["values"].mean(0) for f in files], axis=0, ddof=1) / np.sqrt(len(files))
        for entry, error in zip(result.values(), errors):
            entry["se_seeds"] = float(error)
    return result, count


def per_task(files):
    """Mean over seeds of each problem's values: tasks (P,) sorted, values (P, J), clusters (P,)."""
    tasks, first, index = np.unique(np.concatenate([f["tasks"] for f in files]), return_index=True, return_inverse=True)
    values = np.concatenate([f["values"] for f in files])
    sums = np.zeros((len(tasks), values.shape[1]))
    np.add.at(sums, index, values)
    return tasks, sums / np.bincount(index)[:, None], np.concatenate([f["clusters"] for f in files])[first]


def compare(files, reference, ks, resamples):
    """Method minus reference on the problems that both have: {column: {"mean", "low", "high", "se", "wilcoxon_p"}}, number of problems.

    Seeds are averaged first, so each problem is one paired difference; se is the clustered standard error of the mean. Wilcoxon's test is
    on one difference per cluster (their mean), because it takes differences as independent; p = 1 where no cluster differs.
    """
    (tasks_a, a, clusters), (tasks_b, b, _) = per_task(files), per_task(reference)
    common, index_a, index_b = np.intersect1d(tasks_a, tasks_b, return_indices=True)
    if not len(common):
        raise InputError(f"{files[0]['path']} and {reference[0]['path']}: expected problems in common, found no shared task_id")
    difference, clusters = np.round(a[index_a] - b[index_b], 12), clusters[index_a]  # rounded: equal problems differ by exactly 0
    mean, low, high, count = bootstrap(difference, clusters, np.ones(len(common)), resamples)
    _, index = np.unique(clusters, return_inverse=True)
    sums, sizes = np.zeros((count, difference.shape[1])), np.bincount(index)
    np.add.at(sums, index, difference)
    residual = sums - sizes[:, None] * mean  # of the ratio estimator
    error = np.sqrt(count / max(count - 1, 1) * (residual ** 2).sum(0)) / len(common)
    result = {}
    for j, name in enumerate(column_names(ks)):
        by_cluster = sums[:, j] / sizes
        p = scipy.stats.wilcoxon(by_cluster).pvalue if by_cluster.any() else 1.0
        result[name] = {"mean": float(mean[j]), "low": float(low[j]), "high": float(high[j]), "se": float(error[j]) if count > 1 else float("nan"),
                        "wilcoxon_p": float(p)}
    return result, len(common)


def crossings(ks, difference):
    """Where the difference of two curves changes sign: list of (last k before, first k after); zeros belong to neither side."""
    signs = [(k, np.sign(d)) for k, d in zip(ks, difference) if abs(d) > 1e-12]
    return [(a, b) for (a, sign_a), (b, sign_b) in itertools.pairwise(signs) if sign_a != sign_b]


def pass_curve(files, largest):
    """pass@k (largest,) at every k = 1..largest, mean over problems and seeds, from the counts of correct samples alone."""
    curves = []
    for f in files:
        every_count = np.tri(f["n"] + 1, f["n"], -1, dtype=bool)  # row c has c correct samples
        weights = np.bincount(f["solved"], minlength=f["n"] + 1) / len(f["solved"])
        curves.append([weights @ pass_at_k(every_count, k) for k in range(1, largest + 1)])
    return np.mean(curves, axis=0)


# ---------------------------------------------------------------- tables

def percent(x, sign=""):
    return "-" if x is None or np.isnan(x) else f"{100 * x:{sign}.1f}"


def cell(entry, sign=""):
    """44.8 [41.7, 48.0] ±1.2, in percent; a single problem or cluster has no interval."""
    text = percent(entry["mean"], sign)
    if not np.isnan(entry["low"]):
        text += f" [{percent(entry['low'], sign)}, {percent(entry['high'], sign)}]"
    return text + (f" ±{percent(entry['se_seeds'])}" if "se_seeds" in entry else "")


def p_value(p):
    return f"p {'<' if p < 0.001 else '='} {max(p, 0.001):.3f}"


def shown_metrics(methods):
    """max@k is pass@k where every score is 0 or 1 by `correct`; then it is left out of tables and figures."""
    return [m for m in METRICS if m != "max" or not all(f["binary"] for files in methods.values() for f in files)]


def settings_of(file):
    return {"n": file["n"], "problems": len(file["tasks"])} | {k: v for k, v in file["settings"].items() if k in ("dataset", "split", *SAMPLING)}


def mixed(methods):
    """Notes on everything in which the methods' rows differ: dataset, split, n, number of problems, sampling, the problems themselves."""
    notes, files = [], [(name, f) for name, seeds in methods.items() for f in seeds]
    show = lambda v: ", ".join("not stated" if x is None else str(x) for x in v) if isinstance(v, list) else str(v)
    for key in settings_of(files[0][1]):
        found = [(name, settings_of(f)[key]) for name, f in files]
        if any(value != found[0][1] for _, value in found):
            notes.append(f"{key} differs: " + "; ".join(dict.fromkeys(f"{name}: {show(value)}" for name, value in found)))
        elif isinstance(found[0][1], list) and len(found[0][1]) > 1:
            notes.append(f"{key} is mixed within the files: {show(found[0][1])}")
    first = files[0][1]
    for name, f in files[1:]:
        common = len(np.intersect1d(first["tasks"], f["tasks"]))
        if common < max(len(f["tasks"]), len(first["tasks"])):
            notes.append(f"problems differ: {f['path']} ({len(f['tasks'])}) and {first['path']} ({len(first['tasks'])}) share {common}")
    return notes


def metric_tables(methods, estimates, ks, limits):
    tables = []
    for metric in shown_metrics(methods):
        rows = [[name, *(cell(estimates[name][f"{metric}@{k}"]) for k in ks)] for name in methods]
        if metric == "pass":
            rows += [[f"*{label}*", *(percent(limits[label][f"pass@{k}"]) for k in ks)] for label in limits]
        tables.append({"title": f"{metric}@k, %", "header": ["method", *(f"k = {k}" for k in ks)], "rows": rows})
    return tables


def difference_tables(differences, reference, metrics, ks):
    tables = []
    for metric in metrics:
        rows = []
        for name, (entries, common, crossing) in differences.items():
            found = (entries[f"{metric}@{k}"] for k in ks)
            rows.append([f"{name} - {reference}", *(f"{cell(e, '+')} {p_value(e['wilcoxon_p'])}" for e in found), str(common),
                         ", ".join(f"{a} to {b}" for a, b in crossing[metric]) or "none"])
        tables.append({"title": f"Difference in {metric}@k, percentage points, same problems",
                       "header": ["methods", *(f"k = {k}" for k in ks), "problems", "curves cross from k"], "rows": rows})
    return tables


def level_order(level):
    """Numbers by value ("2" before "10", "Level 2" too), then text; no level last."""
    last = level.split()[-1] if level else ""
    return (level == "", not last.isdigit(), int(last) if last.isdigit() else 0, level)


def by_level(methods, ks, resamples):
    """{level: {method: (estimates, problems)}} where the rows have at least one level; problems without one are under ""."""
    levels = sorted({level for files in methods.values() for f in files for level in f["levels"].tolist()}, key=level_order)
    if levels in ([], [""]):
        return {}
    result = {}
    for level in levels:
        result[level] = {}
        for name, files in methods.items():
            chosen = [select(f, f["levels"] == level) for f in files if (f["levels"] == level).any()]
            if chosen:
                result[level][name] = estimate(chosen, ks, resamples)[0], len(np.unique(np.concatenate([f["tasks"] for f in chosen])))
    return result


def level_tables(levels, metrics, ks):
    return [{"title": f"{metric}@k by level, %", "header": ["level", "method", "problems", *(f"k = {k}" for k in ks)],
             "rows": [[level or "none", name, str(count), *(cell(entries[f"{metric}@{k}"]) for k in ks)]
                      for level, found in levels.items() for name, (entries, count) in found.items()]} for metric in metrics if levels]


def diagnostics(files):
    """Means over a method's seeds; None where the rows lack what is needed. Surprisal -log p of sampled tokens estimates entropy, unbiased."""
    def mean(key, value):
        return float(np.mean([value(f) for f in files])) if all(key is None or key in f["optional"] for f in files) else None
    drawn = lambda f: len(f["tasks"]) * f["n"]
    return {"solved": mean(None, lambda f: (f["solved"] > 0).mean()),
            "distinct_answers": mean(None, lambda f: f["answers"].mean()),
            "distinct_completions": mean("completions", lambda f: f["programs"].mean()),
            "entropy": mean("logprobs", lambda f: f["totals"]["nats"] / max(f["totals"]["tokens"], 1)),
            "length": mean("logprobs", lambda f: f["totals"]["tokens"] / drawn(f)),
            "truncated": mean("finish_reasons", lambda f: f["totals"]["truncated"] / drawn(f)),
            "no_answer": mean(None, lambda f: f["totals"]["no answer"] / drawn(f))}


def diagnostics_table(methods):
    rows = []
    for name, files in methods.items():
        d = diagnostics(files)
        number = lambda key: "-" if d[key] is None else f"{d[key]:.2f}"
        rows.append([name, ", ".join(dict.fromkeys(str(len(f["tasks"])) for f in files)), ", ".join(dict.fromkeys(str(f["n"]) for f in files)),
                     str(len(files)), percent(d["solved"]), number("distinct_answers"), number("distinct_completions"), number("entropy"),
                     number("length"), percent(d["truncated"]), percent(d["no_answer"])])
    return {"title": "Samples", "header": ["method", "problems", "n", "seeds", "solved at least once, %", "distinct answers a problem",
                                           "distinct completions a problem", "entropy, nats a token", "tokens a completion", "truncated, %",
                                           "no answer, %"], "rows": rows}


def paper_table(key, methods, ks, curves):
    """The paper's rows, each under ours of the same name and over the difference. Returns the table and notes.

    A column such as "valid pass@10" is compared on our problems whose split, level or dataset is "valid"; if no column's word is found
    in our rows, on all of our problems, which is noted. "solved" is the cumulative solve rate of training, from metrics.jsonl.
    """
    source, notes, rows, ours = PAPERS[key], [], [], {}
    unit = 1 if source["percent"] else 100  # tables here are in percent
    labels = {label.lower() for files in methods.values() for f in files for k in ("splits", "levels", "datasets") for label in f[k].tolist()}
    words = list(dict.fromkeys(column.rpartition(" ")[0] for column in source["columns"]))
    found = [word for word in words if word in labels]
    if words != [""] and not found:
        notes.append(f"{key}: our rows have no split, level or dataset named {', '.join(words)}; compared on all of our problems")
    own = [name for name in methods if name.lower() in source["rows"]]
    if not own:
        raise InputError(f"--paper {key}: expected a method named like a row of the paper ({', '.join(source['rows'])}), found {', '.join(methods)}")

    def value(name, column):
        word, _, metric = column.rpartition(" ")
        if metric == "solved":
            last = [c["solved"][-1] for c in curves.get(name, []) if "solved" in c]
            return np.mean(last) if last else None
        if found and word not in found or metric not in column_names(ks):
            return None
        means = []
        for f in methods[name]:
            mask = np.ones(len(f["tasks"]), bool) if not found else np.logical_or.reduce(
                [np.char.lower(f[k].astype(str)) == word for k in ("splits", "levels", "datasets")])
            means.append(f["values"][mask, column_names(ks).index(metric)].mean() if mask.any() else None)
        return None if None in means else np.mean(means)

    for row, printed in source["rows"].items():
        paper_row = [f"{row}, paper", *(f"{unit * printed[c]:.1f}" for c in source["columns"])]
        name = next((name for name in own if name.lower() == row), None)
        if name is None:
            rows.append(paper_row)
            continue
        ours = [value(name, c) for c in source["columns"]]
        rows += [[f"{row}, ours", *map(percent, ours)], paper_row,
                 ["difference", *("-" if v is None else f"{100 * v - unit * printed[c]:+.1f}" for v, c in zip(ours, source["columns"]))]]
    return {"title": f"Beside {source['title']}, %", "header": ["method", *source["columns"]], "rows": rows}, notes


def markdown(tables, notes):
    lines = []
    for table in tables:
        cells = [[text.replace("|", "\\|") for text in row] for row in [table["header"], *table["rows"]]]
        lines += [f"**{table['title']}**", "", "| " + " | ".join(cells[0]) + " |", "|" + "---|" * len(cells[0])]
        lines += ["| " + " | ".join(row) + " |" for row in cells[1:]] + [""]
    return "\n".join([*lines, *(f"- {note}" for note in notes)]) + "\n"


LATEX = str.maketrans({"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}",
                       "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "<": "$<$", ">": "$>$", "*": ""})


def latex(tables, notes):
    """Plain tabular environments: no package needed."""
    lines = [f"% {note}" for note in notes]
    for table in tables:
        rows = [" & ".join(text.translate(LATEX) for text in row) + r" \\" for row in [table["header"], *table["rows"]]]
        lines += [f"% {table['title']}", r"\begin{tabular}{l" + "r" * (len(table["header"]) - 1) + "}", r"\hline", rows[0], r"\hline",
                  *rows[1:], r"\hline", r"\end{tabular}", ""]
    return "\n".join(lines) + "\n"


def write_csv(path, methods, estimates, levels):
    """Long form, fractions: one line per method, level and metric."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "level", "metric", "k", "mean", "low", "high", "se_seeds"])
        blocks = [(name, "all", estimates[name]) for name in methods]
        blocks += [(name, level or "none", entries) for level, found in levels.items() for name, (entries, _) in found.items()]
        for name, level, entries in blocks:
            for key, e in entries.items():
                writer.writerow([name, level, *key.split("@"), e["mean"], e["low"], e["high"], e.get("se_seeds", "")])


# ---------------------------------------------------------------- figures

# Okabe and Ito's palette without its yellow, which vanishes on white; marker and dash tell the lines apart in grayscale too.
STYLES = list(zip(["#000000", "#E69F00", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9"], "os^Dv*X",
                  ["-", "--", "-.", ":", (0, (6, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1))]))


def style(i):
    color, marker, dash = STYLES[i % len(STYLES)]
    if i >= len(STYLES):  # same colour and marker again, hollow
        return {"color": color, "marker": marker, "linestyle": dash, "markerfacecolor": "white"}
    return {"color": color, "marker": marker, "linestyle": dash}


def panels(count, width=3.6, height=3.0):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    plt.rcParams |= {"svg.hashsalt": "evaluate", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
                     "grid.color": "#e5e5e5", "axes.axisbelow": True, "lines.linewidth": 1.4, "lines.markersize": 4.5, "savefig.dpi": 200}
    columns = min(count, 3)
    figure, axes = plt.subplots(-(-count // columns), columns, figsize=(width * columns, height * -(-count // columns) + 0.5), squeeze=False,
                                layout="constrained")
    for axis in axes.flat[count:]:
        axis.remove()
    return figure, list(axes.flat[:count])


def save(figure, axes, path):
    """One legend over all panels; PNG and SVG, without a date so that the same numbers give the same file."""
    import matplotlib.pyplot as plt
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 4), frameon=False, handlelength=3.2)
    figure.savefig(f"{path}.png")
    figure.savefig(f"{path}.svg", metadata={"Date": None})
    plt.close(figure)


def k_axis(axis, ks):
    axis.set_xscale("log", base=2)
    axis.set_xticks(ks, [str(k) for k in ks])
    axis.minorticks_off()
    axis.set_xlabel("k, samples")


def draw_with_band(axis, x, entries, label, i):
    mean, low, high = (100 * np.array([e[key] for e in entries]) for key in ("mean", "low", "high"))
    axis.plot(x, mean, label=label, **style(i))
    axis.fill_between(x, low, high, color=style(i)["color"], alpha=0.15, linewidth=0)


def plot_metrics(path, methods, estimates, ks, limits):
    metrics = shown_metrics(methods)
    figure, axes = panels(len(metrics))
    for axis, metric in zip(axes, metrics):
        for i, name in enumerate(methods):
            draw_with_band(axis, ks, [estimates[name][f"{metric}@{k}"] for k in ks], name, i)
        if metric == "pass":
            for label, dash in zip(limits, ("-", (0, (2, 2)))):
                axis.plot(ks, [100 * limits[label][f"pass@{k}"] for k in ks], color="#777777", linewidth=1, linestyle=dash, label=label)
        k_axis(axis, ks)
        axis.set_ylabel(f"{metric}@k, %")
    save(figure, axes, path)


def plot_differences(path, differences, reference, metrics, ks):
    figure, axes = panels(len(metrics))
    for axis, metric in zip(axes, metrics):
        axis.axhline(0, color="black", linewidth=0.8)
        for i, (name, (entries, *_)) in enumerate(differences.items(), 1):  # style 0 is the reference's
            draw_with_band(axis, ks, [entries[f"{metric}@{k}"] for k in ks], f"{name} − {reference}", i)
        k_axis(axis, ks)
        axis.set_ylabel(f"difference in {metric}@k, points")
    save(figure, axes, path)


def plot_levels(path, levels, methods, metrics, k):
    figure, axes = panels(len(metrics))
    for axis, metric in zip(axes, metrics):
        for i, name in enumerate(methods):
            x = [j + 0.5 * (i - (len(methods) - 1) / 2) / len(methods) for j, found in enumerate(levels.values()) if name in found]
            entries = [found[name][0][f"{metric}@{k}"] for found in levels.values() if name in found]
            mean, low, high = (100 * np.array([e[key] for e in entries]) for key in ("mean", "low", "high"))
            axis.errorbar(x, mean, yerr=[mean - low, high - mean], capsize=2, label=name, **(style(i) | {"linestyle": "none"}))
        axis.set_xticks(range(len(levels)), [level or "none" for level in levels])
        axis.set_xlabel("level")
        axis.set_ylabel(f"{metric}@{k}, %")
    save(figure, axes, path)


def plot_entropy(path, methods):
    """Density over sampled tokens of -log p, whose mean is the entropy; several methods, e.g. before and after training."""
    totals = {name: sum(f["surprisal"] for f in files) for name, files in methods.items() if all("logprobs" in f["optional"] for f in files)}
    reach = max(np.searchsorted(np.cumsum(t) / t.sum(), 0.999) + 1 for t in totals.values())
    merge = max(1, int(np.ceil(reach / 40)))  # about 40 bars over 99.9 % of the tokens
    edges = SURPRISAL_BINS[::merge]
    figure, (axis,) = panels(1, width=5)
    for i, (name, counts) in enumerate(totals.items()):
        density = np.add.reduceat(counts, np.arange(0, len(counts), merge))[:len(edges) - 1] / counts.sum() / (edges[1] - edges[0])
        middle = (edges[1:] + edges[:-1]) / 2
        axis.plot(middle, np.where(density > 0, density, np.nan), label=name, **(style(i) | {"drawstyle": "steps-mid"}), markevery=3)
    axis.set_xlim(0, edges[min(-(-reach // merge), len(edges) - 1)])
    axis.set_yscale("log")
    axis.set_xlabel("surprisal −log p of a sampled token, nats\n(unbiased estimate of the entropy at that token)")
    axis.set_ylabel("density over tokens")
    save(figure, [axis], path)


def read_curves(path):
    """metrics.jsonl of train.py: {key: (steps,) float64, NaN where null or absent}; "step" must rise."""
    rows = []
    for number, row in read_jsonl(path):
        if not isinstance(row.get("step"), int) or rows and row["step"] <= rows[-1]["step"]:
            raise InputError(f"{path}: row {number}: expected an integer `step` that rises from row to row, found {row.get('step')!r}")
        rows.append(row)
    if not rows:
        raise InputError(f"{path}: expected at least one row, found none")
    keys = {key for row in rows for key, value in row.items() if isinstance(value, (int, float))}
    curves = {key: np.array([np.nan if row.get(key) is None else row[key] for row in rows], dtype=float) for key in keys}
    return {key: curve for key, curve in curves.items() if np.isfinite(curve).any()}


def smooth(values, window):
    """Mean over each window of consecutive steps: (steps,) -> (steps - window + 1,)."""
    return np.convolve(values, np.ones(window) / window, mode="valid")


def draw_curves(axis, seeds, x, y, label, i, window):
    """Mean over seeds of the running means at the steps that all seeds have, with a band of one standard error over seeds."""
    steps = seeds[0]["step"]
    for curve in seeds[1:]:
        steps = np.intersect1d(steps, curve["step"])
    window = max(1, min(window, len(steps) // 2))
    get = lambda key: np.stack([smooth(c[key][np.isin(c["step"], steps)], window) for c in seeds])  # (seeds, steps)
    horizontal, vertical = get(x).mean(0), get(y)
    scale = 1 if y in ("reward", "entropy", "kl_ref") else 100
    mean = scale * vertical.mean(0)
    axis.plot(horizontal, mean, label=label, **style(i), markevery=(i, max(1, len(mean) // 8)))
    if len(seeds) > 1:
        error = scale * vertical.std(0, ddof=1) / np.sqrt(len(seeds))
        axis.fill_between(horizontal, mean - error, mean + error, color=style(i)["color"], alpha=0.2, linewidth=0)


LABELS = {"reward": "mean reward", "correct": "correct (pass@1), %", "pass_at_k": "pass@k, %", "max_at_k": "max@k, %", "maj_at_k": "maj@k, %",
          "solved": "training prompts solved so far, %", "entropy": "entropy, nats a token", "kl_ref": "KL to the reference, nats",
          "step": "step"}


def plot_curves(path, curves, x, ys, window):
    """Panels of y against x for all methods that have both. Returns whether there was anything to draw."""
    has = lambda seeds, *keys: all(key in c for c in seeds for key in keys)
    ys = [y for y in ys if any(has(seeds, x, y) for seeds in curves.values())]
    if not ys:
        return False
    figure, axes = panels(len(ys))
    for axis, y in zip(axes, ys):
        for i, (name, seeds) in enumerate(curves.items()):
            if has(seeds, x, y):
                objective = sorted({int(c["k"][-1]) for c in seeds if "k" in c})
                label = name if not objective else f"{name} (k = {', '.join(map(str, objective))})"
                draw_curves(axis, seeds, x, y, label, i, window)
        axis.set_xlabel(LABELS[x])
        axis.set_ylabel(LABELS[y])
    save(figure, axes, path)
    return True


# ---------------------------------------------------------------- command

def environment():
    def git(*command):
        try:
            done = subprocess.run(["git", "-C", os.path.dirname(os.path.abspath(__file__)), *command], capture_output=True, text=True)
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None
    commit = git("rev-parse", "HEAD")
    return {"git_commit": commit, "git_changed_files": None if commit is None else bool(git("status", "--porcelain", "--untracked-files=no")),
            "versions": {"python": platform.python_version(), **{p: version(p) for p in ("numpy", "scipy", "matplotlib")}},
            "machine": {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count()},
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def named_paths(arguments):
    """["a=x", "runs/b"] -> [("a", "x"), ("b", "runs/b")]; runs/b/eval.jsonl is also called b, other files by their stem."""
    result = []
    for argument in arguments:
        name, equals, path = argument.partition("=")
        if not equals or os.path.exists(argument):
            path = argument
            whole = os.path.abspath(path)
            name = os.path.basename(os.path.dirname(whole) if os.path.basename(whole) == "eval.jsonl" else whole).removesuffix(".jsonl")
        if not name or not path:
            raise InputError(f"{argument}: expected NAME=PATH or PATH")
        result.append((name, path))
    return result


def default_ks(paths, papers):
    """Powers of two up to the smallest n, and the ks of the papers' tables that fit."""
    n = min(len(next(read_jsonl(path), (1, {}))[1].get("correct") or [0]) for path in paths)
    asked = {int(c.rpartition("@")[2]) for key in papers for c in PAPERS[key]["columns"] if "@" in c}
    return sorted({2 ** i for i in range(n.bit_length())} | {k for k in asked if k <= n}) or [1]


def null_nan(x):
    """JSON has no NaN: null."""
    if isinstance(x, dict):
        return {key: null_nan(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [null_nan(value) for value in x]
    return None if isinstance(x, float) and np.isnan(x) else x


def evaluate(args):
    """Everything but the argument parser; returns the Markdown text and, with args.out, writes the files."""
    started = time.perf_counter()
    methods, curves, rows = {}, {}, []
    for name, path in named_paths(args.runs):
        if os.path.isdir(path):
            evaluation, training = os.path.join(path, "eval.jsonl"), os.path.join(path, "metrics.jsonl")
            if not os.path.exists(evaluation) and not os.path.exists(training):
                raise InputError(f"{path}: expected a run directory with eval.jsonl or metrics.jsonl, found neither")
            if os.path.exists(training):
                curves.setdefault(name, []).append(read_curves(training))
            path = evaluation if os.path.exists(evaluation) else None
        if path is not None:
            rows.append((name, path))
    tables, notes, result = [], list(args.caption), {"methods": {}}
    if rows:
        ks = sorted(set(args.k or default_ks([path for _, path in rows], args.paper)))
        if ks[0] < 1:
            raise InputError(f"--k {ks[0]}: expected k >= 1")
        for name, path in rows:
            methods.setdefault(name, []).append(read_file(path, ks, args.cluster))
        reference = args.against or next(iter(methods))
        if reference not in methods:
            raise InputError(f"--against {reference}: expected one of {', '.join(methods)}")
        estimates, limits, clusters = {}, {}, {}
        for name, files in methods.items():
            estimates[name], clusters[name] = estimate(files, ks, args.resamples)
        ideal = next((f for files in methods.values() for f in files if "limits" in f), None)
        if ideal:
            for label, line in zip(("best possible list (exact limit)", "sampling from the posterior (exact limit)"), ideal["limits"].mean(0)):
                limits[label] = {f"pass@{k}": float(v) for k, v in zip(ks, line)}
        differences = {}
        for name, files in methods.items():
            if name != reference:
                entries, common = compare(files, methods[reference], ks, args.resamples)
                largest = min(f["n"] for f in files + methods[reference])
                crossing = {m: crossings(ks, [entries[f"{m}@{k}"]["mean"] for k in ks]) for m in METRICS}
                crossing["pass"] = crossings(range(1, largest + 1), pass_curve(files, largest) - pass_curve(methods[reference], largest))
                differences[name] = entries, common, crossing
        levels = by_level(methods, ks, args.resamples)
        shown = shown_metrics(methods)
        tables += metric_tables(methods, estimates, ks, limits) + difference_tables(differences, reference, shown, ks) * bool(differences)
        tables += level_tables(levels, shown, ks) + [diagnostics_table(methods)]
        notes.append(f"In %: mean over problems [95 % bootstrap interval over problems, {args.resamples} resamples of "
                     + "; ".join(dict.fromkeys(f"{c} clusters" for c in clusters.values()))
                     + (f" of rows with the same {args.cluster}]" if args.cluster else " of rows with the same prompt]")
                     + (" ± standard error over seeds." if any(len(f) > 1 for f in methods.values()) else "; one seed."))
        if differences:
            notes.append("p: two-sided Wilcoxon signed-rank test over clusters, not corrected for the number of comparisons.")
        if "max" not in shown:
            notes.append("All scores are 0 or 1: max@k equals pass@k and is not repeated.")
        for name in methods:
            flat = [m for m, e in estimates[name].items() if m.partition("@")[0] in shown and e["low"] == e["high"]]
            if flat:
                notes.append(f"{name}: all problems have the same {', '.join(flat)}: the bootstrap sees no spread, the interval of width 0 is not a certainty.")
            if clusters[name] == 1:
                notes.append(f"{name}: one cluster of problems, so there is no interval.")
        notes += [f"NOT ALIKE: {note}" for note in mixed(methods)]
        for key in args.paper:
            table, remarks = paper_table(key, methods, ks, curves)
            tables.append(table)
            notes += remarks
        for name, files in methods.items():
            entry = {"metrics": estimates[name], "paths": [f["path"] for f in files], "seeds": len(files), "problems": len(files[0]["tasks"]),
                     "clusters": clusters[name], "samples_per_problem": files[0]["n"], "settings": [f["settings"] for f in files],
                     "diagnostics": diagnostics(files),
                     "levels": {level or "none": {"problems": found[name][1], "metrics": found[name][0]} for level, found in levels.items() if name in found}}
            if name in differences:
                entries, common, crossing = differences[name]
                entry["difference"] = {"against": reference, "problems": common, "metrics": entries, "crossings": crossing}
            result["methods"][name] = entry
        result |= {"limits": limits, "k": ks, "resamples": args.resamples, "cluster": args.cluster or "prompt"}
        if len(methods) == 1:
            result["metrics"] = estimates[next(iter(methods))]
    text = markdown(tables, notes)
    if args.out:
        os.makedirs(args.out, exist_ok=True)
        place = lambda name: os.path.join(args.out, name)
        if methods:
            for name, content in (("table.md", text), ("table.tex", latex(tables, notes))):
                with open(place(name), "w") as file:
                    file.write(content)
            write_csv(place("table.csv"), methods, estimates, levels)
            plot_metrics(place("metric_at_k"), methods, estimates, ks, limits)
            if differences:
                plot_differences(place("differences"), differences, reference, shown, ks)
            if levels:
                plot_levels(place("by_level"), levels, methods, shown, ks[-1])
            if any("logprobs" in f["optional"] for files in methods.values() for f in files):
                plot_entropy(place("entropy_density"), methods)
        if curves:
            plot_curves(place("training_curves"), curves, "step", ["reward", "correct", "pass_at_k", "solved", "entropy", "kl_ref"], args.smooth)
            if not plot_curves(place("kl_efficiency"), curves, "kl_ref", ["correct", "pass_at_k", "maj_at_k"], args.smooth):
                print("evaluate.py: no kl_ref in metrics.jsonl: kl_efficiency is not drawn", file=sys.stderr)
        result |= {"command": shlex.join(["python", os.path.basename(sys.argv[0]), *sys.argv[1:]]), "captions": args.caption, "notes": notes,
                   **environment(), "wall_s": time.perf_counter() - started}
        with open(place("results.json"), "w") as file:
            json.dump(null_nan(result), file, indent=1, allow_nan=False)
            file.write("\n")
    elif curves and not rows:
        raise InputError("expected --out DIR: there are only training curves, no eval.jsonl")
    return text


def benchmark(problems, samples=256):
    """Time and peak memory of one evaluation of synthetic rows: P problems x n samples, k = 1, 2, 4, ..., n, 8 answers a problem."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "rows.jsonl")
        with open(path, "w") as file:
            for i in range(problems):
                votes = rng.choice(8, size=samples, p=rng.dirichlet(np.ones(8)))
                correct = votes == 0
                scores = np.where(correct, 1.0, np.round(votes / 16, 4))
                file.write(json.dumps({"task_id": f"synthetic/{i}", "correct": correct.tolist(), "scores": scores.tolist(), "votes": votes.tolist()}) + "\n")
        size, started = os.path.getsize(path), time.perf_counter()
        text = evaluate(parser().parse_args([path]))
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(text)
    print(f"{problems} problems x {samples} samples ({size / 1e6:.0f} MB): {seconds:.1f} s, {problems / seconds:.0f} problems/s, peak memory {peak:.0f} MiB")


def parser():
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("runs", nargs="*", metavar="NAME=PATH", help="rewarded rows, or a run directory with eval.jsonl and metrics.jsonl; a name given twice: seeds of one method")
    p.add_argument("--k", type=int, nargs="+", help="every k <= n, n samples per problem; default: 1, 2, 4, ... and those of --paper")
    p.add_argument("--out", metavar="DIR", help="write table.md, .csv, .tex, results.json and figures there")
    p.add_argument("--caption", nargs="+", default=[], metavar="TEXT", help="lines printed under the table, e.g. seeds, steps, command")
    g = p.add_argument_group("statistics")
    g.add_argument("--cluster", metavar="KEY", help="draw rows with the same row[KEY] together (default: rows with the same prompt)")
    g.add_argument("--against", metavar="NAME", help="method that the others are compared with (default: the first)")
    g.add_argument("--resamples", type=int, default=4000, help="bootstrap resamples")
    g = p.add_argument_group("presentation")
    g.add_argument("--paper", nargs="+", default=[], choices=list(PAPERS), metavar="TABLE", help="put a paper's table under ours; name methods as it does: " + ", ".join(PAPERS))
    g.add_argument("--smooth", type=int, default=10, help="training curves: running mean over this many steps")
    p.add_argument("--benchmark", type=int, nargs="?", const=20000, metavar="P", help="time P synthetic problems x 256 samples (20000 without P)")
    return p


def main():
    p = parser()
    args = p.parse_args()
    if args.benchmark:
        return benchmark(args.benchmark)
    if not args.runs:
        p.error("expected at least one file of rows or run directory")
    try:
        print(evaluate(args), end="")
    except InputError as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
