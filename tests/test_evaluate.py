"""evaluate.py: metrics against enumeration, intervals against simulation, reports against their input, errors."""
import csv
import gzip
import itertools
import json
import os
import re
import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import evaluate  # noqa: E402


def make_rows(P=12, n=8, seed=0, difficulty=0.0, fractions=False, **extra):
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(P):
        votes = rng.choice([0, 0, 1, 2, -1], size=n)
        correct = (votes == 0) & (rng.random() > difficulty)
        scores = np.where(correct, 1.0, np.round(0.9 * rng.random(n), 3)) if fractions else correct.astype(float)
        rows.append({"task_id": f"t/{i}", "correct": correct.tolist(), "scores": scores.tolist(),
                     "votes": votes.tolist()})
        rows[-1] |= {key: value(i) if callable(value) else value for key, value in extra.items()}
    return rows


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(monkeypatch, capsys, *arguments):
    """main() in this process: (exit status, standard output, standard error)."""
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, arguments)])
    status = 0
    try:
        evaluate.main()
    except SystemExit as stop:
        status = stop.code
    return status, *capsys.readouterr()


# ---------------------------------------------------------------- metrics

def by_enumeration(row, k):
    """pass@k, max@k, maj@k of a row as the mean over all subsets of k samples; ties of a vote count evenly."""
    values = []
    for subset in itertools.combinations(range(len(row["correct"])), k):
        right, scores, votes = ([row[key][i] for i in subset] for key in ("correct", "scores", "votes"))
        counts = Counter(v for v in votes if v >= 0)
        winners = [v for v, c in counts.items() if c == max(counts.values())]
        vote = [np.mean([r for r, v in zip(right, votes) if v == w]) for w in winners] if counts else right
        values.append([any(right), max(scores), np.mean(vote)])
    return np.mean(values, axis=0)


def test_metrics_are_means_over_all_subsets(tmp_path):
    rows, ks = make_rows(n=7, fractions=True, difficulty=0.2), [1, 2, 3, 5, 7]
    file = evaluate.read_file(write(tmp_path / "rows.jsonl", rows), ks)
    by_task = {row["task_id"]: row for row in rows}
    for task, values in zip(file["tasks"], file["values"]):
        expected = np.transpose([by_enumeration(by_task[task], k) for k in ks]).ravel()
        np.testing.assert_allclose(values, expected, atol=1e-12)


def test_more_rows_than_a_chunk_change_nothing(tmp_path, monkeypatch):
    path = write(tmp_path / "rows.jsonl", make_rows(P=11, fractions=True))
    whole = evaluate.read_file(path, [1, 4])
    monkeypatch.setattr(evaluate, "CHUNK", 4)
    np.testing.assert_array_equal(evaluate.read_file(path, [1, 4])["values"], whole["values"])


def test_limits_against_all_outcomes():
    p = [0.2, 0.5, 0.3]
    best, sampled = evaluate.exact_limits(p, [1, 2, 3])
    for k in (1, 2, 3):
        assert best[k - 1] == pytest.approx(max(sum(s) for s in itertools.combinations(p, k)))
        chance = sum(p[truth] * np.prod([p[j] for j in draws]) for truth in range(3)
                     for draws in itertools.product(range(3), repeat=k) if truth in draws)
        assert sampled[k - 1] == pytest.approx(chance)


def test_pass_curve_at_every_k(tmp_path):
    ks = list(range(1, 9))
    files = [evaluate.read_file(write(tmp_path / f"{seed}.jsonl", make_rows(seed=seed)), ks) for seed in (0, 1)]
    expected = np.mean([f["values"][:, :8].mean(axis=0) for f in files], axis=0)
    np.testing.assert_allclose(evaluate.pass_curve(files, 8), expected, atol=1e-12)


# ---------------------------------------------------------------- intervals

@pytest.mark.parametrize("clusters, rows_per_cluster", [
    (40, 3), (12, 1), *(pytest.param(many, 1, marks=pytest.mark.slow) for many in (100, 400))])
def test_intervals_cover_the_truth(clusters, rows_per_cluster):
    """pass@4 from 8 samples a problem, p ~ Beta(1, 2), one p per cluster; the truth is 1 - E[(1 - p)^4] = 2/3."""
    rng, hits, trials = np.random.default_rng(1), 0, 500
    names = np.repeat(np.arange(clusters), rows_per_cluster).astype(str)
    for _ in range(trials):
        p = np.repeat(rng.beta(1, 2, size=clusters), rows_per_cluster)
        correct = rng.random((len(p), 8)) < p[:, None]
        values = evaluate.pass_at_k(correct, 4)[:, None]
        _, [low], [high], _ = evaluate.bootstrap(values, names, np.ones(len(p)), resamples=400)
        hits += low <= 2 / 3 <= high
    print(f"\n{clusters} clusters of {rows_per_cluster}: "
          f"the 95 % interval held the truth in {hits / trials:.3f} of {trials} simulations")
    assert 0.92 <= hits / trials <= 0.98  # 0.95 +- 3 standard errors, and 400 resamples blur the ends


def test_interval_ignoring_clusters_is_too_short():
    values = np.repeat(np.random.default_rng(0).random(50), 4)[:, None]
    _, [low], [high], C = evaluate.bootstrap(values, np.repeat(np.arange(50), 4).astype(str), np.ones(200), 2000)
    _, [low_1], [high_1], _ = evaluate.bootstrap(values, np.arange(200).astype(str), np.ones(200), 2000)
    assert C == 50 and high - low == pytest.approx(2 * (high_1 - low_1), rel=0.1)


def test_interval_of_many_problems_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).random((1000, 1))
    [mean], [low], [high], _ = evaluate.bootstrap(values, np.arange(1000).astype(str), np.ones(1000), 4000)
    se = values.std(ddof=1) / np.sqrt(1000)
    assert (low, high) == pytest.approx((mean - 1.96 * se, mean + 1.96 * se), abs=0.1 * se)


def test_rows_with_one_prompt_are_a_cluster_and_a_key_overrides_it(tmp_path):
    path = write(tmp_path / "a.jsonl", make_rows(P=12, prompt=lambda i: f"p{i // 2}", rule=lambda i: i % 3))
    assert len(set(evaluate.read_file(path, [1])["clusters"])) == 6
    assert len(set(evaluate.read_file(path, [1], cluster="rule")["clusters"])) == 3
    path = write(tmp_path / "b.jsonl", make_rows(P=12, prompt=None))  # no prompt: every row for itself
    assert len(set(evaluate.read_file(path, [1])["clusters"])) == 12


# ---------------------------------------------------------------- comparisons

def test_paired_difference(tmp_path):
    before, after = make_rows(P=40, seed=0, difficulty=0.5), make_rows(P=40, seed=1)
    a, b = (evaluate.read_file(write(tmp_path / f"{i}.jsonl", rows), [1, 4]) for i, rows in enumerate((after, before)))
    columns = evaluate.column_names([1, 4], evaluate.METRICS)
    entries, problems = evaluate.compare([a], [b], columns, 1000)
    for j, column in enumerate(columns):
        d = a["values"][:, j] - b["values"][:, j]
        assert problems == 40 and entries[column]["mean"] == pytest.approx(d.mean())
        assert entries[column]["se"] == pytest.approx(d.std(ddof=1) / np.sqrt(40))
        assert entries[column]["wilcoxon_p"] == pytest.approx(scipy.stats.wilcoxon(np.round(d, 12)).pvalue)
        assert entries[column]["low"] < d.mean() < entries[column]["high"]


def test_comparison_uses_shared_problems_averages_seeds_and_groups_clusters(tmp_path):
    rows = {name: make_rows(P=20, seed=i, prompt=lambda i: f"p{i // 2}") for i, name in enumerate("abc")}
    rows["c"] = rows["c"][5:]
    a, b, c = (evaluate.read_file(write(tmp_path / f"{name}.jsonl", rows[name]), [2]) for name in "abc")
    entries, problems = evaluate.compare([a, b], [c], evaluate.column_names([2], evaluate.METRICS), 500)
    values = {f["path"]: dict(zip(f["tasks"], f["values"][:, 0])) for f in (a, b, c)}
    d = {t: (values[a["path"]][t] + values[b["path"]][t]) / 2 - v for t, v in values[c["path"]].items()}
    by_cluster = [np.mean([d[t] for t in group]) for group in ([f"t/{i}" for i in range(5, 20) if i // 2 == p]
                                                              for p in range(2, 10))]
    assert problems == 15 and entries["pass@2"]["mean"] == pytest.approx(np.mean(list(d.values())))
    assert entries["pass@2"]["wilcoxon_p"] == pytest.approx(scipy.stats.wilcoxon(np.round(by_cluster, 12)).pvalue)


def test_a_method_against_itself(tmp_path):
    f = evaluate.read_file(write(tmp_path / "a.jsonl", make_rows()), [1, 8])
    entries, _ = evaluate.compare([f], [f], evaluate.column_names([1, 8], evaluate.METRICS), 200)
    assert all(e["mean"] == e["low"] == e["high"] == e["se"] == 0 and e["wilcoxon_p"] == 1 for e in entries.values())


def test_crossings():
    assert evaluate.crossings([1, 2, 4, 8], [0.2, 0.1, -0.1, -0.2]) == [(2, 4)]
    assert evaluate.crossings([1, 2, 4, 8], [0.2, 0.0, 0.0, -0.2]) == [(1, 8)]
    assert evaluate.crossings([1, 2, 4], [0.0, 0.1, 0.2]) == []
    assert evaluate.crossings([1, 2, 4], [-1, 1, -1]) == [(1, 2), (2, 4)]


def test_curves_of_a_sharp_and_a_broad_policy_cross_where_they_should(tmp_path, monkeypatch, capsys):
    """4 of 10 problems always solved, or 2 of 16 samples right in all: 1 - C(14,k)/C(16,k) is above 0.4 from k = 4."""
    sharp = [{"task_id": f"t{i}", "correct": [i < 4] * 16, "scores": [float(i < 4)] * 16, "votes": [int(i >= 4)] * 16}
             for i in range(10)]
    broad = [row | {"correct": [True] * 2 + [False] * 14, "scores": [1.0] * 2 + [0.0] * 14, "votes": [0] * 2 + [1] * 14}
             for row in sharp]
    a, b = write(tmp_path / "a.jsonl", sharp), write(tmp_path / "b.jsonl", broad)
    status, out, _ = run(monkeypatch, capsys, a, b, "--k", 1, 16, "--out", tmp_path / "out")
    found = json.loads((tmp_path / "out/results.json").read_text())["methods"]["b"]["difference"]["crossings"]["pass"]
    assert status == 0 and found == [[3, 4]] and "k = 3 and 4" in out


def test_seeds(tmp_path, monkeypatch, capsys):
    paths = [write(tmp_path / f"{s}.jsonl", make_rows(P=30, seed=s)) for s in range(4)]
    base = write(tmp_path / "base.jsonl", make_rows(P=30, seed=9))
    status, out, _ = run(monkeypatch, capsys, f"base={base}", *(f"rl={p}" for p in paths[:3]), "--k", 2,
                         "--out", tmp_path / "out")
    result = json.loads((tmp_path / "out/results.json").read_text())["methods"]["rl"]
    means = [seed["metrics"]["pass@2"] for seed in result["seeds"]]
    assert status == 0 and len(means) == 3 and "±" in out
    assert result["metrics"]["pass@2"]["mean"] == pytest.approx(np.mean(means))
    assert result["metrics"]["pass@2"]["se_seeds"] == pytest.approx(np.std(means, ddof=1) / np.sqrt(3))
    assert "se_seeds" not in result["difference"]["metrics"]["pass@2"]  # the base has one seed
    names = zip("aabb", paths)
    run(monkeypatch, capsys, *(f"{name}={path}" for name, path in names), "--out", tmp_path / "out")
    methods = json.loads((tmp_path / "out/results.json").read_text())["methods"]
    errors = [methods[name]["metrics"]["pass@2"]["se_seeds"] for name in "ab"]
    assert methods["b"]["difference"]["metrics"]["pass@2"]["se_seeds"] == pytest.approx(np.hypot(*errors))


def test_every_seed_counts_the_same_however_many_problems_it_has(tmp_path):
    files = [evaluate.read_file(write(tmp_path / f"{P}.jsonl", make_rows(P=P, seed=P)), [3]) for P in (5, 40)]
    result, _ = evaluate.estimate(files, evaluate.column_names([3], evaluate.METRICS), 200)
    assert result["pass@3"]["mean"] == pytest.approx(np.mean([f["values"][:, 0].mean() for f in files]))


# ---------------------------------------------------------------- reports

def test_order_of_rows_changes_nothing(tmp_path, monkeypatch, capsys):
    rows = make_rows(P=30, fractions=True, level=lambda i: i % 3, prompt=lambda i: f"p{i // 2}")
    out = []
    for name, order in (("a", rows), ("b", rows[::-1])):
        write(tmp_path / name / "rows.jsonl", order)
        monkeypatch.chdir(tmp_path / name)
        out.append(run(monkeypatch, capsys, "rows.jsonl", "--out", "out")[:2])
    results = [json.loads((tmp_path / name / "out/results.json").read_text()) for name in "ab"]
    assert out[0] == out[1] and results[0]["methods"] == results[1]["methods"]
    for file in ("table.csv", "table.tex", "table.md", "metric_at_k.svg", "by_level.png"):
        assert (tmp_path / "a/out" / file).read_bytes() == (tmp_path / "b/out" / file).read_bytes()


def full_rows(seed, **extra):
    rng = np.random.default_rng(seed)
    return make_rows(P=20, seed=seed, fractions=True, dataset="demo", split="test", policy_step=7,
                     posterior=[0.5, 0.25, 0.25], level=lambda i: ["EASY", "HARD"][i % 2],
                     completions=lambda i: [f"x{j % 3}" for j in range(8)],
                     logprobs=lambda i: [(-rng.exponential(size=3)).tolist() for _ in range(8)],
                     finish_reasons=["stop"] * 6 + ["length"] * 2,
                     sampling={"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_tokens": 3, "seed": seed}, **extra)


def metrics_rows(seed):
    rng = np.random.default_rng(seed)
    return [{"step": s, "k": 8, "reward": rng.random(), "correct": rng.random(), "pass_at_n": s / 20, "maj_at_n": 0.5,
             "solved": s / 40, "wait_s": 1, "work_s": 2, "entropy": 1.0, "kl_ref": 0.1 * s if s else None}
            for s in range(20)]


def test_a_table_that_cannot_be_written_is_said(tmp_path, shell):
    write(tmp_path / "rows.jsonl", full_rows(1))
    done = shell(f"python evaluate.py {tmp_path}/rows.jsonl --k 1 > /dev/full")
    assert done.returncode == 2 and done.stderr == "evaluate.py: [Errno 28] No space left on device\n"


def test_everything_that_out_promises(tmp_path, monkeypatch, capsys):
    for name in ("base", "rl-1", "rl-2"):
        write(tmp_path / name / "eval.jsonl", full_rows(len(name) + int(name[-1] == "2")))
        write(tmp_path / name / "metrics.jsonl", metrics_rows(3))
    status, out, err = run(monkeypatch, capsys, tmp_path / "base", f"rl={tmp_path / 'rl-1'}", f"rl={tmp_path / 'rl-2'}",
                           "--out", tmp_path / "out", "--caption", "seeds: 1 & 2")
    assert (status, err) == (0, f"evaluate.py: tables, figures and results.json: {tmp_path / 'out'}\n")
    for name in ("metric_at_k", "differences", "by_level", "entropy_density", "training_curves", "kl_efficiency"):
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / "out" / f"{name}.svg").stat().st_size > 5000
    assert (tmp_path / "out/table.md").read_text() == out and "- seeds: 1 & 2" in out
    assert "best possible list, exact limit | 50.0 | 75.0 | 100.0 | 100.0" in out  # k = 1, 2, 4, 8
    for title in ("pass@k, %", "max@k, %", "maj@k, %", "Paired differences in maj@k", "pass@k by level"):
        assert title in out

    result = json.loads((tmp_path / "out/results.json").read_text())
    rl = result["methods"]["rl"]
    assert set(rl["metrics"]) == {f"{m}@{k}" for m in ("pass", "max", "maj") for k in (1, 2, 4, 8)}
    for entry in rl["metrics"].values():
        assert 0 <= entry["low"] <= entry["mean"] <= entry["high"] <= 1 and entry["se_seeds"] >= 0
    assert list(rl["levels"]) == ["EASY", "HARD"] and rl["levels"]["HARD"]["problems"] == 10
    assert [rl["diagnostics"][key] for key in ("truncated", "length", "distinct_completions")] == [0.25, 3, 3]
    assert rl["diagnostics"]["entropy"] == pytest.approx(1, abs=0.15)  # surprisal ~ Exponential(1)
    assert rl["seeds"][0]["temperature"] == [1.0] and rl["seeds"][0]["policy_step"] == [7] and rl["seeds"][0]["n"] == 8
    assert result["limits"]["posterior sampling"]["pass@2"] == pytest.approx(0.5 * 0.75 + 0.5 * (1 - 0.75 ** 2))
    assert {"git_commit", "versions", "machine", "time", "wall_s", "command", "k", "resamples"} <= set(result)

    last = {"steps": 20, "wall_s": 60.0, "solved": 19 / 40, "kl_ref": pytest.approx(1.9)}
    assert result["training"]["rl"] == [last, last]
    assert "| rl | 2 | 20 | 60 | 1.900 | 47.5 |" in out

    with open(tmp_path / "out/table.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 12 * 2 * 3  # columns x methods x (all, EASY, HARD)
    line = next(x for x in lines if (x["method"], x["level"], x["metric"], x["k"]) == ("rl", "all", "max", "4"))
    assert float(line["mean"]) == rl["metrics"]["max@4"]["mean"]
    tex = (tmp_path / "out/table.tex").read_text()
    for columns, body in re.findall(r"\\begin\{tabular\}\{(l?r*)\}(.*?)\\end\{tabular\}", tex, re.S):
        for row in body.split("\n"):
            assert not row.endswith(r"\\") or row.count(" & ") == len(columns) - 1
    assert tex.count(r"\begin{tabular}") == out.count("**") // 2


def test_single_method_has_its_metrics_on_top(tmp_path, monkeypatch, capsys):
    path = write(tmp_path / "mine.jsonl", make_rows())
    assert run(monkeypatch, capsys, path, "--out", tmp_path / "out")[0] == 0
    result = json.loads((tmp_path / "out/results.json").read_text())
    assert result["metrics"] == result["methods"]["mine"]["metrics"]
    assert set(result["metrics"]["pass@1"]) == {"mean", "low", "high"}


def test_single_row(tmp_path, monkeypatch, capsys):
    path = write(tmp_path / "one.jsonl", make_rows(P=1))
    status, out, _ = run(monkeypatch, capsys, path, "--k", 1, "--out", tmp_path / "out")
    assert status == 0 and "no interval" in out
    assert json.loads((tmp_path / "out/results.json").read_text())["metrics"]["pass@1"]["low"] is None
    assert "NaN" not in (tmp_path / "out/results.json").read_text()


@pytest.mark.parametrize("right", [False, True])
def test_all_wrong_and_all_right(tmp_path, monkeypatch, capsys, right):
    rows = [{"task_id": f"t{i}", "correct": [right] * 4, "scores": [float(right)] * 4, "votes": [-1 + right] * 4}
            for i in range(9)]
    path = write(tmp_path / "rows.jsonl", rows)
    status, out, _ = run(monkeypatch, capsys, path, "--out", tmp_path / "out")
    metrics = json.loads((tmp_path / "out/results.json").read_text())["metrics"]
    assert status == 0 and "not certainty" in out
    assert all(entry == {"mean": float(right), "low": float(right), "high": float(right)} for entry in metrics.values())


def test_missing_levels(tmp_path, monkeypatch, capsys):
    none = write(tmp_path / "none.jsonl", make_rows(level=None))
    some = write(tmp_path / "some.jsonl", make_rows(level=lambda i: [None, 2, "Level 10"][i % 3]))
    assert "by level" not in run(monkeypatch, capsys, none)[1]
    out = run(monkeypatch, capsys, some, "--k", 1)[1]
    table = out[out.index("by level"):]
    assert table.index("| 2 |") < table.index("| Level 10 |") < table.index("| none |")


def test_what_is_not_alike_is_said(tmp_path, monkeypatch, capsys):
    a = make_rows(P=10, dataset="math", split="test", sampling={"temperature": 1.0, "top_p": 1.0, "seed": 1})
    b = make_rows(P=12, n=6, dataset="gsm8k", split="test", sampling={"temperature": 0.6, "top_p": 1.0, "seed": 2})[2:]
    status, out, _ = run(monkeypatch, capsys, write(tmp_path / "a.jsonl", a), write(tmp_path / "b.jsonl", b), "--k", 1)
    notes = [line for line in out.splitlines() if "NOT ALIKE" in line]
    assert status == 0 and len(notes) == 4
    for text in ("n differs: a 8; b 6", "dataset differs: a math; b gsm8k", "temperature differs: a 1.0; b 0.6",
                 "they share 8"):
        assert any(text in note for note in notes), text
    b = [row | {"split": "valid" if i % 2 else "test"} for i, row in enumerate(a)]
    assert "split is mixed within each file: test, valid" in run(monkeypatch, capsys, write(tmp_path / "b.jsonl", b))[1]
    assert "NOT ALIKE" not in run(monkeypatch, capsys, tmp_path / "a.jsonl")[1]


def test_seeds_may_have_problems_of_their_own(tmp_path, monkeypatch, capsys):
    """The same ones for every method: nothing to say. One seed missing: said."""
    def of(name, seed):
        rows = make_rows(P=5, seed=seed, task_id=lambda i: f"seed {seed}/{i}")
        return f"{name}={write(tmp_path / f'{name}{seed}.jsonl', rows)}"
    ours, theirs = [[of(name, seed) for seed in range(3)] for name in ("ours", "theirs")]
    status, out, _ = run(monkeypatch, capsys, *ours, *theirs, "--k", 1)
    assert status == 0 and "NOT ALIKE" not in out and "15 clusters" in out
    alike = run(monkeypatch, capsys, *ours, *theirs[:2], "--k", 1)[1]
    assert "problems differ: theirs has 10, ours has 15, they share 10" in alike


def test_training_curves_alone(tmp_path, monkeypatch, capsys):
    write(tmp_path / "run/metrics.jsonl", [{"step": s, "k": 1, "reward": 0.5, "entropy": 1.0} for s in range(5)])
    status, out, err = run(monkeypatch, capsys, tmp_path / "run", "--out", tmp_path / "out")
    assert (status, out) == (0, "") and "kl_efficiency not drawn" in err
    assert (tmp_path / "out/training_curves.png").exists() and not (tmp_path / "out/kl_efficiency.png").exists()


def test_curves_are_running_means_at_the_steps_that_all_seeds_have(tmp_path, monkeypatch):
    long, short = ([{"step": s, "reward": r + s} for s in steps] for r, steps in ((0, range(8)), (4, range(2, 6))))
    seeds = [evaluate.read_curves(write(tmp_path / f"{i}.jsonl", rows)) for i, rows in enumerate((long, short))]
    drawn = []
    monkeypatch.setattr(evaluate, "save", lambda figure, path: drawn.append(figure.axes[0].lines[0].get_xydata()))
    assert evaluate.plot_curves("", {"a": seeds}, ["a"], "step", ["reward", "entropy"], 10)
    np.testing.assert_allclose(drawn[0], [[2.5, 4.5], [3.5, 5.5], [4.5, 6.5]])  # windows of 2 of the steps 2 to 5
    assert not evaluate.plot_curves("", {"a": seeds}, ["a"], "step", ["entropy"], 10)


def test_reward_is_not_drawn_beside_the_same_curve_of_correct():
    correct = np.array([0.1, 0.4, 0.3])
    ys = ["reward", "correct", "solved"]
    for reward in (correct, 2 * correct - 1):
        assert evaluate.distinct(ys, {"a": [{"reward": reward, "correct": correct}]}) == ["correct", "solved"]
    assert evaluate.distinct(ys, {"a": [{"reward": correct + 0.1, "correct": correct}]}) == ys
    assert evaluate.distinct(ys, {"a": [{"reward": correct, "correct": correct}, {"reward": correct}]}) == ys


def test_against_kl_a_curve_is_a_few_points_in_the_order_of_steps(tmp_path):
    rows = [{"step": s, "correct": s / 100, "kl_ref": None if s == 0 else 1 + 0.5 * (-1) ** s} for s in range(48)]
    seed = evaluate.read_curves(write(tmp_path / "metrics.jsonl", rows))
    line = evaluate.smoothed([seed], "kl_ref", "correct", 10)
    np.testing.assert_allclose(line["mean"], [4 * block + 1.5 for block in range(12)])  # 12 blocks of 4 steps, in %
    np.testing.assert_allclose(line["x"][1:], 1)  # where KL stands still, so do the points
    assert line["labels"] == [str(4 * block + 4) for block in range(12)]


# ---------------------------------------------------------------- along training

def moving_rows(seed, steps=(0, 10, 20), P=20, **extra):
    """Rows of several steps; at each the same problems with other samples."""
    rows = [make_rows(P=P, n=8, seed=100 * seed + step, difficulty=1 / (1 + step), policy_step=step,
                      level=lambda i: 1 + i % 2, prompt=lambda i: f"p{i}", posterior=[0.5, 0.25, 0.25], **extra)
            for step in steps]
    rows = [row for of_step in rows for row in of_step]
    np.random.default_rng(seed).shuffle(rows)
    return rows


def test_along_training_against_the_rows_themselves(tmp_path, monkeypatch, capsys):
    rows = [moving_rows(seed) for seed in (1, 2)]
    for seed, of_seed in enumerate(rows):
        write(tmp_path / f"{seed}" / "eval.jsonl", of_seed)
        write(tmp_path / f"{seed}" / "metrics.jsonl",
              [{"step": s, "lag": 2, "kl_ref": (1 + seed) * s} for s in range(2, 16)])
    status, out, err = run(monkeypatch, capsys, f"rl={tmp_path / '0'}", f"rl={tmp_path / '1'}", "--k", 1, 4,
                           "--curves", "pass@4", "maj@4", "--out", tmp_path / "out")
    assert status == 0, err
    result = json.loads((tmp_path / "out/results.json").read_text())
    found = result["along"]["rl"]
    assert list(found) == ["0", "10", "20"]
    for step in (0, 10, 20):
        per_seed = [np.mean([by_enumeration(row, 4) for row in of_seed if row["policy_step"] == step], axis=0)
                    for of_seed in rows]
        for column, j in (("pass@4", 0), ("maj@4", 2)):
            entry = found[str(step)]["metrics"][column]
            assert entry["mean"] == pytest.approx(np.mean([m[j] for m in per_seed]))
            assert entry["se_seeds"] == pytest.approx(np.std([m[j] for m in per_seed], ddof=1) / np.sqrt(2))
            assert entry["low"] <= entry["mean"] <= entry["high"]
    # the weights of step s drew the batch of step s + 2; the last measured ones are those of step 13
    assert [found[s]["kl_ref"] for s in ("0", "10", "20")] == pytest.approx([1.5 * 2, 1.5 * 12, 1.5 * 15])
    # the last step
    assert result["methods"]["rl"]["metrics"]["pass@4"]["mean"] == found["20"]["metrics"]["pass@4"]["mean"]
    for name in ("along_step", "along_kl", "along_step_by_level", "along_kl_by_level"):
        assert (tmp_path / "out" / f"{name}.png").stat().st_size > 5000


def test_a_run_with_more_samples_at_its_end(tmp_path, monkeypatch, capsys):
    """eval.jsonl: the last weights on many problems; along.jsonl: all steps on some of them. Each is read for its
    part."""
    final = [row for row in moving_rows(3, steps=(20,), P=60)]
    write(tmp_path / "rl" / "eval.jsonl", final)
    write(tmp_path / "rl" / "along.jsonl", moving_rows(1, P=20))
    write(tmp_path / "base" / "eval.jsonl", moving_rows(2, steps=(0,), P=60))
    status, _, err = run(monkeypatch, capsys, tmp_path / "base", tmp_path / "rl", "--k", 1, 4,
                         "--out", tmp_path / "out")
    assert status == 0, err
    result = json.loads((tmp_path / "out/results.json").read_text())
    assert result["methods"]["rl"]["metrics"]["pass@1"]["mean"] == pytest.approx(
        np.mean([row["correct"] for row in final]))
    assert list(result["along"]) == ["rl"] and list(result["along"]["rl"]) == ["0", "10", "20"]
    assert (set(result["best"]["pass@1"]) == {"base", "rl"}
            and result["best"]["pass@1"]["rl"]["difference"]["against"] == "base")


def test_the_interval_along_training_is_that_of_the_step_alone(tmp_path):
    rows = moving_rows(3, P=60)
    f = evaluate.read_file(write(tmp_path / "a.jsonl", rows), [1, 4])
    alone = evaluate.read_file(write(tmp_path / "b.jsonl", [row for row in rows if row["policy_step"] == 10]), [1, 4])
    columns = evaluate.column_names([1, 4], evaluate.METRICS)
    assert evaluate.along([f], columns, ["pass@4"], 500)[10]["pass@4"] == pytest.approx(
        evaluate.estimate([alone], columns, 500)[0]["pass@4"])


def test_along_training_by_level_against_a_direct_count(tmp_path):
    rows = moving_rows(4)
    f = evaluate.read_file(write(tmp_path / "a.jsonl", rows), [1, 4])
    columns = evaluate.column_names([1, 4], evaluate.METRICS)
    found = evaluate.by_level_along({"a": [f]}, columns, ["pass@1", "pass@4"], 200)
    assert list(found) == ["1", "2"]
    for level in (1, 2):
        for step in (0, 10, 20):
            mine = [row["correct"] for row in rows if row["level"] == level and row["policy_step"] == step]
            assert found[str(level)]["a"][step]["pass@1"]["mean"] == pytest.approx(np.mean(mine))


def steps_of_table(out):
    table = out.partition("**Along training, %**")[2].partition("**")[0]
    return [line.split(" | ")[1] for line in table.splitlines() if line.startswith("| ")][1:]


def test_a_run_still_being_evaluated(tmp_path, monkeypatch, capsys):
    """A step that lacks problems is named and left out, of the curves and of the tables."""
    rows = sorted(moving_rows(5), key=lambda row: row["policy_step"])
    path = write(tmp_path / "rows.jsonl", rows[:-7])
    status, out, _ = run(monkeypatch, capsys, path, "--k", 1)
    assert status == 0 and "policy_step 20 has 13 of 20 problems: left out" in out
    assert steps_of_table(out) == ["0", "10"]
    f = evaluate.read_file(path, [1])
    assert list(f["steps"]) == [0, 10] and f["settings"]["policy_step"] == [10]


def test_steps_that_differ_between_runs_are_said(tmp_path, monkeypatch, capsys):
    a, b = (write(tmp_path / f"{name}.jsonl", moving_rows(6, steps))
            for name, steps in (("a", (0, 10)), ("b", (0, 10, 20))))
    out = run(monkeypatch, capsys, a, b, "--k", 1)[1]
    assert "NOT ALIKE: policy_steps differ: a 0, 10; b 0, 10, 20" in out
    out = run(monkeypatch, capsys, f"x={a}", f"x={b}", "--k", 1)[1]  # seeds: the steps of both
    assert steps_of_table(out) == ["0", "10"]


def test_exact_limits_are_drawn_along_training(tmp_path, monkeypatch, capsys):
    path, drawn = write(tmp_path / "rows.jsonl", moving_rows(7)), {}
    monkeypatch.setattr(evaluate, "save", lambda figure, name: drawn.update({Path(name).name: [
        [line.get_ydata()[0] for line in axis.lines if line.get_label() in ("best possible list", "posterior sampling")]
        for axis in figure.axes]}))
    assert run(monkeypatch, capsys, path, "--k", 1, 2, "--curves", "pass@2", "maj@2", "--out", tmp_path / "out")[0] == 0
    best, sampled = evaluate.exact_limits([0.5, 0.25, 0.25], [2])
    assert drawn["along_step"][0] == pytest.approx([100 * best[0], 100 * sampled[0]]) and drawn["along_step"][1] == []


def step_rows(right, problems):
    """{step: share of right samples of 4} -> rows, the same for all problems."""
    return [{"task_id": name, "prompt": name, "correct": [True] * c + [False] * (4 - c),
             "scores": [1.0] * c + [0.0] * (4 - c), "votes": [0] * c + [1] * (4 - c), "policy_step": step}
            for step, c in right.items() for name in problems]


def test_the_best_step_is_chosen_on_other_problems_than_it_is_reported_on(tmp_path, monkeypatch, capsys):
    """On the problems to choose on step 10 is best, on those of the report step 20: what stands there is step 10's."""
    mine = write(tmp_path / "mine.jsonl", step_rows({0: 1, 10: 2, 20: 4}, ["a", "b", "c"]))
    choose = write(tmp_path / "choose.jsonl", step_rows({0: 1, 10: 3, 20: 2}, ["d", "e"]))
    status, _, err = run(monkeypatch, capsys, f"m={mine}", "--choose-on", f"m={choose}", "--k", 1,
                         "--out", tmp_path / "out")
    assert status == 0, err
    found = json.loads((tmp_path / "out/results.json").read_text())["best"]["pass@1"]["m"]
    assert (found["step"], found["chosen"], found["mean"]) == (10, 0.75, 0.5)
    # all or some of them the same
    for also in (mine, write(tmp_path / "one.jsonl", step_rows({0: 1, 10: 3}, ["d", "c"]))):
        status, out, err = run(monkeypatch, capsys, f"m={mine}", "--choose-on", f"m={also}", "--k", 1)
        assert (status, out) == (2, "") and "other problems" in err


def test_a_choice_set_with_nothing_to_choose_from_is_said(tmp_path, monkeypatch, capsys):
    mine = write(tmp_path / "mine.jsonl", step_rows({0: 1, 10: 2}, ["a", "b"]))
    one = [write(tmp_path / f"{name}.jsonl", step_rows({10: 3}, [*name])) for name in ("de", "fg")]
    line = "evaluate.py: --choose-on has no effect: no method has several steps or variants to choose from there\n"
    for runs in ([f"m={mine}"], []):
        status, _, err = run(monkeypatch, capsys, *runs, "--choose-on", f"m={one[0]}", f"o={one[1]}", "--k", 1)
        assert (status, err) == (0, line)
    several = write(tmp_path / "several.jsonl", step_rows({0: 1, 10: 3}, ["d"]))
    for chosen in ([f"m={several}"], [f"m:a={one[0]}", f"m:b={one[1]}"]):
        assert "no effect" not in run(monkeypatch, capsys, "--choose-on", *chosen, "--k", 1)[2]


def test_without_a_choice_set_the_problems_are_halved(tmp_path, monkeypatch, capsys):
    names = [f"q{i}" for i in range(40)]
    f = evaluate.read_file(write(tmp_path / "all.jsonl", step_rows({0: 1}, names)), [1])
    even = {task for task, c in zip(f["tasks"], f["clusters"]) if int(c[0], 16) % 2 == 0}
    assert 10 < len(even) < 30
    rows = step_rows({10: 3, 20: 2}, sorted(even)) + step_rows({10: 1, 20: 4}, sorted(set(names) - even))
    run(monkeypatch, capsys, f"m={write(tmp_path / 'm.jsonl', rows)}", "--k", 1, "--out", tmp_path / "out")
    found = json.loads((tmp_path / "out/results.json").read_text())["best"]["pass@1"]["m"]
    assert (found["step"], found["chosen"], found["mean"]) == (10, 0.75, 0.25)
    (one, other) = evaluate.halves([f])
    assert not set(one[0]["tasks"]) & set(other[0]["tasks"])


def test_variants_are_chosen_between_and_stand_in_the_papers_row(tmp_path, monkeypatch, capsys):
    """Of five coefficients the best on other problems is the paper's `entropy`, though another is best on the
    report's."""
    mine, choose = [], []
    for variant, (there, here) in {"0.001": (1, 4), "0.01": (3, 2)}.items():
        mine.append(f"entropy:{variant}={write(tmp_path / f'{variant}.jsonl', step_rows({7: here}, ['a', 'b']))}")
        choose.append(f"entropy:{variant}={write(tmp_path / f'c{variant}.jsonl', step_rows({7: there}, ['c', 'd']))}")
    base = write(tmp_path / "base.jsonl", step_rows({0: 1}, ["a", "b"]))
    status, out, err = run(monkeypatch, capsys, f"base={base}", *mine, "--choose-on", *choose, "--k", 1, "--paper",
                           "pkpo-math-gemma2-2b", "--out", tmp_path / "out")
    assert status == 0, err
    assert "| entropy, ours | 50.00 |" in out and "entropy is entropy:0.01, chosen on other problems" in out
    assert (tmp_path / "out/variants.png").exists()
    # what is to be evaluated
    only = run(monkeypatch, capsys, "--choose-on", *choose, "--k", 1, "--out", tmp_path / "only")
    best = json.loads((tmp_path / "only/results.json").read_text())["best"]["pass@1"]
    assert only[0] == 0 and best["entropy"]["run"] == "entropy:0.01"
    missing = run(monkeypatch, capsys, mine[0], "--choose-on", *choose, "--k", 1)
    assert missing[0] == 0 and "| entropy | 0.01 | 7 | 75.0 | not evaluated |" in missing[1]


def test_paired_difference_of_best_steps(tmp_path, monkeypatch, capsys):
    for name, seed in (("a", 1), ("b", 2)):
        write(tmp_path / f"{name}.jsonl", moving_rows(seed, P=40))
        write(tmp_path / f"c{name}.jsonl",
              [row | {"prompt": "x" + row["prompt"]} for row in moving_rows(seed + 5, P=40)])
    run(monkeypatch, capsys, *(f"{n}={tmp_path / n}.jsonl" for n in "ab"),
        "--choose-on", *(f"{n}={tmp_path / f'c{n}.jsonl'}" for n in "ab"),
        "--k", 4, "--curves", "pass@4", "--out", tmp_path / "out")
    best = json.loads((tmp_path / "out/results.json").read_text())["best"]["pass@4"]
    files = {n: evaluate.read_file(tmp_path / f"{n}.jsonl", [4]) for n in "ab"}
    values = {n: files[n]["steps"][best[n]["step"]]["values"][:, 0] for n in "ab"}
    d = values["b"] - values["a"]
    assert best["b"]["difference"]["mean"] == pytest.approx(d.mean()) and best["b"]["difference"]["against"] == "a"
    assert best["b"]["difference"]["se"] == pytest.approx(d.std(ddof=1) / np.sqrt(40))


@pytest.mark.parametrize("flags, message", [
    (["--curves", "pass@3"], "expected of pass@1"), (["--curves", "best@1"], "pass@4"),
    (["--rollouts", "pass@1"], "needs --out")])
def test_bad_flags_along_training(tmp_path, monkeypatch, capsys, flags, message):
    path = write(tmp_path / "rows.jsonl", moving_rows(8))
    status, out, err = run(monkeypatch, capsys, path, "--k", 1, *flags)
    assert (status, out) == (2, "") and message in err


def test_a_step_must_be_a_number_in_all_rows(tmp_path, monkeypatch, capsys):
    for step in (None, "10", 1.5, True):
        rows = [row | {"policy_step": step} if i == 3 else row for i, row in enumerate(moving_rows(9))]
        status, _, err = run(monkeypatch, capsys, write(tmp_path / "rows.jsonl", rows), "--k", 1)
        assert status == 2 and "row 4" in err and "policy_step" in err


# ---------------------------------------------------------------- rollouts

def write_rollouts(run, steps=20, P=6, level=lambda i: 1 + i % 2, kl=True):
    """A run directory with the training rows of each step; returns all rows."""
    everything = []
    for step in range(steps):
        rows = make_rows(P=P, n=4, seed=step, difficulty=1 - step / steps, step=step, level=level)
        path = run / "rollouts" / f"step-{step:06d}.jsonl.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
        everything += rows
    write(run / "metrics.jsonl", [{"step": s, "k": 4, "reward": 0.5, "kl_ref": 0.1 * s} for s in range(steps)] if kl
          else [{"step": s} for s in range(steps)])
    return everything


def test_training_by_level_against_a_direct_count(tmp_path, monkeypatch, capsys):
    rows = write_rollouts(tmp_path / "run")
    drawn = {}
    monkeypatch.setattr(evaluate, "save", lambda figure, path: drawn.update({Path(path).name: figure.axes}))
    status, _, err = run(monkeypatch, capsys, tmp_path / "run", "--rollouts", "pass@1", "pass@4",
                         "--out", tmp_path / "out")
    assert status == 0, err
    for name, x in (("rollouts_step", [4.5, 14.5]), ("rollouts_kl", [0.45, 1.45])):
        panels = {axis.get_ylabel(): axis.lines[0].get_xydata() for axis in drawn[name]}
        assert list(panels) == [f"level {level}: {column}, %" for level in (1, 2) for column in ("pass@1", "pass@4")]
        for level in (1, 2):
            for column, count in (("pass@1", np.mean), ("pass@4", np.any)):
                blocks = [[count(row["correct"]) for row in rows if row["level"] == level and row["step"] // 10 == b]
                          for b in (0, 1)]
                np.testing.assert_allclose(panels[f"level {level}: {column}, %"],
                                           np.transpose([x, [100 * np.mean(b) for b in blocks]]))


def test_the_untrained_model_has_no_rollouts(tmp_path, monkeypatch, capsys):
    """As in the presets: a directory with its evaluation only, beside those of runs."""
    write_rollouts(tmp_path / "run")
    for name in ("run", "base"):
        write(tmp_path / name / "eval.jsonl", make_rows())
    flags = ["--k", 1, "--rollouts", "pass@1", "--out", tmp_path / "out"]
    status, _, err = run(monkeypatch, capsys, tmp_path / "base", tmp_path / "run", *flags)
    assert status == 0 and (tmp_path / "out/rollouts_step.png").exists(), err
    status, _, err = run(monkeypatch, capsys, tmp_path / "base", *flags)
    assert status == 2 and "--rollouts" in err


def test_rollouts_without_levels_or_kl(tmp_path, monkeypatch, capsys):
    write_rollouts(tmp_path / "run", level=None, kl=False)
    status, _, err = run(monkeypatch, capsys, tmp_path / "run", "--rollouts", "maj@4", "--out", tmp_path / "out")
    assert status == 0 and (tmp_path / "out/rollouts_step.png").exists()
    assert not (tmp_path / "out/rollouts_kl.png").exists()
    status, _, err = run(monkeypatch, capsys, tmp_path / "run", "--rollouts", "pass@5", "--out", tmp_path / "out")
    assert status == 2 and "n = 4" in err


def test_damaged_rollouts_are_named_and_counted(tmp_path, monkeypatch, capsys):
    rows = write_rollouts(tmp_path / "run")
    damage = {"step-000003": b"", "step-000004": b"no gzip", "step-000007": None,
              "step-000011": gzip.compress(b'{"step": 11}\n'), "step-000012": gzip.compress(b'{"step": 12,')}
    for name, data in damage.items():
        path = tmp_path / "run" / "rollouts" / f"{name}.jsonl.gz"
        path.write_bytes(path.read_bytes()[:-30] if data is None else data)
    status, _, err = run(monkeypatch, capsys, f"a={tmp_path / 'run'}", "--rollouts", "pass@1",
                         "--out", tmp_path / "out")
    assert status == 0 and "5 files of rollouts left out" in err and all(name in err for name in damage)
    found = json.loads((tmp_path / "out/results.json").read_text())["rollouts"]["a"][0]
    assert len(found["damaged"]) == 5 and found["groups"] == 15 * 6
    for path in (tmp_path / "run" / "rollouts").iterdir():
        path.write_bytes(b"")
    status, _, err = run(monkeypatch, capsys, tmp_path / "run", "--rollouts", "pass@1", "--out", tmp_path / "out")
    assert status == 2 and "that can be read" in err


# ---------------------------------------------------------------- the papers

def test_papers_numbers_are_those_of_the_notes():
    notes = ROOT.parent / "shared/papers/settings.md"
    if not notes.exists():
        pytest.skip("../shared/papers/settings.md, the transcript of the papers' tables, is not here")
    text = " ".join(notes.read_text().replace("|", " ").split())
    for key, table in evaluate.read_papers(json.loads(Path(evaluate.PAPERS).read_text())).items():
        place = 0
        for name, row in table["rows"].items():  # each row whole and in its order, the rows in theirs
            assert list(row) == table["columns"]
            forms = [" ".join(form(value) for value in row.values()) for form in (
                lambda v: f"{100 * v:.{table['digits']}f}", lambda v: f"{v:.3f}", lambda v: f"{v:.3f}"[1:])]
            places = [text.find(" " + form, place) for form in forms]
            assert max(places) >= place, (key, name)
            place = max(places)


def test_paper_row_difference_and_selection(tmp_path, monkeypatch, capsys):
    rows = make_rows(P=10, n=10, dataset="code_contests", split=lambda i: "valid" if i < 5 else "test")
    path = write(tmp_path / "rows.jsonl", rows)
    status, out, _ = run(monkeypatch, capsys, f"PG-mean={path}", "--paper", "tang-table1")
    assert "ours is dataset code_contests, split test, valid; the paper's is Tang et al. 2025, table 1" in out
    cells = [line.strip("| ").split(" | ") for line in out.splitlines() if line.startswith("| ")]
    lines = {row[0]: row[1:] for row in cells}
    valid = 100 * np.mean([row["correct"] for row in rows[:5]])
    test = 100 * np.mean([row["correct"] for row in rows[5:]])
    assert status == 0 and lines["pg-mean, paper"] == ["24.6", "32.9", "38.1", "26.2", "35.1", "39.8"]
    assert lines["pg-mean, ours"][::3] == [f"{valid:.1f}", f"{test:.1f}"]
    assert lines["pg-mean, ours"][2] == "-"  # no pass@100 from 10 samples
    assert lines["difference"][3] == f"{test - 26.2:+.1f}" and lines["ppo-biased, paper"][0] == "21.6"
    only_test = write(tmp_path / "test.jsonl", rows[5:])
    out = run(monkeypatch, capsys, f"pg-mean={only_test}", "--paper", "tang-table1")[1]
    assert "| pg-mean, ours | - | - | - | " in out
    other = write(tmp_path / "other.jsonl", make_rows())
    out = run(monkeypatch, capsys, f"k8={other}", "--paper", "maxk-table2", "pkpo-arc-gemma2-9b")
    assert out[0] == 2 and "expected methods named as in the paper (base," in out[2]


# ---------------------------------------------------------------- errors

def change(index, **keys):
    rows = make_rows(P=4, prompt="p")
    rows[index] |= keys
    return [{key: value for key, value in row.items() if value is not Ellipsis} for row in rows]


WHERE = ["row 3", "'t/2'"]
BAD_ROWS = {
    "duplicate": (change(2, task_id="t/1"), ["row 3", "'t/1'", "row 2"]),
    "nan": (change(2, scores=[0.0, float("nan")] + [0.0] * 6), [*WHERE, "scores", "nan", "scores[1]"]),
    "infinite": (change(2, scores=[float("inf")] * 8), [*WHERE, "scores", "finite"]),
    "no votes": (change(2, votes=...), [*WHERE, "no 'votes'"]),
    "no task_id": (change(2, task_id=...), ["row 3", "no 'task_id'"]),
    "null score": (change(2, scores=[None] * 8), [*WHERE, "scores"]),
    "correct as numbers": (change(2, correct=[1] * 8), [*WHERE, "correct", "true or false"]),
    "votes as text": (change(2, votes=["0"] * 8), [*WHERE, "votes"]),
    "vote below -1": (change(2, votes=[-2] * 8), [*WHERE, "votes", "-2"]),
    "ragged": (change(2, scores=[0.0] * 7), [*WHERE, "scores: 7"]),
    "nested": (change(2, scores=[[0.0], [0.0, 1.0]]), [*WHERE, "scores"]),
    "other n": (change(2, scores=[0.0] * 7, correct=[False] * 7, votes=[0] * 7), [*WHERE, "n = 8", "found 7"]),
    "some logprobs": (change(2, logprobs=[[-1.0]] * 8), [*WHERE, "logprobs"]),
    "positive logprob": ([row | {"logprobs": [[1.0]] * 8} for row in change(2)], ["row 1", "logprobs"]),
    "flat logprobs": ([row | {"logprobs": [-1.0] * 8} for row in change(2)], ["row 1", "logprobs"]),
    "posterior": ([row | {"posterior": [0.5, 0.2]} for row in change(2)], ["row 1", "posterior", "sum to 1"]),
    "sampling": (change(2, sampling=[1.0]), [*WHERE, "sampling"]),
    "two datasets": (change(2, dataset=["a", "b"]), [*WHERE, "dataset"]),
    "empty": ([], ["at least one row"]),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_bad_rows_are_named(tmp_path, monkeypatch, capsys, name):
    rows, expected = BAD_ROWS[name]
    path = write(tmp_path / "bad.jsonl", rows)
    status, out, err = run(monkeypatch, capsys, path, *(["--k", 1] if name != "empty" else []))
    assert (status, out) == (2, "") and err.count("\n") == 1
    for text in [str(path), *expected]:
        assert text in err, err


def test_bad_json_and_bad_flags(tmp_path, monkeypatch, capsys):
    good = write(tmp_path / "good.jsonl", make_rows())
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(good.read_bytes()[:-20])
    write(tmp_path / "curves/metrics.jsonl", [{"step": 1}, {"step": 1}])
    (tmp_path / "empty").mkdir()
    for arguments, text in (([bad], "row 12, task_id None: not JSON"),
                            ([good, "--k", 1, 9], "k = 9, but there are n = 8"),
                            ([good, "--k", 0], "--k >= 1"),
                            ([good, "--against", "x"], "expected one of good"),
                            ([good, "--cluster", "rule"], "--cluster rule"),
                            ([good, good], "found it twice"),
                            ([good, "--out", good], "--out"),
                            ([], "expected at least one"),
                            ([tmp_path / "nowhere.jsonl"], "No such file"),
                            ([tmp_path / "empty"], "along.jsonl or metrics.jsonl"),
                            ([tmp_path / "curves", "--out", tmp_path / "o"], "row 2: expected an integer step")):
        status, out, err = run(monkeypatch, capsys, *arguments)
        assert (status, out) == (2, "") and text in err, (arguments, err)


def test_no_problem_in_common(tmp_path, monkeypatch, capsys):
    a = write(tmp_path / "a.jsonl", make_rows())
    b = write(tmp_path / "b.jsonl", [row | {"task_id": row["task_id"] + "x"} for row in make_rows()])
    status, _, err = run(monkeypatch, capsys, a, b)
    assert status == 2 and "expected a common task_id" in err


# ---------------------------------------------------------------- size

def test_memory_is_bounded_by_what_is_kept(tmp_path):
    """20 MB of rows, nearly all of it text and tokens, are read in less than 3 MB."""
    row = make_rows(P=1, n=16)[0] | {"completions": ["x" * 2000] * 16, "logprobs": [[-0.5] * 100] * 16}
    path = tmp_path / "rows.jsonl"
    with open(path, "w") as file:
        for i in range(500):
            file.write(json.dumps(row | {"task_id": f"t/{i}"}) + "\n")
    assert path.stat().st_size > 20e6
    tracemalloc.start()
    evaluate.read_file(path, [1, 16])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e6


def test_the_command_and_its_benchmark():
    done = subprocess.run([sys.executable, str(ROOT / "evaluate.py"), "--benchmark", "50", "--k", "1", "8"],
                          capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=60)
    assert done.returncode == 0, done.stderr
    assert re.match(r"50 problems x 256 samples, .* of CPU\), \d+ problems/s, peak memory \d+ MiB", done.stdout)
