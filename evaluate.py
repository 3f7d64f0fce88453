#!/usr/bin/env python3
"""Evaluate rewarded rows: exact pass@k, max@k and maj@k with intervals, beside the papers' numbers, and in pictures.

    python evaluate.py runs/rloo/eval.jsonl                                     one file, the table to standard output
    python evaluate.py base=base.jsonl rloo=runs/rloo --k 1 4 16 --out results  several methods, with files and figures
    python evaluate.py rloo=runs/a rloo=runs/b pkpo=runs/c pkpo=runs/d          a name given twice: two seeds
    python evaluate.py pg-mean=a.jsonl pg-biased=b.jsonl --paper tang-table1    the paper's rows under ours
    python evaluate.py --benchmark 20000 --metrics pass max                     time and memory on synthetic rows

Each argument is NAME=PATH or PATH: a file of rows from reward.py, or a run directory with eval.jsonl (such rows) and
metrics.jsonl (training curves, from train.py). Rows are read one by one and reduced to a few numbers per problem.

What the numbers are
- Point estimates are exact: the mean over all C(n, k) subsets of a problem's n samples, in closed form (advantages.py),
  never a resampling of the samples. pass@k and maj@k count `correct`, max@k uses `scores`. k > n is refused.
- Intervals: 95 %, bootstrap over problems; rows that share a prompt (or --cluster KEY) are drawn together. With several
  seeds "±" is the standard error over seeds, as Walder and Karkhanis report it. The first says how the numbers would
  move with other problems, the second how they move with other runs.
- Methods are compared on the problems that they share, in pairs: difference with interval, Wilcoxon's signed-rank test
  (as Bagirov et al.; two-sided, problems without a difference left out, not corrected for multiple comparisons).
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
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import scipy.stats

from advantages import maj_at_k, max_at_k, pass_at_k


METRICS = {  # name: (correct, scores, votes: (P, n) each; k) -> (P,)
    "pass": lambda correct, scores, votes, k: pass_at_k(correct, k),
    "max": lambda correct, scores, votes, k: max_at_k(scores, k),
    "maj": lambda correct, scores, votes, k: maj_at_k(correct, votes, k),
}
REQUIRED = ("task_id", "correct", "scores", "votes")
OPTIONAL = ("completions", "logprobs", "finish_reasons", "posterior")  # in all rows of a file or in none
SAMPLING = ("temperature", "top_p", "top_k", "max_tokens")  # has to agree for rows to be comparable
LABELS = {"tasks": "task_id", "levels": "level", "splits": "split", "datasets": "dataset"}
CHUNK = 1024  # rows reduced at a time
SURPRISAL_BINS = np.linspace(0, 20, 401)  # nats


class InputError(ValueError):
    """A file, row or flag that cannot be evaluated: main() prints the message and exits with status 2."""


# ---------------------------------------------------------------- from rows to a few numbers per problem

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
                raise InputError(f"{path}: row {number}: expected one JSON object per line: {error}") from None
            if not isinstance(row, dict):
                raise InputError(f"{path}: row {number}: expected a JSON object, found {type(row).__name__}")
            yield number, row


def samples(row, where):
    """The row's correct (bool), scores (float64) and votes (int), (n,) each; InputError if they are not that."""
    arrays = []
    for key, kinds, expected in (("correct", "b", "true or false"), ("scores", "fi", "a number"),
                                 ("votes", "i", "an integer class, -1 for none,")):
        try:
            values = np.asarray(row[key])
        except ValueError:  # ragged lists
            values = np.empty((0, 0))
        if values.ndim != 1 or not len(values) or values.dtype.kind not in kinds:
            raise InputError(f"{where}: {key}: expected a list with {expected} per sample")
        arrays.append(values)
    correct, scores, votes = arrays
    if not len(correct) == len(scores) == len(votes):
        raise InputError(f"{where}: expected lists of one length, found {len(correct)} correct, {len(scores)} scores, "
                         f"{len(votes)} votes")
    if not np.isfinite(scores).all():
        raise InputError(f"{where}: scores: expected finite numbers, found {scores[~np.isfinite(scores)][0]} "
                         f"for sample {np.flatnonzero(~np.isfinite(scores))[0]}")
    if (votes < -1).any():
        raise InputError(f"{where}: votes: expected integers >= -1, found {votes.min()}")
    return correct, scores.astype(float), votes


def exact_limits(posterior, ks):
    """pass@k of two ideal policies, given the posterior masses of a prompt's answer classes: (2, K).

    The best possible list of k answers has the k most likely ones, sum_{j<=k} p_j; k samples from the posterior find
    the truth with probability sum_j p_j (1 - (1 - p_j)^k).
    """
    p = np.sort(np.asarray(posterior, dtype=float))[::-1]
    return [[p[:k].sum() for k in ks], [(p * (1 - (1 - p) ** k)).sum() for k in ks]]


def numbers(value, where, expected, valid):
    """A flat float64 array of a JSON value that should be a list of numbers for which valid() holds."""
    try:
        values = np.array(value, dtype=float)
    except (TypeError, ValueError):
        values = np.array(np.nan)
    if values.ndim != 1 or not np.isfinite(values).all() or not valid(values):
        raise InputError(f"{where}: expected {expected}")
    return values


def read_file(path, ks, metrics=tuple(METRICS), cluster=None):
    """Read rewarded rows one by one and keep what the report needs, sorted by task_id.

    Returns a dict: tasks, clusters, levels, splits, datasets (P,) str; values (P, J), a column per metric and k as in
    column_names(); solved (P,), the number of correct samples; answers, programs (P,), how many distinct; n; limits
    (P, 2, K) where rows carry `posterior`; totals over samples; surprisal, a histogram over tokens; settings.
    InputError with file, row number and task_id: missing keys, duplicate task_id, ragged lists, NaN scores, k > n.
    """
    seen, problem, values, waiting, limits = {}, collections.defaultdict(list), [], [], []
    totals, surprisal = collections.Counter(), np.zeros(len(SURPRISAL_BINS) - 1, dtype=np.int64)
    settings, binary = collections.defaultdict(set), True

    def reduce():
        arrays = [np.stack(x) for x in zip(*waiting)]  # correct, scores, votes: (up to CHUNK, n) each
        values.append(np.stack([METRICS[metric](*arrays, k) for metric in metrics for k in ks], axis=1))
        waiting.clear()

    for number, row in read_jsonl(path):
        where = f"{path}: row {number}: task_id {row.get('task_id')!r}"
        if missing := [key for key in REQUIRED if row.get(key) is None]:
            raise InputError(f"{where}: expected rows from reward.py, missing: {', '.join(missing)}")
        task = str(row["task_id"])
        if task in seen:
            raise InputError(f"{where}: expected unique task_ids, found the same in row {seen[task]}")
        seen[task] = number
        correct, scores, votes = samples(row, where)
        present = [key for key in OPTIONAL if row.get(key) is not None]
        if number == 1:
            n, optional = len(correct), present
            if max(ks) > n:
                raise InputError(f"{where}: k = {max(ks)}, but there are n = {n} samples; expected 1 <= k <= n")
        if len(correct) != n:
            raise InputError(f"{where}: expected n = {n} samples as in row 1, found {len(correct)}")
        if present != optional:
            raise InputError(f"{where}: expected the optional keys of row 1 ({', '.join(optional) or 'none'}), "
                             f"found {', '.join(present) or 'none'}")
        for key in present:
            if not isinstance(row[key], list) or key != "posterior" and len(row[key]) != n:
                raise InputError(f"{where}: {key}: expected a list with one entry per sample")
        if cluster is not None and row.get(cluster) is None:
            raise InputError(f"{where}: --cluster {cluster}: expected this key in every row")

        sampling = row.get("sampling") or {}
        facts = {key: row.get(key) for key in ("dataset", "split", "policy_step")}
        if isinstance(sampling, dict):
            facts |= {key: sampling.get(key) for key in (*SAMPLING, "seed", "model")}
        if not isinstance(sampling, dict) or any(isinstance(fact, (list, dict)) for fact in facts.values()):
            raise InputError(f"{where}: expected single values for dataset, split, policy_step and in sampling")
        for key, fact in facts.items():
            settings[key].add(fact)

        shared = row.get(cluster or "prompt")
        shared = json.dumps(task if shared is None else shared, sort_keys=True)
        problem["clusters"].append(hashlib.blake2b(shared.encode(), digest_size=12).hexdigest())
        for key, name in LABELS.items():
            problem[key].append("" if row.get(name) is None else str(row[name]))
        problem["solved"].append(int(correct.sum()))
        problem["answers"].append(len(set(votes.tolist()) - {-1}))
        totals["no_answer"] += int((votes == -1).sum())
        binary = binary and np.array_equal(scores, correct)
        if "completions" in present:
            problem["programs"].append(len(set(map(str, row["completions"]))))
        if "finish_reasons" in present:
            totals["truncated"] += row["finish_reasons"].count("length")
        if "logprobs" in present:
            flat = list(itertools.chain.from_iterable(x if isinstance(x, list) else [None] for x in row["logprobs"]))
            nats = -numbers(flat, f"{where}: logprobs", "one list of log-probabilities <= 0 per sample",
                            lambda x: (x <= 1e-3).all())
            totals["tokens"] += len(nats)
            totals["nats"] += nats.sum()
            surprisal += np.histogram(np.clip(nats, 0, SURPRISAL_BINS[-1]), SURPRISAL_BINS)[0]
        if "posterior" in present:
            limits.append(exact_limits(numbers(row["posterior"], f"{where}: posterior", "probabilities that sum to 1",
                                               lambda p: (p >= 0).all() and abs(p.sum() - 1) < 1e-3), ks))
        waiting.append((correct, scores, votes))
        if len(waiting) == CHUNK:
            reduce()
    if not seen:
        raise InputError(f"{path}: expected at least one row, found none")
    if waiting:
        reduce()
    order = np.argsort(problem["tasks"])  # so that the order of rows changes nothing, not even the rounding
    return {key: np.asarray(entries)[order] for key, entries in problem.items()} | {
        "path": str(path), "n": n, "values": np.concatenate(values)[order], "binary": binary, "optional": optional,
        "limits": np.asarray(limits)[order] if limits else None, "totals": totals, "surprisal": surprisal,
        "settings": {key: sorted(found, key=str) for key, found in settings.items()}}


def column_names(ks, metrics):
    return [f"{metric}@{k}" for metric in metrics for k in ks]


def select(file, mask):
    """The problems of a file where mask (P,) is true, for estimate()."""
    return file | {key: file[key][mask] for key in (*LABELS, "clusters", "values")}


# ---------------------------------------------------------------- statistics

def bootstrap(values, clusters, weights, resamples, seed=0):
    """Weighted mean over problems of values (P, J), with a 95 % interval: whole clusters are drawn with replacement.

    Returns mean, low, high (J,) and the number of clusters C; low and high are NaN for a single one. Percentiles of the
    resampled means, at Phi(+-sqrt(C/(C-1)) t_{.975,C-1}) instead of 2.5 and 97.5: the plain percentile interval is too
    short where clusters are few (Hesterberg 2015, expanded percentile interval).
    """
    names, index = np.unique(clusters, return_inverse=True)
    C = len(names)
    sums, totals = np.zeros((C, values.shape[1])), np.bincount(index, weights)
    np.add.at(sums, index, values * weights[:, None])
    mean = sums.sum(axis=0) / totals.sum()
    if C == 1:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan), C
    rng, means = np.random.default_rng(seed), []
    for start in range(0, resamples, 64):  # 64 at a time: memory O(64 C), the work in matrix products
        drawn = np.stack([np.bincount(rng.integers(C, size=C), minlength=C)
                          for _ in range(min(64, resamples - start))]).astype(float)
        means.append(drawn @ sums / (drawn @ totals)[:, None])
    tail = scipy.stats.norm.cdf(np.sqrt(C / (C - 1)) * scipy.stats.t.ppf(0.025, C - 1))
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
    return mean, low, high, C


def estimate(files, columns, resamples):
    """One method, from the files of its seeds: {column: {"mean", "low", "high", "se_seeds" if several}}, clusters.

    A problem's rows of all seeds are in one cluster, so the interval is about other problems, the same runs.
    """
    sizes = [len(f["tasks"]) for f in files]
    weights = np.repeat([max(sizes) / size for size in sizes], sizes)  # every seed counts the same
    mean, low, high, clusters = bootstrap(np.concatenate([f["values"] for f in files]),
                                          np.concatenate([f["clusters"] for f in files]), weights, resamples)
    result = {c: {"mean": float(m), "low": float(a), "high": float(b)} for c, m, a, b in zip(columns, mean, low, high)}
    if len(files) > 1:
        errors = np.std([f["values"].mean(axis=0) for f in files], axis=0, ddof=1) / np.sqrt(len(files))
        for entry, error in zip(result.values(), errors):
            entry["se_seeds"] = float(error)
    return result, clusters


def per_task(files):
    """Each problem's mean over seeds: tasks (P,) sorted, values (P, J), clusters (P,)."""
    tasks, first, index = np.unique(np.concatenate([f["tasks"] for f in files]), return_index=True, return_inverse=True)
    sums = np.zeros((len(tasks), files[0]["values"].shape[1]))
    np.add.at(sums, index, np.concatenate([f["values"] for f in files]))
    return tasks, sums / np.bincount(index)[:, None], np.concatenate([f["clusters"] for f in files])[first]


def compare(files, reference, columns, resamples):
    """Method minus reference on the problems of both: {column: {"mean", "low", "high", "se", "wilcoxon_p"}}, problems.

    Seeds are averaged first: a problem is one difference. se is the clustered standard error of the mean. Wilcoxon's
    test takes one difference per cluster (its mean), since it needs independent ones; p = 1 where none differs from 0.
    """
    (tasks_a, a, clusters), (tasks_b, b, _) = per_task(files), per_task(reference)
    common, index_a, index_b = np.intersect1d(tasks_a, tasks_b, return_indices=True)
    if not len(common):
        raise InputError(f"{files[0]['path']} and {reference[0]['path']}: expected a common task_id, found none")
    difference, clusters = np.round(a[index_a] - b[index_b], 12), clusters[index_a]  # so that ties are ties
    mean, low, high, C = bootstrap(difference, clusters, np.ones(len(common)), resamples)
    index = np.unique(clusters, return_inverse=True)[1]
    sums, sizes = np.zeros((C, len(mean))), np.bincount(index)[:, None]
    np.add.at(sums, index, difference)
    se = np.sqrt(((sums - sizes * mean) ** 2).sum(axis=0) * C / (C - 1)) / len(common) if C > 1 else mean * np.nan
    p = [scipy.stats.wilcoxon(d).pvalue if d.any() else 1.0 for d in np.round(sums / sizes, 12).T]
    keys = ("mean", "low", "high", "se", "wilcoxon_p")
    return {c: dict(zip(keys, map(float, e))) for c, e in zip(columns, zip(mean, low, high, se, p))}, len(common)


def crossings(ks, difference):
    """Where the difference of two curves changes sign: [(last k before, first k after)]; zeros belong to no side."""
    signs = [(k, d > 0) for k, d in zip(ks, difference) if abs(d) > 1e-12]
    return [(k, later) for (k, sign), (later, other) in itertools.pairwise(signs) if sign != other]


def pass_curve(files, largest):
    """pass@k at every k = 1..largest, mean over problems and seeds, from the numbers of correct samples: (largest,)."""
    curves = []
    for f in files:
        every_count = np.tri(f["n"] + 1, f["n"], -1, dtype=bool)  # row c has c correct samples
        share = np.bincount(f["solved"], minlength=f["n"] + 1) / len(f["solved"])
        curves.append([share @ pass_at_k(every_count, k) for k in range(1, largest + 1)])
    return np.mean(curves, axis=0)


def by_level(methods, columns, resamples):
    """{level: {method: (estimates, problems)}}; {} where no row has a level; problems without one come last, as ""."""
    def order(level):  # "2" before "10", "Level 2" likewise, then words
        number = level.split()[-1] if level else ""
        return level == "", not number.isdecimal(), int(number) if number.isdecimal() else 0, level

    levels = sorted({level for files in methods.values() for f in files for level in f["levels"].tolist()}, key=order)
    result = {level: {} for level in levels} if any(levels) else {}
    for level, (name, files) in itertools.product(result, methods.items()):
        if chosen := [select(f, f["levels"] == level) for f in files if (f["levels"] == level).any()]:
            problems = len(np.unique(np.concatenate([f["tasks"] for f in chosen])))
            result[level][name] = estimate(chosen, columns, resamples)[0], problems
    return result


def diagnostics(files):
    """Means over the seeds of a method; None where rows lack what is needed.

    entropy: mean surprisal -log p of the sampled tokens, an unbiased estimate of the sampling entropy.
    """
    def mean(value, key=None):
        return float(np.mean([value(f) for f in files])) if all(key in (None, *f["optional"]) for f in files) else None

    def share(total):
        return lambda f: f["totals"][total] / (len(f["tasks"]) * f["n"])

    return {"solved": mean(lambda f: (f["solved"] > 0).mean()), "distinct_answers": mean(lambda f: f["answers"].mean()),
            "distinct_completions": mean(lambda f: f["programs"].mean(), "completions"),
            "entropy": mean(lambda f: f["totals"]["nats"] / max(f["totals"]["tokens"], 1), "logprobs"),
            "length": mean(share("tokens"), "logprobs"), "truncated": mean(share("truncated"), "finish_reasons"),
            "no_answer": mean(share("no_answer"))}


def mixed(methods):
    """All in which the rows to be compared are not alike: dataset, split, n, sampling, the problems themselves."""
    def show(value):
        return ", ".join("not stated" if v is None else str(v) for v in value)

    notes, files = [], [(name, f) for name, seeds in methods.items() for f in seeds]
    for key in ("n", "dataset", "split", *SAMPLING):
        found = [(name, [f["n"]] if key == "n" else f["settings"][key]) for name, f in files]
        if any(value != found[0][1] for _, value in found):
            notes.append(f"{key} differs: " + "; ".join(dict.fromkeys(f"{name} {show(v)}" for name, v in found)))
        elif len(found[0][1]) > 1:
            notes.append(f"{key} is mixed within each file: {show(found[0][1])}")
    # a seed may have evaluation problems of its own, the same for every method
    problems = {name: np.unique(np.concatenate([f["tasks"] for f in seeds])) for name, seeds in methods.items()}
    first, *others = problems
    for name in others:
        shared = len(np.intersect1d(problems[first], problems[name]))
        if not shared == len(problems[first]) == len(problems[name]):
            notes.append(f"problems differ: {name} has {len(problems[name])}, {first} has {len(problems[first])}, they share "
                         f"{shared}")
    return notes


# ---------------------------------------------------------------- tables: {"title", "header", "rows"} of strings

def percent(x, sign="", digits=1):
    return "-" if x is None or np.isnan(x) else f"{100 * x:{sign}.{digits}f}"


def cell(entry, sign=""):
    """44.8 [41.7, 48.0] ±1.2, in percent; no interval where there is a single cluster."""
    text = percent(entry["mean"], sign)
    if not np.isnan(entry["low"]):
        text += f" [{percent(entry['low'], sign)}, {percent(entry['high'], sign)}]"
    return text + (f" ±{percent(entry['se_seeds'])}" if "se_seeds" in entry else "")


def main_tables(methods, estimates, ks, shown, limits):
    tables = []
    for metric in shown:
        rows = [[name, *(cell(estimates[name][f"{metric}@{k}"]) for k in ks)] for name in methods]
        if metric == "pass":
            rows += [[f"{label}, exact limit", *map(percent, line)] for label, line in limits.items()]
        tables.append({"title": f"{metric}@k, %", "header": ["method", *(f"k = {k}" for k in ks)], "rows": rows})
    return tables


def difference_tables(differences, reference, shown, ks):
    def significance(p):
        return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"

    tables = []
    for metric in shown:
        rows = []
        for name, (entries, problems, crossing) in differences.items():
            found = [entries[f"{metric}@{k}"] for k in ks]
            rows.append([f"{name} - {reference}", *(f"{cell(e, '+')} {significance(e['wilcoxon_p'])}" for e in found),
                         str(problems), ", ".join(f"k = {a} and {b}" for a, b in crossing[metric]) or "none"])
        tables.append({"title": f"Paired differences in {metric}@k, percentage points", "rows": rows, "header":
                       ["methods", *(f"k = {k}" for k in ks), "problems", "curves cross between"]})
    return tables


def level_tables(levels, shown, ks):
    return [{"title": f"{metric}@k by level, %", "header": ["level", "method", "problems", *(f"k = {k}" for k in ks)],
             "rows": [[level or "none", name, str(problems), *(cell(entries[f"{metric}@{k}"]) for k in ks)]
                      for level, found in levels.items() for name, (entries, problems) in found.items()]}
            for metric in shown if levels]


def sample_table(methods):
    header = ["method", "step", "problems", "n", "seeds", "solved by any sample, %", "distinct answers",
              "distinct completions", "entropy, nats/token", "tokens", "truncated, %", "no answer, %"]
    rows = []
    for name, files in methods.items():
        d = diagnostics(files)
        unique = lambda values: ", ".join(dict.fromkeys("-" if v is None else str(v) for v in values))
        plain = ["-" if d[key] is None else f"{d[key]:.2f}" for key in ("distinct_answers", "distinct_completions",
                                                                       "entropy", "length")]
        rows.append([name, unique(step for f in files for step in f["settings"]["policy_step"]),
                     unique(len(f["tasks"]) for f in files), unique(f["n"] for f in files), str(len(files)),
                     percent(d["solved"]), *plain, percent(d["truncated"]), percent(d["no_answer"])])
    return {"title": "Samples (distinct: per problem; tokens: per completion)", "header": header, "rows": rows}


def training(curves):
    """A run of train.py in numbers, None for what metrics.jsonl lacks; `solved` is the cumulative solve rate."""
    last = {key: float(curves[key][-1]) if key in curves else None for key in ("solved", "kl_ref")}
    seconds = [float(np.nansum(curves[key])) for key in ("wait_s", "work_s") if key in curves]
    return {"steps": int(curves["step"][-1]) + 1, "wall_s": sum(seconds) if seconds else None, **last}


def training_table(curves):
    rows = []
    for name, seeds in curves.items():
        runs = [training(c) for c in seeds]
        mean = {key: None if any(run[key] is None for run in runs) else np.mean([run[key] for run in runs])
                for key in ("wall_s", "solved", "kl_ref")}
        seconds, kl = ("-" if mean[key] is None else f"{mean[key]:{form}}"
                       for key, form in (("wall_s", ".0f"), ("kl_ref", ".3f")))
        steps = ", ".join(dict.fromkeys(str(run["steps"]) for run in runs))
        rows.append([name, str(len(runs)), steps, seconds, kl, percent(mean["solved"])])
    return {"title": "Training (means over seeds; at the last step)", "rows": rows,
            "header": ["method", "seeds", "steps", "seconds", CURVES["kl_ref"], CURVES["solved"]]}


def paper_table(key, methods, columns, curves):
    """A paper's rows, those that we have too under ours and over the difference. Returns the table and a note.

    A column such as "valid pass@10" is compared on our problems whose split, level or dataset is "valid"; where our
    rows have none of the columns' words, on all. "solved" is the cumulative solve rate of training (metrics.jsonl).
    """
    paper, rows = PAPERS[key], []
    ours = {name.lower(): name for name in methods if name.lower() in paper["rows"]}
    if not ours:
        raise InputError(f"--paper {key}: expected methods named as in the paper ({', '.join(paper['rows'])}), "
                         f"found {', '.join(methods)}")

    def matches(f, word):
        return np.any([np.char.lower(f[label]) == word for label in ("splits", "levels", "datasets")], axis=0)

    words = {column.rpartition(" ")[0] for column in paper["columns"]}
    known = {word for word in words for files in methods.values() for f in files if matches(f, word).any()}

    def value(name, column):
        word, _, metric = column.rpartition(" ")
        if metric == "solved":
            last = [c["solved"][-1] for c in curves.get(name, []) if "solved" in c]
            return np.mean(last) if last else None
        if metric not in columns or known and word not in known:
            return None
        masks = [matches(f, word) if known else np.ones(len(f["tasks"]), bool) for f in methods[name]]
        if not all(mask.any() for mask in masks):
            return None
        return np.mean([f["values"][mask, columns.index(metric)].mean() for f, mask in zip(methods[name], masks)])

    def show(values, sign=""):
        return [percent(v, sign, paper["digits"]) for v in values]

    for row, printed in paper["rows"].items():
        theirs = [printed[column] for column in paper["columns"]]
        mine = [value(ours[row], column) for column in paper["columns"]] if row in ours else []
        gaps = [None if m is None else m - t for m, t in zip(mine, theirs)]
        rows += [[f"{row}, ours", *show(mine)]] * bool(mine) + [[f"{row}, paper", *show(theirs)]]
        rows += [["difference", *show(gaps, "+")]] * bool(mine)
    found = [", ".join(sorted({str(v) for files in methods.values() for f in files for v in f["settings"][k]}))
             for k in ("dataset", "split")]
    note = f"{key}: ours is dataset {found[0]}, split {found[1]}; the paper's is {paper['title']}"
    if words != {""} and not known:
        note += f"; our rows have no split, level or dataset {', '.join(sorted(words))}: all problems in every column"
    return {"title": f"Ours beside {paper['title']}, %", "header": ["", *paper["columns"]], "rows": rows}, note + "."


def markdown(tables, notes):
    lines = []
    for table in tables:
        cells = [[text.replace("|", "\\|") for text in row] for row in (table["header"], *table["rows"])]
        lines += [f"**{table['title']}**", "", *("| " + " | ".join(row) + " |" for row in cells), ""]
        lines.insert(-1 - len(table["rows"]), "|" + "---|" * len(cells[0]))
    return "\n".join([*lines, *(f"- {note}" for note in notes)]) + "\n"


LATEX = str.maketrans({"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$",
                       "<": "$<$", ">": "$>$", **{c: "\\" + c for c in "&%_#${}"}})


def latex(tables, notes):
    """Plain tabular environments, which need no package."""
    lines = [f"% {note}" for note in notes]
    for table in tables:
        rows = [" & ".join(text.translate(LATEX) for text in row) + r" \\" for row in (table["header"], *table["rows"])]
        lines += [f"% {table['title']}", r"\begin{tabular}{l" + "r" * (len(table["header"]) - 1) + "}", r"\hline",
                  rows[0], r"\hline", *rows[1:], r"\hline", r"\end{tabular}", ""]
    return "\n".join(lines) + "\n"


def write_csv(path, estimates, levels):
    """Long form, fractions: a line per method, level, metric and k."""
    blocks = [(name, "all", entries) for name, entries in estimates.items()]
    blocks += [(name, level or "none", entries) for level, found in levels.items()
               for name, (entries, _) in found.items()]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "level", "metric", "k", "mean", "low", "high", "se_seeds"])
        writer.writerows([name, level, *column.split("@"), e["mean"], e["low"], e["high"], e.get("se_seeds", "")]
                         for name, level, entries in blocks for column, e in entries.items())


# ---------------------------------------------------------------- figures

# Okabe and Ito's palette, safe for colour-blind readers, without its yellow, which vanishes on white. Markers and
# dashes tell the lines apart in grayscale too; past seven methods the markers are hollow.
STYLES = list(zip(["#000000", "#E69F00", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9"], "os^Dv*X",
                  ["-", "--", "-.", ":", (0, (6, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1))]))


def style(i):
    color, marker, dash = STYLES[i % len(STYLES)]
    return {"color": color, "marker": marker, "linestyle": dash,
            "markerfacecolor": "white" if i >= len(STYLES) else color}


def panels(count, width=3.6, height=3.0):
    """A figure and its `count` axes, three a line."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    plt.rcParams |= {"svg.hashsalt": "evaluate", "font.size": 9, "axes.spines.top": False,
                     "axes.spines.right": False, "axes.grid": True, "grid.color": "#e5e5e5", "axes.axisbelow": True,
                     "lines.linewidth": 1.4, "lines.markersize": 4.5}
    columns, lines = min(count, 3), -(-count // 3)
    figure, axes = plt.subplots(lines, columns, figsize=(width * columns, height * lines + 0.5), squeeze=False,
                                layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
    for axis in axes.flat[count:]:
        axis.remove()
    return figure, axes.flat[:count]


def save(figure, path):
    """One legend over all panels; PNG and SVG, without a date, so that the same numbers give the same files."""
    import matplotlib.pyplot as plt
    handles = {label: handle for axis in figure.axes for handle, label in zip(*axis.get_legend_handles_labels())}
    letters = 20 * figure.get_size_inches()[0]  # that fit in one line, about; a handle takes the room of 17
    columns = max(1, int(letters // (max(map(len, handles)) + 17)))
    columns = len(handles) if sum(len(label) + 17 for label in handles) < letters else columns
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=columns, frameon=False, handlelength=3.2)
    figure.savefig(f"{path}.png", dpi=120)
    figure.savefig(f"{path}.svg", metadata={"Date": None})
    plt.close(figure)


def in_percent(entries):
    return [100 * np.array([entry[key] for entry in entries]) for key in ("mean", "low", "high")]


def plot_against_k(path, lines, metrics, ks, ylabel, limits):
    """lines: [(label, style number, {column: entry})], with their intervals as bands; one panel per metric."""
    figure, axes = panels(len(metrics))
    for axis, metric in zip(axes, metrics):
        for label, i, entries in lines:
            mean, low, high = in_percent([entries[f"{metric}@{k}"] for k in ks])
            axis.plot(ks, mean, label=label, **style(i))
            axis.fill_between(ks, low, high, color=style(i)["color"], alpha=0.15, linewidth=0)
        for (label, line), dash in zip(limits.items() if metric == "pass" else (), ("-", (0, (2, 2)))):
            axis.plot(ks, 100 * np.array(line), color="#777777", linewidth=1, linestyle=dash, label=label)
        if "difference" in ylabel:
            axis.axhline(0, color="black", linewidth=0.8)
        axis.set_xscale("log", base=2)
        axis.set_xticks(ks, [str(k) for k in ks])
        axis.minorticks_off()
        axis.set_xlabel("k, samples")
        axis.set_ylabel(ylabel.format(metric))
    save(figure, path)


def plot_levels(path, levels, names, metrics, k):
    order = {level: j for j, level in enumerate(levels)}
    figure, axes = panels(len(metrics))
    for axis, metric in zip(axes, metrics):
        for i, name in enumerate(names):
            present = [level for level in levels if name in levels[level]]
            mean, low, high = in_percent([levels[level][name][0][f"{metric}@{k}"] for level in present])
            axis.errorbar([order[level] + (i - (len(names) - 1) / 2) / (2 * len(names)) for level in present], mean,
                          yerr=np.maximum(np.nan_to_num([mean - low, high - mean]), 0), capsize=2, label=name,
                          **style(i) | {"linestyle": "none"})
        axis.set_xticks(range(len(levels)), [level or "none" for level in levels])
        axis.set_xlabel("level")
        axis.set_ylabel(f"{metric}@{k}, %")
    save(figure, path)


def plot_entropy(path, methods):
    """Density over sampled tokens of -log p, whose mean is the entropy: methods side by side, e.g. before and after."""
    counts = {name: sum(f["surprisal"] for f in files) for name, files in methods.items()
              if all("logprobs" in f["optional"] and f["surprisal"].any() for f in files)}
    if not counts:
        return
    last = max(np.searchsorted(np.cumsum(c) / c.sum(), 0.999) for c in counts.values())  # bin that covers 99.9 %
    merge = last // 40 + 1  # some 40 bins up to there
    edges = np.append(SURPRISAL_BINS[:-1:merge], SURPRISAL_BINS[-1])
    figure, (axis,) = panels(1, width=5)
    for i, (name, c) in enumerate(counts.items()):
        density = np.add.reduceat(c, np.arange(0, len(c), merge)) / c.sum() / np.diff(edges)
        axis.plot((edges[1:] + edges[:-1]) / 2, np.where(density > 0, density, np.nan), label=name, markevery=3,
                  drawstyle="steps-mid", **style(i))
    axis.set_xlim(0, SURPRISAL_BINS[last + 1])
    axis.set_yscale("log")
    axis.set_xlabel("surprisal −log p of a sampled token, nats\n(its mean is an unbiased estimate of the entropy)")
    axis.set_ylabel("density over tokens")
    save(figure, path)


CURVES = {"step": "step", "reward": "mean reward", "correct": "correct = pass@1, %", "pass_at_n": "pass@n of a training group, %",
          "maj_at_n": "maj@n of a training group, %", "solved": "training prompts solved so far, %", "entropy": "entropy, nats/token",
          "kl_ref": "KL to the reference, nats/completion"}


def read_curves(path):
    """metrics.jsonl of train.py: {key: (steps,) float64}, NaN where a step lacks it."""
    rows = []
    for number, row in read_jsonl(path):
        if not isinstance(row.get("step"), int) or rows and row["step"] <= rows[-1]["step"]:
            raise InputError(f"{path}: row {number}: expected an integer step above the last, found {row.get('step')}")
        rows.append(row)
    if not rows:
        raise InputError(f"{path}: expected at least one row, found none")
    keys = {key for row in rows for key, value in row.items() if isinstance(value, (int, float))}
    return {key: np.array([np.nan if row.get(key) is None else row[key] for row in rows], dtype=float) for key in keys}


def common_steps(name, seeds):
    """The curves of a method's seeds at the steps that all of them have."""
    steps = sorted(set.intersection(*(set(c["step"]) for c in seeds)))
    if not steps:
        raise InputError(f"{name}: expected metrics.jsonl of all seeds to have steps in common, found none")
    return [{key: values[np.isin(c["step"], steps)] for key, values in c.items()} for c in seeds]


def plot_curves(path, curves, names, x, ys, window):
    """Panels of y against x: running means over `window` steps, mean over seeds with a band of one standard error.

    Returns False where no run has both x and any y. The window is at most half of the shortest run.
    """
    def drawable(seeds, y):
        return all(key in c and np.isfinite(c[key]).any() for c in seeds for key in (x, y))

    curves = {name: common_steps(name, seeds) for name, seeds in curves.items()}
    ys = [y for y in ys if any(drawable(seeds, y) for seeds in curves.values())]
    if not ys:
        return False
    window = min(window, *(max(1, len(c["step"]) // 2) for seeds in curves.values() for c in seeds))
    figure, axes = panels(len(ys))
    for axis, y in zip(axes, ys):
        for name, seeds in curves.items():
            if not drawable(seeds, y):
                continue
            i = names.index(name)  # a method looks the same in all figures
            scale = 100 if CURVES[y].endswith("%") else 1
            across, up = (np.array([np.convolve(c[key], np.ones(window) / window, "valid") for c in seeds])
                          for key in (x, y))  # (seeds, steps - window + 1)
            across, mean = across.mean(axis=0), scale * up.mean(axis=0)
            axis.plot(across, mean, label=name, markevery=(i, max(1, len(mean) // 8)), **style(i))
            if len(seeds) > 1:
                error = scale * up.std(axis=0, ddof=1) / np.sqrt(len(seeds))
                axis.fill_between(across, mean - error, mean + error, color=style(i)["color"], alpha=0.2, linewidth=0)
        axis.set_xlabel(CURVES[x] + (f"\n(running means of {window} steps)" if window > 1 else ""))
        axis.set_ylabel(CURVES[y])
    save(figure, path)
    return True


# ---------------------------------------------------------------- the papers' numbers

def paper(title, percent, columns, rows):
    """One table of a paper: its rows as {method: {column: fraction}}, and the digits that it prints, in percent.

    columns: "[split, level or dataset] metric"; rows: a line per method, its name, then numbers as printed.
    """
    lines = [line.split() for line in rows.strip().splitlines()]
    digits = max(len(number.partition(".")[2]) for _, *numbers in lines for number in numbers) - (0 if percent else 2)
    unit = 100 if percent else 1
    table = {name: {column: float(number) / unit for column, number in zip(columns, numbers, strict=True)}
             for name, *numbers in lines}
    return {"title": title, "digits": digits, "columns": columns, "rows": table}


def each(metrics, *where):
    return [f"{w} {m}" for w in where for m in metrics]


PKPO = ["pass@1", "pass@2", "pass@4", "pass@8", "pass@16"]
FIVE = ["code_contests_easy", "livecodebench", "livebench_coding", "codeforces", "mbpp_stdin"]
ARC = ["solved", "pass@1", "pass@16"]
PAPERS = {
    "tang-table1": paper("Tang et al. 2025, table 1: Llama 3.1 70B, CodeContests", True,
        each(["pass@1", "pass@10", "pass@100"], "valid", "test"), """
        pg-mean     24.6 32.9 38.1 26.2 35.1 39.8
        pg-pass@k   21.7 42.2 54.9 20.6 41.7 51.8
        pg-biased   18.0 38.4 54.2 19.3 39.5 51.9
        ppo-mean    20.0 27.5 33.5 24.9 34.6 41.1
        ppo-pass@k  19.2 37.3 52.4 21.2 41.4 51.0
        ppo-biased  21.6 41.7 55.8 22.6 45.1 56.3"""),
    "tang-table2": paper("Tang et al. 2025, table 2: Llama 3.1 70B, TACO", True,
        each(["pass@1", "pass@10", "pass@100"], "easy", "hard"), """
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
    "maxk-table1": paper("Bagirov et al. 2025, table 1: GRPO, Qwen2.5-Coder 7B", False,
        each(["pass@1", "pass@128"], "code_contests_easy", "livecodebench"), """
        base       0.211 0.541 0.211 0.510
        continuous 0.257 0.516 0.268 0.493
        binary     0.092 0.227 0.117 0.230"""),
    "maxk-table2": paper("Bagirov et al. 2025, table 2: Qwen2.5-Coder 7B", False,
        each(["max@128"], *FIVE), """
        base       .710 .598 .241 .226 .619
        max-second .678 .557 .235 .230 .546
        max-mean   .702 .593 .222 .242 .609
        loo-1      .647 .530 .227 .200 .484
        bon-mean   .693 .579 .280 .229 .673
        off-policy .718 .616 .278 .255 .710"""),
    "maxk-table3": paper("Bagirov et al. 2025, table 3: Qwen2.5-Coder 7B", False,
        each(["max@1"], *FIVE), """
        base       .317 .266 .158 .061 .070
        max-second .394 .315 .173 .077 .090
        max-mean   .375 .309 .188 .074 .086
        loo-1      .385 .333 .202 .072 .125
        bon-mean   .389 .338 .170 .078 .160
        off-policy .370 .338 .184 .080 .146"""),
    "maxk-table4": paper("Bagirov et al. 2025, table 4: Qwen2.5-Coder 7B", False,
        each(["max@1", "max@128"], "livecodebench", "code_contests_easy"), """
        base           .266 .598 .317 .710
        1-epoch        .339 .586 .397 .688
        4-epochs       .361 .609 .428 .696
        ppo3-1-epoch   .343 .608 .401 .701
        ppo3-4-epochs  .347 .627 .404 .703"""),
    "maxk-table6": paper("Bagirov et al. 2025, table 6: Qwen2.5-Coder 7B", False,
        each([f"max@{2 ** i}" for i in range(9)], "code_contests_easy"), """
        base       .317 .411 .485 .544 .595 .637 .675 .710 .739
        max-second .394 .458 .509 .554 .594 .627 .654 .678 .699
        max-mean   .375 .453 .512 .562 .605 .641 .672 .702 .732
        loo-1      .385 .435 .480 .521 .559 .593 .622 .647 .669
        bon-mean   .389 .465 .522 .569 .608 .640 .668 .693 .716
        off-policy .370 .450 .512 .565 .613 .654 .689 .718 .742"""),
}


# ---------------------------------------------------------------- command

def environment():
    """Where and when: git commit (None outside a checkout), versions, machine, time."""
    def git(*command):
        try:
            done = subprocess.run(["git", "-C", os.path.dirname(os.path.abspath(__file__)), *command],
                                  capture_output=True, text=True)
        except FileNotFoundError:  # no git on this machine
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    def installed(package):
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    changes = git("status", "--porcelain", "--untracked-files=no")
    packages = {package: installed(package) for package in ("torch", "transformers", "vllm", "numpy", "scipy", "matplotlib")}
    return {"git_commit": git("rev-parse", "HEAD"),
            "git_uncommitted_changes": None if changes is None else bool(changes),
            "versions": {"python": platform.python_version(), **packages},
            "machine": {"system": platform.platform(), "cores": os.cpu_count()},
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def named_path(argument):
    """"a=x" -> ("a", "x"); "runs/b" and "runs/b/eval.jsonl" -> ("b", ...); other files are called by their stem."""
    name, equals, path = argument.partition("=")
    if not equals or os.path.exists(argument):
        whole = os.path.abspath(argument)
        base = os.path.basename(os.path.dirname(whole) if os.path.basename(whole) == "eval.jsonl" else whole)
        name, path = base.removesuffix(".jsonl"), argument
    if not name or not path:
        raise InputError(f"{argument}: expected NAME=PATH or PATH")
    return name, path


def find_runs(arguments):
    """Returns {method: [files of rows]} and {method: [training curves]}."""
    rows, curves, seen = {}, {}, set()
    for name, path in map(named_path, arguments):
        if (name, os.path.realpath(path)) in seen:
            raise InputError(f"{path}: expected every seed of {name} once, found it twice")
        seen.add((name, os.path.realpath(path)))
        training = None
        if os.path.isdir(path):
            path, training = (os.path.join(path, file) for file in ("eval.jsonl", "metrics.jsonl"))
            if not os.path.exists(path) and not os.path.exists(training):
                raise InputError(f"{os.path.dirname(path)}: expected eval.jsonl or metrics.jsonl in a run directory")
        if training and os.path.exists(training):
            curves.setdefault(name, []).append(read_curves(training))
        if not training or os.path.exists(path):
            rows.setdefault(name, []).append(path)
    return rows, curves


def choose_ks(args, paths):
    """--k, or powers of two up to the smallest n, and the ks of --paper that fit."""
    if args.k:
        return sorted(set(args.k))
    first = [(row, f"{path}: row 1") for path in paths for _, row in itertools.islice(read_jsonl(path), 1)]
    n = min((len(samples(row, where)[0]) for row, where in first if all(key in row for key in REQUIRED)), default=1)
    asked = {int(column.rpartition("@")[2]) for key in args.paper for column in PAPERS[key]["columns"] if "@" in column}
    return sorted({2 ** i for i in range(n.bit_length())} | {k for k in asked if k <= n})


def without_nan(x):
    """JSON has no NaN: null."""
    if isinstance(x, dict):
        return {key: without_nan(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [without_nan(value) for value in x]
    return None if isinstance(x, float) and np.isnan(x) else x


def evaluate(args):
    """Read, compute, and with args.out write the files; returns the tables and notes as Markdown."""
    started = time.perf_counter()
    rows, curves = find_runs(args.runs)
    if not rows and not args.out:
        raise InputError("expected --out DIR, since there are only training curves and no eval.jsonl")
    place = (lambda name: os.path.join(args.out, name)) if args.out else None
    if args.out:
        try:
            os.makedirs(args.out, exist_ok=True)
        except OSError as error:
            raise InputError(f"--out {args.out}: {error.strerror}") from None
    text, results = report(args, rows, curves, place) if rows else ("", {})
    if args.out:
        results["training"] = {name: [training(c) for c in seeds] for name, seeds in curves.items()}
        names = list(dict.fromkeys([*rows, *curves]))
        figures = {"training_curves": ("step", ["reward", "correct", "pass_at_n", "solved", "entropy", "kl_ref"]),
                   "kl_efficiency": ("kl_ref", ["correct", "pass_at_n", "maj_at_n"])}
        for file, (x, ys) in figures.items():
            if curves and not plot_curves(place(file), curves, names, x, ys, args.smooth):
                print(f"evaluate.py: no run has {x} and one of {', '.join(ys)}: {file} not drawn", file=sys.stderr)
        results |= {"command": shlex.join(["python", os.path.basename(sys.argv[0]), *sys.argv[1:]]),
                    "wall_s": time.perf_counter() - started, **environment()}
        with open(place("results.json"), "w", encoding="utf-8") as file:
            json.dump(without_nan(results), file, indent=1, allow_nan=False)
            file.write("\n")
    return text


def report(args, paths, curves, place):
    """The part of evaluate() that is about rows: paths {method: [file]}. Returns the Markdown text and the results."""
    ks, metrics = choose_ks(args, itertools.chain(*paths.values())), [m for m in METRICS if m in args.metrics]
    columns = column_names(ks, metrics)
    methods = {name: [read_file(path, ks, metrics, args.cluster) for path in seeds] for name, seeds in paths.items()}
    reference = args.against or next(iter(methods))
    if reference not in methods:
        raise InputError(f"--against {reference}: expected one of {', '.join(methods)}")

    estimates, clusters, differences = {}, {}, {}
    for name, files in methods.items():
        estimates[name], clusters[name] = estimate(files, columns, args.resamples)
    for name, files in methods.items():
        if name != reference:
            entries, problems = compare(files, methods[reference], columns, args.resamples)
            crossing = {m: crossings(ks, [entries[f"{m}@{k}"]["mean"] for k in ks]) for m in metrics}
            if "pass" in metrics:  # at every k, not only those of the table
                n = min(f["n"] for f in files + methods[reference])
                crossing["pass"] = crossings(range(1, n + 1), pass_curve(files, n) - pass_curve(methods[reference], n))
            differences[name] = entries, problems, crossing
            if len(files) > 1 and len(methods[reference]) > 1:  # runs of different methods are independent
                for column, entry in entries.items():
                    entry["se_seeds"] = float(np.hypot(*(estimates[m][column]["se_seeds"] for m in (name, reference))))
    levels = by_level(methods, columns, args.resamples)
    ideal = [f["limits"] for f in next(iter(methods.values()))]  # every method has these problems, or a note says so
    limits = {}
    if all(found is not None for found in ideal):
        limits = dict(zip(("best possible list", "posterior sampling"), np.concatenate(ideal).mean(axis=0).tolist()))
    # max@k of 0/1 scores is pass@k; it is in results.json and not shown twice
    same = "pass" in metrics and all(f["binary"] for files in methods.values() for f in files)
    shown = [m for m in metrics if m != "max" or not same]

    tables = main_tables(methods, estimates, ks, shown, limits)
    tables += (difference_tables(differences, reference, shown, ks) if differences else [])
    tables += level_tables(levels, shown, ks) + [sample_table(methods)]
    tables += [training_table(curves)] if curves else []
    several = any(len(files) > 1 for files in methods.values())
    counts = ", ".join(dict.fromkeys(map(str, clusters.values())))
    notes = [" ".join(text.split()) for text in args.caption]
    notes.append(f"Mean over problems, in % [95 % interval: bootstrap over problems, {args.resamples} resamples of "
                 f"{counts} clusters with the same {args.cluster or 'prompt'}]"
                 + (" ±standard error over seeds." if several else "; one seed: other runs may differ by more."))
    if differences:
        notes.append("p: Wilcoxon signed-rank test over clusters, two-sided, not corrected for multiple comparisons.")
    if same and "max" in metrics:
        notes.append("All scores are 0 or 1 as `correct` is: max@k equals pass@k and is not repeated.")
    for name, entries in estimates.items():
        flat = [c for c, e in entries.items() if c.partition("@")[0] in shown and e["high"] - e["low"] < 1e-9]
        if flat:
            notes.append(f"{name}: {', '.join(flat)} is the same for all problems. The bootstrap sees no spread there; "
                         "an interval of width 0 is not certainty.")
        if clusters[name] == 1:
            notes.append(f"{name}: a single cluster of problems, so there is no interval.")
    unlike = mixed(methods)
    notes += [f"NOT ALIKE: {note}" for note in unlike]
    for key in args.paper:
        table, note = paper_table(key, methods, columns, curves)
        tables.append(table)
        notes.append(note)
    text = markdown(tables, notes)

    results = {"methods": {}, "k": ks,
               "limits": {label: dict(zip(column_names(ks, ["pass"]), line)) for label, line in limits.items()},
               "resamples": args.resamples, "cluster": args.cluster or "prompt", "notes": notes,
               "not_alike": unlike}
    for name, files in methods.items():
        results["methods"][name] = {
            "metrics": estimates[name], "diagnostics": diagnostics(files), "clusters": clusters[name],
            "levels": {level or "none": {"problems": found[name][1], "metrics": found[name][0]}
                       for level, found in levels.items() if name in found},
            "seeds": [{"path": f["path"], "problems": len(f["tasks"]), "n": f["n"], **f["settings"],
                       "metrics": dict(zip(columns, f["values"].mean(axis=0).tolist()))} for f in files]}
        if name in differences:
            entries, problems, crossing = differences[name]
            results["methods"][name]["difference"] = {"against": reference, "problems": problems, "metrics": entries,
                                                      "crossings": crossing}
    if len(methods) == 1:
        results["metrics"] = estimates[reference]

    if place:
        for file, content in (("table.md", text), ("table.tex", latex(tables, notes))):
            with open(place(file), "w", encoding="utf-8") as out:
                out.write(content)
        write_csv(place("table.csv"), estimates, levels)
        names = list(methods)
        plot_against_k(place("metric_at_k"), [(name, i, estimates[name]) for i, name in enumerate(names)], shown, ks,
                       "{}@k, %", limits)
        if differences:
            plot_against_k(place("differences"), [(f"{name} − {reference}", names.index(name), differences[name][0])
                                                  for name in differences], shown, ks,
                           "difference in {}@k, points", {})
        if levels:
            plot_levels(place("by_level"), levels, names, shown, ks[-1])
        plot_entropy(place("entropy_density"), methods)
    return text, results


def benchmark(args):
    """Time and peak memory for args.benchmark synthetic problems x 256 samples with 8 answers each."""
    rng, n = np.random.default_rng(0), 256
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "rows.jsonl")
        with open(path, "w") as file:
            for i in range(args.benchmark):
                votes = rng.choice(8, size=n, p=rng.dirichlet(np.ones(8)))
                row = {"task_id": f"synthetic/{i}", "correct": (votes == 0).tolist(), "votes": votes.tolist(),
                       "scores": np.where(votes == 0, 1.0, np.round(votes / 16, 4)).tolist()}
                file.write(json.dumps(row) + "\n")
        size, args.runs, started, cpu = os.path.getsize(path), [path], time.perf_counter(), time.process_time()
        evaluate(args)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(f"{args.benchmark} problems x {n} samples, {size / 1e6:.0f} MB of rows, {' '.join(args.metrics)}, k = "
          f"{' '.join(map(str, args.k)) if args.k else '1 2 4 ... 256'}: {seconds:.1f} s "
          f"({cpu:.1f} s of CPU), {args.benchmark / seconds:.0f} problems/s, peak memory "
          f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def main():
    parser = argparse.ArgumentParser(usage="%(prog)s NAME=PATH ... [--k K ...] [--out DIR] [flags]", allow_abbrev=False,
                                     description=__doc__.partition("\n")[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="NAME=PATH",
                        help="rewarded rows, or a run directory (eval.jsonl, metrics.jsonl); NAME twice: two seeds")
    parser.add_argument("--k", type=int, nargs="+", help="each <= n; without it 1, 2, 4, ... and the ks of --paper")
    parser.add_argument("--metrics", nargs="+", choices=list(METRICS), default=list(METRICS),
                        help="exact maj@k takes most of the time when k is above 32")
    parser.add_argument("--out", metavar="DIR", help="write table.md, .csv, .tex, results.json and the figures there")
    statistics = parser.add_argument_group("statistics")
    statistics.add_argument("--against", metavar="NAME", help="compare the others with it (default: the first)")
    statistics.add_argument("--cluster", metavar="KEY", help="rows of equal row[KEY] are a cluster (default: prompt)")
    statistics.add_argument("--resamples", type=int, default=4000, help="of the bootstrap")
    show = parser.add_argument_group("presentation")
    show.add_argument("--paper", nargs="+", default=[], choices=list(PAPERS), metavar="TABLE",
                      help="a paper's table beside ours, methods named as there: " + ", ".join(PAPERS))
    show.add_argument("--caption", nargs="+", default=[], metavar="TEXT", help="lines printed under the tables")
    show.add_argument("--smooth", type=int, default=10, help="training curves are running means over this many steps")
    parser.add_argument("--benchmark", type=int, nargs="?", const=20000, metavar="P",
                        help="time P synthetic problems x 256 samples (20000 if P is left out), and exit")
    args = parser.parse_args()
    if min(args.k or [1]) < 1 or args.resamples < 100 or args.smooth < 1:
        parser.error("expected --k >= 1, --resamples >= 100, --smooth >= 1")
    if not args.runs and not args.benchmark:
        parser.error("expected at least one file of rows or run directory")
    try:
        benchmark(args) if args.benchmark else print(evaluate(args), end="")
    except InputError as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
