"""reward.py: answers, programs, grids, the filter, and what tries to break them."""

import argparse
import ast
import collections
import concurrent.futures
import contextlib
import decimal
import fractions
import glob
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import termios
import threading
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DATA = os.path.join(os.path.dirname(ROOT), "shared", "data")
sys.path[:0] = [ROOT, os.path.join(ROOT, "tests")]
import generate  # noqa: E402
import hostile  # noqa: E402
import reward  # noqa: E402
from answer_pairs import DIFFERENT, EQUIVALENT, MISSED, MISTAKEN  # noqa: E402
from answer_texts import LATER, SHORT, plain, texts  # noqa: E402


def real(name):
    path = os.path.join(DATA, name)
    if not os.path.exists(path):
        pytest.skip(f"no real rows: ../shared/data/{name} is absent")
    with open(path) as lines:
        return [json.loads(line) for line in lines]


def settings(**changes):
    defaults = vars(reward.parse_arguments([]))
    return argparse.Namespace(**{**defaults, "workers": 2, "timeout_s": 5.0, **changes})


@pytest.fixture(scope="module")
def grader():
    made = reward.Grader(settings())
    yield made
    made.close()


def grade(grader, row):
    return grader.finish(row, grader.submit(row))


def filter_rows(rows, *flags, cwd=ROOT, script="reward.py", timeout=300):
    """(exit status, rewarded rows, standard error) of the command."""
    text = "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows)
    done = subprocess.run([sys.executable, script, *flags], input=text, capture_output=True, text=True, cwd=cwd,
                          timeout=timeout)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


CALL = {"type": "call", "entry_point": "f", "setup": "", "inputs": [[1], [2], [3]], "outputs": [2, 3, 4]}
STDIN = {"type": "stdin", "inputs": ["1 2\n", "3 4\n"], "outputs": ["3\n", "7"]}
CHECK = {"type": "check", "entry_point": "f", "template": "import math\ndef helper(x):\n    return x + 1\n{program}",
         "check": "def check(candidate):\n    assert candidate(1) == helper(1)\n    assert candidate(5) == 6\n"}


def code_row(tests, *completions):
    return {"task_id": "t", "kind": "code", "tests": tests, "completions": list(completions)}


def math_row(gold, *completions, **more):
    return {"task_id": "t", "kind": "math", "gold": gold, "completions": list(completions), **more}


# ----------------------------------------------------------------------------------------------------------------------
# Math
# ----------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("text,answer", [
    (r"so \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
    (r"\boxed{1} no, \boxed{2}", "2"), (r"\fbox{3}", "3"), (r"\boxed 7.", "7"),
    (r"\boxed{\{1,2\}}", r"\{1,2\}"), (r"\boxed{1} and \boxed{", "1"), (r"\boxed{\text{a } b}", r"\text{a } b"),
    ("The final answer is 5. I hope it is correct.", "5"),
    ("The final answer is $\\frac12$. I hope it is correct.", r"\frac12"),
    ("the answer is: 12", "12"), ("**Answer:** 3.5", "3.5"),
    ("bla\n#### 72", "72"), ("It is 4. The answer is 5.\nThanks", "5"),
    ("so \\[x = 3\\]", "x = 3"), ("we get $7$ and $8$", "8"),
    ("The answer is $3$, $4$", "$3$, $4$"), ("no idea", None), ("", None),
    (r"\boxed{}", None), ("The answer is (C).", "(C)")])
def test_extraction(text, answer):
    assert reward.extract_answer(text) == answer


@pytest.mark.parametrize("rule,text,answer", [
    ("boxed", r"\boxed{2}, \boxed{3}; \boxed{5}", "2, 3, 5"), ("boxed", r"x = \boxed{3} and y = \boxed{5}", "3, 5"),
    ("boxed", r"since $a = \boxed{3}$ we get \boxed{9}", "9"),
    ("boxed", r"\boxed{\frac12}, that is, \boxed{0.5}", "0.5"),
    ("boxed", r"either \boxed{2} or \boxed{2.0}", "2.0"),
    ("boxed", r"\boxed{1} \boxed{", "1"), ("boxed", r"\boxed{4}. \boxed{5}", "5"),
    ("tagged", "<answer> 7 </answer>", "7"),
    ("tagged", "<answer>The answer is $7$.</answer>", "7"), ("tagged", "<answer></answer>", None),
    ("after_hashes", "#### 42\nmore", "42"), ("after_hashes", "#### 1. Read\ntext", None),
    ("after_hashes", "#### Step\ntext", None),
    ("after_phrase", "## Answer\n\nThere are **12**.", "12"),
    ("after_phrase", "the answer (in cm) is 5", "5"), ("after_phrase", "Ans: 4", "4"),
    ("after_phrase", "A wrong answer is 5.", None), ("after_phrase", "We check the answer: 5 + 1", None),
    ("after_phrase", "The answer is not 4 but 5", "5")])
def test_statements(rule, text, answer):
    found = getattr(reward, rule)(text)
    assert (found and found[2]) == answer


@pytest.mark.parametrize("tail,answer", [
    (" 72, which is even", "72"), (" 72 clips, altogether.", "72 clips"), (" 72! Good", "72"),
    (" $72!$.", "72!"), (" 5! ways", "5! ways"), (" 8 because 8*9=72", "8"),
    (" 8: 8*9 = 72", "8"), (" 8 (8*9 = 72)", "8"), (" 3 (mod 7)", "3 (mod 7)"),
    (" $3$, $4$ and $5$, in order", "$3$, $4$ and $5$"), (" 5, 6, or 7.", "5, 6, or 7"),
    (" $20, and then $30.", "$20, and then $30"[:3]), (" -5", "-5"), (" [2, 5), as asked", "[2, 5)"),
    (" Sunday, since", "Sunday"), (" as follows", None), (" 8?", None),
    ("\n\n$$\n7\n$$\n", "7"), (" **7** cm", "7 cm"), (r" $\frac{1}{2}$ of it", r"\frac{1}{2}")])
def test_a_value_ends_where_the_remark_begins(tail, answer):
    assert reward.read_value(tail) == answer


def test_answer_texts():
    """Completions as models write them: what is extracted."""
    wrong = [(text[:60], want, got) for _, want, _, text in texts()
             if plain(got := reward.extract_answer(text)) != plain(want)]
    wrong += [(text, want, got) for text, want in SHORT if plain(got := reward.extract_answer(text)) != plain(want)]
    assert wrong == [] and len(texts()) == 229


def test_answer_texts_are_judged(grader):
    """The same, graded; how many math-verify alone judges rightly is in the README."""
    cases = [(gold, verdict, text) for gold, _, verdict, text in texts()] + LATER
    rows = grade_all(grader, [math_row(gold, text) for gold, _, text in cases])
    verdicts = [{"ok": "right", "no answer": "none"}.get(r["verdicts"][0], r["verdicts"][0]) for r in rows]
    assert [(text, v) for (_, verdict, text), v in zip(cases, verdicts) if v != verdict] == []


@pytest.mark.parametrize("unit", [
    "\n", "$", r"\[", r"\boxed{", r"\boxed{1} and ", "answer is ", "answer is 5. ", "Answer\n", "<answer>", "#### 5\n",
    "**a", "no, wait ", "oops ", "so 5 = ", "(", "{", "| ", "\ue000", r"answer is \boxed{", "</think>"])
def test_extraction_takes_linear_time(unit):
    for text in unit * (100_000 // len(unit)), r"\boxed{7} " + unit * (100_000 // len(unit)):
        start = time.process_time()
        reward.extract_answer(text)
        assert time.process_time() - start < 2, text[:20]
    assert reward.extract_answer("The answer is 7.\n" + "There is more to say. " * 5000) == "7"


def test_pairs(grader):
    """Hand-written pairs: equivalent ones accepted, different ones refused, by reading or by math-verify, but for known
    errors."""
    worker, wrong, read = grader.worker(), [], 0
    for pairs, expected in (EQUIVALENT + MISSED, True), (DIFFERENT + MISTAKEN, False):
        for gold, pred in pairs:
            read += reward.same(gold, pred) is not None
            if reward.equal_answers(gold, pred, grader.settings, worker) is not expected:
                wrong.append((gold, pred))
    assert wrong == MISSED + MISTAKEN
    assert read >= 0.94 * (len(EQUIVALENT) + len(DIFFERENT))


def test_deep_brackets_and_doubt_are_left_to_math_verify(grader):
    """Neither a crash of the grader nor a verdict of its own: in every branch, and between the answers of a vote."""
    one, two = ("(" * 240 + x + "".join(f",{i % 10})" for i in range(240)) for x in "12")
    for gold in (one, f"(B) {one}", rf"{one}\%"):
        assert reward.same(gold, two) in (None, False)
    row = grade(grader, math_row("7", rf"\boxed{{(B) {one}}}", rf"\boxed{{{two}}}"))
    assert row["correct"] == [False, False]
    assert reward.same(r"0.5 = \frac{1}{2}", r"\frac{\text{a}}{2}") is None  # one side is not sure


def universal_answers():
    """Answers that might slip through as equal to very different things."""
    return [text for text in r"""
    0:0 1:0 0=0 0=0=0 1=1 x=x x=x=x 1=1=25 x=x=0 x=0=0 0\pi 0x 0^0 \frac00 0/0 1/0
    \infty-\infty \infty -\infty \pm\infty \emptyset \{\} {} () [] , ; : = == \approx
    \approx0 0\approx0 x\approx{}x 0\approx10^9 - + \pm \pm0 \pm{}x ! ? % \% 0\% x\%
    ^ _ & \\ $ \$ ^\circ 0^\circ \text{} \text{or} \boxed{} \mathbb{R} \mathbb{C}
    (-\infty,\infty) (-\infty,\infty)\cup(-\infty,\infty) x\in\mathbb{R} x\ne0 x\neq{}x
    x<x x\le{}x 0\le0 0<1 -\infty<x<\infty \text{any} \text{all} \text{none} \text{yes}
    True None null nan inf i^4 x y a n e i 0 1 -1 2 0.0 1.0 1e-20 \frac{1}{10^{30}}
    e^{-40} 10^{400} e^{1000} 9^{9^{9}} 2^{10000000} x^0 x-x x/x \frac{x}{x} |x| || \sqrt0
    \sqrt{x^2} \ln0 \begin{pmatrix}\end{pmatrix} \begin{pmatrix}0\end{pmatrix} (x,y)
    (0,0) (x) \{x\} \{0\} \{x|x\} \{x:x=x\} \frac{}{} \sqrt{} \sum \int \cdot * / 1/ /1
    \cup \in 0_0 0_{10} (A) A (A)x x,x 0,0,0 1,2,3 and or x=0,x=1 x=y f(x)=f(x) x+y=x+y
    0x+0y=0 0x=0 2=2x/x x^2\ge0 ... 0.\overline{0} 0.\overline{9} . ~ ' x' \circ
    \pi=\pi \pi\approx\pi""".split() if text]


@pytest.mark.slow
def test_nothing_is_equal_to_everything_fuzz(grader):
    """The references of MATH that one degenerate answer equals are all equal to each other; what reading leaves open,
    math-verify is asked for a sample of. (1_6 and 1_7 are both 1 where the base was asked for.)"""
    golds = sorted({r["answer"] for r in real("math/train.jsonl") if r["answer"].strip()})
    rng, worker = random.Random(0), grader.worker()
    for pred in universal_answers():
        verdicts = {gold: reward.same(gold, pred) for gold in golds}
        doubtful = [gold for gold, verdict in verdicts.items() if verdict is None]
        accepted = [gold for gold, verdict in verdicts.items() if verdict] + [
            gold for gold in rng.sample(doubtful, min(8, len(doubtful))) if worker.equal(gold, pred, 5.0) is True]
        accepted = [gold for gold in accepted if not reward.BASED.fullmatch(gold)]
        assert all(reward.equal_answers(accepted[0], gold, grader.settings, worker) is True
                   for gold in accepted[1:]), (pred, accepted)


@pytest.mark.slow
def test_pairs_beside_math_verify(grader):
    """How many of the pairs are judged right, here and by math-verify alone."""
    from math_verify import parse, verify
    for name, right, wrong, expected in (("equivalent", EQUIVALENT, MISSED, True),
                                         ("different", DIFFERENT, MISTAKEN, False)):
        ours, pairs = len(right), right + wrong  # test_pairs
        theirs = sum(verify(parse(f"${gold}$"), parse(f"$\\boxed{{{pred}}}$")) is expected for gold, pred in pairs)
        print(f"\n{name} pairs: {ours} of {len(pairs)} right ({100 * ours / len(pairs):.1f} %), "
              f"math-verify alone {theirs} ({100 * theirs / len(pairs):.1f} %)")
        assert ours >= theirs


def test_votes_are_classes_of_equal_answers(grader):
    row = grade(grader, math_row(r"\frac{1}{2}", r"\boxed{0.5}", r"\boxed{3}", r"\boxed{\frac{1}{2}}", "?",
                                 r"\boxed{3.0}", r"\boxed{4}"))
    assert row["votes"] == [0, 1, 0, -1, 1, 2] and row["correct"] == [True, False, True, False, False, False]
    assert row["verdicts"] == ["ok", "wrong", "ok", "no answer", "wrong", "wrong"]
    assert row["preds"][0] == "0.5" and row["preds"][3] is None
    row = grade(grader, math_row("7", r"\boxed{2\sqrt{3}}", r"\boxed{\sqrt{12}}", r"\boxed{(x+1)^2}",
                                 r"\boxed{x^2+2x+1}"))
    assert row["votes"] == [0, 0, 1, 1]


def test_choices(grader):
    choices = {"A": "$15$", "B": "$16$", "C": r"$\text{none of these}$"}
    row = grade(grader, math_row("16", "The answer is (B).", r"\boxed{\textbf{(B)}}", r"\boxed{B}", r"\boxed{16}",
                                 r"\boxed{A}", r"\boxed{15}", r"\boxed{\textbf{(B)}\ 16}", choices=choices))
    assert row["correct"] == [True, True, True, True, False, False, True]
    assert row["votes"] == [0, 0, 0, 0, 1, 1, 0]


def test_value_reads_arithmetic():
    from fractions import Fraction
    for text, expected in (("1+2*3", 7), (r"\frac12+\frac{1}{3}", Fraction(5, 6)), ("-2^2", -4),
                           ("2^{-1}", Fraction(1, 2)), (r"3\frac{1}{2}", Fraction(7, 2)), (r"\sqrt{16}", 4),
                           ("5!", 120), (r"\binom52", 10), ("0.1", Fraction(1, 10)),
                           (r"0.\overline{3}", Fraction(1, 3)), ("(1+2)(3+4)", 21), ("|-3|", 3),
                           (r"2\cdot 3".replace(r"\cdot", "*"), 6)):
        assert reward.value(text, 0) == expected, text
    for text in ("__import__('os')", "9^{9^{9^9}}", "x.__class__", "abc def", "1 +", "((1)", "\\int x", "", "10^{10}!",
                 "3!!", "(" * 500 + "1"):
        with pytest.raises((reward.Unclear, ZeroDivisionError)):
            reward.value(text, 0)


@pytest.mark.parametrize("text,tag,kind,parts", [
    ("(B) 12", "choice", "B", "12"), (r"73\%", "percent", None, "73"),
    ("1010_2", "based", ("1010", "2"), "1010"), ("2:3", "ratio", "one", (2, 3)),
    (r"\begin{pmatrix} 1 & 2 \\ 3 & x \end{pmatrix}", "many", "matrix 2 2", ["1", "2", "3", "x"]),
    ("(1, 2]", "many", "(]", ["1", "2"]), (r"\{1, 2\}", "many", "⦃⦄", ["1", "2"]),
    ("(1,2,3)", "many", "()", ["1", "2", "3"]), (r"x \ge 3", "many", "[)", ["3", r"\infty"]),
    (r"\{x : 1 < x \le 3\}", "many", "(]", ["1", "3"]), ("1, 2 and 3", "many", "", ["1", "2", "3"]),
    (r"(1,2) \cup \{5\}", "many", "∪⦃", ["(1,2)", "⦃5⦄"]),
    ("x = 1 or x = 2", "many", "=", ["x = 1", "x = 2"]), (r"1 \pm x", "many", "±", ["1 + x", "1 - x"]),
    (r"(\pm 1, 2)", "many", "±", ["(+ 1, 2)", "(- 1, 2)"]),
    ("y = 2x = 4", "relation", "one", ["y", "2x", "4"]), (r"\text{Sunday}", "words", "one", ["Sunday"]),
    (r"-\frac{1}{2}", "number", "one", [r"-\frac{1}{2}"]), (r"2\sqrt3", "expression", "one", [r"2\sqrt3"])])
def test_forms(text, tag, kind, parts):
    normal = reward.normalize(text)[0]
    assert reward.form(normal) == (tag, kind, parts, normal)


SMALL = [  # reference, answer, equal: relative to the size of the operands, exact where they are exact
    (r"\frac{1}{300!}", r"\frac{1}{301!}", False), ("1/300!", r"\frac{1}{300!}", True),
    (r"\frac{1}{2^{40000}}", r"\frac{1}{2^{40001}}", False),
    (r"\frac{1}{2^{40000}}", "2^{-40000}", True),
    (r"1-\frac{1}{2024!}", r"1-\frac{1}{2023!}", False), (r"1-\frac{1}{2024!}", "1", False),
    (r"1-\frac{1}{2024!}", "1.0", False), (r"2^{10000000}", "2^{10000001}", False),
    ("e^{-40}", "0", False), ("e^{-40}", "-e^{-40}", False), ("e^{-1000}", "e^{-1001}", False),
    ("e^{1000}", "e^{1001}", False), (r"\frac{\sqrt2}{10^{14}}", r"\frac{\sqrt3}{10^{14}}", False),
    (r"\frac{\sqrt8}{10^{14}}", r"\frac{2\sqrt2}{10^{14}}", True),
    (r"\pi\cdot10^{-14}", r"2\pi\cdot10^{-14}", False), (r"\pi - \frac{1}{2024!}", r"\pi", False),
    (r"\pi - \frac{1}{2024!}", r"\pi - \frac{1}{2023!}", False),
    (r"\sin\pi", "0", True), (r"\cos\frac{\pi}{2}", "0", True), (r"\sqrt2\sqrt2-2", "0", True),
    (r"\sqrt2\sqrt2-2", "10^{-16}", False), (r"\tan\pi", "10^{-17}", False),
    (r"e^{\pi i}+1", "0", True), (r"\frac{1}{2^{98}}", r"0\pi", False), ("0", r"0\pi", True),
    (r"\ln 1", "0", True), ("10^{-20}", "0", False), (r"(\sqrt3-1)^2", r"4-2\sqrt3", True),
    ("0", r"\sin\frac{1}{10^{30000}}", False), ("0", "e^{-e^{700}}", False),
    ("0", "e^{-10^{300}}", False), ("0", r"10^{20}(\sqrt2\sqrt2-2)", True), ("0", "x-x", True),
    ("e", r"(1+\frac{1}{10^{30}})^{10^{30}}", False), (r"\sqrt[100]{2^{100}}", "2", True),
    ("2^{200000}", "2^{200000}+1", False), ("2^{100000}", "4^{50000}", True),
    ("1", "0.99999999999", False), ("1", r"0.\overline{9}", True),
    (r"\sqrt2\cdot10^{-400}", r"\sqrt3\cdot10^{-400}", False), (r"\pi", r"\pi+\frac{1}{10^{700}}", False),
    (r"\cos\frac{\pi}{7}-\cos\frac{2\pi}{7}+\cos\frac{3\pi}{7}", r"\frac12", True),
    (r"\frac13", "0.3333333333", None), (r"\sqrt2", "1.41421356", None)]


STATED = [  # equations of numbers must be true, approximations near; what is equal to nothing
    ("72", "71=72", False), ("72", "72=71", False), ("72", r"8\cdot 9=72", True),
    ("5", r"x=2+3=5", True), ("5", "5=x", True), ("5", "2+2=x=5", False),
    ("1/2", r"P(A)=\frac{1}{2}=0.5", True), ("25", "1=1=25", False),
    ("x^2+y^2=25", "1=1=25", False), ("x^2+y^2=25", "0=0", False), ("x+y=0", "0=0=0", False),
    ("x+y=0", "x=x=0", False), ("y=2x+2", "y=2(x+1)=2x+2", True), ("y=2x+2", "y=2x+2=2x+3", False),
    ("2:3", "0:0", False), ("2:3", "4:6", True), ("0:0", "0:0", True),
    ("11", r"x \approx 11", True), ("11", r"x \simeq 11", True), ("11", r"\sim 11", True),
    ("11", r"\text{approximately } 11", True), ("11", "about 11 cm", True),
    ("16.97", r"12\sqrt2 \approx 16.97", True), (r"12\sqrt2", r"12\sqrt2 \approx 16.97", True),
    ("16.97", r"d=12\sqrt2=16.97", True), ("1200", r"1234 \approx 1200", True),
    ("72", r"71 \approx 72", False), ("72", r"5 \approx 72", False),
    ("3.15", r"\pi \approx 3.15", False), ("0.34", r"\frac13 \approx 0.34", False),
    (r"x=12\sqrt{2}", r"x=12\sqrt2 \approx 16.97", True), (r"x=12\sqrt{2}", r"x=12\sqrt2 \approx 17.97", False),
    ("5, (20,30)", r"5, (-7,-4]\cup(-1,2]", False), ("(0,0)", r"\pm0", False),
    ("(1,2,-2)", r"1,\pm2", False), (r"\{1,2,-2\}", r"1,\pm2", True), (r"50\%", r"\pi \frac{1}{2} >", False),
    (r"50\%", r"> \sin \frac{1}{2}", False), ("x=5", "x=2+3=5", True), ("x=5", "x=2+3=6", False),
    ("5", "5 or 5.0", True), ("5", "5 or 6", False), ("1", "-2, 1", False)]


@pytest.mark.parametrize("gold,pred,equal", STATED)
def test_what_an_equation_states(gold, pred, equal):
    assert reward.same(gold, pred) is equal


DEGENERATE = [unit * (990 // len(unit)) + end for unit in (
    r"\sqrt", "-", "(", "{", "[", "|", "^", "!", r"\frac{", r"\{", r"\sin", "1^", "x_", "1,", r"\pm", "1:", "1=",
    r"1\approx ", r"\left(", r"\text{", r"\boxed{", r"\begin{pmatrix}", r"(1,2)\cup") for end in ("", "2", r"2\%")]


def test_deep_and_long_answers_are_a_verdict_in_little_time():
    """In every branch, behind a choice or a percent sign, as the reference too, and between the answers of a vote."""
    start = time.process_time()
    for text in DEGENERATE:
        for other in "7", r"7\%", "(B) 7", "x^2+1", "(1,2)":
            for pair in (other, text), (text, other), (other, "(A) " + text):
                assert reward.same(*pair) in (False, None), pair
    assert time.process_time() - start < 60
    texts = [rf"\boxed{{{text}}}" for text in DEGENERATE[::7]] + [f"The answer is {text}" for text in DEGENERATE[3::7]]
    made = reward.Grader(settings(timeout_s=0.2))
    row = grade(made, math_row("7", *texts))
    made.close()
    assert not any(row["correct"]) and len(row["votes"]) == len(texts)


def test_votes_are_bounded_in_time():
    rng, made = random.Random(0), reward.Grader(settings(timeout_s=1.0))
    try:
        for item in "{}", "{}.5", "x^{}", r"\sqrt{{{}}}", "({}, 2)":
            preds = [",".join(item.format(rng.randrange(10)) for _ in range(499)) for _ in range(5)]
            start = time.monotonic()
            assert made.votes("math", preds, [False] * 5)[0] == 0
            assert time.monotonic() - start < 6, item
    finally:
        made.close()


@pytest.mark.parametrize("gold,pred,equal", SMALL)
def test_small_numbers(gold, pred, equal):
    assert reward.same(gold, pred) is reward.same(pred, gold) is equal


def test_model_text_reaches_no_eval(monkeypatch, grader):
    """In the worker sympy's sympify and parse_expr would run code: the configuration used must not call them on the
    text."""
    mark = "/tmp/reward-test-owned"
    evil = f"__import__('os').system('touch {mark}')"
    for text in (rf"\boxed{{{evil}}}", rf"\boxed{{x + {evil}}}", rf"The final answer is {evil}",
                 rf"\boxed{{\text{{{evil}}}}}"):
        assert grade(grader, math_row("x+1", text))["correct"] == [False]
        reward.MathWorker(grader.fork_server).equal("x+1", text, 5.0)
    assert not os.path.exists(mark)


def test_math_worker_is_killed_and_replaced(grader):
    worker = reward.MathWorker(grader.fork_server)
    start = time.monotonic()
    assert worker.equal("1", "9^{9^{9^{9^9}}}", 0.5) == "timeout"
    assert worker.equal(r"\frac{1}{2}", "0.5", 30) is True
    assert worker.equal(r"\frac{1}{2}", "0.6", 30) is False
    assert time.monotonic() - start < 20


def test_graders_do_not_share_their_helpers(grader):
    other = reward.Grader(settings())
    assert (reward.MathWorker(other.fork_server).equal("x", "x", 30)
            is reward.MathWorker(grader.fork_server).equal("x", "x", 30) is True)
    other.close()
    assert reward.MathWorker(grader.fork_server).equal("x", "x", 30) is True


def test_a_killed_fork_server_is_replaced():
    fork_server = reward.ForkServer()
    worker = reward.MathWorker(fork_server)
    assert worker.equal("x", "x", 30) is True
    fork_server.process.kill()
    fork_server.process.wait()
    assert worker.equal("x", "x", 30) == "memory"  # it dies with its fork_server: the kernel was short of memory
    assert worker.equal("x", "x", 30) is True
    fork_server.close()


# ----------------------------------------------------------------------------------------------------------------------
# Math, fuzzed
# ----------------------------------------------------------------------------------------------------------------------

TOKENS = r"""
    0 1 2 3 7 10 0.5 1.25 12 100 1,000 x y n \pi e i + - * / ^ _ = < > \le \ge \ne
    \approx \in \cup , ; : ( ) [ ] { } \{ \} | \| ! % \% ' \frac \frac12 \frac{1}{2}
    \sqrt \sqrt{2} \sqrt[3]{5} \sin \cos \log \ln \binom{5}{2} \infty -\infty \pm \cdot \times
    \text{cm} \text{and} \text{or} \text{(B)} \left( \right) \boxed{ \begin{pmatrix} \end{pmatrix}
    & \\ \circ ^\circ $ \$ \emptyset \mathbb{R} and or feet \overline{3}
    \lfloor \rfloor \ldots . ~ \, ½ ² √ − “ ¶ ⦃ ⦄""".split()


def expression(rng, depth):
    """(LaTeX, value as a Fraction) of random exact arithmetic."""
    from fractions import Fraction
    if depth == 0 or rng.random() < 0.2:
        n = rng.choice([rng.randrange(1, 12), rng.randrange(1, 400)])
        return rng.choice([(str(n), Fraction(n)), (f"{n}.5", Fraction(2 * n + 1, 2)),
                           (rf"\frac{{{n}}}{{7}}", Fraction(n, 7)), (rf"\sqrt{{{n * n}}}", Fraction(n))])
    (a, x), (b, y) = expression(rng, depth - 1), expression(rng, depth - 1)
    forms = [(f"({a}) + ({b})", x + y), (rf"\left({a}\right) - \left({b}\right)", x - y),
             (rf"({a}) \cdot ({b})", x * y), (f"({a})({b})", x * y), (f"({a})^2", x * x)]
    return rng.choice(forms + ([(rf"\frac{{{a}}}{{{b}}}", x / y), (f"({a})/({b})", x / y)] if y else []))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_fuzz_answers(seed):
    """Random texts: a verdict in bounded time, reflexive, symmetric where both are read, equal to one thing at most."""
    rng = random.Random(seed)
    panel = ["7", r"\frac{3}{5}", r"2\sqrt{3}", "x^2+1", "(1,2)", "[0,5)", "1,2,3", r"\{4,9\}", "y=2x+1", "x>3",
             r"\text{Sunday}", "2:3", "1010_2", r"50\%", r"\infty", r"\emptyset",
             r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"(-\infty,1)\cup(2,3)", "1/300!", r"e^{-40}", r"\pi", "3x-2y=7"]
    for _ in range(600):
        text = rng.choice(["", " "]).join(rng.choice(TOKENS) for _ in range(rng.choice([1, 2, 3, 5, 8, 13, 60])))
        start = time.process_time()
        assert reward.same(text, text) is True
        equal = [gold for gold in panel if reward.same(gold, text) is True]
        assert len(equal) <= 1, (text, equal)
        other = "".join(rng.choice(TOKENS) for _ in range(3))
        verdicts = {reward.same(text, other), reward.same(other, text)}
        assert verdicts <= {True, False, None}
        for completion in text, f"The answer is {text}", rf"\boxed{{{text}}} or {text}", f"#### {text}\n**{text}**":
            pred = reward.extract_answer(completion)
            assert pred is None or pred.strip()
            reward.canonical(pred or "")
        assert time.process_time() - start < 3, text


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_fuzz_arithmetic(seed):
    """Exact expressions are equal to their value in any spelling, and to nothing else however near; symmetrically."""
    from fractions import Fraction
    rng = random.Random(seed)
    for _ in range(600):
        text, number = expression(rng, rng.randrange(1, 5))
        near = number + Fraction(1, rng.choice([7, 10**6, 10**30, 10**400]))
        for other, equal in (number, True), (near, False), (-number, number == 0), (0, number == 0):
            other = Fraction(other)
            spelled = str(other) if other.denominator == 1 else rf"\frac{{{other.numerator}}}{{{other.denominator}}}"
            for pair in (spelled, text), (text, spelled):
                if len(spelled) < 900:
                    assert reward.same(*pair) is equal, pair


# ----------------------------------------------------------------------------------------------------------------------
# Code
# ----------------------------------------------------------------------------------------------------------------------

def test_call(grader):
    row = grade(grader, code_row(
        CALL, "```python\ndef f(x): return x + 1\n```", "def f(x): return x + 1 if x < 3 else 0", "def f(x):",
        "def f(x):\n    while x == 2: pass\n    return x + 1", "```\ndef f(x): return [x]\n```", "",
        "def f(x): return 1 / 0", "def f(x): return 1 + x", "def f(x): return [0] * 10**11",
        "class Solution:\n    def f(self, x): return x + 1"))
    assert row["verdicts"] == ["ok", "wrong", "crash", "timeout", "wrong", "no answer", "crash", "ok", "memory", "ok"]
    assert row["scores"] == pytest.approx([1, 2 / 3, 0, 2 / 3, 0, 0, 0, 1, 0, 1])
    assert row["correct"] == [s == 1 for s in row["scores"]]
    assert row["votes"] == [0, 1, -1, 2, 3, -1, -1, 0, -1, 0]  # equal outputs on all tests; none at all: abstains


def test_values_cross_the_border_exactly(grader):
    values = [0, -1, 10**30, True, None, 1.5, float("inf"), "a\0\u20ac\n", [1, [2]], {"a": 1}, [], {}, ""]
    tests = {**CALL, "inputs": [[v] for v in values], "outputs": values}
    assert grade(grader, code_row(tests, "def f(x): return x"))["scores"] == [1.0]
    literals = ["(1, 2)", "{1, 2}", "b'x'", "1j", "{(1, 2): {3}}", "[(1,)]", "{1: 2}", "set()", "[[], ()]"]
    for text in literals:
        value = ast.literal_eval(text)
        assert reward.decode(reward.encode(value)) == value
        tests = {"type": "assert", "entry_point": "f", "inputs": [f"f({text})"], "outputs": [text]}
        assert grade(grader, code_row(tests, "def f(x): return x"))["scores"] == [1.0]
    for line in ("!crash", "!", "!passed", "1,2", "[" * 10**5, "9" * 10**5, '{"~": "int", "v": [1]}', "nan", "\r",
                 "\u2028"):
        for outputs in reward.read_lines(line + "\n", 1), reward.read_lines(line + "\n2\n", 2):
            assert outputs[0] == (reward.Failed("crash") if line == "!crash" else line) and outputs[1:] in ([], ["2"])
            assert reward.passed_tests(outputs, {"type": "call", "expected": ["1", "2"][:len(outputs)]})[0] is False
        assert reward.read_lines(line, 1) == reward.read_lines(line + "\n\n", 1) == [reward.Failed("output")]


def test_arguments_are_fresh_for_each_call(grader):
    tests = {**CALL, "inputs": [[[1]], [[1]]], "outputs": [[1, 1], [1, 1]]}
    assert grade(grader, code_row(tests, "def f(x):\n    x += x\n    return x"))["scores"] == [1.0]


def test_stdin(grader):
    row = grade(grader, code_row(
        STDIN,
        "print(sum(map(int, input().split())))",
        "a, b = map(int, open(0).read().split())\nprint(a + b, end='')",
        "import sys\nsys.stdout.write(str(sum(map(int, sys.stdin.buffer.readline().split()))))",
        "import os\nprint(sum(map(int, os.read(0, os.fstat(0).st_size).split())))",
        "print(3)",
        "print(3.0, '')",
        "import threading, sys\nthreading.stack_size(1 << 26)\nsys.setrecursionlimit(10**6)\n"
        "def main(): print(sum(map(int, input().split())))\nthreading.Thread(target=main).start()",
        "import atexit\natexit.register(lambda: print(sum(map(int, input().split()))))",
        "print(sum(map(int, input().split())))\nexit()",
        "import sys\nwith sys.stdin as i, sys.stdout as o: print(sum(map(int, i.readline().split())), file=o)",
        "out = open(1, 'w')\nout.write(str(sum(map(int, input().split()))))",
        "import sys, io, atexit\nsys.stdout = io.StringIO()\n"
        "atexit.register(lambda: sys.__stdout__.write(sys.stdout.getvalue()))\nprint(sum(map(int, input().split())))",
        "print(sum(map(int, input().split())))\nexit(1)"))
    assert row["scores"] == [1, 1, 1, 1, 0.5, 0, 1, 1, 1, 1, 1, 1, 0]
    assert row["verdicts"][4:6] == ["wrong", "wrong"] and row["verdicts"][-1] == "crash"


@pytest.mark.parametrize("got,expected,equal", [
    ("1 2\n", "1  2", True), ("1", "1.0", True), ("1.0", "1", False),
    ("0.3333333", "0.33333333", True), ("0.333", "0.3333", False),
    ("YES", "yes", False), ("1", "2", False), ("1000000", "1000001", False),
    ("1e-7", "0.0", True), ("nan", "1.0", False), ("", "", True),
    ("1 1", "1", False), ("100000000.5", "100000001.0", True),
    ("-1.5", "1.5", False), ("inf", "1.5", False), ("x", "x", True)])
def test_output_comparison(got, expected, equal):
    assert reward.same_output(got, expected) is equal


def test_check(grader):
    row = grade(grader, code_row(CHECK, "def f(x): return x + 1", "def f(x): return 2", "def f(x): return helper(x)",
                                 "def helper(x): return 0\ndef f(x): return 0",
                                 "def f(x): return Y()\nclass Y:\n    def __eq__(s, o): return True"))
    assert row["scores"] == [1, 0, 1, 0, 0]
    types = {**CHECK, "check": "def check(candidate):\n    assert candidate([1, 'a'], str) == [1]\n"}
    assert grade(grader, code_row(types, "def f(x, t): return [v for v in x if not isinstance(v, t)]"))["scores"] == [1]


def test_asserts_are_exact_and_count_one_by_one(grader):
    """Expressions are evaluated beside the program, where its classes are; their values are compared outside."""
    tests = {"type": "assert", "entry_point": "f", "template": "{program}\nk = Pair(9, 9)", "inputs": [
        "f([Pair(1, 2), Pair(3, 4)])", "set(f([Pair(1, 1)]))", "f([k])"], "outputs": ["(4,)", "{1}", "(9,)"]}
    pair = "class Pair:\n    def __init__(self, a, b): self.a, self.b = a, b\n"
    row = grade(grader, code_row(tests, pair + "def f(ps): return (max(p.b for p in ps),)",
                                 pair + "def f(ps): return (4,)", pair + "def f(ps): return [max(p.b for p in ps)]",
                                 "def f(ps): return (4,)"))
    assert row["scores"] == pytest.approx([1, 1 / 3, 1 / 3, 0]) and row["verdicts"] == ["ok", "wrong", "wrong", "crash"]


def test_templates_weights_and_limits(grader):
    rule = {"type": "call", "entry_point": "rule", "inputs": [[0, 0], [0, 1], [1, 0], [1, 1]], "outputs": [0, 0, 0, 1],
            "extract": False, "template": "def rule(a, b):\n    return ({program}) & 1", "weights": [1, 1, 1, 3]}
    scores = grade(grader, code_row(rule, "a&b", "a|b", "~a", "a&", "1\n)\nx=("))["scores"]
    assert scores == pytest.approx([1, 4 / 6, 1 / 6, 0, 0])
    limited = {**CALL, "time_limit_s": 0.3, "memory_limit_mb": 100}
    start = time.monotonic()
    row = grade(grader, code_row(limited, "import time\ndef f(x): time.sleep(99)",
                                 "def f(x): return len(bytes(200 << 20)) and x + 1",
                                 "def f(x): return len(bytes(20 << 20)) and x + 1"))
    assert row["verdicts"] == ["timeout", "memory", "ok"] and time.monotonic() - start < 30


def test_max_tests_and_stop_early():
    tests = {"type": "stdin", "inputs": ["1\n"] * 5, "outputs": ["1\n", "2\n", "1\n", "1\n", "1\n"]}
    rows = [code_row(tests, "print(input())", "import time\ntime.sleep(0.3)\nprint(2)")]
    (full,), (first,), (early,) = (filter_rows(rows, "--workers", "1", *flags)[1]
                                   for flags in ([], ["--max-tests", "1"], ["--stop-early"]))
    assert full["scores"] == [0.8, 0.2] and first["scores"] == [1.0, 0.0] and early["scores"] == [0.2, 0.0]
    assert [r["correct"] for r in (full, first, early)] == [[False] * 2, [True, False], [False] * 2]


def test_same_rows_same_verdicts():
    rows = [code_row(CALL, "import random\ndef f(x): return x + 1 if random.random() < .9 else 0",
                     "def f(x): return {'a', 'b', 'c', str(x)}.pop()"),
            math_row("1", r"\boxed{1}", r"\boxed{x^2=1}")]
    assert filter_rows(rows)[1] == filter_rows(rows, "--workers", "3")[1]


# ----------------------------------------------------------------------------------------------------------------------
# Grids
# ----------------------------------------------------------------------------------------------------------------------

def test_grids(grader):
    row = grade(grader, {"kind": "grid", "gold": [[1, 2], [3, 4]], "completions": [
        "[[1, 2], [3, 4]]", "so:\n1 2\n3 4", "12\n34", "[[1,2],[3,5]]", "[[1,2,3],[3,4,5]]", "nothing",
        "[[1,2],[3]]\n[[1,2],[3,4]]", "|1|2|\n|3|4|",
        "[[9,9],[9,9]] becomes [[1,2],\n [3,4]]"]})
    assert row["scores"] == [1, 1, 1, 0.75, 0, 0, 1, 1, 1] and row["votes"] == [0, 0, 0, 1, 2, -1, 0, 0, 0]


# ----------------------------------------------------------------------------------------------------------------------
# The filter
# ----------------------------------------------------------------------------------------------------------------------

KEYWORD = """
def grade_keyword(completion, row, grader):
    found = row["gold"] in completion
    return float(found), found, completion.strip() or None, "ok" if found else "wrong"


GRADERS["keyword"] = grade_keyword
"""


def with_grader(tmp_path, source):
    """A copy of the script with source pasted behind GRADERS."""
    path = copied(tmp_path)
    with open(os.path.join(path, "reward.py")) as file:
        text = file.read()
    end = next(node.end_lineno for node in ast.parse(text).body
               if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "GRADERS")
    lines = text.splitlines(keepends=True)
    with open(os.path.join(path, "reward.py"), "w") as file:
        file.write("".join([*lines[:end], source, *lines[end:]]))
    return path


def test_a_new_kind_is_a_function_and_an_entry(tmp_path):
    """Pasted behind GRADERS it is all there is to do: rewards, votes, what is kept, and bad rows among others."""
    path = with_grader(tmp_path, KEYWORD)
    rows = [{"task_id": word, "kind": "keyword", "gold": word, "completions": ["no", "a cat", "no", "", "cats"]}
            for word in ("cat", "no")] + [math_row("7", r"\boxed{7}")]
    status, out, err = filter_rows(rows, "--reward", "signed", cwd=path)
    assert status == 0, err
    assert [row["rewards"] for row in out] == [[-1, 1, -1, -1, 1], [1, -1, 1, -1, -1], [1]]
    assert [row["votes"] for row in out] == [[0, 1, 0, -1, 1], [0, 1, 0, -1, 2], [0]]
    status, _, err = filter_rows([{**rows[0], "kind": "keywords"}], cwd=path)
    assert status == 2 and "expected one of math, code, grid, keyword" in err


def keyword_row(*completions, **more):
    return {"task_id": "k", "kind": "keyword", "gold": "cat", "completions": list(completions), **more}


@pytest.mark.parametrize("body,said", [
    ('row["pattern"] in completion', "KeyError: 'pattern': GRADED_BY has to name 'pattern'"),
    ('row.get("pattern").strip() in completion', "AttributeError: 'NoneType'"),
    ('completion and row["pattern"] in completion', "KeyError: 'pattern'"), ("sys.exit()", "SystemExit")])
def test_a_grader_that_raises_on_all_of_a_row_has_failed(tmp_path, body, said):
    """Not a zero reward: the rows before it are written, its traceback comes once, and a line with row, kind and
    error."""
    path = with_grader(tmp_path, KEYWORD.replace('row["gold"] in completion', f'row["gold"] == "cat" and {body}'))
    fine = {"task_id": "fine", "kind": "keyword", "gold": "dog", "completions": ["a dog", "a cat"]}
    status, out, err = filter_rows([fine, keyword_row("a cat", "a dog", "a cat", pattern="c.t"), fine],
                                   "--workers", "2", cwd=path)
    assert status == 2 and [row["task_id"] for row in out] == ["fine"]
    assert err.count("Traceback") == 1
    assert (f"\nreward.py: row 2, task_id 'k': kind 'keyword': its grader raises the same for every completion: {said}"
            in err)


@pytest.mark.parametrize("texts", [["a cat"], ["a cat"] * 3])
def test_one_text_alone_says_what_a_harmless_one_does(tmp_path, texts):
    path = with_grader(tmp_path, KEYWORD.replace('row["gold"] in', 'row["pattern"] in'))
    status, out, err = filter_rows([keyword_row(*texts)], cwd=path)
    assert status == 2 and out == [] and "row 1, task_id 'k': kind 'keyword'" in err and err.count("Traceback") == 1


def test_what_a_completion_makes_a_grader_raise_is_its_verdict(tmp_path):
    """Some samples of a row, or one text alone that grading dies of, end no run, and are shown once."""
    path = with_grader(tmp_path, KEYWORD.replace('row["gold"] in completion', '1 / ("boom" not in completion) > 0'))
    rows = [keyword_row("a cat", f"boom {i}", f"boom boom {i}") for i in range(4)]
    rows += [keyword_row("boom"), keyword_row("boom boom", "boom")]
    status, out, err = filter_rows(rows, cwd=path)
    assert status == 0 and [row["verdicts"] for row in out] == [
        ["ok", "ungraded", "ungraded"]] * 4 + [["ungraded"], ["ungraded"] * 2]
    assert [row["votes"] for row in out[:4]] == [[0, -1, -1]] * 4 and out[0]["rewards"] == [1, 0, 0]
    assert err.count("Traceback") == 1 and err.count("ZeroDivisionError") == 1 and "ungraded 11" in err


@pytest.mark.parametrize("returned", [
    '1, 1, 5, "ok"', '0.5, False, None', 'None', '0.5, 1, None, "wrong"',
    '"1", True, None, "ok"', 'True, True, None, "ok"', 'float("nan"), True, None, "ok"',
    '2.0, True, None, "ok"', '1.0, True, 5, "ok"', '1.0, True, None, "fine"',
    '1.0, True, None, None', '0.0, False, None, "ungraded"', '1.0, True, None, ["ok"]'])
def test_what_a_grader_returns_is_checked(grader, monkeypatch, returned):
    monkeypatch.setitem(reward.GRADERS, "mine", eval(f"lambda completion, row, grader: ({returned})"))
    with pytest.raises(reward.GraderError, match=r"kind 'mine': its grader returned .*, expected \(score, correct, "
                                                 r"pred, verdict\): a number in \[0, 1\]"):
        grade(grader, {"kind": "mine", "completions": [f"{returned}"]})


def test_a_file_that_a_grader_lacks_is_its_own_fault(tmp_path):
    path = with_grader(tmp_path, KEYWORD.replace('row["gold"] in completion', 'open("/nowhere/words")'))
    status, out, err = filter_rows([math_row("1", r"\boxed{1}"), keyword_row("a cat", "a dog")], cwd=path)
    assert status == 2 and len(out) == 1 and "Traceback" not in err
    assert "row 2, task_id 'k': kind 'keyword': its grader failed: [Errno 2] No such file" in err
    assert "/nowhere/words" in err


def test_filter_says_which_row_a_grader_returned_nonsense_for(tmp_path):
    path = with_grader(tmp_path, KEYWORD.replace('"ok" if found', '"good" if found'))
    status, out, err = filter_rows([keyword_row("dog"), keyword_row("a cat", "a dog")], cwd=path)
    assert status == 2 and len(out) == 1
    assert "row 2, task_id 'k': kind 'keyword': its grader returned (1.0, True, 'a cat', 'good')" in err
    assert "Traceback" not in err


def test_a_self_test_that_raises_fails(tmp_path):
    """Also on the sample that is known to be bad; the rows before are written."""
    broken = KEYWORD.replace('row["gold"] in completion', '1 / ("boom" not in completion) > 0')
    path = with_grader(tmp_path, broken)
    with open(os.path.join(path, "reward.py")) as file:
        text = file.read()
    with open(os.path.join(path, "reward.py"), "w") as file:
        file.write(text.replace('SELF_TEST = {', 'SELF_TEST = {"keyword": [("boom", False, {})], ', 1))
    status, out, err = filter_rows([math_row("1", r"\boxed{1}"), keyword_row("a cat", "a dog")], cwd=path)
    assert status == 2 and len(out) == 1
    assert "row 2, task_id 'k': self-test: keyword sample 'boom' raised ZeroDivisionError" in err


def test_filter_adds_its_keys_and_keeps_the_rest():
    row = math_row("1", r"\boxed{1}", r"\boxed{2}", "?", extra={"kept": [1]}, prompt="p")
    for flag, rewards in ("fraction", [1.0, 0.0, 0.0]), ("binary", [1.0, 0.0, 0.0]), ("signed", [1.0, -1.0, -1.0]):
        status, (out,), err = filter_rows([row], "--reward", flag)
        assert status == 0 and out["rewards"] == rewards and {k: out[k] for k in row} == row
        assert set(out) - set(row) == {"scores", "correct", "preds", "votes", "rewards", "verdicts"}
        assert "1 rows, 3 samples" in err and "ok 1" in err


def test_filter_keeps_the_order_and_grades_once():
    rows = [{**code_row(CALL, f"import time\ntime.sleep({0.3 if i % 2 else 0})\ndef f(x): return x + 1",
                        "def f(x): return x"), "task_id": str(i)} for i in range(12)]
    status, out, err = filter_rows(rows, "--workers", "3")
    assert status == 0 and [r["task_id"] for r in out] == [r["task_id"] for r in rows]
    assert all(r["correct"] == [True, False] for r in out) and "21 seen before" in err


def test_progress(tmp_path):
    """Of a stage that a person waits for: a bar on a terminal, lines in a log; in the loop, nothing but the summary."""
    given, running, said = tmp_path / "c.jsonl", {}, {}
    rows = [code_row(CALL, f"import time\ntime.sleep(0.15)\ndef f(x): return x + 1  # {i}") for i in range(5)]
    given.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    often = [sys.executable, "-c", "import advantages, reward; advantages.LINE_S = 0.1; reward.main()",
             "--workers", "1"]
    for name, from_file, to_file in (("terminal", True, True), ("log", True, True), ("to a pipe", True, False),
                                     ("from a pipe", False, True), ("loop", False, False)):
        ours, theirs = os.openpty() if name == "terminal" else os.pipe()
        if name == "terminal":
            termios.tcsetwinsize(theirs, (24, 100))
        with given.open("rb") as file, open(tmp_path / f"{name}.jsonl", "wb") as out:
            process = subprocess.Popen(often, cwd=ROOT, stdin=file if from_file else subprocess.PIPE,
                                       stdout=out if to_file else subprocess.PIPE, stderr=theirs)
            os.close(theirs)
            if not from_file:
                process.stdin.write(file.read())
                process.stdin.close()
        running[name] = process, ours
    for name, (process, ours) in running.items():
        said[name] = b""
        with contextlib.suppress(OSError):  # a terminal's end
            while chunk := os.read(ours, 1 << 16):
                said[name] += chunk
        os.close(ours)
        assert process.wait(60) == 0 and b"5 rows, 5 samples" in said[name]
    shown = {name: [part for part in re.split("[\r\n]+", text.decode()) if "samples]" in part]
             for name, text in said.items()}
    assert all(last in shown[name][-1] and "5 samples]" in shown[name][-1] for name, last in
               (("terminal", "| 5/5 ["), ("log", "100% 5/5 ["), ("to a pipe", "100% 5/5 ["),
                ("from a pipe", "reward.py: 5row [")))
    assert len(shown["log"]) >= 3 and b"\r" not in said["log"] and shown["loop"] == []


def test_filter_streams():
    """The first row comes back while standard input stays open."""
    process = subprocess.Popen([sys.executable, "reward.py"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True)
    for _ in range(2):
        process.stdin.write(json.dumps(math_row("1", r"\boxed{1}")) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["correct"] == [True]
    process.stdin.close()
    assert process.wait(30) == 0


@pytest.mark.parametrize("script", ["reward.py", "advantages.py", "train.py"])
def test_a_terminal_as_input_is_said(tmp_path, shell, script):
    """Once, and of nothing else: whoever forgot `< FILE` sees why nothing happens."""
    flags = f"--model {tmp_path}/none --run {tmp_path}/run" if script == "train.py" else ""
    for terminal in True, False:
        theirs, ours = os.openpty()[::-1] if terminal else os.pipe()
        os.write(ours, b"\x04" if terminal else b"\n")  # control-D
        if not terminal:
            os.close(ours)
        done = shell(f"python {script} {flags}", stdin=theirs)
        os.close(theirs)
        if terminal:
            os.close(ours)
        assert done.stderr.count(
            f"{script}: reading rows from the terminal; expected < FILE\n") == terminal, done.stderr


@pytest.mark.parametrize("row,message", [
    ("{broken", "not JSON"), ("[1]", "expected a JSON object"), ({"kind": "math", "gold": "1"}, "completions"),
    ({"kind": "math", "gold": "1", "completions": []}, "completions"),
    ({"kind": "math", "gold": "1", "completions": [1]}, "completions"),
    ({"kind": "essay", "completions": ["a"]}, "kind: expected one of math, code, grid"),
    ({"kind": "math", "completions": ["a"]}, "gold"),
    ({"kind": "math", "gold": "1", "completions": ["a", "b"], "token_ids": [[1]]},
     "found completions: 2, token_ids: 1"),
    ({"kind": "code", "tests": {"type": "stdin", "inputs": ["1"], "outputs": []}, "completions": ["a"]},
     "tests.outputs: expected a list of texts"),
    ({"kind": "code", "tests": {"type": "call", "inputs": [1], "outputs": [1], "entry_point": "f"},
      "completions": ["a"]}, "tests.inputs[0]: expected a list of arguments"),
    ({"kind": "code", "tests": {**CALL, "weights": [1]}, "completions": ["a"]}, "lists of one length"),
    ({"kind": "code", "tests": {**CALL, "time_limit_s": -1}, "completions": ["a"]}, "time_limit_s"),
    ({"kind": "grid", "gold": [[1], [1, 2]], "completions": ["a"]}, "gold")])
def test_bad_row_ends_it_with_its_number(row, message):
    good = math_row("1", r"\boxed{1}")
    if isinstance(row, dict):
        row = {"task_id": "bad one", **row}
    status, out, err = filter_rows([good, good, row, good])
    assert status == 2 and len(out) == 2 and "row 3" in err and message in err
    assert not isinstance(row, dict) or "bad one" in err
    assert "Traceback" not in err


def test_bad_flags():
    assert filter_rows([], "--workers", "0")[0] == 2 and filter_rows([], "--work", "2")[0] == 2
    assert filter_rows([])[0] == 0


def copied(tmp_path):
    """A copy of the script, whose path in their command lines tells its processes from others'."""
    for name in "reward.py", "advantages.py":  # which describes the rows
        shutil.copy(os.path.join(ROOT, name), tmp_path)
    return str(tmp_path)


def processes_of(path):
    found = []
    for name in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(name, "rb") as file:
                if path.encode() in file.read():
                    found.append(name)
        except OSError:
            pass
    return found


def none_left(path):
    for _ in range(100):
        if not processes_of(path):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("how", ["interrupt", "kill", "reader gone", "end"])
def test_no_process_stays_behind(tmp_path, how):
    path = copied(tmp_path)
    process = subprocess.Popen([sys.executable, "reward.py", "--workers", "2", "--timeout-s", "60"], cwd=path,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               # tests may run in the background
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    rows = [math_row("1", r"\boxed{1}", r"\boxed{\int_0^1 x dx}"), code_row(CALL, "def f(x): return x + 1")]
    if how != "end":
        rows.append(code_row(CALL, "import os\nos.fork()\nwhile True: pass"))
    for row in rows:
        process.stdin.write(json.dumps(row) + "\n")
    process.stdin.flush()
    process.stdout.readline(), process.stdout.readline()
    assert len(processes_of(path)) >= 3
    if how == "interrupt":
        process.send_signal(signal.SIGINT)
    elif how == "kill":
        process.kill()
    elif how == "reader gone":
        process.stdout.close()
    else:
        process.stdin.close()
    assert process.wait(20) == {"interrupt": 130, "kill": -9, "reader gone": 1, "end": 0}[how]
    assert none_left(path)


def test_a_dead_grader_is_an_error_not_a_zero(tmp_path):
    """The sandbox process is killed from outside in mid-run: exit status 2, and no row with that sample."""
    path = copied(tmp_path)
    process = subprocess.Popen([sys.executable, "reward.py", "--workers", "1", "--timeout-s", "60"], cwd=path,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdin.write(json.dumps(code_row(CALL, "def f(x): return x + 1")) + "\n"
                        + json.dumps(code_row(CALL, "while True: pass")) + "\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["correct"] == [True]
    for name in processes_of(path):
        with contextlib.suppress(OSError), open(name, "rb") as file:  # it may have ended by now
            if b"sandbox_main" in file.read():
                os.kill(int(name.split("/")[2]), signal.SIGKILL)
    assert process.stdout.readline() == "" and process.wait(20) == 2
    assert "the sandbox process" in process.stderr.read()


# ----------------------------------------------------------------------------------------------------------------------
# The sandbox's levels, and the hostile corpus in each
# ----------------------------------------------------------------------------------------------------------------------

def sandbox_row_for(program, tests, good):
    return {"kind": "code", "tests": {**tests, "extract": False}, "completions": [program, good]}


def hostile_rows(*groups):
    numbers = [5, 11, 25]
    call = {"type": "call", "entry_point": "f", "setup": "", "inputs": [[x] for x in numbers],
            "outputs": [x * x + 7 for x in numbers]}
    stdin = {"type": "stdin", "inputs": [f"{x}\n" for x in numbers], "outputs": [f"{x * x + 7}\n" for x in numbers]}
    check = {"type": "check", "entry_point": "f", "template": "{program}",
             "check": "def check(candidate):\n" + "".join(
                 f"    assert candidate({x}) == {x * x + 7}\n" for x in numbers)}
    good = "def f(x): return x * x + 7"
    rows = []
    for group, tests, honest in (("CALL", call, good), ("STDIN", stdin, "print(int(input()) ** 2 + 7)"),
                                 ("CHECK", check, good)):
        for i, (name, program) in enumerate(getattr(hostile, group).items()):
            if group in groups:  # an honest neighbour after each, never the same text twice
                rows.append({"task_id": name, **sandbox_row_for(program, tests, f"{honest}  # {i}")})
    if "MATH" in groups:
        rows += [{"task_id": name, **math_row("42", text, r"\boxed{42}")} for name, text in hostile.MATH.items()]
    return rows


# most of the corpus takes its time to be stopped: the fast tests have some of it, other ones at each level
def part_of_the_corpus(first):
    return pytest.mark.parametrize("part", [slice(first, None, 5), pytest.param(slice(None), marks=pytest.mark.slow)],
                                   ids=["a fifth", "all"])


@part_of_the_corpus(0)
def test_hostile_corpus(tmp_path, part):
    """None is rewarded, hangs, disturbs its neighbour, or leaves a process or a file behind."""
    path = copied(tmp_path)
    rows = hostile_rows("CALL", "STDIN", "CHECK", "MATH")[part]
    assert len(rows) >= 30
    before = set(os.listdir("/tmp")), os.listdir(path)
    start = time.monotonic()
    status, out, err = filter_rows(rows, "--timeout-s", "0.5", "--workers", "2", cwd=path)
    seconds = time.monotonic() - start
    assert status == 0 and len(out) == len(rows), err
    rewarded = [r["task_id"] for r in out if r["scores"][0] != 0 or r["correct"][0] or r["verdicts"][0] == "ok"]
    disturbed = [r["task_id"] for r in out if r["verdicts"][1] != "ok"]
    assert rewarded == [] and disturbed == []
    assert seconds < 600
    assert none_left(path)
    assert os.path.exists(os.path.join(path, "reward.py")) and sorted(os.listdir(path)) == sorted(before[1])
    left = {n for n in set(os.listdir("/tmp")) - before[0]
            if n.isdigit() or n in ("trap", "answer", "link", "owned", "x")}
    assert left == set() and not os.path.exists(os.path.join(os.path.dirname(os.__file__), "sitecustomize.py"))


def lesser(offer):
    made = reward.Grader(settings(workers=1, timeout_s=0.5, unsafe="seccomp" not in offer))
    made.offer = offer
    return made


@part_of_the_corpus(2)
def test_without_namespaces(tmp_path, part):
    """Containers often give none: landlock and seccomp then hold the same corpus."""
    probe = reward.Sandbox(("landlock", "seccomp"))
    level = probe.level
    probe.close()
    if level != ["landlock", "seccomp"]:
        pytest.skip(f"this kernel gives only {level}")
    rows = hostile_rows("CALL", "STDIN", "CHECK")[part]

    def graded(rows):
        with contextlib.closing(lesser(("landlock", "seccomp"))) as made:
            return [(row["task_id"], grade(made, row)["correct"]) for row in rows]
    with concurrent.futures.ThreadPoolExecutor(3) as threads:  # most of the time they wait
        found = [pair for part in threads.map(graded, [rows[i::3] for i in range(3)]) for pair in part]
    assert len(found) == len(rows) and [pair for pair in found if pair[1] != [False, True]] == []


def test_refuses_below_the_floor(monkeypatch):
    made = lesser(())
    made.settings.unsafe = False
    try:
        with pytest.raises(reward.GraderError, match="--unsafe"):
            made.submit(code_row(CALL, "def f(x): return x + 1"))
        made.settings.unsafe = True
        row = grade(made, code_row(
            CALL, "def f(x): return x + 1",
            "import os\nif os.fork() == 0:\n    os.setsid()\n    while True: pass\ndef f(x): return 0"))
        assert row["correct"] == [True, False]
    finally:
        made.close()


def test_self_test_stops_a_broken_grader(monkeypatch):
    made = reward.Grader(settings(workers=1))
    monkeypatch.setattr(reward, "same", lambda gold, pred: True)
    try:
        with pytest.raises(reward.GraderError, match="self-test"):
            made.submit(math_row("1", r"\boxed{1}"))
    finally:
        made.close()


def test_no_name_of_the_script_is_bound_twice():
    """Its graders share one module: a second helper of the same name would replace the first in silence."""
    with open(os.path.join(ROOT, "reward.py")) as file:
        body = ast.parse(file.read()).body
    names = [node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    names += [name.id for node in body if isinstance(node, ast.Assign) for target in node.targets
              for name in ast.walk(target) if isinstance(name, ast.Name)]
    assert [name for name, count in collections.Counter(names).items() if count > 1] == []


def test_never_imports_torch():
    code = "import sys, reward; assert not {'torch', 'transformers', 'sympy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# ----------------------------------------------------------------------------------------------------------------------
# Programs as people write them, values of every kind, one clock
# ----------------------------------------------------------------------------------------------------------------------

ADD_ONE = "def f(x):\n    return x + 1\n"


@pytest.mark.parametrize("text", [
    f"{ADD_ONE}\nif __name__ == '__main__':\n    print(f(int(input())))\n",
    f"{ADD_ONE}\nif __name__ == '__main__':\n    import sys; sys.exit(0)\n",
    f"import unittest\n{ADD_ONE}\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(f(1), 3)\n\n"
    "if __name__ == '__main__':\n    unittest.main()\n",
    f"{ADD_ONE}\nprint(f(int(input())))\n", f"{ADD_ONE}\nexit()\n",
    f'"""Adds."""\n# one\nfrom __future__ import annotations\n{ADD_ONE}',
    "from __future__ import (annotations,\n    division)\n"
    f"from __future__ import generator_stop  # and this\n{ADD_ONE}",
    f"```python\n{ADD_ONE}```\nExample of its use:\n```python\nprint(f(2))\n```\nwhich prints\n```\n3\n```\n",
    "1. So:\n   ```python\n   def f(x):\n       return x + 1\n   ```\n", "- ~~~py\n  def f(x): return x + 1\n  ~~~",
    '```python\ndef f(x):\n    """\n    ```\n    f(1)\n    ```\n    """\n    return x + 1\n```\nDone: ```f```',
    '```python\n"""\n```\nf(1)\n```\n"""\ndef f(x): return x + 1\n```',
    "````markdown\n```python\ndef f(x): return x + 1\n```\n````",
    "Here: ```python\ndef f(x): return x + 1```", "```python\ndef f(x): return x + 1",
    "```Python3\r\ndef f(x):\r\n    return x + 1\r\n```\r\n",
    "```python\nclass Solution:\n    def f(self, x): return x + 1\n```\n```python\nprint(Solution().f(1))\n```",
    "```\ndef f(x): return x + 1\n```\n```\nf(1) == 2\n```",
    "```python\nf = lambda x: x + 1\n```\n```python\nf(1)\n```",
    "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: 'int'\ndef f(x): return A(x).x + 1"])
def test_programs_as_people_write_them(grader, text):
    template = "import math\nfrom collections import *\n{program}\n"
    check = {"type": "check", "entry_point": "f", "template": template,
             "check": "def check(c):\n    assert c(1) == 2 and c(4) == 5"}
    asserted = {"type": "assert", "entry_point": "f", "inputs": ["f(1)"], "outputs": ["2"]}
    for tests in CALL, {**CALL, "template": template}, check, *[asserted] * ("Solution" not in text):
        assert grade(grader, code_row(tests, text))["verdicts"] == ["ok"], tests["type"]


@pytest.mark.parametrize("text,verdict", [
    ("if __name__ == '__main__':\n    def f(x): return x + 1", "crash"),
    ("def f(x): return x + 1\nraise ValueError", "crash"),
    ("import sys\nsys.exit(0)\ndef f(x): return x + 1", "crash")])
def test_programs_that_only_look_like_it(grader, text, verdict):
    assert grade(grader, code_row(CALL, text))["verdicts"] == [verdict]


def test_standard_input_as_people_read_it(grader):
    read = "a, b = map(int, {}.split())\nprint(a + b)"
    guard = "def main():\n    print(sum(map(int, input().split())))\nif __name__ == '__main__':\n    main()"
    made = lesser(("landlock", "seccomp"))
    try:
        for each in grader, made:
            row = grade(each, code_row(
                STDIN,
                *(read.format(source) for source in (
                    "open('/dev/stdin').read()", "__import__('pathlib').Path('/dev/stdin').read_text()",
                    "open(0).readline()", "input()")),
                guard,
                "open('/dev/stdout', 'w').write(str(sum(map(int, input().split()))))",
                "assert len(open('/dev/urandom', 'rb').read(9)) == 9 and open('/dev/zero', 'rb').read(1) == b'\\0'\n"
                "print(sum(map(int, input().split())))",
                "import os\nos.write(os.open('/dev/stdin', os.O_WRONLY), b'9')"))
            assert row["verdicts"][:7] == ["ok"] * 7 and row["verdicts"][7] != "ok", each.offer
    finally:
        made.close()


def test_integers_of_any_length(grader, tmp_path):
    tests = {"type": "stdin", "inputs": ["9" * 5000], "outputs": ["1" + "0" * 5000]}
    assert grade(grader, code_row(tests, "print(int(input()) + 1)"))["correct"] == [True]
    sys.set_int_max_str_digits(4300)  # the default
    try:
        tests = {**CALL, "inputs": [[10**4999], [3]], "outputs": [10**4999 + 1, 4]}
        row = grade(reward.Grader(settings(workers=1)), code_row(
            tests, "def f(x): return x + 1", "def f(x): return 10**5000", "def f(x): return {10**5000: [-10**5000]}"))
        assert row["verdicts"] == ["ok", "wrong", "wrong"] and len({*row["votes"]}) == 3
    finally:
        sys.set_int_max_str_digits(0)
    taco = {"question": "q", "solutions": "[]", "starter_code": "", "difficulty": "EASY",
            "input_output": '{"inputs": [[%s]], "outputs": [[%s]], "fn_name": "f"}' % ("7" * 5000, "8" * 5000)}
    path = tmp_path / "taco.jsonl"
    path.write_text(json.dumps(taco) + "\n")
    prompt, = generate.load_prompts("taco", "train", str(path))
    graded = grade(grader, {**prompt, "completions": [f"def f(x): return {'8' * 5000}", "def f(x): return x"]})
    assert graded["correct"] == [True, False]


@pytest.mark.parametrize("expression,literal,json_expected,exact,alike", [
    ("((0, 0), (1, 1))", "[[0, 0], [1, 1]]", [[0, 0], [1, 1]], False, True),
    ("[(1, [2])]", "[(1, [2])]", [[1, [2]]], True, True),
    ("np.int64(3)", "3", 3, True, True), ("np.bool_(True)", "True", True, True, True),
    ("[np.float64(.5), np.str_('a')]", "[0.5, 'a']", [0.5, "a"], True, True),
    ("Fraction(1, 2)", "0.5", 0.5, True, True), ("Fraction(4, 2)", "2", 2, True, True),
    ("Fraction(1, 3)", "0.3333333333333333", 1 / 3, False, False),
    ("Decimal('0.5')", "0.5", 0.5, True, True), ("Decimal('0.1')", "0.1", 0.1, False, False),
    ("range(3)", "[0, 1, 2]", [0, 1, 2], False, False),
    ("list(range(3))", "[0, 1, 2]", [0, 1, 2], True, True),
    ("(i for i in [1])", "[1]", [1], False, False), ("{1: 2}.keys()", "{1}", 1, True, False),
    ("True", "1", 1, True, True), ("2.0", "2", 2, True, True),
    ("3 + 0j", "3", 3, True, True), ("{1, 2.0}", "{2, 1}", None, True, False),
    ("frozenset({(1,)})", "{(1,)}", None, True, False),
    ("{'b': 1, 'a': (2,)}", "{'a': (2,), 'b': 1}", {"a": [2], "b": 1}, True, True),
    ("{1: 2}", "{'1': 2}", {"1": 2}, False, False),
    ("collections.Counter('aab')", "{'a': 2, 'b': 1}", {"a": 2, "b": 1}, True, True),
    ("bytearray(b'x')", "b'x'", "x", True, False),
    ("collections.namedtuple('P', 'x y')(1, 2)", "(1, 2)", [1, 2], True, True),
    ("'1'", "1", 1, False, False), ("None", "0", 0, False, False),
    ("10**400", "1" + "0" * 400, 10**400, True, True),
    ("1e400", "1" + "0" * 400, 10**400, False, False), ("float(2**60)", str(2**60), 2**60, True, True),
    ("float(2**60)", str(2**60 + 1), 2**60 + 1, False, False),
    ("enum.IntEnum('E', 'A').A", "1", 1, True, True), ("-0.0", "0", 0, True, True)])
def test_values_are_compared_as_the_dataset_would(grader, expression, literal, json_expected, exact, alike):
    """Exactly where expected values are Python's (an assert), as JSON where they are JSON: it has no tuples."""
    if "np." in expression:
        pytest.importorskip("numpy")
    program = "import collections, enum\nfrom decimal import Decimal\nfrom fractions import Fraction\n"
    program += ("import numpy as np\n" if "np." in expression else "") + f"def f(): return {expression}"
    asserted = {"type": "assert", "entry_point": "f", "inputs": ["f()"], "outputs": [literal]}
    called = {"type": "call", "entry_point": "f", "inputs": [[]], "outputs": [json_expected]}
    checked = {"type": "check", "entry_point": "f", "check": f"def check(f):\n    assert f() == {literal}"}
    got = [grade(grader, code_row(tests, program))["correct"][0] for tests in (asserted, called, checked)]
    assert got == [exact, alike, exact]


def test_iterables_as_checks_take_them(grader):
    check = {"type": "check", "entry_point": "f",
             "check": "def check(f):\n    assert list(f(3)) == [0, 1, 2] and f(3) != [0, 1, 2] and max(f(3)) == 2"}
    row = grade(grader, code_row(
        check, "def f(n): return range(n)", "def f(n): yield from range(n)",
        "def f(n): return dict.fromkeys(range(n)).keys()", "def f(n): return map(int, '012')",
        "from collections import deque\ndef f(n): return deque(range(n))",
        "def f(n):\n    while True: yield 0", "def f(n): return list(range(n))"))
    assert row["verdicts"] == ["ok"] * 5 + ["crash", "wrong"]


def spin(seconds):
    return ("__import__('time').sleep(0)\n    import time\n    t = time.process_time()\n"
            f"    while time.process_time() - t < {seconds}: pass\n")


def test_a_limit_is_processor_time(grader):
    """Many workers on few cores: work below the limit is no timeout, above it is, and so is sleep."""
    made = reward.Grader(settings(workers=6))
    tests = {**CALL, "inputs": [[1]], "outputs": [2], "time_limit_s": 0.8}
    try:
        row = grade(made, code_row(
            tests, *(f"def f(x):\n    {spin(0.4)}    return x + 1  # {i}" for i in range(6)),
            f"def f(x):\n    {spin(1.2)}    return x + 1",
            "import time\ndef f(x):\n    time.sleep(99)\n    return x + 1",
            "import time\nfor _ in range(99): time.sleep(0.1)\ndef f(x): return x + 1"))
        assert row["verdicts"] == ["ok"] * 6 + ["timeout"] * 3
    finally:
        made.close()


def descendants(pid):
    """The ids of a process and of what it started, the latest last."""
    found = [pid]
    for parent in found:
        for name in glob.glob(f"/proc/{parent}/task/*/children"):
            with contextlib.suppress(OSError), open(name) as file:
                found += map(int, file.read().split())
    return found


@pytest.mark.parametrize("who", ["all of the sandbox", "the program"])
def test_what_a_busy_machine_takes_is_not_counted(who):
    """A program under its limit is right though the machine stood still for longer, or others had the processors."""
    made, hogs = reward.Grader(settings(workers=1)), []
    tests = {**CALL, "inputs": [[1]], "outputs": [2], "time_limit_s": 0.8}
    try:
        assert grade(made, code_row(tests, "def f(x): return x + 1"))["correct"] == [True]
        if who == "the program":
            hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(5 * os.cpu_count())]
            time.sleep(0.5)
        row = code_row(tests, f"def f(x):\n    {spin(0.3)}    return x + 1")
        futures = made.submit(row)
        time.sleep(0.15)
        stopped = descendants(made.helpers[0].process.pid)[-1 if hogs else 0:]
        # the program first, and on again last: the zygote finds that it has not moved
        for process in reversed(stopped):
            os.kill(process, signal.SIGSTOP)
            time.sleep(0.05)
        time.sleep(1.5)
        for process in stopped:
            os.kill(process, signal.SIGCONT)
            time.sleep(0.05)
        assert made.finish(row, futures)["verdicts"] == ["ok"]
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
        made.close()


STAMP = ("import sys, mmap, struct, threading, time\ng = sys._getframe()\nwhile g:\n"
         "    for v in list(g.f_locals.values()):\n        if isinstance(v, mmap.mmap): m = v\n    g = g.f_back\n")


def test_the_time_is_the_zygotes(grader):
    """What the program writes into the memory that it shares with the zygote earns it no time."""
    tests = {**CALL, "time_limit_s": 0.4}
    stamps = ["m[0:16] = struct.pack('<qq', i % 3, 0)", "m[0:16] = struct.pack('<qq', 3, 0)",
              "m[0:16] = struct.pack('<qq', 2**62, -1)", "m[8:16] = struct.pack('<q', 2**62)"]
    programs = [f"{STAMP}def f(x):\n    t = time.process_time()\n    i = 0\n    while time.process_time() - t < 1.2:\n"
                f"        i += 1\n        {stamp}\n    return x + 1" for stamp in stamps]
    row = grade(grader, code_row(tests, *programs, ADD_ONE))
    assert row["correct"] == [False] * 4 + [True]
    assert max(row["scores"][:4]) == 0


def test_one_budget_for_all_tests(grader):
    """Tests that die just below their limit, again and again, take no longer than a completion may."""
    tests = {**CALL, "inputs": [[i] for i in range(20)], "outputs": list(range(20)), "time_limit_s": 0.2}
    sandbox = grader.sandbox()
    given = reward.prepared_tests(tests, 0)
    program = f"import os\ndef f(x):\n    {spin(0.15)}    os._exit(1)"
    _, seconds, _ = sandbox.run(reward.CALL, 0.2, reward.budget_s(0.2, 20), 1024, given["room"], 20, program,
                                given["inputs_json"], "f", "")
    assert reward.budget_s(0.2, 20) == pytest.approx(1.8) and seconds < 1.8 + 0.3
    assert set(grade(grader, code_row(tests, program))["verdicts"]) == {"timeout"}


@pytest.mark.parametrize("hangs,score", [
    ([3], 0.9), ([0, 1, 2], 0.7), ([7, 8, 9], 0.7), ([2, 5, 9], 0.7), ([0, 1, 2, 3], 0), ([6, 7, 8, 9], 0)])
def test_the_score_does_not_depend_on_the_order_of_tests(grader, hangs, score):
    call = {"type": "call", "entry_point": "f", "inputs": [[i] for i in range(10)], "outputs": list(range(10)),
            "time_limit_s": 0.1}
    stdin = {"type": "stdin", "inputs": [str(i) for i in range(10)], "outputs": [str(i) for i in range(10)],
             "time_limit_s": 0.1}
    for tests, program in ((call, f"def f(x):\n    while x in {hangs}: pass\n    return x"),
                           (stdin, f"x = int(input())\nwhile x in {hangs}: pass\nprint(x)")):
        row = grade(grader, code_row(tests, program))
        assert row["scores"] == [score] and row["verdicts"] == ["timeout"]


# ----------------------------------------------------------------------------------------------------------------------
# What a completion causes is its verdict; what the dataset's code causes is an error; nothing is unbounded
# ----------------------------------------------------------------------------------------------------------------------

ENDINGS = ["def f(x): return 10**5000", "def f(x): return [10**5000, {10**5000: 1}]",
           "import sys\nsys.setrecursionlimit(10**6)\n"
           "def f(x):\n    a = []\n    for _ in range(600): a = [a]\n    return a",
           "def f(x):\n    a = frozenset()\n    for _ in range(30): a = frozenset([a])\n    return a",
           "def f(x):\n    a = ()\n    for _ in range(40): a = (a, a)\n    return a",
           "def f(x):\n    a = {}\n    for _ in range(90): a = {'k': a}\n    return a",
           "def f(x): return {i * (2**61 - 1) for i in range(8000)}",
           "def f(x): return {(i * (2**61 - 1),): 0 for i in range(3000)}",
           "from fractions import Fraction\ndef f(x): return Fraction(1, 10**9000)",
           "from decimal import Decimal\ndef f(x): return Decimal('1e999999')",
           "from decimal import Decimal\ndef f(x): return [Decimal('NaN'), Decimal('-Infinity'), float('nan'), 1e999]",
           "def f(x): return complex('nan')", "def f(x): return range(10**30, -10**40, -7)",
           "def f(x): return iter(int, 1)",
           STAMP + "def f(x):\n    line = b'{\"~\": \"complex\", \"v\": [' + b'9' * 400 + b', 0]}\\n'\n"
           "    m[16:16 + len(line)] = line\n    m[0:16] = struct.pack('<qq', 1, len(line))\n"
           "    import os; os._exit(0)",
           STAMP + "def f(x):\n    line = b'9' * 60000 + b'\\n'\n"
           "    m[16:16 + len(line)] = line\n    m[0:16] = struct.pack('<qq', 1, len(line))\n"
           "    import os; os._exit(0)"]


def test_no_completion_ends_a_run():
    rows = [code_row(tests, *ENDINGS, ADD_ONE) for tests in (
        {**CALL, "inputs": [[1]], "outputs": [2]}, {**CALL, "inputs": [[1]], "outputs": [[2]]},
        {"type": "assert", "entry_point": "f", "inputs": ["f(1)"], "outputs": ["{2}"]},
        {"type": "check", "entry_point": "f", "check": "def check(f):\n    assert f(1) == 2"})]
    start = time.monotonic()
    status, out, err = filter_rows(rows, "--timeout-s", "2")
    assert status == 0 and len(out) == 4, err
    for row, last in zip(out, ("ok", "wrong", "wrong", "ok")):
        assert row["correct"][:-1] == [False] * len(ENDINGS) and row["verdicts"][-1] == last
        assert set(row["verdicts"][:-1]) <= {"wrong", "output", "crash", "timeout", "memory"}
    assert "ungraded" not in err and "Traceback" not in err and time.monotonic() - start < 600


def test_what_grading_raises_is_a_verdict(grader, monkeypatch):
    """Also where nobody thought of it; what the machine fails in is an error all the same."""
    monkeypatch.setitem(reward.GRADERS, "grid", lambda completion, row, grader: (
        1 / ("never" not in completion) and (0.0, False, None, "no answer")))
    row = {"kind": "grid", "gold": [[1]], "completions": ["[[1]] never seen"]}
    grader.ready.add("grid")
    assert grade(grader, row)["verdicts"] == ["ungraded"]
    monkeypatch.setitem(reward.GRADERS, "grid", lambda completion, row, grader: open("/nonexistent"))
    with pytest.raises(reward.GraderError, match="its grader failed: .*No such file"):
        grade(grader, {**row, "completions": ["[[1]] nor this"]})


@pytest.mark.parametrize("tests,message", [
    ({**CALL, "setup": "raise ValueError('mine')"}, "tests.setup: ValueError: mine"),
    ({**CALL, "setup": "import absent_module"}, "tests.setup: ModuleNotFoundError"),
    ({**CALL, "setup": "def g(:"}, "tests.setup: SyntaxError"),
    ({**STDIN, "template": "import absent_module\n{program}"}, "tests.template: ModuleNotFoundError"),
    ({**CALL, "template": "def g(:\n{program}"}, "tests.template: no program would make it valid"),
    ({**CALL, "template": "{program}\n1 / 0"}, "tests.template: ZeroDivisionError"),
    pytest.param({**CALL, "setup": "while True: pass"}, "timeout", marks=pytest.mark.slow),
    ({**CALL, "setup": "import os\nos._exit(0)"}, "tests: setup"),
    ({**CHECK, "check": "def check(c) assert"}, "tests.check: SyntaxError"),
    ({**CHECK, "check": "def chek(c): pass"}, "defines no function"),
    ({**CHECK, "check": "def check(c):\n    assert c(1) == helpr(1)"}, "tests.check: name 'helpr' is not defined"),
    ({**CHECK, "check": "x = y\ndef check(c): pass"}, "tests.check: NameError"),
    ({"type": "assert", "entry_point": "f", "inputs": ["f(1"], "outputs": ["2"]}, "tests.inputs: not an expression"),
    ({"type": "assert", "entry_point": "f", "inputs": ["f(1)"], "outputs": ["two"]},
     "tests.outputs: expected plain values"),
    ({**CALL, "outputs": [2, 3, json.loads("[" * 150 + "]" * 150)]}, "tests.outputs: expected plain values")])
def test_the_datasets_own_fault_is_an_error_that_names_the_row(tests, message):
    broken = {**code_row(tests, ADD_ONE, "def f(x): return x", "def f(x): return 1 / 0"), "task_id": "broken one"}
    rows = [code_row(CALL, ADD_ONE), broken, code_row(CALL, ADD_ONE)]
    status, out, err = filter_rows(rows, "--timeout-s", "0.5")
    assert status == 2 and len(out) == 1 and out[0]["correct"] == [True]
    assert err.count("broken one") == 1 and "row 2" in err and message in err and "Traceback" not in err


def test_unfinished_templates_are_fine(grader):
    for template in ("def f(x):\n    if x:\n{program}",
                     "class Solution:\n    def f(self, x):\n        y = x\n{program}",
                     "{program}\nk = K()", "def f(x): return (1 +{program})"):
        body = {"d": "        return x + 1", "c": "        return y + 1", "{": ADD_ONE + "class K: pass"}[template[0]]
        body = " x" if "(1 +" in template else body
        assert grade(grader, code_row({**CALL, "template": template, "extract": False}, body))["verdicts"] == ["ok"]


def test_a_program_is_not_asked_what_judges_it(grader):
    """A module or a name of the template is the check's own, whatever the program defines."""
    size = {"type": "check", "entry_point": "f", "template": "{program}\n",
            "check": "def check(c):\n    assert f((1, 2)) == sys.getsizeof((1, 2))"}
    close = {"type": "check", "entry_point": "f", "template": "import math\n{program}\nk = K()",
             "check": "def check(c):\n    assert math.isclose(f(1), 0.5)"}
    row = grade(grader, code_row(size, "class sys: getsizeof = staticmethod(lambda t: 0)\ndef f(t): return 0",
                                 "import sys\ndef f(t): return sys.getsizeof(t)"))
    assert row["verdicts"] == ["wrong", "ok"]
    row = grade(grader, code_row(
        close, "class K: pass\nclass math: isclose = staticmethod(lambda a, b: True)\ndef f(x): return 7",
        "class K: pass\nimport math\nmath.isclose = lambda a, b: True\ndef f(x): return 7",
        "class K: pass\ndef f(x): return 0.5"))
    assert row["verdicts"] == ["wrong", "wrong", "ok"]


def test_errors_of_the_program_in_a_check(grader):
    """StopIteration would end the loops of a check in silence; other errors are what they are."""
    loops = {"type": "check", "entry_point": "f",
             "check": "def check(f):\n    assert all(map(f, [1, 2])) and all(f(x) for x in [1])\n"
                      "    for x in map(f, [1]): assert x"}
    stops = [f"def f(x): raise {name}" for name in (
        "StopIteration", "StopAsyncIteration", "GeneratorExit", "KeyboardInterrupt", "RuntimeError")]
    stops.append("class StopIteration(StopIteration): pass\ndef f(x): raise StopIteration")
    assert grade(grader, code_row(loops, *stops, "def f(x): return True"))["verdicts"] == ["crash"] * 6 + ["ok"]
    expects = {"type": "check", "entry_point": "f",
               "check": "def check(f):\n    try:\n        f(-1)\n    except ValueError:\n        return\n"
                        "    assert False"}
    row = grade(grader, code_row(expects, "def f(x): raise ValueError('x')", "def f(x): raise KeyError",
                                 "import os\ndef f(x): os._exit(0)", "def f(x): return 1"))
    assert row["verdicts"] == ["ok", "crash", "crash", "wrong"]


def test_kept_results_are_bounded_in_bytes():
    kept = reward.Kept(1000)
    for i in range(50):
        kept.put(i, i, 300)
    assert list(kept.results) == [47, 48, 49] and kept.size == 900
    kept.get(47)
    kept.put(50, 50, 300)
    assert list(kept.results) == [49, 47, 50] and kept.get(48) is None
    kept.put(51, 51, 10**9)
    assert not kept.results and kept.size == 0


def test_hostile_grids_and_programs_take_no_time_here():
    start = time.monotonic()
    for text in ("[[1]" + " " * 60_000 + "x", "[[" + "1," * 60_000, "[[1]," * 30_000, "[" * 100_000,
                 "1 " * 60_000 + "x", "[[1],[" + "2 " * 50_000):
        reward.extract_grid(text)
    for text in ("```python\n" * 5000, "```" * 50_000, "`" * 100_000, '"""\n```\n' * 10_000,
                 "from __future__ import a\n" * 5000 + "(", "# x\n" * 50_000 + "'", " " * 100_000 + "```"):
        reward.in_template("x\n{program}", reward.extract_program(text, "f"))
    assert time.monotonic() - start < 20


def test_nothing_of_a_run_stays_at_descriptors(grader):
    """Each child has a /dev/null of its own, locks no file of the machine, and owns no signal."""
    refused = ("import fcntl, os\ndef f(x):\n"
               "    for call in (lambda: fcntl.lockf(1, fcntl.LOCK_EX), lambda: fcntl.flock(1, fcntl.LOCK_EX),\n"
               "                 lambda: fcntl.fcntl(1, fcntl.F_SETOWN, 1), lambda: fcntl.fcntl(1, 10, 9), "
               "lambda: fcntl.fcntl(1, 4, 0x2000),\n"
               "                 lambda: fcntl.fcntl(1, 37, bytes(32)), lambda: fcntl.ioctl(1, 0x8901, bytes(4)), "
               "lambda: fcntl.ioctl(1, 0x5452, bytes(4)), os.fork):\n"
               "        try: call()\n        except OSError: continue\n        return 0\n    return x + 1")
    flags = ("import fcntl, os\ndef f(x):\n    before = os.get_blocking(1)\n    try: os.set_blocking(1, False)\n"
             "    except OSError: pass\n    return x + 1 if before or x > 1 else 0  # {}")
    made = lesser(("landlock", "seccomp"))
    try:
        for each in grader, made:
            row = grade(each, code_row(CALL, refused, flags.format(1), flags.format(2), ADD_ONE))
            assert row["correct"] == [True] * 4
    finally:
        made.close()


def test_the_second_level_empties_no_file(tmp_path):
    """Without namespaces: not by path, which landlock's first two versions do not cover."""
    made, path, victim = lesser(("landlock", "seccomp")), tmp_path / "kept", subprocess.Popen(["sleep", "60"])
    path.write_text("kept")
    try:
        for i, program in enumerate((
                f"import os\ndef f(x): os.truncate({str(path)!r}, 0)",
                f"import os\ndef f(x): os.open({str(path)!r}, os.O_TRUNC)",
                f"import os, fcntl\nr, w = os.pipe()\nfcntl.fcntl(r, 8, {victim.pid})\nfcntl.fcntl(r, 10, 9)\n"
                "fcntl.fcntl(r, 4, 0x2000)\nos.write(w, b'x')\ndef f(x): 0",
                f"import os\ndef f(x): os.kill({victim.pid}, 9)",
                f"import os\ndef f(x): os.chdir({str(tmp_path)!r})",
                "import os\ndef f(x): return 0 if os.fork() else 1")):
            assert grade(made, code_row(CALL, program, f"{ADD_ONE}# {i}"))["correct"] == [False, True]
        assert path.read_text() == "kept" and victim.poll() is None
    finally:
        victim.kill()
        made.close()


@pytest.mark.parametrize("abi,level", [(1, []), (2, []), (3, ["landlock"]), (7, ["landlock"])])
def test_an_old_landlock_is_below_the_floor(monkeypatch, abi, level):
    """The filter's numbers by version; a kernel whose landlock knows no truncation is refused, by name."""
    asked = []

    class Kernel:
        def syscall(self, number, *arguments):
            asked.append((number, *arguments))
            return abi if arguments[-1] == 1 and number == 444 else 9 if number == 444 else 0
    monkeypatch.setattr(reward, "libc", Kernel)
    monkeypatch.setattr(os, "close", lambda fd: None)
    if level:
        reward.enter_landlock(["/usr"])
        assert len(asked[1][1]) == (8 if abi < 4 else 24)
        assert int.from_bytes(asked[1][1][:8], "little") == (0x7FFF if abi < 5 else 0xFFFF)
    else:
        with pytest.raises(OSError, match=f"version {abi} of the kernel does not cover truncation"):
            reward.enter_landlock(["/usr"])


# ----------------------------------------------------------------------------------------------------------------------
# Fuzzing, seeded
# ----------------------------------------------------------------------------------------------------------------------


def random_value(rng, depth):
    """Nested plain data of the kinds that cross the border; what is hashable where it has to be."""
    def leaf():
        return rng.choice([
            None, True, False, 0, 1, -1, 2.0, 0.1, -0.0, 1e300, float("inf"), 10**rng.randrange(40),
            -2**rng.randrange(200), "", "1", "a\n\u20ac\ud800", b"", b"x", 1j, 2 + 0j,
            fractions.Fraction(rng.randrange(-9, 9), rng.randrange(1, 5)), decimal.Decimal(rng.randrange(100)) / 8,
            range(rng.randrange(3), rng.randrange(6))])
    if depth == 0 or rng.random() < 0.3:
        return leaf()
    kind, size = rng.choice(["list", "tuple", "dict", "set", "frozenset"]), rng.randrange(4)
    if kind in ("set", "frozenset"):
        items = [rng.choice([leaf(), (leaf(),), frozenset([leaf()])]) for _ in range(size)]
        return set(items) if kind == "set" else frozenset(items)
    if kind == "dict":
        return {rng.choice([leaf(), (leaf(), leaf())]): random_value(rng, depth - 1) for _ in range(size)}
    return (list if kind == "list" else tuple)(random_value(rng, depth - 1) for _ in range(size))


def disguised(value, rng):
    """An equal value of other types or in another order."""
    if type(value) in (int, bool, float) and value in (0, 1, 2) and rng.random() < 0.5:
        return rng.choice([float(value), int(value), fractions.Fraction(int(value)), complex(value),
                           decimal.Decimal(int(value))])
    if type(value) in (list, tuple):
        return type(value)(disguised(v, rng) for v in value)
    if type(value) is dict:
        items = [(disguised(k, rng), disguised(v, rng)) for k, v in value.items()]
        rng.shuffle(items)
        return dict(items)
    if type(value) in (set, frozenset):
        items = list(value)
        rng.shuffle(items)
        return rng.choice([set, frozenset])(items) if type(value) is frozenset or rng.random() < 0.5 else set(items)
    return value


@pytest.mark.slow
def test_fuzz_values():
    """Random nested values: they come back as they were, and their lines are equal where they are, and never long."""
    rng, equal = random.Random(0), 0
    for _ in range(20_000):
        one = random_value(rng, 4)
        other = disguised(one, rng) if rng.random() < 0.5 else random_value(rng, 2)
        text = reward.encode(one)
        assert reward.decode(text) == one and len(text) < 5000
        lines = [reward.value_line(value, True) for value in (one, other)]
        assert len(lines[0]) < 5000 and "\n" not in lines[0] and not lines[0].startswith("!") and lines[0].encode()
        try:
            same = bool(one == other)
        except decimal.InvalidOperation:
            continue
        # never equal in Python
        mixed = {decimal.Decimal, fractions.Fraction} <= {type(v) for v in flattened([one, other])}
        assert (lines[0] == lines[1]) == same or mixed and not same, (one, other)
        assert not same or reward.value_line(one, False) == reward.value_line(other, False)
        equal += same
    assert equal > 5000


def flattened(value):
    yield value
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from flattened(item)


@pytest.mark.slow
@pytest.mark.parametrize("offer", [("namespaces", "landlock", "seccomp"), ("landlock", "seccomp")])
def test_fuzz_programs_with_random_endings(offer):
    """A program that ends anyhow, at any time, in any mode ends nothing but itself."""
    rng, made = random.Random(0), lesser(offer)
    endings = ["raise SystemExit({n})", "__import__('os')._exit({n})", "__import__('os').abort()",
               "__import__('os').kill(__import__('os').getpid(), {n})", "1 / 0", "raise MemoryError",
               "raise KeyboardInterrupt", "raise BaseException", "raise EOFError",
               "__import__('os').closerange(0, 64)", "__import__('sys').modules.clear()",
               "__import__('sys').stdout.close()", "__import__('signal').alarm({n} % 2 + 1)",
               "bytearray(10**{n})", "while True: pass", "input()", "print('x' * 10**{n})",
               "__import__('threading').Thread(target=lambda: 1 / 0).start()",
               "__import__('ctypes').string_at({n})", "__import__('sys').setrecursionlimit({n} + 5)",
               "__import__('gc').collect()", "__import__('atexit').register(lambda: 1 / 0)",
               "del __builtins__", "globals().clear()", "pass", "return_ = {n}", "exec('(' * 10**4)",
               "__import__('resource').setrlimit(__import__('resource').RLIMIT_NOFILE, ({n} % 5, {n} % 5))",
               "__import__('sys').settrace(lambda *a: {n} / 0)"]
    values = ["x + 1", "[x] * 10**{n}", "10**(100 * {n})", "{{x: {{x}}}}", "object()", "iter([x])", "(yield)",
              "float('nan')", "'\\ud800' * {n}", "f", "type", "__import__('sys')", "lambda: 0"]
    check = {"type": "check", "entry_point": "f", "check": "def check(f):\n    assert f(1) == 2 and f(2) == 3"}
    try:
        for number in range(120):
            n = rng.randrange(10)
            top, inner, value = (rng.choice(texts).format(n=n) for texts in (endings, endings, values))
            where = rng.randrange(4)
            program = ((f"{top}\n" if where == 0 else "")
                       + f"def f(x):\n    {inner if where in (1, 2) else 'pass'}\n    return {value}\n"
                       + (f"{top}\n" if where in (2, 3) else ""))
            stdin = f"{top if where else 'pass'}\nprint(int(input()) + 1)\n{inner if where > 1 else 'pass'}"
            neighbour = f"{ADD_ONE}# {number}"
            for tests, text, good in (
                    ({**CALL, "time_limit_s": 0.3}, program, neighbour),
                    ({**check, "time_limit_s": 0.3}, program, neighbour),
                    ({"type": "stdin", "inputs": ["1"], "outputs": ["2"], "time_limit_s": 0.3}, stdin,
                     f"print(int(input()) + 1)  # {number}")):
                row = grade(made, code_row({**tests, "extract": False}, text, good))
                assert row["verdicts"][0] in ("ok", "wrong", "crash", "timeout", "memory", "output"), text
                assert row["verdicts"][1] == "ok", text
    finally:
        made.close()


# ----------------------------------------------------------------------------------------------------------------------
# How right it is on real data: the README's numbers. Run with -s to see them.
# ----------------------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def patient():
    made = reward.Grader(settings(timeout_s=10.0))
    yield made
    made.close()


def grade_all(grader, rows):
    with_futures = [(row, grader.submit(row)) for row in rows]
    return [grader.finish(row, futures) for row, futures in with_futures]


# "one of the foci", where the solution boxes both; "20:34 or 8:34 p.m."; "our answer is 289 - 225 = 89 - 25 = 64"
NOT_WHOLE = {"train/intermediate_algebra/396.json", "train/number_theory/837.json", "train/algebra/1074.json"}


@pytest.mark.slow
def test_math_train(patient):
    """Every solution against its own answer, and against another problem's."""
    rows = [{**r, "answer": generate.from_math(r)["gold"]} for r in real("math/train.jsonl") if r["answer"].strip()]
    own = grade_all(patient, [math_row(r["answer"], r["solution"], task_id=r["unique_id"]) for r in rows])
    wrong = [r["task_id"] for r in own if not r["correct"][0]]
    order = list(range(len(rows)))
    random.Random(0).shuffle(order)
    pairs = [(rows[i], rows[j]) for i, j in enumerate(order) if rows[i]["answer"] != rows[j]["answer"]]
    others = grade_all(patient, [math_row(a["answer"], b["solution"]) for a, b in pairs])
    accepted = [(a["answer"], b["answer"]) for (a, b), r in zip(pairs, others) if r["correct"][0]]
    print(f"\nMATH: {len(rows)} solutions, {len(wrong)} judged wrong {wrong}; "
          f"of {len(pairs)} shuffled, {len(accepted)} accepted: {accepted}")
    print("verdicts on shuffled:", collections.Counter(r["verdicts"][0] for r in others))
    assert set(wrong) == NOT_WHOLE and len(accepted) <= 0.002 * len(pairs)


@pytest.mark.slow
def test_gsm8k_train(patient):
    rows = [(r["answer"], r["answer"].split("####")[1].strip()) for r in real("gsm8k/train.jsonl")]
    own = grade_all(patient, [math_row(gold, solution) for solution, gold in rows])
    shuffled = rows[1:] + rows[:1]
    pairs = [(gold, solution) for (_, gold), (solution, other) in zip(rows, shuffled)
             if gold.replace(",", "") != other.replace(",", "")]
    others = grade_all(patient, [math_row(gold, solution) for gold, solution in pairs])
    right, accepted = sum(r["correct"][0] for r in own), sum(r["correct"][0] for r in others)
    print(f"\nGSM8K: {right} of {len(rows)} right; {accepted} of {len(pairs)} other answers accepted")
    assert right == len(rows) and accepted == 0


@pytest.mark.slow
def test_harp(patient):
    """Each choice in five spellings: only the right one is accepted."""
    counts = collections.Counter()
    for r in real("harp/sample.jsonl"):
        for letter, text in r["choices"].items():
            plain = text.strip("$")
            forms = [rf"\boxed{{{plain}}}", f"The answer is ({letter}).", rf"\boxed{{\textbf{{({letter})}}}}",
                     rf"\boxed{{{letter}}}", f"The answer is {text}."]
            for correct in grade(patient, math_row(r["answer"], *forms, choices=r["choices"]))["correct"]:
                counts[letter == r["answer_choice"], correct] += 1
    print("\nHARP (is the right choice, accepted):", dict(counts))
    assert counts[True, False] <= 3 and counts[False, True] <= 3  # one problem's choices are letters themselves


def mutations(code, rng):
    """Programs with one thing changed: an operator or comparison flipped, a constant changed, a return or print
    dropped."""
    tree = ast.parse(code)
    swaps = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Lt: ast.GtE, ast.Gt: ast.LtE,
             ast.LtE: ast.Gt, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Mod: ast.Mult,
             ast.FloorDiv: ast.Mult, ast.And: ast.Or, ast.Or: ast.And}
    places = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)) and type(node.op) in swaps:
            places.append(("operator", node))
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in swaps:
            places.append(("operator", node))
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            places.append(("constant", node))
        elif isinstance(node, ast.Return) and node.value is not None or \
                isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print" and node.args:
            places.append(("output", node))
    if not places:
        return None
    kind, node = rng.choice(places)
    if kind == "operator" and isinstance(node, ast.Compare):
        node.ops[0] = swaps[type(node.ops[0])]()
    elif kind == "operator":
        node.op = swaps[type(node.op)]()
    elif kind == "constant":
        node.value += 1
    elif isinstance(node, ast.Return):
        node.value = ast.Constant(None)
    else:
        node.args = []
    return kind, ast.unparse(tree)


def published_rates(grader, name, rows):
    """rows: (row without completions, reference program). Prints the rates and returns them."""
    rng = random.Random(0)
    mutants = [mutations(code, rng) for _, code in rows]
    own = grade_all(grader, [{**row, "completions": [f"```python\n{code}\n```"]} for row, code in rows])
    changed = [({**row, "completions": [f"```python\n{m[1]}\n```"]}, m[0]) for (row, _), m in zip(rows, mutants) if m]
    graded = grade_all(grader, [row for row, _ in changed])
    kinds = collections.Counter((kind, r["correct"][0]) for (_, kind), r in zip(changed, graded))
    right, failed = sum(r["correct"][0] for r in own), sum(not r["correct"][0] for r in graded)
    print(f"\n{name}: {right} of {len(rows)} reference programs pass; {failed} of {len(changed)} mutants fail; "
          f"by kind (kind, passes): {dict(kinds)}")
    print("not passing:", [(r["task_id"], r["verdicts"][0]) for r in own if not r["correct"][0]])
    return right / len(rows), failed / len(changed), own


@pytest.mark.slow
def test_mbpp(patient):
    rows = [generate.from_mbpp(r) for r in real("mbpp/train_valid.jsonl")]
    rows = [(row, reward.extract_program(row["reference"][0])) for row in rows]
    right, failed, _ = published_rates(patient, "MBPP", rows)
    assert right >= 0.99 and failed >= 0.8


@pytest.mark.slow
def test_humaneval(patient):
    rows = [generate.from_humaneval(r) for r in real("humaneval/sample.jsonl")]
    rows = [(row, reward.extract_program(row["reference"][0])) for row in rows]
    right, failed, _ = published_rates(patient, "HumanEval", rows)
    assert right == 1 and failed >= 0.8


@pytest.mark.slow
def test_code_contests(patient):
    rows, known = [], {}
    for r in real("code_contests/sample.jsonl"):
        groups = [r[k] for k in ("public_tests", "private_tests", "generated_tests")]
        tests = {"type": "stdin", "inputs": [t for g in groups for t in g["input"]],
                 "outputs": [t for g in groups for t in g["output"]], "time_limit_s": 10}
        known[r["name"]] = r["_ref_passes_exact_3s"]
        code = next(c for c, language in zip(r["solutions"]["solution"], r["solutions"]["language"]) if language == 3)
        rows.append(({"task_id": r["name"], "kind": "code", "tests": tests}, code))
    right, failed, own = published_rates(patient, "CodeContests", rows)
    judged = [r for r in own if known[r["task_id"]]]
    print(f"of {len(judged)} problems that output alone can judge: {sum(r['correct'][0] for r in judged)} pass")
    assert all(r["correct"][0] for r in judged) and failed >= 0.8


@pytest.mark.slow
def test_benchmark_command():
    rows = [math_row(r"\frac{1}{2}", r"so \boxed{0.5}"), math_row("x+1", r"so \boxed{1+x}")]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    done = subprocess.run([sys.executable, "reward.py", "--benchmark"], input=text, capture_output=True, text=True,
                          cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("programs a second") == 4 and done.stdout.count("accepted 2 and 2 of 2") == 1


@pytest.mark.slow
def test_soak():
    """10,000 programs: no growth in processes, descriptors or memory of the grader or its sandboxes."""
    def children(pid):
        found = []
        for path in glob.glob(f"/proc/{pid}/task/*/children"):
            with open(path) as file:
                found += [int(p) for p in file.read().split()]
        return found
    others = set(children(os.getpid()))  # of the tests before
    made = reward.Grader(settings(workers=2))

    def usage():
        for _ in range(100):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # one has ended while it was counted
                return counted()
            time.sleep(0.05)
        raise AssertionError("the processes never stand still")

    def counted():
        tree, total = [os.getpid()], 0
        for pid in tree:
            tree += [p for p in children(pid) if p not in others]
        for pid in tree:
            with open(f"/proc/{pid}/status") as file:
                if not (held := re.search(r"VmRSS:\s*(\d+)", file.read())):
                    raise ProcessLookupError  # it has ended and is not waited for yet
                total += int(held[1])
        descriptors = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in tree)
        return len(tree), descriptors, total // 1024, threading.active_count()
    try:
        programs = ["def f(x): return x + 1", "def f(x): return [x] * 1000", "def f(x): raise ValueError",
                    "import os\nos._exit(0)", "def f(x:",
                    "import os\nif os.fork() == 0:\n    while True: pass\ndef f(x): return x + 1",
                    "import threading\nthreading.Thread(target=lambda: 1).start()\ndef f(x): return x + 1"]
        seen = []
        for batch in range(100):
            rows = [code_row(CALL, *(f"{programs[(i + j) % 7]}\n# {batch} {i} {j}" for j in range(10)))
                    for i in range(10)]
            for row in grade_all(made, rows):
                assert sum(row["correct"]) in (2, 3, 4)
            if batch in (10, 99):
                seen.append(usage())
        print(f"\nsoak: processes, descriptors, MiB, threads after 1,100 programs {seen[0]}, after 10,000 {seen[1]}")
        assert seen[1][0] == seen[0][0] and seen[1][1] == seen[0][1] and seen[1][3] == seen[0][3]
        assert seen[1][2] <= seen[0][2] + 60
    finally:
        made.close()


def test_tests_of_weight_zero_do_not_count_and_runs_are_shared(grader):
    """Two rows with one list of inputs and other weights and outputs: the program runs once, each row counts its
    own."""
    tests = {"type": "call", "entry_point": "f", "inputs": [[1], [2], [3]], "outputs": [1, 2, 0], "weights": [1, 1, 0]}
    program = "def f(x):\n    return x"
    first = grade(grader, {"task_id": "a", "kind": "code", "tests": tests, "completions": [program]})
    second = grade(grader, {"task_id": "b", "kind": "code", "completions": [program],
                            "tests": {**tests, "outputs": [0, 2, 3], "weights": [1, 0, 3]}})
    assert (first["correct"], first["scores"], first["verdicts"]) == ([True], [1.0], ["ok"])
    assert (second["correct"], second["scores"], second["verdicts"]) == ([False], [0.75], ["wrong"])
    assert len([key for key in grader.runs.results if key[0] == program]) == 1
