"""Dataset adapters: rows written here in each dataset's schema, and the real rows where they are present."""

import base64
import json
import os
import pickle
import subprocess
import sys
import zipfile
import zlib

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
import generate  # noqa: E402

DATA = os.path.join(os.path.dirname(ROOT), "shared", "data")


def real(*parts):
    path = os.path.join(DATA, *parts)
    if not os.path.exists(path):
        pytest.skip(f"no real rows: {os.path.join('..', 'shared', 'data', *parts)} is absent")
    return path


def written(tmp_path, rows, name="rows.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def program_of(reference):
    assert reference.startswith("```python\n") and reference.endswith("\n```")
    return reference[len("```python\n"):-len("\n```")]


def number(token):
    try:
        return float(token)
    except ValueError:
        return token


def run_tests(tests, program):
    """Passed flags of a row's tests: what a grader does, on programs written here or by the datasets' authors."""
    source = tests.get("template", "{program}").replace("{program}", program)
    if tests["type"] == "stdin":
        done = [subprocess.run([sys.executable, "-I", "-c", source], input=text, capture_output=True, text=True,
                               timeout=20).stdout for text in tests["inputs"]]
        return [list(map(number, output.split())) == list(map(number, expected.split()))
                for output, expected in zip(done, tests["outputs"], strict=True)]
    if tests["type"] == "check":
        source += f"\n{tests['check']}\ncheck({tests['entry_point']})\nprint(True)"
    elif tests["type"] == "assert":
        for expression, value in zip(tests["inputs"], tests["outputs"]):
            source += f"\ntry: print(str(({expression}) == ({value})).lower())\nexcept Exception: print('null')"
    else:
        name = tests["entry_point"]
        source += f"\nimport json\nfor a in json.loads({json.dumps(tests['inputs'])!r}):\n" \
                  f"    print(json.dumps((Solution().{name} if 'Solution' in globals() else {name})(*a)))"
    done = subprocess.run([sys.executable, "-I", "-c", source], capture_output=True, text=True, timeout=20)
    if tests["type"] == "check":
        return [done.returncode == 0]
    expected = [True] * len(tests["outputs"]) if tests["type"] == "assert" else tests["outputs"]
    lines = done.stdout.splitlines() + ["null"] * len(expected)  # none where it crashed
    return [json.loads(line) == output for line, output in zip(lines, expected)]


MATH = {"problem": "What is $1+1$?", "level": "Level 3", "type": "Prealgebra", "unique_id": "train/prealgebra/1.json",
        "solution": "First \\boxed{1}, then \\boxed{\\frac{2}{1}}."}
GSM8K = {"question": "How many?", "answer": "It is 500*2 = <<500*2=1000>>1000.\n#### 1,000"}
MBPP = {"text": "Write a function to pair.", "code": "def pair(a, b):\r\n    return (a, b)", "task_id": 602,
        "test_setup_code": "", "challenge_test_list": [],
        "test_list": ["assert pair(1, [2]) == (1, [2])", "assert pair((1, 2), {3: 4}) == ((1, 2), {3: 4})"]}
HUMANEVAL = {"task_id": "HumanEval/900", "entry_point": "double", "canonical_solution": "    return 2 * x\n",
             "prompt": "def double(x):\n    \"\"\" Twice x. \"\"\"\n",
             "test": "def check(candidate):\n    assert candidate(2) == 4\n"}


def test_math_row():
    row = generate.from_math(MATH)
    assert (row["task_id"], row["level"], row["kind"]) == ("train/prealgebra/1.json", 3, "math")
    assert row["gold"] == "\\frac{2}{1}" and row["reference"] == [MATH["solution"]]  # the last box, braces balanced
    assert generate.from_math({**MATH, "level": "Level ?"})["level"] is None
    assert generate.from_math({**MATH, "level": 5, "answer": "2"})["gold"] == "2"    # the hub's form
    for solution in "none \\boxed{1", "lost \\boxed{}", "nothing":
        with pytest.raises(ValueError, match="boxed"):
            generate.from_math({**MATH, "solution": solution})


@pytest.mark.parametrize("asked,solution,answer,gold", [
    ("Find all $x$.", "So $x = \\boxed{1}$ or $x = \\boxed{\\frac{1}{2}}.$", "\\frac{1}{2}", "1, \\frac{1}{2}"),
    ("Find all points.", "They are $\\boxed{(1,2)}$ and $\\boxed{(3,4)}$.", None, "(1,2), (3,4)"),
    ("List them, separated by commas.", "$\\boxed{1}$, or $\\boxed{2}$ or $\\boxed{3}$", "3", "1, 2, 3"),
    ("Find either.", "So $x = \\boxed{1}$ or $x = \\boxed{2}$.", "2", "2"),
    ("Find all $x$.", "Now $y = \\boxed{1}$. Hence $x = \\boxed{2}$.", "2", "2"),
    ("Find all $x$.", "$x = \\boxed{1}$ or $x = \\boxed{2}$", "1, 2", "1, 2")])
def test_math_answers_are_whole_where_all_are_asked_for(asked, solution, answer, gold):
    assert generate.from_math({**MATH, "problem": asked, "solution": solution, "answer": answer})["gold"] == gold


def test_math_splits_follow_the_id(tmp_path):
    path = written(tmp_path, [MATH, {**MATH, "unique_id": "test/prealgebra/2.json"}])
    assert [r["task_id"] for r in generate.load_prompts("math", "train", path)] == ["train/prealgebra/1.json"]
    assert [r["task_id"] for r in generate.load_prompts("math", "test", path)] == ["test/prealgebra/2.json"]
    assert len(generate.load_prompts("math", "train12k", path)) == 2


def test_gsm8k_row():
    row = generate.from_gsm8k(GSM8K)
    assert row["gold"] == "1000"
    assert row["reference"] == ["It is 500*2 = 1000.\nThe answer is $\\boxed{1000}$."]
    with pytest.raises(ValueError, match="####"):
        generate.from_gsm8k({**GSM8K, "answer": "1000"})


def test_mbpp_asserts_become_exact_tests():
    row = generate.from_mbpp(MBPP)
    assert row["tests"]["type"] == "assert" and row["tests"]["inputs"] == ["pair(1, [2])", "pair((1, 2), {3: 4})"]
    json.dumps(row)
    assert run_tests(row["tests"], program_of(row["reference"][0])) == [True, True]
    # what JSON would blur: a list for the tuple is wrong; shadowed builtins do no harm; each test counts by itself
    assert run_tests(row["tests"], "def pair(a, b): return [a, b]") == [False, False]
    assert run_tests(row["tests"], "list = dict = isinstance = 0\ndef pair(a, b): return (a, b)") == [True, True]
    assert run_tests(row["tests"], "def pair(a, b): return (1, b)") == [True, False]


@pytest.mark.parametrize("text,test", [
    ("assert f(x=1) == 1", ("f(x=1)", "1")), ("assert f(K(1)) == -1", ("f(K(1))", "-1")),
    ("assert f(1) == True", ("f(1)", "True")), ("assert set(f(1)) == set([1, 2])", ("set(f(1))", "{1, 2}")),
    ("assert sorted(f(1)) == [ 'a' ]", ("sorted(f(1))", "['a']")),
    ("assert f(1) == set()", ("f(1)", "set()")), ("assert f(1) == set([])", ("f(1)", "set()"))])
def test_asserts_against_a_literal(text, test):
    assert generate.as_test(text, "f") == test


@pytest.mark.parametrize("asserts", [
    ["assert not f(2)"], ["assert f(2)"], ["assert abs(f(1) - 1) < 1e-6"], ["assert f(1) != 2"],
    ["assert math.isclose(f(1), 1) == True"], ["assert f(1) == 1", "assert f(2) == f(1)"],
    ["assert f(1) == 1", "assert len([1]) == 1"]])
def test_asserts_of_another_form_become_a_check(asserts):
    tests = generate.assert_tests(asserts, "def f(x): return x")
    assert tests["type"] == "check" and tests["entry_point"] == "f"
    for text in asserts:
        assert f"    {text}\n" in tests["check"]


def test_a_check_that_needs_the_program_is_refused():
    """What a check knows of a program is the function that it calls."""
    for asserts, setup in (["assert not f(K(1))"], ""), (["assert not f(k)"], "k = K(1)"):
        with pytest.raises(ValueError, match="only the program defines: {'K'}"):
            generate.assert_tests(asserts, "class K: pass\ndef f(x): return x", setup)


def test_setup_runs_after_the_program():
    tests = generate.assert_tests(["assert f(k) == 3"], "class K: pass\ndef f(k): return 3", setup="k = K()")
    assert run_tests(tests, "class K: pass\ndef f(k): return 3") == [True]
    assert run_tests(tests, "class K: pass\ndef f(k): return 4") == [False]


def test_asserts_are_not_evaluated(tmp_path):
    mark = tmp_path / "mark"
    tests = generate.assert_tests([f"assert f(1) == open({str(mark)!r}, 'w')"], "def f(x): return x")
    assert tests["type"] == "check" and not mark.exists()


def test_references_have_the_form_of_completions():
    assert generate.fenced("a = 1\r\nb = 2\r\n") == "```python\na = 1\nb = 2\n```"


def test_humaneval_row_takes_bodies_and_whole_functions():
    row = generate.from_humaneval(HUMANEVAL)
    assert run_tests(row["tests"], program_of(row["reference"][0])) == [True]
    assert run_tests(row["tests"], "    return x + x\n") == [True]
    assert run_tests(row["tests"], "    return x * x + 1\n") == [False]


def test_bad_rows_are_named_and_counted(tmp_path, capsys):
    path = tmp_path / "rows.jsonl"
    no_solution = {**MATH, "unique_id": "train/x/2.json"}
    del no_solution["solution"]
    path.write_bytes("\n".join([json.dumps(MATH), json.dumps(no_solution), "{broken", "[1]", json.dumps(MATH)]).encode()
                     + b"\n{\"problem\": \"\xff\"}")
    assert len(generate.load_prompts("math", "train", str(path))) == 1
    err = capsys.readouterr().err
    assert "row 2 (train/x/2.json): no field 'solution'" in err
    assert "row 3 (no id): not JSON" in err and "row 4 (no id): expected a JSON object" in err
    assert "row 6 (no id): not JSON" in err
    assert "row 5 (train/prealgebra/1.json): a second row" in err
    assert "1 prompts; 6 rows read, 5 rejected\n" in err and "more rows" not in err


def test_many_bad_rows_are_a_few_lines(tmp_path, capsys):
    path = written(tmp_path, [GSM8K] + [{"question": f"{i}?"} for i in range(500)])
    assert len(generate.load_prompts("gsm8k", "train", path)) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" (no id)")[0] for line in lines[:5]] == [f"generate.py: gsm8k row {i}" for i in range(2, 7)]
    assert lines[5:] == ["generate.py: and 495 more rows of gsm8k rejected",
                         "generate.py: gsm8k/train: 1 prompts; 501 rows read, 500 rejected"]


def test_nothing_left_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="1 rejected"):
        generate.load_prompts("math", "train", written(tmp_path, [{"problem": "?"}]))
    for path in ("absent.jsonl", str(tmp_path / "absent"), __file__):
        with pytest.raises(ValueError, match="jsonl"):
            generate.load_prompts("math", "train", path)


def test_limit_and_filled_keys(tmp_path):
    rows = [{**GSM8K, "question": str(i)} for i in range(5)]
    prompts = generate.load_prompts("gsm8k", "train", [written(tmp_path, rows[:2], "a.jsonl"),
                                                       written(tmp_path, rows[2:], "b.jsonl")], limit=3)
    assert [p["prompt"] for p in prompts] == ["0", "1", "2"]
    assert {(p["dataset"], p["split"]) for p in prompts} == {("gsm8k", "train")}


def test_parquet_and_directories(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_list([HUMANEVAL]).to_parquet(str(tmp_path / "test-00000-of-00001.parquet"))
    assert generate.load_prompts("humaneval", "test", str(tmp_path))[0]["task_id"] == "HumanEval/900"
    (tmp_path / "gsm8k").mkdir()
    written(tmp_path / "gsm8k", [GSM8K], "train.jsonl")
    written(tmp_path / "gsm8k", [{**GSM8K, "question": "other"}], "test.jsonl")
    assert [p["prompt"] for p in generate.load_prompts("gsm8k", "test", str(tmp_path / "gsm8k"))] == ["other"]



def test_mbpp_as_a_program_on_standard_input():
    row = {**MBPP, "code": "def rep(s, n, t):\r\n    return s * n + str(t)",
           "test_list": ["assert rep('ab', 2, [1]) == 'abab[1]'", "assert rep(\"it's\", 1, []) == \"it's[]\""]}
    prompt = generate.from_mbpp_stdin(row)
    assert prompt["tests"] == {"type": "stdin", "inputs": ["ab\n2\n[1]\n", "it's\n1\n[]\n"],
                               "outputs": ["abab[1]\n", "it's[]\n"]}
    assert "ab\n2\n[1]\n" in prompt["prompt"] and "abab[1]" in prompt["prompt"] and "it's" not in prompt["prompt"]
    assert run_tests(prompt["tests"], program_of(prompt["reference"][0])) == [True, True]
    for bad in (["assert rep('a\\n', 1, 1) == ''"], ["assert rep(1, 1, 1) == [({1, 2},)]"], ["assert not rep(1, 1, 1)"],
                ["assert rep(1, 1, 1) == 1", "assert rep('1', 1, 1) == 1"]):
        with pytest.raises(ValueError):
            generate.from_mbpp_stdin({**row, "test_list": bad})


def test_mbpp_plus_runs_the_script_against_the_function_only():
    script = ("def assertion(out, exp, atol):\n    assert out == exp\n\ninputs = [[1], [2]]\nresults = [2, 3]\n"
              "for i, (inp, exp) in enumerate(zip(inputs, results)):\n    assertion(inc(*inp), exp, 0)\n")
    row = {"task_id": 900, "code": "def inc(x):\n    return x + 1", "prompt": "Add one.", "source_file": "x",
           "test_imports": [], "test_list": ["assert inc(1) == 2"], "test": script}
    tests = generate.from_mbpp_plus(row)["tests"]
    assert run_tests(tests, "def inc(x): return x + 1") == [True]
    assert run_tests(tests, "def inc(x): return 2") == [False]
    assert run_tests(tests, "assertion = lambda *a: None\ndef inc(x): return 2") == [False]


HARP = {"year": "1950", "contest": "AHSME", "number": 34, "level": 3, "subject": "geometry", "problem": "How much?",
        "answer": "5", "answer_choice": "B", "choices": {"A": "$1$", "B": "$5$"}, "multiple_choice_only": False,
        "solution_1": "It is 5.", "solution_2": "Five."}


def test_harp(tmp_path):
    row = generate.from_harp(HARP)
    assert (row["task_id"], row["level"], row["gold"]) == ("harp/1950/AHSME/34", 3, "5")
    assert row["reference"] == ["It is 5.", "Five."] and row["choices"] == HARP["choices"]
    assert row["prompt"] == "How much?"
    rows = [{**HARP, "number": i} for i in range(300)] + [{**HARP, "number": 300, "multiple_choice_only": True}]
    ids = {split: [p["task_id"] for p in generate.load_prompts("harp", split, written(tmp_path, rows))]
           for split in ("all", "train", "test")}
    assert len(ids["all"]) == 300 and sorted(ids["train"] + ids["test"]) == sorted(ids["all"])
    assert 15 <= len(ids["test"]) <= 50  # a tenth
    subset = generate.load_prompts("harp", "test", written(tmp_path, rows[::-2]))  # neither order nor subset matters
    assert {p["task_id"] for p in subset} == set(ids["test"]) & {f"harp/1950/AHSME/{i}" for i in range(0, 300, 2)}


SOLUTION = "import sys\nnumbers = list(map(int, sys.stdin.read().split()))\n" \
           "total = sum(numbers)  # of all of them\nprint('the total of all the numbers is', total)\n"
STORY = "Monocarp has written down a few numbers, each $n \\leq 10^9$. Tell him the total of all of them."
CODE_CONTESTS = {
    "name": "1_A. Total", "description": STORY + "\n\nInput\n\nNumbers.\n\nOutput\n\nA sentence.", "difficulty": 3,
    "public_tests": {"input": ["1 2\n"], "output": ["the total of all the numbers is 3\n"]},
    "private_tests": {"input": ["3\n"] * 2, "output": ["the total of all the numbers is 3\n"] * 2},
    "generated_tests": {"input": ["4\n"] * 2, "output": ["the total of all the numbers is 4\n"] * 2},
    "solutions": {"language": [2, 3], "solution": ["int main() {}", SOLUTION]}, "cf_contest_id": 1, "cf_index": "A",
    "time_limit": {"seconds": 2, "nanos": 500000000}, "memory_limit_bytes": 256000000, "cf_rating": 0}


def test_code_contests():
    row = generate.from_code_contests(CODE_CONTESTS)
    tests = row["tests"]
    assert (row["task_id"], row["level"]) == ("code_contests/1_A. Total", 3)
    assert tests["inputs"] == ["1 2\n", "3\n", "3\n", "4\n", "4\n"]
    assert tests["time_limit_s"] == 2.5 and tests["memory_limit_mb"] == 256
    assert len(row["reference"]) == 1 and all(run_tests(tests, program_of(row["reference"][0])))
    tests = generate.from_code_contests({**CODE_CONTESTS, "time_limit": None, "memory_limit_bytes": 0})["tests"]
    assert "time_limit_s" not in tests and "memory_limit_mb" not in tests
    with pytest.raises(ValueError, match="test inputs"):
        generate.from_code_contests({**CODE_CONTESTS, "public_tests": {"input": ["1"], "output": []}})


def taco(**changes):
    cases = {"inputs": ["1 2\n", ["3", ""]], "outputs": ["the total of all the numbers is 3\n"] * 2}
    return {"question": "Something else entirely, about a tree with many vertices and a few edges.", "starter_code": "",
            "solutions": "[]", "input_output": json.dumps(cases), "difficulty": "EASY", "time_limit": "1.5 seconds",
            "memory_limit": "256 megabytes", **changes}


def test_tang_filters(tmp_path, capsys):
    few = {**CODE_CONTESTS, "name": "few", "generated_tests": {"input": ["4\n"], "output": ["4"]}}  # 4 in all
    other = {**CODE_CONTESTS, "name": "other", "description": "Count the leaves of a tree that is given by its edges.",
             "solutions": {"language": [3], "solution": [SOLUTION.replace("numbers", "leaves")]}}
    path = written(tmp_path, [CODE_CONTESTS, few, other])

    def names(split="train", **against):
        rows = [against["taco"]] if "taco" in against else []
        where = written(tmp_path, rows, "taco.jsonl") if rows else "none"
        return [p["task_id"][14:] for p in generate.load_prompts("code_contests", split, path, against=where)]

    assert names() == ["1_A. Total", "other"]                       # fewer than 5 tests: dropped
    assert names("test") == ["1_A. Total", "few", "other"]          # of the training split only
    assert names(taco=taco()) == ["1_A. Total", "other"]            # nothing in common
    same_story = taco(question=STORY.replace("\\leq", "\\le").replace("$", "").upper().replace("\\LE", "\\le")
                      + "\n\n-----Input-----\nLaid out otherwise.")
    capsys.readouterr()
    assert names(taco=same_story) == ["other"] and "1 overlapping" in capsys.readouterr().err
    same_program = taco(solutions=json.dumps([SOLUTION.replace("  # of all of them", "").replace("\n", "\n\n")]))
    assert names(taco=same_program) == ["other"]
    with pytest.raises(ValueError, match="--against"):
        generate.load_prompts("code_contests", "train", path)


def test_short_programs_and_stories_are_no_evidence_of_overlap():
    assert generate.problem_keys("Print it.", ["print(int(input()) * 2)"]) == set()
    assert len(generate.problem_keys(STORY, [SOLUTION])) == 2
    assert generate.problem_keys(STORY * 5 + "a", []) == generate.problem_keys(STORY * 5 + "b", [])
    assert generate.problem_keys(STORY + "\n\nConstraints\n\nn < 9", []) == generate.problem_keys(STORY, [])
    assert generate.problem_keys(STORY, []) & generate.problem_keys(STORY + " " + "x" * 300, []) == set()


def test_bagirov_split(tmp_path):
    rows = [{**CODE_CONTESTS, "name": f"p{i}", "difficulty": i % 5} for i in range(500)]
    path = written(tmp_path, rows)
    train, test = (generate.load_prompts("code_contests_easy", part, path) for part in ("train", "test"))
    assert {p["level"] for p in train + test} == {0, 1, 2, 3} and len(train) + len(test) == 400
    assert 20 <= len(test) <= 60 and not {p["task_id"] for p in train} & {p["task_id"] for p in test}
    assert train == generate.load_prompts("code_contests_easy", "train", path)


def test_taco(tmp_path):
    row = generate.from_taco(taco(solutions=json.dumps([SOLUTION])))
    assert row["tests"]["inputs"] == ["1 2\n", "3\n"] and row["tests"]["time_limit_s"] == 1.5
    assert row["tests"]["memory_limit_mb"] == 256 and row["level"] == "EASY"
    assert run_tests(row["tests"], program_of(row["reference"][0])) == [True, True]
    rows = [taco(), taco(question="Q" * 50, difficulty="HARD"), taco(question="R" * 50, difficulty="VERY_HARD")]
    for split, levels in (("easy", ["EASY"]), ("hard", ["HARD"]), ("test", ["EASY", "HARD", "VERY_HARD"])):
        assert [p["level"] for p in generate.load_prompts("taco", split, written(tmp_path, rows))] == levels


@pytest.mark.parametrize("program", [
    "def add(a, b):\n    return a + b",
    "class Solution:\n    def add(self, a: List[int], b) -> List[int]:\n        return a + b"])
def test_taco_calls(program):
    cases = {"fn_name": "add", "inputs": [[[1], [2]], [[], []]], "outputs": [[[1, 2]], [[]]]}
    starter = "class Solution:\n    def add(self, a, b):"
    row = generate.from_taco(taco(input_output=json.dumps(cases), starter_code=starter))
    assert row["tests"]["outputs"] == [[1, 2], []] and "Use this starter code" in row["prompt"]
    assert run_tests(row["tests"], program) == [True, True]
    with pytest.raises(ValueError, match="dict"):
        generate.from_taco(taco(input_output=json.dumps({**cases, "inputs": [[{"1": 2}], [{}]]})))


def packed(value):
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


class Hostile:
    def __reduce__(self):
        return os.mkdir, (os.environ["HOSTILE_MARK"],)


def test_private_tests_are_decoded_without_loading_a_pickle(tmp_path, monkeypatch):
    monkeypatch.setenv("HOSTILE_MARK", str(tmp_path / "mark"))
    cases = [{"input": "1\né" * 300, "output": "1", "testtype": "stdin"}]
    text = json.dumps(cases, ensure_ascii=False)
    assert generate.decoded_cases(text) == cases == generate.decoded_cases(packed(text))
    for protocol in range(6):
        data = base64.b64encode(zlib.compress(pickle.dumps(text, protocol))).decode()
        assert generate.decoded_cases(data) == cases
    for bad in (packed(Hostile()), packed([text]), packed({"a": Hostile()}), packed(7), "no base64!", "QUJD",
                base64.b64encode(zlib.compress(b"not a pickle")).decode(), packed(text)[:-20]):
        with pytest.raises(ValueError):
            generate.decoded_cases(bad)
    assert not (tmp_path / "mark").exists()


LIVECODEBENCH = {
    "question_title": "A", "question_content": "Add them.", "platform": "leetcode", "question_id": "2786",
    "contest_id": "1", "contest_date": "2024-08-21T00:00:00", "difficulty": "easy",
    "starter_code": "class Solution:\n    def add(self, a: List[int], b: int) -> int:\n        ",
    "public_test_cases": json.dumps([{"input": "[1, 2]\n3", "output": "6", "testtype": "functional"}]),
    "private_test_cases": packed(json.dumps([{"input": "[]\n0", "output": "0", "testtype": "functional"}])),
    "metadata": json.dumps({"func_name": "add"})}
METHOD = "class Solution:\n    def add(self, a: List[int], b: int) -> int:\n        return sum(a) + b\n"


def test_livecodebench(tmp_path):
    row = generate.from_livecodebench(LIVECODEBENCH)
    assert row["tests"]["inputs"] == [[[1, 2], 3], [[], 0]] and row["tests"]["outputs"] == [6, 0]
    assert row["private_tests"] and row["level"] == "easy"
    assert run_tests(row["tests"], METHOD) == [True, True] and "def add" in row["prompt"]
    assert run_tests(row["tests"], METHOD.replace("+ b", "- b")) == [False, True]
    stdin = json.dumps([{"input": "1 2", "output": "3", "testtype": "stdin"}])
    plain = {**LIVECODEBENCH, "starter_code": "", "metadata": "{}", "public_test_cases": stdin}
    plain["private_test_cases"] = ""
    row = generate.from_livecodebench(plain)
    assert not row["private_tests"] and "standard input" in row["prompt"]
    assert run_tests(row["tests"], "print(reduce(operator.add, map(int, input().split())))") == [True]
    with pytest.raises(ValueError, match="testtype"):
        generate.from_livecodebench({**LIVECODEBENCH, "public_test_cases": stdin})
    for i, name in enumerate(("test.jsonl", "test6.jsonl")):
        written(tmp_path, [{**LIVECODEBENCH, "question_id": str(i)}], name)
    assert len(generate.load_prompts("livecodebench", "v6", str(tmp_path))) == 1
    assert len(generate.load_prompts("livecodebench", "test", str(tmp_path))) == 2


def test_livebench():
    row = {"question_id": "q", "category": "coding", "task": "LCB_generation", "turns": ["### Question: add"],
           "public_test_cases": LIVECODEBENCH["public_test_cases"], "partial_solution": None, "remainder": None,
           "private_test_cases": LIVECODEBENCH["private_test_cases"], "solution": METHOD,
           "original_json": LIVECODEBENCH}
    prompt = generate.from_livebench(row)
    assert prompt["prompt"] == "### Question: add" and prompt["task"] == "LCB_generation"
    assert all(run_tests(prompt["tests"], program_of(prompt["reference"][0])))
    start, rest = METHOD.rstrip("\n").rsplit("\n", 1)
    prompt = generate.from_livebench({**row, "task": "coding_completion", "partial_solution": start, "remainder": rest,
                                      "original_json": json.dumps(LIVECODEBENCH)})
    assert all(run_tests(prompt["tests"], program_of(prompt["reference"][0])))


CODEFORCES = {
    "id": "1/A", "aliases": ["2/B"], "contest_id": "1", "index": "A", "time_limit": 2.0, "memory_limit": 256.0,
    "title": "Total", "description": "Add.", "input_format": "Numbers.", "output_format": "Their sum.",
    "interaction_format": None, "note": "Easy.", "examples": [{"input": "1 2", "output": "3"}], "rating": 800,
    "official_tests": [{"input": "1 2\n", "output": "3\n"}, {"input": "4\n", "output": "4\n"}], "input_mode": "stdio",
    "generated_checker": None, "executable": True}


def test_codeforces(tmp_path, capsys):
    row = generate.from_codeforces(CODEFORCES)
    assert row["tests"] == {"type": "stdin", "inputs": ["1 2\n", "4\n"], "outputs": ["3\n", "4\n"], "time_limit_s": 2.0,
                            "memory_limit_mb": 256.0}
    parts = ["Add.", "Input", "Numbers.", "Output", "Their sum.", "1 2", "3", "Note", "Easy."]
    assert sorted(parts, key=row["prompt"].index) == parts
    rows = [{**CODEFORCES, "id": f"{i}/A", "aliases": []} for i in (1, 3)] + [
        {**CODEFORCES, "id": "4/C", "aliases": ["1/A"]}, {**CODEFORCES, "id": "5/A", "aliases": None},
        {**CODEFORCES, "id": "6/A", "generated_checker": "def check(): ..."},
        {**CODEFORCES, "id": "7/A", "input_mode": "file"}, {**CODEFORCES, "id": "8/A", "interaction_format": "Ask."},
        {**CODEFORCES, "id": "9/A", "official_tests": []}]
    known = written(tmp_path, [CODE_CONTESTS, {**CODE_CONTESTS, "cf_contest_id": 0, "cf_index": ""}], "cc.jsonl")
    found = generate.load_prompts("codeforces", "test", written(tmp_path, rows), against=known)
    assert [p["task_id"] for p in found] == ["codeforces/3/A", "codeforces/5/A"]
    assert "8 rows read, 4 filtered or of other splits, 2 overlapping\n" in capsys.readouterr().err


def test_arc(tmp_path):
    pair = {"input": [[1, 2], [3, 4]], "output": [[5]]}
    (tmp_path / "training").mkdir()
    for i in range(40):
        task = {"train": [pair], "test": [{"input": [[i % 10, i // 10]], "output": [[0, 9]]}, pair]}
        (tmp_path / "training" / f"{i:08d}.json").write_text(json.dumps(task))
    bad = {"train": [pair], "test": [{**pair, "input": [[1], [2, 3]]}]}
    (tmp_path / "training" / "bad.json").write_text(json.dumps(bad))
    both = [generate.load_prompts("arc_agi_1", part, str(tmp_path)) for part in ("train", "test")]
    assert len(both[0]) + len(both[1]) == 80 and both[1]
    assert not {p["task_id"][:12] for p in both[0]} & {p["task_id"][:12] for p in both[1]}  # both grids on one side
    assert len(generate.load_prompts("arc_agi_1", "train", str(tmp_path), limit=3)) == 3
    row = next(p for p in both[0] + both[1] if p["task_id"] == "arc/00000012/0")
    assert row["kind"] == "grid" and row["gold"] == [[0, 9]] and row["reference"] == ["0 9"]
    assert row["prompt"] == "Input:\n1 2\n3 4\nOutput:\n5\n\nTest input:\n2 1\nTest output:\n"


@pytest.fixture
def as_hub(tmp_path, monkeypatch):
    """Puts a local folder of parquet files in place of a dataset's hub path."""
    datasets = pytest.importorskip("datasets")

    def put(dataset, **splits):
        folder = tmp_path / ("hub-" + dataset)
        for split, rows in splits.items():
            datasets.Dataset.from_list(rows).to_parquet(str(folder / "data" / f"{split}-00000-of-00001.parquet"))
        monkeypatch.setitem(generate.DATASETS[dataset], "hub", str(folder))
        monkeypatch.setitem(generate.DATASETS[dataset], "config", None)
    return put


def test_hub_reads_splits_by_name(as_hub):
    math = {**MATH, "level": 5, "answer": "2"}
    as_hub("math", train=[math, {**math, "unique_id": "test/a/1.json"}], test=[{**math, "unique_id": "test/a/2.json"}])
    found = {split: [p["task_id"] for p in generate.load_prompts("math", split)]
             for split in generate.DATASETS["math"]["splits"]}
    assert found == {"train": [math["unique_id"]], "test": ["test/a/1.json", "test/a/2.json"],
                     "train12k": [math["unique_id"], "test/a/1.json"], "test500": ["test/a/2.json"]}


def test_hub_decontamination_streams_the_columns_it_needs(as_hub):
    others = [{**CODE_CONTESTS, "name": name, "cf_contest_id": i} for i, name in ((1, "a"), (2, "b"), (3, "c"))]
    as_hub("code_contests", train=others[:1], valid=others[1:2], test=others[2:])
    as_hub("codeforces", test=[{**CODEFORCES, "id": f"{i}/A", "aliases": []} for i in range(1, 6)])
    assert [p["task_id"] for p in generate.load_prompts("codeforces", "test")] == ["codeforces/4/A", "codeforces/5/A"]


def test_files_of_the_hub_may_be_zipped_and_ragged(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    rows = [{k: v for k, v in HARP.items() if k != "solution_2"}, {**HARP, "number": 35}]
    with zipfile.ZipFile(tmp_path / "HARP.jsonl.zip", "w") as archive:
        archive.write(written(tmp_path, rows, "HARP.jsonl"), "HARP.jsonl")
    monkeypatch.setitem(generate.DATASETS["harp"]["splits"], "all", ([str(tmp_path / "HARP.jsonl.zip")], None))
    assert [len(p["reference"]) for p in generate.load_prompts("harp", "all")] == [1, 2]


@pytest.mark.slow
def test_prompts_without_a_solution_are_left_out_of_the_warm_up(tmp_path, shell, tiny):
    bare = {k: v for k, v in HARP.items() if not k.startswith("solution")}
    command = f"python generate.py --model {tiny} --dataset harp --split all --reference --data-files"
    done = shell(f"{command} {written(tmp_path, [bare, {**HARP, 'number': 35}])}")
    [row] = [json.loads(line) for line in done.stdout.splitlines()]
    assert row["task_id"] == "harp/1950/AHSME/35" and row["completions"] == ["It is 5."]
    assert "dropped 1 of 2 prompts, which have no reference solution" in done.stderr
    done = shell(f"{command} {written(tmp_path, [bare])}")
    assert done.returncode == 2
    assert "no prompt of harp is left: all were dropped, which have no reference" in done.stderr


def test_every_dataset_can_be_named():
    for name, spec in generate.DATASETS.items():
        assert callable(spec["adapter"]) and spec["splits"], name
        for where, rule, *overlap in spec["splits"].values():
            assert isinstance(where, (str, list)) and (rule is None or callable(rule)), name
            assert all(generate.DATASETS[other]["splits"][split] for other, split, *_ in overlap), name


REAL = [
    ("math", "train", ("math", "train.jsonl"), 7498), ("gsm8k", "train", ("gsm8k", "train.jsonl"), 7473),
    ("harp", "all", ("harp", "sample.jsonl"), 88), ("mbpp", "all", ("mbpp", "train_valid.jsonl"), 464),
    ("mbpp", "train", ("mbpp", "train_valid.jsonl"), 374), ("mbpp", "validation", ("mbpp", "train_valid.jsonl"), 90),
    ("mbpp_stdin", "all", ("mbpp", "train_valid.jsonl"), 438), ("humaneval", "test", ("humaneval", "sample.jsonl"), 41),
    ("code_contests", "train", ("code_contests", "sample.jsonl"), 99),
    ("taco", "easy", ("taco", "card_example.json"), 1),
    ("code_contests_easy", "train", ("code_contests", "sample.jsonl"), 8),
    ("code_contests_easy", "test", ("code_contests", "sample.jsonl"), 2),
    ("livecodebench", "test", ("livecodebench", "sample.jsonl"), 20),
    ("arc_agi_1", "train", ("arc_agi_1", "training"), 335), ("arc_agi_1", "test", ("arc_agi_1", "training"), 81)]


@pytest.mark.parametrize("dataset, split, path, count", REAL)
def test_real_rows(dataset, split, path, count):
    against = real("taco", "card_example.json") if dataset == "code_contests" else None
    prompts = generate.load_prompts(dataset, split, real(*path), against=against)
    assert len(prompts) == count == len({p["task_id"] for p in prompts})
    for prompt in prompts:
        assert prompt["prompt"] and prompt["kind"] in ("math", "code", "grid") and (prompt["gold"] or prompt["tests"])
        assert json.loads(json.dumps(prompt)) == prompt


def test_arc_tasks_split_80_to_20():
    path = real("arc_agi_1", "training")
    tasks = [{p["task_id"].split("/")[1] for p in generate.load_prompts("arc_agi_1", part, path)}
             for part in ("train", "test")]
    assert [len(t) for t in tasks] == [320, 80]


@pytest.mark.slow
@pytest.mark.parametrize("dataset, split, path", [row[:3] for row in REAL if row[:2] in [
    ("mbpp", "all"), ("mbpp_stdin", "all"), ("humaneval", "test")]])
def test_real_references_pass_their_own_tests(dataset, split, path):
    for prompt in generate.load_prompts(dataset, split, real(*path)):
        assert all(run_tests(prompt["tests"], program_of(prompt["reference"][0]))), prompt["task_id"]


def test_rows_of_the_pipe_are_prompts_again(tiny, tmp_path, shell):
    first = shell(f"python generate.py --model {tiny} --split train --limit 5 --num-samples 2 --engine transformers | "
                  "python reward.py")
    assert first.returncode == 0, first.stderr
    rows = [json.loads(line) for line in first.stdout.splitlines()]
    kept = [rows[3], rows[1]]
    (tmp_path / "some.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in kept) + json.dumps({"task_id": "x"}) + "\n")
    command = f"python generate.py --model {tiny} --dataset rows --num-samples 3 --max-tokens 10 --engine transformers"
    again = shell(f"{command} --data-files {tmp_path}/some.jsonl | python reward.py")
    assert again.returncode == 0 and "row 3 (x): no field 'kind'; rejected" in again.stderr
    for old, new in zip(kept, map(json.loads, again.stdout.splitlines()), strict=True):
        assert all(old[key] == new[key] for key in ("task_id", "kind", "prompt", "tests", "rule", "prompt_token_ids"))
        assert new["dataset"] == "rows" and len(new["completions"]) == len(new["scores"]) == 3
    refused = shell(command)
    assert refused.returncode == 2 and "--dataset rows needs --data-files" in refused.stderr and not refused.stdout


def test_a_row_keeps_what_no_stage_writes(tiny, tmp_path, shell):
    """So that its samples are graded as before: by the letters of its choices, too. What a stage wrote is not kept."""
    row = {"task_id": "harp/1", "kind": "math", "prompt": "4 * 4?", "gold": "16", "choices": {"C": "16", "D": "8"},
           "source": {"page": 3, "of": ["a", None]}, "posterior": [1.0], "dataset": "harp",
           "completions": ["\\boxed{(C)}", "\\boxed{(D)}"]}
    path = written(tmp_path, [row], "first.jsonl")
    first = shell(f"python reward.py < {path} | python advantages.py --estimator softmax_loo --beta 2 --k 2")
    assert first.returncode == 0, first.stderr
    [old] = map(json.loads, first.stdout.splitlines())
    assert old["scores"] == [1.0, 0.0] and "beta" in old
    nothing = ({"page": 3}, [5], "")
    path = written(tmp_path, [{**old, "reference": old["completions"][0], "step": 7, "reload_s": 3.0},
                              *({**old, "task_id": f"harp/none{i}", "reference": none}
                                for i, none in enumerate(nothing))], "second.jsonl")
    rows = f"python generate.py --model {tiny} --dataset rows --data-files {path} --reference"
    second = shell(f"{rows} | python reward.py")
    assert "dropped 3 of 4 prompts, which have no reference solution" in second.stderr, second.stderr
    [new] = map(json.loads, second.stdout.splitlines())
    assert new["reference"] == old["completions"][0]
    assert new["completions"] == old["completions"][:1] and new["scores"] == [1.0]
    assert all(new[key] == row[key] for key in ("task_id", "prompt", "gold", "choices", "source", "posterior"))
    assert (new["dataset"], new["split"], new["step"], new["reload_s"]) == ("rows", "train", 0, None)
    assert not {"advantages", "estimator", "k", "beta"} & new.keys()


def test_own_keys_that_are_no_json_reject_their_row(tmp_path, capsys):
    import datetime
    datasets = pytest.importorskip("datasets")
    row, deep = {"task_id": "a", "kind": "math", "prompt": "4?", "gold": "4"}, []
    for _ in range(300):
        deep = [deep]
    dated = [{**row, "made": datetime.datetime(2024, 1, 1)}]
    datasets.Dataset.from_list(dated).to_parquet(str(tmp_path / "rows.parquet"))
    files = [str(tmp_path / "rows.parquet"), written(tmp_path, [{**row, "deep": deep}, {**row, "task_id": "b"}])]
    assert [prompt["task_id"] for prompt in generate.load_prompts("rows", "train", files)] == ["b"]
    said = capsys.readouterr().err
    assert "rows row 1 (a): Object of type datetime is not JSON" in said and "row 2 (a): nested more than 200" in said


def test_prompts_that_a_step_repeats_are_said_once(tiny, tmp_path, shell):
    path = written(tmp_path, [{**GSM8K, "question": f"{i}?"} for i in range(3)])
    for prompts, said in (4, 1), (3, 0):
        done = shell(f"python generate.py --model {tiny} --dataset gsm8k --data-files {path} --steps 3 "
                     f"--prompts-per-step {prompts} --num-samples 2 --max-tokens 3 --engine transformers")
        assert done.returncode == 0 and len(done.stdout.splitlines()) == 3 * prompts
        assert done.stderr.count("gsm8k/train has 3 prompts, fewer than --prompts-per-step 4") == said
