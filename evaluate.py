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
import glob
import gzip
import hashlib
import itertools
import json
import os
import platform
import shlex
import subprocess
import sys
import time
import zlib
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import scipy.stats

from advantages import STEP, BadRow, Help, maj_at_k, max_at_k, pass_at_k, read_rows, shown, tell

METRICS = {  # name: (correct, scores, votes: (P, n) each; k) -> (P,)
    "pass": lambda correct, scores, votes, k: pass_at_k(correct, k),
    "max": lambda correct, scores, votes, k: max_at_k(scores, k),
    "maj": lambda correct, scores, votes, k: maj_at_k(correct, votes, k),
}
OPTIONAL = ("completions", "logprobs", "finish_reasons", "posterior")  # in all rows of a file or in none
SAMPLING = ("temperature", "top_p", "top_k", "max_tokens")  # has to agree for rows to be comparable
LABELS = {"tasks": "task_id", "levels": "level", "splits": "split", "datasets": "dataset"}
CHUNK = 1024  # rows reduced at a time
SURPRISAL_BINS = np.linspace(0, 20, 401)  # nats


class InputError(ValueError):
    """A file, row or flag that cannot be evaluated: main() prints the message and exits with status 2."""


# ------------------------------------------------------------------------------------------------------- the evaluation
# evaluate: what is read, computed and written, in this order. A new table is a line of report, from functions below.

def main():
    args = parse_arguments()
    try:
        if args.benchmark:
            from tests.benchmark_evaluate import benchmark
            return benchmark(args)
        print(evaluate(args), end="", flush=True)
        if args.out:
            tell("evaluate.py", f"tables, figures and results.json: {args.out}")
    except (InputError, OSError) as error:
        tell("evaluate.py", error)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def evaluate(args):
    """Read, compute, and with args.out write the files; returns the tables and notes as Markdown."""
    started = time.perf_counter()
    rows, curves, folders = find_runs(args.runs)
    chosen_on = find_runs(args.choose_on)[0]
    args.papers = read_papers(args.paper)
    if not rows and not chosen_on and not args.out:
        raise InputError("expected --out DIR, since there are only training curves and no eval.jsonl")
    place = (lambda name: os.path.join(args.out, name)) if args.out else None
    if args.out:
        try:
            os.makedirs(args.out, exist_ok=True)
        except OSError as error:
            raise InputError(f"--out {args.out}: {error.strerror}") from None
    text, results = report(args, rows, chosen_on, curves, place) if rows or chosen_on else ("", {})
    if args.out:
        draw_training(args, list(dict.fromkeys([*rows, *curves])), curves, place)
        if args.rollouts:
            results["rollouts"] = draw_rollouts(args, folders, list(dict.fromkeys([*rows, *curves])), place)
        results["training"] = {name: [training(c) for c in seeds] for name, seeds in curves.items()}
        results |= {"command": shlex.join(["python", os.path.basename(sys.argv[0]), *sys.argv[1:]]),
                    "wall_s": time.perf_counter() - started, **environment()}
        with open(place("results.json"), "w", encoding="utf-8") as file:
            json.dump(without_nan(results), file, indent=1, allow_nan=False)
            file.write("\n")
    return text


def report(args, rows, chosen_on, curves, place):
    """The part of evaluate() that is about rows of find_runs(). Returns the Markdown text and the results."""
    paths = [path for seeds in [*rows.values(), *chosen_on.values()] for pair in seeds for path in pair if path]
    ks, metrics = choose_ks(args, paths), [m for m in METRICS if m in args.metrics]
    columns = column_names(ks, metrics)
    methods, chosen_on = (read_methods(found, ks, metrics, args.cluster) for found in (rows, chosen_on))
    known = methods or chosen_on
    reference = args.against or next(iter(known))
    if reference not in {*known, *(name.partition(":")[0] for name in known)}:
        raise InputError(f"--against {reference}: expected one of {', '.join(known)}")
    # max@k of 0/1 scores is pass@k; it is in results.json and not shown twice
    same = "pass" in metrics and all(f["binary"] for files in known.values() for f in files)
    shown = [m for m in metrics if m != "max" or not same]
    best, best_notes, chosen = report_best(args, methods, chosen_on, columns, shown, reference, place)
    if not methods:  # only a choice to be made
        write_tables(place, best, best_notes)
        return markdown(best, best_notes), {"best": chosen}
    if reference not in methods:  # a method that has variants only
        reference = next(name for name in methods if name.partition(":")[0] == reference)

    found = {name: estimate(files, columns, args.resamples) for name, files in methods.items()}
    estimates, clusters = ({name: pair[i] for name, pair in found.items()} for i in (0, 1))
    differences = compare_all(methods, reference, estimates, ks, metrics, args.resamples)
    levels = by_level(methods, columns, args.resamples)
    limits = mean_limits(next(iter(methods.values())))
    moving, moving_notes, steps = report_along(args, methods, columns, shown, place)
    papers, paper_notes = paper_tables(args, methods, columns, curves, chosen)
    unlike = mixed(methods)

    tables = main_tables(methods, estimates, ks, shown, limits)
    tables += difference_tables(differences, reference, shown, ks) if differences else []
    tables += level_tables(levels, shown, ks) + moving + best + [sample_table(methods)]
    tables += ([training_table(curves)] if curves else []) + papers
    notes = [" ".join(text.split()) for text in args.caption]
    notes += statistics_notes(args, methods, estimates, clusters, shown, differences)
    if same and "max" in metrics:
        notes.append("All scores are 0 or 1 as `correct` is: max@k equals pass@k and is not repeated.")
    notes += moving_notes + best_notes + [f"NOT ALIKE: {note}" for note in unlike] + paper_notes
    if place:
        write_tables(place, tables, notes)
        write_csv(place("table.csv"), estimates, levels)
        draw_methods(place, methods, estimates, differences, reference, levels, limits, shown, ks)
    results = {"methods": method_results(methods, estimates, clusters, levels, differences, reference, columns),
               "k": ks,
               "limits": {label: dict(zip(column_names(ks, ["pass"]), line)) for label, line in limits.items()},
               "resamples": args.resamples, "cluster": args.cluster or "prompt", "notes": notes,
               "not_alike": unlike, "along": steps, "best": chosen}
    return markdown(tables, notes), results | ({"metrics": estimates[reference]} if len(methods) == 1 else {})


def find_runs(arguments):
    """Returns {method: [(file of rows, file of rows along training or None)]}, {method: [training curves]} and
    {method: [run directory]}."""
    rows, curves, folders, seen = {}, {}, {}, set()
    for name, path in map(named_path, arguments):
        if (name, os.path.realpath(path)) in seen:
            raise InputError(f"{path}: expected every seed of {name} once, found it twice")
        seen.add((name, os.path.realpath(path)))
        if not os.path.isdir(path):
            rows.setdefault(name, []).append((path, None))
            continue
        folders.setdefault(name, []).append(path)
        final, moving, training = (os.path.join(path, file) for file in ("eval.jsonl", "along.jsonl", "metrics.jsonl"))
        if os.path.exists(training):
            curves.setdefault(name, []).append(read_curves(training))
        if there := [file for file in (final, moving) if os.path.exists(file)]:
            rows.setdefault(name, []).append((there[0], there[1] if len(there) > 1 else None))
        elif not os.path.exists(training):
            raise InputError(f"{path}: expected eval.jsonl, along.jsonl or metrics.jsonl in a run directory")
    return rows, curves, folders


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


def read_methods(rows, ks, metrics, cluster):
    """{method: files of read_file()}, with the steps of along.jsonl where a run directory has it beside eval.jsonl."""
    def read(path, moving):
        found = read_file(moving, ks, metrics, cluster) if moving else {}
        steps = {key: found[key] for key in ("steps", "partial", "largest") if key in found}
        return read_file(path, ks, metrics, cluster) | steps
    return {name: [read(*paths) for paths in seeds] for name, seeds in rows.items()}


def choose_ks(args, paths):
    """--k, or powers of two up to the smallest n, and the ks of --paper that fit."""
    if args.k:
        return sorted(set(args.k))
    first = [row for path in paths for _, row in itertools.islice(read_jsonl(path, "evaluate"), 1)]
    n = min((len(row["correct"]) for row in first), default=1)
    asked = {int(column.rpartition("@")[2]) for paper in args.papers.values() for column in paper["columns"]
             if "@" in column}
    return sorted({2 ** i for i in range(n.bit_length())} | {k for k in asked if k <= n})


def without_nan(x):
    """JSON has no NaN: null."""
    if isinstance(x, dict):
        return {key: without_nan(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [without_nan(value) for value in x]
    return None if isinstance(x, float) and np.isnan(x) else x


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
    packages = {package: installed(package)
                for package in ("torch", "transformers", "vllm", "numpy", "scipy", "matplotlib")}
    return {"git_commit": git("rev-parse", "HEAD"),
            "git_uncommitted_changes": None if changes is None else bool(changes),
            "versions": {"python": platform.python_version(), **packages},
            "machine": {"system": platform.platform(), "cores": os.cpu_count()},
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


# ------------------------------------------------------------------------------- from rows to a few numbers per problem
# A new metric is an entry of METRICS.

def read_file(path, ks, metrics=tuple(METRICS), cluster=None):
    """Read rewarded rows one by one and keep what the report needs, sorted by task_id.

    Returns a dict: tasks, clusters, levels, splits, datasets (P,) str; values (P, J), a column per metric and k as in
    column_names(); solved (P,), the number of correct samples; answers, programs (P,), how many distinct; n; limits
    (P, 2, K) where rows carry `posterior`; totals over samples; surprisal, a histogram over tokens; settings. If the
    rows are of several policy_steps it is that of the last, with `steps`, {step: the same of that step}, and `partial`,
    {step: problems} of those that lack some of the `largest` number: still being evaluated, and in neither.
    InputError with file, row number and task_id: missing keys, duplicate task_id, ragged lists, NaN scores, k > n.
    """
    parts = {}
    for number, row in read_jsonl(path, "evaluate"):
        where, arrays = f"{path}: row {number}: task_id {row['task_id']!r}", samples(row)
        size = len(arrays[0])
        present = [key for key in OPTIONAL if row.get(key) is not None]
        if not parts:
            n, optional = size, present
            if max(ks) > n:
                raise InputError(f"{where}: k = {max(ks)}, but there are n = {n} samples; expected 1 <= k <= n")
        if size != n:
            raise InputError(f"{where}: expected n = {n} samples as in row 1, found {size}")
        if present != optional:
            raise InputError(f"{where}: expected the optional keys of row 1 ({', '.join(optional) or 'none'}), "
                             f"found {', '.join(present) or 'none'}")
        step = row.get("policy_step")
        if parts and (step is None) != (None in parts):
            raise InputError(f"{where}: policy_step: expected an integer in every row or in none, found {step!r}")
        parts.setdefault(step, Problems(ks, metrics, cluster)).add(row, arrays, number, where)
    if not parts:
        raise InputError(f"{path}: expected at least one row, found none")
    files = {step: parts[step].result() | {"path": str(path), "n": n, "optional": optional}
             for step in sorted(parts, key=lambda step: step or 0)}
    most = max(files.values(), key=lambda f: len(f["tasks"]))["tasks"]
    whole = {step: f for step, f in files.items() if np.array_equal(f["tasks"], most)}
    steps = whole if len(files) > 1 else {}
    return whole[max(whole, key=lambda step: step or 0)] | {
        "largest": len(most), "steps": steps,
        "partial": {step: len(f["tasks"]) for step, f in files.items() if step not in whole}}


def read_jsonl(path, stage=None):
    """Yield (line number from 1, row as a dict) of a JSON lines file, which may be compressed (.gz, as RUN/rollouts
    is); `stage`: as in advantages.read_rows."""
    try:
        with open(path, "rb") as file:
            packed = file.peek(2)[:2] == b"\x1f\x8b"
            yield from read_rows(gzip.open(file) if packed else file, stage, source=f"{path}: ")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    except BadRow as error:
        raise InputError(str(error)) from None


def samples(row):
    """The row's correct (bool), scores (float64) and votes (int), (n,) each."""
    return np.array(row["correct"]), np.array(row["scores"], dtype=float), np.array(row["votes"])


def exact_limits(posterior, ks):
    """pass@k of two ideal policies, given the posterior masses of a prompt's answer classes: (2, K).

    The best possible list of k answers has the k most likely ones, sum_{j<=k} p_j; k samples from the posterior find
    the truth with probability sum_j p_j (1 - (1 - p_j)^k).
    """
    p = np.sort(np.asarray(posterior, dtype=float))[::-1]
    return [[p[:k].sum() for k in ks], [(p * (1 - (1 - p) ** k)).sum() for k in ks]]


class Problems:
    """The rows of a file that were sampled from one set of weights, reduced to a few numbers per problem."""

    def __init__(self, ks, metrics, cluster):
        self.ks, self.metrics, self.cluster = ks, metrics, cluster
        self.seen, self.binary, self.waiting, self.values, self.limits = {}, True, [], [], []
        self.problem, self.settings = collections.defaultdict(list), collections.defaultdict(set)
        self.totals, self.surprisal = collections.Counter(), np.zeros(len(SURPRISAL_BINS) - 1, dtype=np.int64)

    def add(self, row, arrays, number, where):
        task = row["task_id"]
        if task in self.seen:
            raise InputError(f"{where}: expected unique task_ids, found the same in row {self.seen[task]}")
        self.seen[task] = number
        correct, scores, votes = arrays
        for key, fact in facts(row).items():
            self.settings[key].add(fact)
        if self.cluster is not None and row.get(self.cluster) is None:
            raise InputError(f"{where}: --cluster {self.cluster}: expected this key in every row")
        shared = row.get(self.cluster or "prompt")
        shared = json.dumps(task if shared is None else shared, sort_keys=True)
        self.problem["clusters"].append(hashlib.blake2b(shared.encode(), digest_size=12).hexdigest())
        for key, name in LABELS.items():
            self.problem[key].append("" if row.get(name) is None else str(row[name]))
        self.problem["solved"].append(int(correct.sum()))
        self.problem["answers"].append(len(set(votes.tolist()) - {-1}))
        self.totals["no_answer"] += int((votes == -1).sum())
        self.binary = self.binary and np.array_equal(scores, correct)
        self.add_optional(row)
        self.waiting.append(arrays)
        if len(self.waiting) == CHUNK:
            self.reduce()

    def add_optional(self, row):
        if row.get("completions") is not None:
            self.problem["programs"].append(len(set(row["completions"])))
        if row.get("finish_reasons") is not None:
            self.totals["truncated"] += row["finish_reasons"].count("length")
        if row.get("logprobs") is not None:
            nats = -np.array(list(itertools.chain.from_iterable(row["logprobs"])), dtype=float)
            self.totals["tokens"] += len(nats)
            self.totals["nats"] += nats.sum()
            self.surprisal += np.histogram(np.clip(nats, 0, SURPRISAL_BINS[-1]), SURPRISAL_BINS)[0]
        if row.get("posterior") is not None:
            self.limits.append(exact_limits(row["posterior"], self.ks))

    def reduce(self):
        arrays = [np.stack(x) for x in zip(*self.waiting)]  # correct, scores, votes: (up to CHUNK, n) each
        self.values.append(metric_values(arrays, column_names(self.ks, self.metrics)))
        self.waiting.clear()

    def result(self):
        if self.waiting:
            self.reduce()
        order = np.argsort(self.problem["tasks"])  # so that the order of rows changes nothing, not even the rounding
        return {key: np.asarray(entries)[order] for key, entries in self.problem.items()} | {
            "values": np.concatenate(self.values)[order], "binary": self.binary, "totals": self.totals,
            "limits": np.asarray(self.limits)[order] if self.limits else None, "surprisal": self.surprisal,
            "settings": {key: sorted(found, key=str) for key, found in self.settings.items()}}


def facts(row):
    """What has to agree between rows to be compared, and what tells files apart: {key: a single value or None}."""
    sampling = row.get("sampling") or {}
    return ({key: row.get(key) for key in ("dataset", "split", "policy_step")}
            | {key: sampling.get(key) for key in (*SAMPLING, "seed", "model")})


def metric_values(arrays, columns):
    """Correct, scores and votes, (P, n) each -> (P, J) for columns such as pass@4."""
    pairs = (column.split("@") for column in columns)
    return np.stack([METRICS[metric](*arrays, int(k)) for metric, k in pairs], axis=1)


def column_names(ks, metrics):
    return [f"{metric}@{k}" for metric in metrics for k in ks]


def select(file, mask):
    """The problems of a file where mask (P,) is true, for estimate()."""
    return file | {key: file[key][mask] for key in (*LABELS, "clusters", "values")}


# ----------------------------------------------------------------------------------------------------------- statistics

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


def compare_all(methods, reference, estimates, ks, metrics, resamples):
    """{method: (differences to the reference, problems, where curves cross)} of all but the reference."""
    differences = {}
    for name, files in methods.items():
        if name == reference:
            continue
        entries, problems = compare(files, methods[reference], column_names(ks, metrics), resamples)
        crossing = {m: crossings(ks, [entries[f"{m}@{k}"]["mean"] for k in ks]) for m in metrics}
        if "pass" in metrics:  # at every k, not only those of the table
            n = min(f["n"] for f in files + methods[reference])
            crossing["pass"] = crossings(range(1, n + 1), pass_curve(files, n) - pass_curve(methods[reference], n))
        differences[name] = entries, problems, crossing
        if len(files) > 1 and len(methods[reference]) > 1:  # runs of different methods are independent
            for column, entry in entries.items():
                entry["se_seeds"] = float(np.hypot(*(estimates[m][column]["se_seeds"] for m in (name, reference))))
    return differences


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
    levels = sorted_levels(f["levels"] for files in methods.values() for f in files)
    result = {level: {} for level in levels} if any(levels) else {}
    for level, (name, files) in itertools.product(result, methods.items()):
        if chosen := [select(f, f["levels"] == level) for f in files if (f["levels"] == level).any()]:
            problems = len(np.unique(np.concatenate([f["tasks"] for f in chosen])))
            result[level][name] = estimate(chosen, columns, resamples)[0], problems
    return result


def mean_limits(files):
    """{label: pass@k of an ideal policy at each k} over the problems of `files`; {} where rows carry no posterior.
    Every method has these problems, or a note says so."""
    ideal = [f["limits"] for f in files]
    if any(found is None for found in ideal):
        return {}
    return dict(zip(("best possible list", "posterior sampling"), np.concatenate(ideal).mean(axis=0).tolist()))


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
            notes.append(f"problems differ: {name} has {len(problems[name])}, {first} has {len(problems[first])}, they "
                         f"share {shared}")
    return notes


def statistics_notes(args, methods, estimates, clusters, shown, differences):
    several = any(len(files) > 1 for files in methods.values())
    counts = ", ".join(dict.fromkeys(map(str, clusters.values())))
    notes = [f"Mean over problems, in % [95 % interval: bootstrap over problems, {args.resamples} resamples of "
             f"{counts} clusters with the same {args.cluster or 'prompt'}]"
             + (" ±standard error over seeds." if several else "; one seed: other runs may differ by more.")]
    if differences:
        notes.append("p: Wilcoxon signed-rank test over clusters, two-sided, not corrected for multiple comparisons.")
    for name, entries in estimates.items():
        flat = [c for c, e in entries.items() if c.partition("@")[0] in shown and e["high"] - e["low"] < 1e-9]
        if flat:
            notes.append(f"{name}: {', '.join(flat)} is the same for all problems. The bootstrap sees no spread there; "
                         "an interval of width 0 is not certainty.")
        if clusters[name] == 1:
            notes.append(f"{name}: a single cluster of problems, so there is no interval.")
    return notes


def method_results(methods, estimates, clusters, levels, differences, reference, columns):
    """What results.json has of each method."""
    results = {}
    for name, files in methods.items():
        results[name] = {
            "metrics": estimates[name], "diagnostics": diagnostics(files), "clusters": clusters[name],
            "levels": {level or "none": {"problems": found[name][1], "metrics": found[name][0]}
                       for level, found in levels.items() if name in found},
            "seeds": [{"path": f["path"], "problems": len(f["tasks"]), "n": f["n"], **f["settings"],
                       "metrics": dict(zip(columns, f["values"].mean(axis=0).tolist()))} for f in files]}
        if name in differences:
            entries, problems, crossing = differences[name]
            results[name]["difference"] = {"against": reference, "problems": problems, "metrics": entries,
                                           "crossings": crossing}
    return results


# ------------------------------------------------------------------------------------------------------- along training

def report_along(args, methods, columns, shown, place):
    """The part of the report about rows of several policy_steps: figures, table, notes and {method: {step: ...}}."""
    wanted = wanted_columns(args, columns, shown)
    moving = {name: files for name, files in methods.items() if common_steps(files)}
    notes = [f"{f['path']}: policy_step {step} has {problems} of {f['largest']} problems: left out."
             for files in methods.values() for f in files for step, problems in f["partial"].items()]
    notes += [f"{name}: its seeds have no policy_step in common: no curve." for name, files in methods.items()
              if name not in moving and any(f["steps"] for f in files)]
    if not moving:
        return [], notes, {}
    entries = {name: along(files, columns, wanted, args.resamples) for name, files in moving.items()}
    kl = {name: kl_at(files, list(entries[name])) for name, files in moving.items()}
    unlike = {tuple(found) for found in entries.values()}
    if len(unlike) > 1:
        notes.append("NOT ALIKE: policy_steps differ: " + "; ".join(f"{name} {', '.join(map(str, found))}"
                                                                   for name, found in entries.items()))
    rows = [[name, str(step), "-" if kl[name] is None else f"{kl[name][i]:.3f}", *(cell(found[c]) for c in wanted)]
            for name, steps in entries.items() for i, (step, found) in enumerate(steps.items())]
    table = {"title": "Along training, %", "header": ["method", "step", CURVES["kl_ref"], *wanted], "rows": rows}
    notes.append("Along training: the same problems at every step. KL: of metrics.jsonl at that step, over the "
                 "training completions that the step's weights drew.")
    if place and len(moving) > 2 * len(STYLES):
        notes.append(f"Along training: {len(moving)} methods are too many for a figure.")
    elif place:
        plot_along(args, moving, list(methods), columns, wanted, entries, kl, place)
    results = {name: {step: {"kl_ref": None if kl[name] is None else float(kl[name][i]), "metrics": found}
                      for i, (step, found) in enumerate(steps.items())} for name, steps in entries.items()}
    return [table], notes, results


def common_steps(files):
    """The steps at which all seeds of a method were evaluated: (S,) ascending; [] where rows are of a single step."""
    return sorted(set.intersection(*(set(f["steps"]) for f in files)))


def along(files, columns, wanted, resamples, level=None):
    """One method along training: {step: {column: entry of estimate()}} for the `wanted` columns at its common steps.

    All steps are drawn together: a resample has the same problems at every step. Without problems of `level`: {}.
    """
    steps, chosen = common_steps(files), [columns.index(c) for c in wanted]
    stacks = []
    for f in files if steps else []:
        first = f["steps"][steps[0]]
        stack = first | {"values": np.concatenate([f["steps"][s]["values"][:, chosen] for s in steps], axis=1)}
        mask = np.ones(len(first["tasks"]), bool) if level is None else first["levels"] == level
        stacks += [select(stack, mask)] if mask.any() else []
    if not stacks:
        return {}
    entries, _ = estimate(stacks, [(step, c) for step in steps for c in wanted], resamples)
    return {step: {c: entries[step, c] for c in wanted} for step in steps}


def kl_at(files, steps):
    """KL to the reference of the weights after each of `steps` updates, nats per completion, mean over seeds: (S,), or
    None where a seed has no metrics.jsonl with kl_ref beside its rows.

    train.py estimates it at each step s over that step's completions, which the weights of s - lag drew: the mean of
    log pi - log pi_ref. Steps between are interpolated; the last weights, which drew no training batch, have the last.
    """
    found = []
    for f in files:
        path = os.path.join(os.path.dirname(f["path"]), "metrics.jsonl")
        curves = read_curves(path) if os.path.exists(path) else {}
        if "kl_ref" not in curves or not np.isfinite(curves["kl_ref"]).any():
            return None
        known = np.isfinite(curves["kl_ref"])
        at = (curves["step"] - np.nan_to_num(curves.get("lag", np.zeros(len(known)))))[known]
        weights, index = np.unique(at, return_inverse=True)
        found.append(np.interp(steps, weights, np.bincount(index, curves["kl_ref"][known]) / np.bincount(index)))
    return np.mean(found, axis=0)


def by_level_along(moving, columns, wanted, resamples):
    """{level: {method: along()}}; {} where no row has a level."""
    levels = sorted_levels(g["levels"] for files in moving.values() for f in files for g in f["steps"].values())
    return {level: {name: along(files, columns, wanted, resamples, level) for name, files in moving.items()}
            for level in levels} if any(levels) else {}


def wanted_columns(args, columns, shown):
    """The columns along training: --curves, or each metric at the smallest and the largest k."""
    ks = [int(column.partition("@")[2]) for column in columns]
    wanted = args.curves or list(dict.fromkeys(f"{metric}@{k}" for metric in shown for k in (min(ks), max(ks))))
    if unknown := [column for column in wanted if column not in columns]:
        raise InputError(f"--curves {' '.join(unknown)}: expected of {', '.join(columns)}: --k and --metrics say which")
    return wanted


def report_best(args, methods, chosen_on, columns, shown, reference, place):
    """Where a method has several steps or variants: table, notes, results of best_steps(), and a figure of variants."""
    candidates = chosen_on or methods
    if not any(":" in name or common_steps(files) for name, files in candidates.items()):
        if chosen_on:
            tell("evaluate.py", "--choose-on has no effect: no method has several steps or variants to choose from "
                 "there")
        return [], [], {}
    wanted = wanted_columns(args, columns, shown)
    reference = reference.partition(":")[0]
    if chosen_on:
        paths = [f["path"] for files in chosen_on.values() for f in files]
        more = f" and {len(paths) - 1} files more" if len(paths) > 1 else ""
        notes = [f"Best steps: chosen on the rows of {paths[0]}{more}."]
        best = best_steps(chosen_on, methods, columns, wanted, args.resamples, reference)
    else:
        split = {name: halves(files) for name, files in methods.items()}
        if any(not len(g["clusters"]) for halved in split.values() for half in halved for f in half
               for g in (f, *f["steps"].values())):
            return [], ["Best steps: too few problems to choose on one half of them and to report on the other."], {}
        notes = ["Best steps: chosen on the problems whose prompt has an even hash, reported on the others."]
        best = best_steps(*({name: pair[i] for name, pair in split.items()} for i in (0, 1)), columns, wanted,
                          args.resamples, reference)
    if place and any(len(found["variants"]) > 1 for entries in best.values() for found in entries.values()):
        plot_variants(place("variants"), best)
    return [best_table(best)], notes, best


def halves(files):
    """A method's files on two sets of problems, by the hash of the prompt: the same for every method and run."""
    def part(f, which):
        return select(f, np.array([int(cluster[0], 16) % 2 == which for cluster in f["clusters"]]))

    def half(f, which):
        return part(f, which) | {"steps": {step: part(g, which) for step, g in f["steps"].items()}}
    return [half(f, 0) for f in files], [half(f, 1) for f in files]


def best_steps(chosen_on, reported_on, columns, wanted, resamples, reference):
    """Each method stopped at its best step, and in its best variant: {column: {method: what was chosen and found}}.

    chosen_on, reported_on: {name: files of its seeds}. Names "method:variant" are runs of one method with different
    hyper-parameters. For each wanted column the variant and step of the highest mean in chosen_on are taken (the first
    of equals), and estimated on reported_on, which must have other problems (InputError), with the paired difference to
    the reference's own best. A choice without rows in reported_on has `chosen` only.
    """
    shared = set(np.concatenate([f["clusters"] for files in chosen_on.values() for f in files]))
    shared &= set(np.concatenate([f["clusters"] for files in reported_on.values() for f in files] or [[]]))
    if shared:
        raise InputError(f"expected the best step to be chosen on other problems than it is reported on, {len(shared)} "
                         "prompts are in both")

    def at(files, step):
        return [f["steps"].get(step) if f["steps"] else f for f in files]

    def own_steps(files):
        return common_steps(files) if files[0]["steps"] else [files[0]["settings"]["policy_step"][0]]

    result = {}
    for j, column in ((columns.index(c), c) for c in wanted):
        result[column], policies = {}, {}
        for method in dict.fromkeys(name.partition(":")[0] for name in chosen_on):
            tried = {(name, step): float(np.mean([f["values"][:, j].mean() for f in at(files, step)]))
                     for name, files in chosen_on.items() if name.partition(":")[0] == method
                     for step in own_steps(files)}
            if not tried:
                continue
            name, step = max(tried, key=tried.get)
            found = {"run": name, "step": step, "chosen": tried[name, step], "variants": {}}
            for run in dict.fromkeys(run for run, _ in tried):  # each at its own best step
                found["variants"][run.partition(":")[2]] = max(v for (other, _), v in tried.items() if other == run)
            files = at(reported_on.get(name, []), step)
            if files and None not in files:
                policies[method] = [f | {"values": f["values"][:, [j]]} for f in files]
                found |= estimate(policies[method], [column], resamples)[0][column]
            result[column][method] = found
        for method, files in policies.items():
            if method != reference and reference in policies:
                entry = compare(files, policies[reference], [column], resamples)[0][column]
                if len(files) == len(policies[reference]) > 1:  # seed by seed
                    gaps = [f["values"].mean() - g["values"].mean() for f, g in zip(files, policies[reference])]
                    entry["se_seeds"] = float(np.std(gaps, ddof=1) / np.sqrt(len(gaps)))
                result[column][method]["difference"] = entry | {"against": reference}
    return result


def best_by_widest(best):
    """best_steps() of one column, by which a sweep is decided: pass@k (else the first metric) at the largest k."""
    return best[max(best, key=lambda column: (column.startswith("pass"), int(column.partition("@")[2])))]


def best_table(best):
    rows = []
    for column, methods in best.items():
        for method, found in methods.items():
            gap = found.get("difference")
            variant = found["run"].partition(":")[2] or "-"
            rows.append([column, method, variant, "-" if found["step"] is None else str(found["step"]),
                         percent(found["chosen"]), cell(found) if "mean" in found else "not evaluated",
                         f"{cell(gap, '+')} against {gap['against']}" if gap else "-"])
    return {"title": "Stopped where it is best, % (chosen on other problems than reported on)", "rows": rows, "header":
            ["metric", "method", "variant", "step", "there, to choose by", "reported", "paired difference"]}


# ----------------------------------------------------------------------------------------------- training rows by level

def read_rollouts(run, columns):
    """RUN/rollouts of train.py: steps (N,), levels (N,) str and values (N, J) of all groups, and damaged, a list of the
    files that could not be read, with the reason. One file is in memory at a time."""
    steps, levels, values, damaged = [], [], [], []
    for path in sorted(glob.glob(os.path.join(run, "rollouts", "step-*.jsonl.gz"))):
        try:
            rows = [(samples(row), row["step"], "" if row.get("level") is None else str(row["level"]))
                    for _, row in read_jsonl(path, "evaluate")]  # the rest of a row is let go at once
            if not rows:
                raise InputError(f"{path}: expected at least one row, found none")
            groups, step, level = zip(*rows)
            arrays = [np.stack(x) for x in zip(*groups, strict=True)]
        except (ValueError, KeyError) as error:
            damaged.append(str(error) if isinstance(error, InputError) else f"{path}: {error}")
            continue
        n = arrays[0].shape[1]
        if too_large := [column for column in columns if int(column.partition("@")[2]) > n]:
            raise InputError(f"{path}: --rollouts {' '.join(too_large)}: there are n = {n} samples; expected k <= n")
        values.append(metric_values(arrays, columns))
        steps += step
        levels += level
    if not steps:
        raise InputError(f"{run}: expected rollouts/step-*.jsonl.gz that can be read"
                         + (f"; damaged: {'; '.join(damaged)}" if damaged else ""))
    return {"steps": np.array(steps), "levels": np.array(levels), "values": np.concatenate(values), "damaged": damaged}


def sorted_levels(arrays):
    """All levels in arrays of them, in order."""
    return sorted({level for array in arrays for level in array.tolist()}, key=by_number)


def by_number(text):
    """To sort by: "2" before "10", "3e-4" before "1e-3", "Level 2" before "Level 10", then words, then ""."""
    try:
        return 0, float(text.split()[-1]), text
    except (ValueError, IndexError):
        return 2 if text == "" else 1, 0.0, text


# ----------------------------------------------------------------------- tables: {"title", "header", "rows"} of strings

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


def write_tables(place, tables, notes):
    for file, content in (("table.md", markdown(tables, notes)), ("table.tex", latex(tables, notes))) if place else ():
        with open(place(file), "w", encoding="utf-8") as out:
            out.write(content)


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


# -------------------------------------------------------------------------------------------------- the papers' numbers

PAPERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results", "papers.json")


def read_papers(keys):
    """{key: a paper's table}: title, columns "[split, level or dataset] metric", rows {method: {column: fraction}}, and
    digits, what it prints after the point of a percentage."""
    if not keys:
        return {}
    try:
        with open(PAPERS, encoding="utf-8") as file:
            tables = json.load(file)
    except (OSError, ValueError) as error:
        raise InputError(f"--paper: {PAPERS}: {error}") from None
    if unknown := [key for key in keys if key not in tables]:
        raise InputError(f"--paper {' '.join(unknown)}: expected one of {', '.join(tables)}")
    units = {"percent": 100, "fraction": 1}

    def fractions(table):
        unit = units[table["unit"]]
        return {name: {column: number / unit for column, number in zip(table["columns"], row, strict=True)}
                for name, row in table["rows"].items()}
    return {key: tables[key] | {"rows": fractions(tables[key])} for key in keys}


def paper_tables(args, methods, columns, curves, chosen):
    """The tables of --paper and their notes. Of a method that was run in variants the chosen one stands there."""
    tables, notes = [], []
    picked = {method: found["run"] for method, found in best_by_widest(chosen).items()} if chosen else {}
    for key, paper in args.papers.items():
        swept = {method: run for method, run in picked.items()
                 if method in paper["rows"] and method not in methods and run in methods}
        table, note = paper_table(key, paper, methods | {method: methods[run] for method, run in swept.items()},
                                  columns, curves | {method: curves[run] for method, run in swept.items()
                                                     if run in curves})
        tables.append(table)
        notes += [f"{key}: {method} is {run}, chosen on other problems." for method, run in swept.items()] + [note]
    return tables, notes


def paper_table(key, paper, methods, columns, curves):
    """A paper's rows, those that we have too under ours and over the difference. Returns the table and a note.

    A column such as "valid pass@10" is compared on our problems whose split, level or dataset is "valid"; where our
    rows have none of the columns' words, on all. "solved" is the cumulative solve rate of training (metrics.jsonl).
    """
    rows = []
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


# -------------------------------------------------------------------------------------------------------------- figures

# Okabe and Ito's palette, safe for colour-blind readers, without its yellow, which vanishes on white. Markers and
# dashes tell the lines apart in grayscale too; past seven methods the markers are hollow.
STYLES = list(zip(["#000000", "#E69F00", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9"], "os^Dv*X",
                  ["-", "--", "-.", ":", (0, (6, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1))]))


def style(i):
    color, marker, dash = STYLES[i % len(STYLES)]
    return {"color": color, "marker": marker, "linestyle": dash,
            "markerfacecolor": "white" if i >= len(STYLES) else color}


def panels(count, width=3.6, height=3.0, across=None):
    """A figure and its `count` axes, `across` a line: three, or two of four."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    plt.rcParams |= {"svg.hashsalt": "evaluate", "font.size": 9, "axes.spines.top": False,
                     "axes.spines.right": False, "axes.grid": True, "grid.color": "#e5e5e5", "axes.axisbelow": True,
                     "lines.linewidth": 1.4, "lines.markersize": 4.5}
    columns = across or (2 if count == 4 else min(count, 3))
    lines = -(-count // columns)
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
    letters = 20 * figure.get_size_inches()[0]  # that fit in one line, about; a handle takes the room of 22
    columns = max(1, int(letters // (max(map(len, handles)) + 22)))
    columns = len(handles) if sum(len(label) + 22 for label in handles) < letters else columns
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=columns, frameon=False, handlelength=3.2)
    figure.savefig(f"{path}.png", dpi=120)
    figure.savefig(f"{path}.svg", metadata={"Date": None})
    plt.close(figure)


def in_percent(entries):
    return [100 * np.array([entry[key] for entry in entries]) for key in ("mean", "low", "high")]


def draw_methods(place, methods, estimates, differences, reference, levels, limits, shown, ks):
    """The figures of the last weights."""
    names = list(methods)
    plot_against_k(place("metric_at_k"), [(name, i, estimates[name]) for i, name in enumerate(names)], shown, ks,
                   "{}@k, %", limits)
    if differences:
        plot_against_k(place("differences"), [(f"{name} − {reference}", names.index(name), differences[name][0])
                                              for name in differences], shown, ks, "difference in {}@k, points", {})
    if levels:
        plot_levels(place("by_level"), levels, names, shown, ks[-1])
    plot_entropy(place("entropy_density"), methods)


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


def plot_variants(path, best):
    """best_steps() by variant: what each variant reaches at its own best step, on the problems that are chosen on."""
    methods = list(dict.fromkeys(method for found in best.values() for method in found))
    variants = sorted({variant for found in best.values() for entry in found.values() for variant in entry["variants"]},
                      key=by_number)
    figure, axes = panels(len(best))
    for axis, (column, found) in zip(axes, best.items()):
        for method, entry in found.items():
            order = [variant for variant in variants if variant in entry["variants"]]
            axis.plot([variants.index(v) for v in order], [100 * entry["variants"][v] for v in order], label=method,
                      **style(methods.index(method)))
        axis.set_xticks(range(len(variants)), variants)
        axis.set_xlabel("variant")
        axis.set_ylabel(f"{column} at its best step, %")
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


def draw_training(args, names, curves, place):
    """The figures of metrics.jsonl."""
    of_step = distinct(["reward", "correct", "pass_at_n", "solved", "entropy", "kl_ref"], curves)
    figures = {"training_curves": ("step", of_step),
               "kl_efficiency": ("kl_ref", ["correct", "pass_at_n", "maj_at_n"])}
    for file, (x, ys) in figures.items():
        if curves and not plot_curves(place(file), curves, names, x, ys, args.smooth):
            tell("evaluate.py", f"no run has {x} and one of {', '.join(ys)}: {file} not drawn")
CURVES = {"step": "step", "reward": "mean reward", "correct": "correct = pass@1, %",
          "pass_at_n": "pass@n of a training group, %", "maj_at_n": "maj@n of a training group, %",
          "solved": "training prompts solved so far, %", "entropy": "entropy, nats/token",
          "kl_ref": "KL to the reference, nats/completion"}


def read_curves(path):
    """metrics.jsonl of train.py: {key: (steps,) float64}, NaN where a step lacks it."""
    rows = []
    for number, row in read_jsonl(path):
        if not STEP.fit([row.get("step")]) or rows and row["step"] <= rows[-1]["step"]:
            raise InputError(f"{path}: row {number}: expected an integer step above the last, found {row.get('step')}")
        if wrong := [key for key, value in row.items() if type(value) not in (int, float, type(None))]:
            raise InputError(f"{path}: row {number}: {wrong[0]}: expected a number or null, found "
                             f"{shown(row[wrong[0]])}")
        rows.append(row)
    if not rows:
        raise InputError(f"{path}: expected at least one row, found none")
    keys = {key for row in rows for key, value in row.items() if value is not None}
    return {key: np.array([np.nan if row.get(key) is None else row[key] for row in rows], dtype=float) for key in keys}


def at_common_steps(name, seeds):
    """The curves of a method's seeds at the steps that all of them have."""
    steps = sorted(set.intersection(*(set(c["step"]) for c in seeds)))
    if not steps:
        raise InputError(f"{name}: expected metrics.jsonl of all seeds to have steps in common, found none")
    return [{key: values[np.isin(c["step"], steps)] for key, values in c.items()} for c in seeds]


def plot_curves(path, curves, names, x, ys, window):
    """Panels of y against x, from metrics.jsonl. Against the step: running means over `window` steps, at most half of
    the shortest run. Against what may stand still or turn back: points, means over at most 12 blocks of steps.

    Returns False where no run has both x and any y.
    """
    def drawable(seeds, y):
        return all(key in c and np.isfinite(c[key]).any() for c in seeds for key in (x, y))

    curves = {name: at_common_steps(name, seeds) for name, seeds in curves.items()}
    ys = [y for y in ys if any(drawable(seeds, y) for seeds in curves.values())]
    if not ys:
        return False
    window = min(window, *(max(1, len(c["step"]) // 2) for seeds in curves.values() for c in seeds))
    figure = [(CURVES[y], {name: smoothed(seeds, x, y, window) for name, seeds in curves.items()
                           if drawable(seeds, y)}, {}) for y in ys]
    about = "\n(means of blocks of steps; numbers: steps)"
    if x == "step":
        about = f"\n(running means of {window} steps)" if window > 1 else ""
    plot_lines(path, figure, names, CURVES[x] + about)
    return True


def smoothed(seeds, x, y, window):
    """A line of plot_lines() from the curves of a method's seeds: the mean, with a band of one standard error over
    seeds."""
    if x == "step":
        across, up = (np.array([np.convolve(c[key], np.ones(window) / window, "valid") for c in seeds])
                      for key in (x, y))
        labels = []
    else:
        blocks = np.array_split(np.arange(len(seeds[0]["step"])), min(12, len(seeds[0]["step"])))
        known = [block for block in blocks if all(np.isfinite(c[key][block]).any() for c in seeds for key in (x, y))]
        across, up = (np.array([[np.nanmean(c[key][block]) for block in known] for c in seeds]) for key in (x, y))
        labels = [str(int(seeds[0]["step"][block[-1]]) + 1) for block in known]
    scale = 100 if CURVES[y].endswith("%") else 1
    mean = scale * up.mean(axis=0)
    error = scale * up.std(axis=0, ddof=1) / np.sqrt(len(seeds)) if len(seeds) > 1 else None
    return {"x": across.mean(axis=0), "mean": mean, "low": mean if error is None else mean - error,
            "high": mean if error is None else mean + error, "error": None, "labels": labels}


def distinct(ys, curves):
    """ys without `reward` where it says what `correct` says: rewards of 0 and 1, or of -1 and 1, for all or none."""
    def same(c):
        return {"reward", "correct"} <= set(c) and any(np.allclose(c["reward"], r, equal_nan=True)
                                                       for r in (c["correct"], 2 * c["correct"] - 1))
    return [y for y in ys if y != "reward" or not all(same(c) for seeds in curves.values() for c in seeds)]


def plot_lines(path, figure, names, xlabel, across=None):
    """figure: a panel per (ylabel, {method: line}, {label: height of a grey line}), `across` of them a line. A line: x,
    mean, low, high (S,), error (S,) or None, drawn as bars, and labels of its points, [] where x is the step. Where
    there are labels low and high are bars too, since x may turn back there."""
    drawn, axes = panels(len(figure), across=across)
    for axis, (ylabel, lines, heights) in zip(axes, figure):
        for name, line in lines.items():
            i, few = names.index(name), len(line["x"]) <= 16  # a method looks the same in all figures
            look = style(i) | {"markevery": 1 if few else (i, max(1, len(line["x"]) // 8))}
            axis.plot(line["x"], line["mean"], label=name, **look)
            if line["labels"]:
                bars = [np.maximum(line["mean"] - line["low"], 0), np.maximum(line["high"] - line["mean"], 0)]
                axis.errorbar(line["x"], line["mean"], bars, fmt="none", ecolor=look["color"], alpha=0.35)
            else:
                axis.fill_between(line["x"], line["low"], line["high"], color=look["color"], alpha=0.15, linewidth=0)
            if line["error"] is not None:
                axis.errorbar(line["x"], line["mean"], line["error"], fmt="none", ecolor=look["color"], capsize=2.5)
            last = len(line["labels"]) - 1
            for j in {0, last // 3, 2 * last // 3, last} if last > 6 else range(last + 1):
                axis.annotate(line["labels"][j], (line["x"][j], line["mean"][j]), xytext=(3, 3), fontsize=6,
                              textcoords="offset points", color=look["color"])
        for (label, height), dash in zip(heights.items(), ("-", (0, (2, 2)))):
            axis.axhline(height, color="#777777", linewidth=1, linestyle=dash, label=label)
        axis.ticklabel_format(axis="x", scilimits=(-3, 6))  # the KL of a few steps: long numbers would overlap
        axis.set_xlabel(xlabel)
        axis.set_ylabel(ylabel)
    save(drawn, path)


def plot_along(args, moving, names, columns, wanted, entries, kl, place):
    """along_step and along_kl, a panel per column, with the exact limits where rows carry them; by level likewise."""
    ideal = mean_limits([next(iter(f["steps"].values())) for f in next(iter(moving.values()))])
    ks = sorted({int(column.partition("@")[2]) for column in columns})

    def heights(column):
        metric, k = column.split("@")
        return {label: 100 * line[ks.index(int(k))] for label, line in ideal.items() if metric == "pass"}

    with_kl = {name: found for name, found in kl.items() if found is not None}
    levels = by_level_along(moving, columns, wanted, args.resamples)
    for x, xlabel, known in (("step", "training step", dict.fromkeys(moving)), ("kl", CURVES["kl_ref"], with_kl)):
        if not known:
            continue
        def lines(found, column):
            return {name: along_line(found[name], column, known[name]) for name in known if found.get(name)}
        plot_lines(place(f"along_{x}"), [(f"{c}, %", lines(entries, c), heights(c)) for c in wanted], names, xlabel)
        if levels:
            figure = [(f"level {level or 'none'}: {c}, %", lines(found, c), {}) for level, found in levels.items()
                      for c in wanted]
            plot_lines(place(f"along_{x}_by_level"), figure, names, xlabel, len(wanted))


def along_line(entries, column, kl):
    """A line of plot_lines() from along()'s {step: {column: entry}}: against the step, or against kl (S,)."""
    mean, low, high = in_percent([entries[step][column] for step in entries])
    error = None
    if all("se_seeds" in entry[column] for entry in entries.values()):
        error = 100 * np.array([entry[column]["se_seeds"] for entry in entries.values()])
    return {"x": np.array(list(entries)) if kl is None else kl, "mean": mean, "low": low, "high": high, "error": error,
            "labels": [] if kl is None else [str(step) for step in entries]}


def draw_rollouts(args, folders, names, place):
    """The training groups' --rollouts columns against step and KL, by level where they have levels. Returns, for each
    method and seed, how many groups were read and which files could not be; names those on standard error."""
    folders = {name: trained for name, runs in folders.items()  # not the base model, which was not trained
               if (trained := [run for run in runs if os.path.exists(os.path.join(run, "metrics.jsonl"))])}
    if not folders:
        raise InputError("--rollouts: expected a run directory with metrics.jsonl")
    read, said = {}, {}
    for name, runs in folders.items():
        read[name] = [read_rollouts(run, args.rollouts) for run in runs]
        said[name] = [{"groups": len(seed["steps"]), "damaged": seed["damaged"]} for seed in read[name]]
        for run, seed in zip(runs, read[name]):
            curves = read_curves(os.path.join(run, "metrics.jsonl"))
            known = np.isfinite(curves.get("kl_ref", []))
            seed["kl"] = (np.interp(seed["steps"], curves["step"][known], curves["kl_ref"][known])
                          if known.any() else None)
            if seed["damaged"]:
                tell("evaluate.py", f"{run}: {len(seed['damaged'])} files of rollouts left out, which could not be "
                     "read: " + "; ".join(seed["damaged"]))
    levels = sorted_levels(seed["levels"] for seeds in read.values() for seed in seeds)
    for file, against_kl in (("rollouts_step", False), ("rollouts_kl", True)):
        drawn = {name: seeds for name, seeds in read.items()
                 if not against_kl or all(seed["kl"] is not None for seed in seeds)}
        figure = []
        for level, (j, column) in itertools.product(levels if any(levels) else [None], enumerate(args.rollouts)):
            lines = {name: rollout_line(seeds, level, j, args.smooth, against_kl) for name, seeds in drawn.items()}
            label = "" if level is None else f"level {level or 'none'}: "
            figure.append((f"{label}{column}, %", {name: line for name, line in lines.items() if line}, {}))
        if any(lines for _, lines, _ in figure):
            plot_lines(place(file), figure, names, (CURVES["kl_ref"] if against_kl else "step") +
                       f"\n(training groups, means over {args.smooth} steps)",
                       len(args.rollouts) if any(levels) else None)
    return said


def rollout_line(seeds, level, j, window, against_kl):
    """A line of plot_lines() from read_rollouts() of a method's seeds: means over blocks of `window` steps of the
    groups of `level` (None: all), with 95 % intervals over groups and the standard error over seeds; None without
    groups."""
    found, last = [], max(seed["steps"].max() for seed in seeds)
    for seed in seeds:
        chosen = np.ones(len(seed["steps"]), bool) if level is None else seed["levels"] == level
        values, x = seed["values"][chosen, j], (seed["kl"] if against_kl else seed["steps"])[chosen]
        names, block, count = np.unique(seed["steps"][chosen] // window, return_inverse=True, return_counts=True)
        mean, middle = np.bincount(block, values) / count, np.bincount(block, x) / count
        spread = np.bincount(block, (values - mean[block]) ** 2) / np.maximum(count - 1, 1) / count
        found.append({int(name): row for name, *row in zip(names, middle, mean, spread)})
    blocks = sorted(set.intersection(*map(set, found)))
    if not blocks:
        return None
    # (seeds, blocks) each
    x, mean, spread = np.array([[seed[block] for block in blocks] for seed in found]).transpose(2, 0, 1)
    half = 196 * np.sqrt(spread.sum(axis=0)) / len(seeds)
    middle = 100 * mean.mean(axis=0)
    error = 100 * mean.std(axis=0, ddof=1) / np.sqrt(len(seeds)) if len(seeds) > 1 else None
    return {"x": x.mean(axis=0), "mean": middle, "low": middle - half, "high": middle + half, "error": error,
            "labels": [str(min((block + 1) * window, last + 1)) for block in blocks] if against_kl else []}


# ----------------------------------------------------------------------------------------------------- the command line

def parse_arguments():
    parser = argparse.ArgumentParser(usage="%(prog)s NAME=PATH ... [--k K ...] [--out DIR] [flags]", allow_abbrev=False,
                                     description=__doc__.partition("\n")[0],
                                     formatter_class=Help)
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
    show.add_argument("--paper", nargs="+", default=[], metavar="TABLE",
                      help="a table of results/papers.json beside ours, methods named as there")
    show.add_argument("--caption", nargs="+", default=[], metavar="TEXT", help="lines printed under the tables")
    show.add_argument("--smooth", type=int, default=10, help="training curves are means over this many steps")
    moving = parser.add_argument_group("along training (rows of several policy_steps, from generate.py --along)")
    moving.add_argument("--curves", nargs="+", metavar="METRIC@K", help="what is drawn, and the best step is chosen by "
                        "(default: each metric at the smallest and at the largest k)")
    moving.add_argument("--choose-on", nargs="+", default=[], metavar="NAME=PATH", help="rows of other problems, on "
                        "which each method's best step, and the best of its variants METHOD:VARIANT, is chosen "
                        "(default: on half of them)")
    moving.add_argument("--rollouts", nargs="+", metavar="METRIC@K", help="draw these from RUN/rollouts too, by level")
    parser.add_argument("--benchmark", type=int, nargs="?", const=20000, metavar="P",
                        help="time P synthetic problems x 256 samples (20000 if P is left out), and exit")
    args = parser.parse_args()
    for column in [*(args.curves or []), *(args.rollouts or [])]:
        metric, _, k = column.partition("@")
        if metric not in METRICS or not k.isdecimal() or int(k) < 1:
            parser.error(f"--curves and --rollouts take columns such as pass@4 or maj@8, not {column}")
    if args.rollouts and not args.out:
        parser.error("--rollouts draws figures: it needs --out")
    if min(args.k or [1]) < 1 or args.resamples < 100 or args.smooth < 1:
        parser.error("expected --k >= 1, --resamples >= 100, --smooth >= 1")
    if not args.runs and not args.choose_on and not args.benchmark:
        parser.error("expected at least one file of rows or run directory")
    return args


if __name__ == "__main__":
    main()
