"""The rows between the stages: their one description against the README and against what the stages read and write; and
input that is damaged, which every stage refuses in the same words."""

import ast
import collections
import gzip
import io
import json
import os
import random
import shutil
import subprocess
import sys
import time

import pytest

import advantages
import evaluate
import reward
import train
from advantages import A_SAMPLE, ROW, SAMPLING, TESTS, BadRow, By, ListOf, read_rows
from conftest import ROOT

STAGES = ("reward", "advantages", "train", "sft", "evaluate")


# --------------------------------------------------------------------------------------------------------- the README

def words(kind):
    if isinstance(kind, By):
        return "; ".join(f"{value}: {words(inner)}" for value, inner in kind.types.items())
    if isinstance(kind, ListOf) and kind.words == A_SAMPLE:
        return f"one a sample: {words(kind.of)}"
    return kind.words


def table_of_keys():
    yield "| key | type | added by | needed by | also read by | |"
    yield "|---|---|---|---|---|---|"
    for key, entry in ROW.items():
        yield (f"| `{key}` | {words(entry.type)} | {entry.writer} | {', '.join(entry.needed.split())} | "
               f"{', '.join(entry.used.split())} | {entry.meaning} |")


def table_of_tests():
    yield "| `tests`: | type | needed | |"
    yield "|---|---|---|---|"
    for key, entry in TESTS.items():
        needed = ", ".join(entry.type.types) if isinstance(entry.type, By) else "yes" if entry.needed else ""
        yield f"| `{key}` | {words(entry.type)} | {needed} | {entry.meaning} |"


@pytest.mark.parametrize("page, table", [("README.md", table_of_keys), ("results/rows.md", table_of_tests)])
def test_the_tables_are_the_description(page, table):
    lines, expected = (ROOT / page).read_text().splitlines(), list(table())
    start = lines.index(expected[0])
    assert [*lines, ""][start:start + len(expected) + 1] == [*expected, ""]


# ----------------------------------------------------------------------------------- what the stages read and write

class Watched(dict):
    """A row, or an object in one, that notes which of its keys are read."""

    def __init__(self, content, seen):
        super().__init__(content)
        self.seen = seen

    def __getitem__(self, key):
        self.seen.add(key)
        return super().__getitem__(key)

    def get(self, key, default=None):
        self.seen.add(key)
        return super().get(key, default)


@pytest.fixture
def watch(monkeypatch):
    """watch(module): its rows note what is read of them, after the checks: {"row": set, "tests": set,
    "sampling": set}."""
    def of(module):
        seen = {"row": set(), "tests": set(), "sampling": set()}

        def read(*args, **more):
            for number, row in read_rows(*args, **more):
                for key in ("tests", "sampling"):
                    if row.get(key):
                        row[key] = Watched(row[key], seen[key])
                yield number, Watched(row, seen["row"])
        monkeypatch.setattr(module, "read_rows", read)
        return seen
    return of


def declared(stage):
    return {key for key, entry in ROW.items() if stage in (entry.needed + " " + entry.used).split()}


def lines_of(rows):
    return [json.dumps(row).encode() + b"\n" for row in rows]


def row(**changes):
    """A row of n = 4 samples with every key of the description, graded and with advantages; `changes`: other or no
    keys."""
    whole = {
        "task_id": "t/1", "dataset": "d", "split": "test", "level": 3, "kind": "math", "prompt": "What is 1 + 1?",
        "gold": "2", "tests": None, "choices": {"A": "2", "B": "3"},
        "completions": ["\\boxed{2}", "\\boxed{3}", "\\boxed{2}", "no"],
        "token_ids": [[3, 1], [4, 1], [3, 1], [5, 6]],
        "logprobs": [[-1.5, -0.5], [-2, -0.25], [-1.5, -0.5], [-3.0, -0.125]],
        "finish_reasons": ["stop", "stop", "stop", "length"], "prompt_token_ids": [7, 8, 9],
        "step": 0, "step_prompts": 1, "policy_step": 0, "reload_s": 0.5, "beta": 2.0,
        "sampling": {"model": "m", "seed": 0, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_tokens": 2},
        "posterior": [0.5, 0.5], "scores": [1.0, 0.0, 1, 0.0], "correct": [True, False, True, False],
        "preds": ["2", "3", "2", None], "votes": [0, 1, 0, -1], "rewards": [1.0, 0.0, 1.0, 0.0],
        "verdicts": ["ok", "wrong", "ok", "no answer"], "estimator": "rloo", "k": 2,
        "advantages": [0.25, -0.25, 0.25, -0.25]}
    assert whole.keys() == ROW.keys()
    return {key: value for key, value in (whole | changes).items() if value is not ...}


STDIN = {"type": "stdin", "inputs": ["1", "2"], "outputs": ["1", "2"], "setup": "", "template": "{program}",
         "extract": False, "weights": [1, 2], "time_limit_s": 2, "memory_limit_mb": 256}
CHECK = {"type": "check", "check": "def check(f):\n    assert f(1) == 1\n", "entry_point": "f"}
CALL = {"type": "call", "entry_point": "f", "inputs": [[1], [2]], "outputs": [1, 2]}


def code(tests):
    programs = ["print(input())", "def f(x): return x", "1 +", "x = {}["]
    return row(kind="code", tests=tests, gold=None, completions=programs)


def test_what_reward_reads_is_what_the_description_says(watch):
    seen = watch(reward)
    grader = reward.Grader(reward.parse_arguments(["--workers", "1"]))
    try:
        for _, one in reward.read_rows(lines_of([row(gold="A"), code(STDIN), code(CHECK),
                                                 row(kind="grid", gold=[[1, 2]])]), "reward"):
            grader.finish(one, grader.submit(one))
    finally:
        grader.close()
    assert seen["row"] == declared("reward") and seen["tests"] == set(TESTS)


def test_what_advantages_reads_is_what_the_description_says(watch, monkeypatch):
    seen = watch(advantages)
    monkeypatch.setattr(advantages, "lines_while_read", lambda out: lines_of([row()]))
    args = type("args", (), {"estimator": "maj_centred", "k": "2@0 3@1", "beta": None})
    advantages.add_advantages(advantages.maj_centred, ["votes", "step"], args, io.StringIO())
    assert seen["row"] == declared("advantages")


@pytest.mark.parametrize("stage", ["train", "sft"])
def test_what_train_reads_is_what_the_description_says(watch, monkeypatch, tiny, tmp_path, stage):
    seen = watch(train)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"".join(lines_of([row()])))))
    monkeypatch.setattr(sys, "argv", ["train.py", "--model", str(tiny), "--run", str(tmp_path / "run"), "--steps", "1",
                                      "--samples-every", "1", *(["--loss", "sft"] if stage == "sft" else [])])
    train.main()
    assert seen["row"] == declared(stage)
    assert seen["sampling"] == ({"temperature", "top_p", "top_k"} if stage == "train" else set())


def test_what_evaluate_reads_is_what_the_description_says(watch, tmp_path):
    seen = watch(evaluate)
    (tmp_path / "rows.jsonl").write_bytes(b"".join(lines_of([row()])))
    evaluate.read_file(tmp_path / "rows.jsonl", [1, 2])
    (tmp_path / "rollouts").mkdir()
    (tmp_path / "rollouts" / "step-000000.jsonl.gz").write_bytes(gzip.compress(lines_of([row()])[0]))
    assert len(evaluate.read_rollouts(tmp_path, ["pass@2"])["steps"]) == 1
    assert seen["row"] == declared("evaluate") and seen["sampling"] == set(SAMPLING)


def test_each_stage_writes_the_keys_that_the_description_says(tiny, tmp_path, shell):
    done = shell(f"python generate.py --model {tiny} --split test --limit 2 --num-samples 4 | tee {tmp_path}/0 | "
                 f"python reward.py | tee {tmp_path}/1 | python advantages.py --estimator rloo --k 2")
    (tmp_path / "2").write_text(done.stdout)
    stages = [set(json.loads((tmp_path / name).read_text().splitlines()[0])) for name in "012"]
    by = {name: {key for key, entry in ROW.items() if entry.writer == name}
          for name in ("generate", "reward", "advantages")}
    # HARP's; the loop's
    assert stages[0] - {"rule"} <= by["generate"] and by["generate"] - stages[0] <= {"choices", "reload_s"}
    assert stages[1] - stages[0] == by["reward"] and stages[2] - stages[1] == by["advantages"] - {"beta"}
    for stage, name in (("reward", "0"), ("advantages", "1"), ("evaluate", "1"), ("train", "2"), ("sft", "2")):
        assert len(list(read_rows((tmp_path / name).read_bytes().splitlines(), stage))) == 2


# ------------------------------------------------------------------------------------------------- damaged input

DEEP = 200_000
BAD_LINES = {
    "cut": (lines_of([row()])[0][:-20], "not JSON: "),
    "no object": (b"[1, 2]\n", "expected a JSON object, found [1, 2]"),
    "null": (b"null\n", "expected a JSON object, found None"),
    "two values": (b"{} {}\n", "not JSON: Extra data"),
    "deep lists": (b'{"x": ' + b"[" * DEEP + b"]" * DEEP + b"}\n", "nested more than 200 levels deep"),
    "deep objects": (b'{"x":' * DEEP + b"1" + b"}" * DEEP, "nested more than 200 levels deep"),
    "deep enough for a writer": (b'{"x": ' + b"[" * 900 + b"]" * 900 + b"}\n", "nested more than 200 levels deep"),
    "UTF-16": (json.dumps(row()).encode("utf-16"), "UTF-16 or UTF-32 text, expected UTF-8"),
    "UTF-16 without a mark": (json.dumps(row()).encode("utf-16-le"), "UTF-16 or UTF-32 text, expected UTF-8"),
    "gzip": (gzip.compress(json.dumps(row()).encode()), "gzip data, expected JSON lines"),
    "Latin-1": ('{"task_id": "\xe9"}'.encode("latin-1"), "not UTF-8 text: "),
    "ragged": (lines_of([row(votes=[0, 1, 0])])[0], "expected lists of one length, found completions: 4, "),
    "no list": (lines_of([row(preds=7)])[0], "expected lists of one length, found completions: 4, "),
}


@pytest.mark.parametrize("stage", STAGES)
def test_damaged_lines_are_named_in_the_same_words_everywhere(stage):
    good = lines_of([row()])[0]
    for name, (line, message) in BAD_LINES.items():
        arriving = read_rows([good, b"\n", b"  \r\n", good, line, good], stage)
        # blank lines count, and no more than that
        assert [number for number, _ in (next(arriving), next(arriving))] == [1, 4]
        with pytest.raises(BadRow, match="^row 5, task_id ") as error:
            next(arriving)
        assert message in str(error.value) and len(str(error.value)) < 500 and "\n" not in str(error.value), name


def test_the_same_words_from_every_command(tmp_path, tiny, main_of):
    good = lines_of([row(step_prompts=2, tests=...)])[0]
    for name in ("deep lists", "UTF-16", "gzip", "ragged"):
        data, said = good + BAD_LINES[name][0], set()
        for command, stage in ((["reward.py", "--workers", "1"], "reward"),
                               (["advantages.py", "--k", "2"], "advantages")):
            done = subprocess.run([sys.executable, *command], input=data, capture_output=True, cwd=ROOT, timeout=60)
            assert done.returncode == 2 and len(done.stdout.splitlines()) == 1 and b"Traceback" not in done.stderr
            said |= {line.partition(": ")[2] for line in done.stderr.decode().splitlines() if "row 2" in line}
        (tmp_path / "rows.jsonl").write_bytes(data)
        for status, _, err in (main_of(evaluate, tmp_path / "rows.jsonl", "--k", 1),
                               main_of(train, "--model", tiny, "--run", tmp_path / "run", data=data)):
            assert status == 2 and "Traceback" not in err
            said.add(err.strip().rpartition("row 2")[1] + err.strip().rpartition("row 2")[2])
        assert len(said) == 1 and BAD_LINES[name][1] in said.pop()


@pytest.fixture
def main_of(monkeypatch, capsys):
    """main_of(module, flags, data): its main() in this process: exit status, standard output, standard error."""
    def of(module, *flags, data=b""):
        monkeypatch.setattr(sys, "stdin", None if data is None else io.TextIOWrapper(io.BytesIO(data)))
        monkeypatch.setattr(sys, "argv", [f"{module.__name__}.py", *map(str, flags)])
        capsys.readouterr()
        try:
            module.main()
            status = 0
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()
    return of


BAD_VALUES = [
    ({"completions": ["a", "b", "c", 1]}, "completions[3]: expected text, found 1"),
    ({"completions": None}, "no 'completions': generate.py adds it"),
    ({"kind": ["math"]}, "kind: expected text, found ['math']"),
    ({"kind": None}, "no 'kind': generate.py adds it"),
    ({"gold": 2}, "gold: expected text that is not blank, found 2"),
    ({"gold": " "}, "gold: expected text that is not blank"),
    ({"choices": ["2", "3"]}, "choices: expected an object of texts"),
    ({"choices": {"A": None}}, "choices: expected an object of texts"),
    ({"kind": "grid", "gold": [[1], [1, 2]]}, "gold: expected a grid"),
    ({"kind": "grid", "gold": [[1, 1.5]]}, "gold[0][1]: expected a digit, found 1.5"),
    ({"kind": "code", "tests": None}, "no 'tests'"),
    *(({"kind": "code", "tests": STDIN | changes}, message) for changes, message in [
        ({"type": "unit"}, "tests.type: expected stdin, call, assert or check, found 'unit'"),
        ({"type": ["stdin"]}, "tests.type: expected stdin"),
        ({"inputs": []}, "tests.inputs: expected a list of texts, found []"),
        ({"inputs": ["1"]}, "tests: expected lists of one length, found inputs: 1, outputs: 2, weights: 2"),
        ({"outputs": ["1", 2]}, "tests.outputs[1]: expected text, found 2"),
        ({"weights": [None, 1]}, "tests.weights[0]: expected a number, 0 or more, found None"),
        ({"weights": ["1", "1"]}, "tests.weights[0]"), ({"weights": 1}, "tests.weights: expected a list"),
        ({"weights": [True, 1]}, "tests.weights[0]"), ({"weights": [0, 0]}, "not all 0, found [0, 0]"),
        ({"weights": [float("nan"), 1]}, "tests.weights[0]"), ({"weights": [1e308, 1]}, "tests.weights[0]"),
        ({"weights": [10**400, 1]}, "tests.weights[0]"), ({"weights": [1, -1]}, "tests.weights[1]"),
        ({"template": 5}, "tests.template: expected text with {program} in it, found 5"),
        ({"template": "x"}, "tests.template"), ({"setup": ["x"]}, "tests.setup: expected text"),
        ({"extract": 0}, "tests.extract: expected true or false"),
        ({"time_limit_s": "2"}, "tests.time_limit_s"), ({"time_limit_s": 1e308}, "tests.time_limit_s"),
        ({"time_limit_s": True}, "tests.time_limit_s"), ({"time_limit_s": 0}, "tests.time_limit_s"),
        ({"memory_limit_mb": float("inf")}, "tests.memory_limit_mb"),
        ({"memory_limit_mb": 0.5}, "tests.memory_limit_mb")]),
    *(({"kind": "code", "tests": CHECK | changes}, message) for changes, message in [
        ({"check": None}, "no 'tests.check'"), ({"entry_point": 3}, "tests.entry_point"),
        ({"time_limit_s": "2"}, "tests.time_limit_s"),
        ({"template": ["x"]}, "tests.template"), ({"setup": 1}, "tests.setup")]),
    *(({"kind": "code", "tests": CALL | changes}, message) for changes, message in [
        ({"inputs": [1, 2]}, "tests.inputs[0]: expected a list of arguments, found 1"),
        ({"entry_point": None}, "no 'tests.entry_point'"),
        ({"outputs": "12"}, "tests.outputs: expected a list")]),
]


def test_values_that_grading_could_not_use_are_named():
    for changes, message in BAD_VALUES:
        with pytest.raises(BadRow, match="^row 1, task_id 't/1': ") as error:
            list(read_rows(lines_of([row(**changes)]), "reward"))
        assert message in str(error.value), changes
    for fine in ({"tests": STDIN | {"template": None, "weights": None, "extract": None}},
                 {"tests": {**CALL, "inputs": [[], []]}}):
        assert list(read_rows(lines_of([row(kind="code", **fine)]), "reward"))


@pytest.mark.parametrize("tests", [
    {"weights": [None]}, {"weights": ["1"]}, {"weights": 1}, {"time_limit_s": 1e308}, {"setup": [1]},
    {"template": None, "inputs": ["1"], "outputs": [["1"]]}])
def test_a_bad_row_ends_reward_with_the_rows_before_it_whole(tests):
    data = b"".join(lines_of([row(), code(STDIN | tests), row()]))
    done = subprocess.run([sys.executable, "reward.py", "--workers", "2"], input=data, capture_output=True, cwd=ROOT,
                          timeout=60)
    assert done.returncode == 2 and b"reward.py: row 2, task_id 't/1': tests" in done.stderr
    assert b"Traceback" not in done.stderr
    assert [json.loads(line)["correct"] for line in done.stdout.splitlines()] == [[True, False, True, False]]


def test_a_row_that_max_tests_leaves_without_tests_loses_no_row_before_it():
    data = b"".join(lines_of([row(), row(), code(STDIN | {"weights": [0, 1]}), row()]))
    done = subprocess.run([sys.executable, "reward.py", "--max-tests", "1"], input=data, capture_output=True, cwd=ROOT,
                          timeout=60)
    assert done.returncode == 2 and b"row 3, task_id 't/1': --max-tests 1 leaves" in done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_whatever_ends_the_reader_ends_reward(monkeypatch, capsys):
    """A fault of ours in the reader's thread is not the end of the input."""
    def broken(*args, **more):
        yield 1, row()
        raise ZeroDivisionError("a fault of ours")
    monkeypatch.setattr(reward, "read_rows", broken)
    read, write = os.pipe()
    with open(write, "w") as out, pytest.raises(ZeroDivisionError):
        reward.run(reward.parse_arguments(["--workers", "1"]), out)
    with open(read, "rb") as rows:
        assert len(rows.read().splitlines()) == 1  # the row before it is out


@pytest.mark.parametrize("command", ["reward.py", "advantages.py --k 1", "generate.py --model {tiny} --limit 1"])
@pytest.mark.parametrize("output, said", [
    ("> /dev/full", "No space left on device"), (">&-", "standard output is closed"), ("| sleep 0", "gone")])
def test_rows_that_cannot_be_written_end_a_stage_in_one_line(tmp_path, tiny, shell, command, output, said):
    (tmp_path / "rows").write_bytes(lines_of([row()])[0])
    done = shell(f"python {command.format(tiny=tiny)} < {tmp_path}/rows {output}")
    assert done.returncode == (1 if said == "gone" else 2)
    assert said in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr and "ignored" not in done.stderr


@pytest.mark.parametrize("data", [b"", b"\n \n"])
def test_an_input_without_rows_is_said(tmp_path, main_of, data):
    """From a file it is an error; through a pipe the stage before has the say: a run that is complete sends none."""
    (tmp_path / "empty").write_bytes(data)
    for script in ("reward.py", "advantages.py"):
        with open(tmp_path / "empty") as empty:
            done = subprocess.run([sys.executable, script], stdin=empty, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 2 and f"{script}: no row came in" in done.stderr and not done.stdout
        done = subprocess.run([sys.executable, script], input=data, capture_output=True, cwd=ROOT)
        assert done.returncode == 0 and f"{script}: no row came in".encode() in done.stderr
    assert main_of(evaluate, tmp_path / "empty")[0] == 2


def test_a_closed_standard_input_is_said(tiny, tmp_path, shell, main_of):
    """The first descriptor that a stage opens is 0 then: advantages.py waited for rows in its own output."""
    message = "standard input is closed; expected rows there\n"
    for script in "reward.py", "advantages.py":
        done = shell(f"python {script} <&-", timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{script}: {message}")
    assert main_of(train, "--model", tiny, "--run", tmp_path / "run", data=None) == (2, "", f"train.py: {message}")


def test_text_and_numbers_that_json_allows_pass_through(tmp_path):
    """Half a surrogate pair, an integer of 5,000 digits, keys that nobody knows: as they came."""
    strange = row(note={"\ud83d": ["\udc00", 10**5000, -0.0]}, completions=["\ud800 \\boxed{2}", "", "x", "\u2028"])
    command = "python reward.py | python advantages.py --k 2"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], input=lines_of([strange])[0],
                          capture_output=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    out = next(read_rows([done.stdout], None))[1]
    assert out["note"] == strange["note"] and out["completions"] == strange["completions"] and out["correct"][0]


def test_evaluate_reads_compressed_rows(tmp_path, main_of):
    data = b"".join(lines_of([row(task_id=f"t/{i}") for i in range(3)]))
    (tmp_path / "plain.jsonl").write_bytes(data)
    (tmp_path / "packed.jsonl.gz").write_bytes(gzip.compress(data))
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(data)[:-30])
    plain, packed = (main_of(evaluate, f"a={tmp_path}/{name}") for name in ("plain.jsonl", "packed.jsonl.gz"))
    assert plain[0] == 0 and plain == packed
    status, _, err = main_of(evaluate, f"{tmp_path}/cut.jsonl.gz")
    assert status == 2 and "cut.jsonl.gz: " in err and err.count("\n") == 1


def test_checking_costs_little_beside_parsing():
    """The measure is the step's processor time, 0.2 s for the smallest model; it is the same for all."""
    rng = random.Random(0)
    of_samples = {key: row()[key] * 4 for key in advantages.OF_SAMPLES if key not in ("token_ids", "logprobs")}
    rows = [row(tests=None, task_id=str(i), token_ids=[[rng.randrange(99) for _ in range(9)] + [1] for _ in range(16)],
                logprobs=[[-rng.random() for _ in range(10)] for _ in range(16)], **of_samples) for i in range(64)]
    lines, cost = lines_of(rows), {}
    for stage in (None, "reward", "advantages", "train"):
        times = []
        for _ in range(15):
            start = time.process_time()
            assert len(list(read_rows(lines, stage))) == 64
            times.append(time.process_time() - start)
        cost[stage] = min(times)
    checks = {stage: seconds - cost[None] for stage, seconds in cost.items()}
    print({str(stage): f"{1e3 * seconds:.2f} ms" for stage, seconds in cost.items()})
    assert sum(checks.values()) < 0.3 * sum(cost.values())


# ----------------------------------------------------------------------------------------------- a stage of one's own

SAMPLER = """
import json, sys
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
with open(sys.argv[2]) as file:
    prompts = [json.loads(line) for line in file]  # a prompt, its reference answer, and completions written elsewhere
for prompt in prompts:
    token_ids = [tokenizer(text)["input_ids"] + [tokenizer.eos_token_id] for text in prompt["completions"]]
    print(json.dumps({
        "task_id": prompt["name"], "kind": "math", "prompt": prompt["question"], "gold": prompt["answer"],
        "completions": prompt["completions"], "token_ids": token_ids,
        "logprobs": [[-5.5 for _ in ids] for ids in token_ids],  # what a service that returns them would say
        "finish_reasons": ["stop" for _ in token_ids],
        "prompt_token_ids": tokenizer(prompt["question"])["input_ids"],
        "step": 0, "step_prompts": len(prompts)}), flush=True)
"""


def test_a_sampler_of_ones_own_feeds_the_other_stages(tiny, tmp_path, shell):
    """The table of the README is enough to replace a stage: no more than the keys that the other stages need."""
    (tmp_path / "sampler.py").write_text(SAMPLER)
    assert len(SAMPLER.strip().splitlines()) <= 25
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps({
        "name": f"sum/{a}", "question": f"{a} + 1 =", "answer": str(a + 1),
        "completions": [f"\\boxed{{{a + 1}}}", "\\boxed{0}", f"it is {a + 1}", "?"]}) + "\n" for a in range(1, 4)))
    done = shell(f"python {tmp_path}/sampler.py {tiny} {tmp_path}/answers.jsonl | tee {tmp_path}/rows.jsonl | "
                 f"python reward.py --reward binary | tee {tmp_path}/rewarded.jsonl | "
                 f"python advantages.py --estimator pkpo_s_loo_minus_one --k 2 | "
                 f"python train.py --model {tiny} --run {tmp_path}/run && "  # to its input's end: none leaves before
                 f"python evaluate.py {tmp_path}/rewarded.jsonl --k 1 2")
    assert done.returncode == 0 and "pass@k" in done.stdout, done.stderr
    needed = {key for key, entry in ROW.items()
              if entry.writer == "generate" and set(entry.needed.split()) & {"reward", "train"}}
    sampled = json.loads((tmp_path / "rows.jsonl").read_text().splitlines()[0])
    assert sampled.keys() == needed - {"tests"}
    [line] = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["updates"] == 1 and 0.2 < json.loads(line)["correct"] < 0.6


# ------------------------------------------------------------------------------------------------------- the fuzzer

JUNK = [None, True, False, 0, -1, 7, 1.5, "", "x", "\ud800", [], [[]], [None], ["x"], {}, {"x": 1}, [1, [2]],
        float("nan"), float("inf"), 1e308, -1e308, 10**400, 2**63, 1e-320, "9" * 5000, 5000 * "[", [[[[]]]],
        {"a": {"a": {"a": {}}}}]


def damaged(rng, row):
    """A row with one to three faults: a value of another type, a list or a text that is longer or shorter, a key
    less."""
    row = json.loads(json.dumps(row))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        place, path = row, []
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = rng.choice(keys)
            path.append(key)
            if isinstance(place[key], (dict, list)) and place[key] and rng.random() < 0.5:
                place = place[key]
                continue
            value = place[key]
            kind = rng.randrange(5)
            if kind == 0:
                del place[key]
            elif kind == 1 and isinstance(value, (list, str)):
                place[key] = value[:-1]
            elif kind == 2 and isinstance(value, (list, str)):
                place[key] = value * 2
            elif kind == 3:
                place[key] = [value]
            else:
                place[key] = rng.choice(JUNK)
            break
    return row


def damaged_line(rng, row):
    line = json.dumps(damaged(rng, row)).encode() + b"\n"
    kind = rng.randrange(12)
    if kind == 0:
        return line[:rng.randrange(len(line))] + b"\n"
    if kind == 1:
        at = rng.randrange(len(line) - 1)
        return line[:at] + bytes([rng.randrange(256)]) + line[at + 1:]
    if kind == 2:
        return rng.choice(list(BAD_LINES.values()))[0].rstrip(b"\n") + b"\n"
    return line


KINDS = [row(), row(kind="grid", gold=[[1, 2], [3, 4]]), code(STDIN), code(CHECK), code(CALL)]


def survivors(status, out, err, number, count, name):
    """Of `count` rows, of which one (`number`, from 1) is damaged: all came out, or the rows before it and its name."""
    assert "Traceback" not in err and status in (0, 2), (name, status, err[-3000:])
    if status == 0:
        assert len(out) == count, (name, len(out), err)
    else:
        said = [line for line in err.splitlines() if f"row {number}, task_id" in line]
        assert len(out) == number - 1 and len(said) == 1 and len(said[0]) < 1000, (name, len(out), err)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_fuzz_rows_through_all_stages(seed, tiny, tmp_path, main_of):
    """Status 2 and the row's number after the rows before it, or a whole output; never a traceback, never a row
    less."""
    rng = random.Random(f"rows/{seed}")
    for turn in range(25):
        number, count = rng.randint(1, 4), 4
        rows = [rng.choice(KINDS) | {"task_id": f"t/{i}", "step": i} for i in range(count)]
        lines = lines_of(rows)
        lines[number - 1] = damaged_line(rng, rows[number - 1])
        if b"\n" in lines[number - 1][:-1] or lines[number - 1].isspace():  # more rows than one, or none
            continue
        data, name = b"".join(lines), (seed, turn, lines[number - 1][:2000])
        estimator = rng.choice(("rloo", "maj_centred", "pkpo_s_loo_minus_one", "grpo"))
        for command in (["reward.py", "--workers", "1", "--timeout-s", "2"],
                        ["advantages.py", "--k", "2", "--estimator", estimator]):
            done = subprocess.run([sys.executable, *command], input=data, capture_output=True, cwd=ROOT, timeout=300)
            out = done.stdout.splitlines()
            survivors(done.returncode, out, done.stderr.decode(), number, count, (command[0], name))
            for line, before in zip(out, lines):
                before, after = json.loads(before), json.loads(line)
                changed = {key for key in before if repr(before[key]) != repr(after[key])}
                assert changed <= {key for key, entry in ROW.items() if entry.writer == command[0][:-3]}, name
        (tmp_path / "rows.jsonl").write_bytes(data)
        status, out, err = main_of(evaluate, tmp_path / "rows.jsonl", "--k", 1)
        assert "Traceback" not in err and (status == 0 or status == 2 and err.count("\n") == 1 and not out), (name, err)
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        status, out, err = main_of(train, "--model", tiny, "--run", tmp_path / "run", data=data)
        said = [line for line in err.splitlines() if f"row {number}, task_id" in line]
        steps = len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
        assert "Traceback" not in err and (status, steps) in ((0, count), (2, number - 1)), (name, status, steps, err)
        assert len(said) == (status == 2), (name, err)


# ------------------------------------------------------------------------------------------------------- the scripts

@pytest.mark.parametrize("script", ["generate", "reward", "advantages", "train", "evaluate", "toy"])
def test_a_name_of_a_script_has_one_meaning(script):
    """The scripts are long: a second definition of a name at their top would replace the first without a word."""
    names = collections.Counter()
    for node in ast.parse((ROOT / f"{script}.py").read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names[node.name] += 1
        elif isinstance(node, ast.Assign):
            names.update({name.id for target in node.targets for name in ast.walk(target) if type(name) is ast.Name
                          and isinstance(name.ctx, ast.Store)})
    assert not [name for name, count in names.items() if count > 1]
