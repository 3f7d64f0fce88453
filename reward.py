#!/usr/bin/env python3
"""Second stage: grade every completion. Rows from standard input, rewarded rows to standard output, order kept.

    python reward.py --reward binary --workers 16 < completions.jsonl > rewarded.jsonl

Adds to each row, one entry per completion:
    scores    float in [0, 1]: (weighted) fraction of tests passed; fraction of right cells for grids; 0 or 1 for math
    correct   bool: everything right; pass@k counts this
    preds     math: canonical answer; code: digest of all outputs; grid: the grid as text; null: no answer
    votes     int class of equal answers within the row, numbered by first appearance; -1: no answer, it abstains
    rewards   --reward fraction: the score; binary: 1 if correct else 0; signed: 1 if correct else -1
    verdicts  "ok"; "wrong"; "no answer" (nothing to grade was found); and for what the first failed test died of:
              "timeout"; "memory"; "crash" (raised, did not compile, killed, exit status not 0); "output" (too much of
              it, or a returned value that is not plain data). "ungraded": grading this text raised an error, which is
              shown once; the same for all texts of a row is a grader that fails

To read: run and Grader, which are the filter; grade_math, grade_code and grade_grid, a sample of each kind; then their
machinery. Math: which answer a text gives (extract_answer), what is equal (same), values, math-verify. Code: programs
and their tests (run_program), the sandbox.

Completions are hostile text. Math: LaTeX goes to math-verify (never to eval, sympify or parse_expr) in a worker process
with a memory limit that is killed when its time is up. Code: one forked process a run in a sandbox, see "The sandbox".
Expected outputs never enter it; what comes out is data and is compared here. Limits are processor time, so that they
hold on a busy machine. A program that runs out of time on more than MAX_TIMEOUTS tests, or of its time for all of them,
has failed them all: the score does not depend on their order. What a completion causes is its verdict; a grader that
fails, and a row whose own setup, template or check does, is an error (exit status 2), never a zero reward.
"""

# Until the next line of this kind also for the sandbox process: what it loads makes its forks slower.
import collections
import ctypes
import json
import mmap
import os
import re
import resource
import select
import signal
import socket
import struct
import sys
import time
# ==== The sandbox process ====
import argparse
import ast
import cmath
import concurrent.futures
import functools
import hashlib
import itertools
import math
import operator
import queue
import stat
import subprocess
import threading
import traceback
import zlib
from fractions import Fraction

from advantages import (BadRow, Help, at_row, check_input, nothing_came, own_output, progress, read_rows, rows_in,
                        shown, tell)


# ----------------------------------------------------------------------------------------------------------------------
# The filter: the command, the stream of rows, and Grader, which grades the samples in parallel and keeps results. What
# a score becomes is REWARDS: a new reward is an entry there, from a sample's score and correctness to what is
# optimised.
# ----------------------------------------------------------------------------------------------------------------------

REWARDS = {"fraction": lambda score, correct: score, "binary": lambda score, correct: float(correct),
           "signed": lambda score, correct: 1.0 if correct else -1.0}


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(usage="%(prog)s [flags] < completions.jsonl > rewarded.jsonl", allow_abbrev=False,
                                     description=__doc__.split("\n")[0],
                                     formatter_class=Help)
    parser.add_argument("--reward", choices=list(REWARDS), default="fraction", help="what `rewards` holds")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)),
                        help="samples graded at the same time")
    parser.add_argument("--timeout-s", type=float, default=5.0,
                        help="seconds of processor time per test (code whose row has no time_limit_s), and per answer "
                        "(math)")
    parser.add_argument("--memory-mb", type=int, default=1024,
                        help="address space of a program whose row has no limit")
    parser.add_argument("--max-tests", type=int, default=0, help="use the first so many tests of a program; 0: all")
    parser.add_argument("--stop-early", action="store_true",
                        help="stdin tests: stop a program at its first failed test; for --reward binary or signed. "
                        "Votes of such programs compare what was run")
    parser.add_argument("--unsafe", action="store_true", help="run code even where the sandbox is below the floor")
    parser.add_argument("--benchmark", action="store_true",
                        help="measure speeds instead; math rows from standard input")
    settings = parser.parse_args(argv)
    if settings.workers < 1 or settings.timeout_s <= 0 or settings.memory_mb < 16 or settings.max_tests < 0:
        parser.error("expected --workers >= 1, --timeout-s > 0, --memory-mb >= 16, --max-tests >= 0")
    return settings


def main():
    settings = parse_arguments()
    status = 0
    try:
        if settings.benchmark:
            from tests.benchmark_reward import benchmark
            return benchmark(settings)
        run(settings, own_output())
    except BrokenPipeError:
        tell("reward.py", "the reader of standard output is gone")
        status = 1
    except (BadRow, GraderError, OSError) as error:
        tell("reward.py", error)
        status = 2
    except KeyboardInterrupt:
        status = 130
    except Exception:  # a bug of ours: say all there is to say, and end
        traceback.print_exc()
        status = 1
    sys.stderr.flush()
    os._exit(status)  # the reader thread may be blocked in standard input


def run(settings, out):
    """The filter. At a row that cannot be graded those before it are still written; then BadRow or GraderError."""
    start, counts, written = time.monotonic(), collections.Counter(), 0  # counts: samples by verdict
    check_input()
    grader = Grader(settings)
    arrived, pending = queue.Queue(maxsize=8), collections.deque()
    gone = select.poll()
    gone.register(out, select.POLLERR)
    ended = failure = None
    total = rows_in(sys.stdin.buffer)  # None in the loop, between two pipes: the last stage has its bar there
    bar = progress("reward.py", total, total is not None or not stat.S_ISFIFO(os.fstat(out.fileno()).st_mode))
    threading.Thread(target=read_ahead, args=(sys.stdin.buffer, arrived), daemon=True).start()
    try:
        while not (ended and not pending):
            # take in what has arrived (a bounded number of rows ahead), give out what is ready, in order
            while not ended and len(pending) < 4 * settings.workers + 4:
                try:
                    number, row = arrived.get(timeout=0 if pending else 0.25)
                except queue.Empty:
                    break
                if number is None:
                    ended, failure = True, row
                    break
                try:
                    pending.append((number, row, grader.submit(row)))
                except (BadRow, GraderError) as error:
                    ended, failure = True, type(error)(at_row(number, row, error))
            if pending:
                number, row, futures = pending[0]
                unfinished = concurrent.futures.wait(futures, timeout=0.02 if not ended else 0.25).not_done
                if not unfinished:
                    try:
                        rewarded = grader.finish(row, futures)
                    except (BadRow, GraderError) as error:
                        raise type(error)(at_row(number, row, error)) from None
                    out.write(json.dumps(rewarded) + "\n")
                    out.flush()
                    pending.popleft()
                    counts.update(rewarded["verdicts"])
                    written += 1
                    bar.set_postfix_str(f"{counts.total()} samples", refresh=False)
                    bar.update()
            if gone.poll(0):
                raise BrokenPipeError
        if failure:
            raise failure
        if not written:
            nothing_came()
    finally:
        bar.close()
        grader.close()
        print_summary(written, counts, time.monotonic() - start, grader)


def print_summary(rows, counts, seconds, grader):
    """The last line on standard error. counts: samples by verdict."""
    samples = counts.total()
    tell("reward.py", f"{rows} rows, {samples} samples in {seconds:.1f} s ({samples / seconds:.0f}/s), "
         f"{grader.reused} seen before, {grader.settings.workers} workers on {len(os.sched_getaffinity(0))} cores"
         + "".join(f", {verdict} {count}" for verdict, count in counts.most_common()))


def read_ahead(stream, arrived):
    """Reader thread: (number, row) into the bounded queue `arrived`; at the end None, or what ended it."""
    end = None
    try:
        for number, row in read_rows(stream, "reward"):
            if row["kind"] not in GRADERS:
                raise at_row(number, row, f"kind: expected one of {', '.join(GRADERS)}, found {row['kind']!r}")
            arrived.put((number, row))
    except BaseException as error:  # whatever it is, the main thread ends with it
        end = error
    arrived.put((None, end))


class GraderError(RuntimeError):
    """The grader itself failed: never turned into a reward."""


# What grading a sample raised, in one line; its traceback; and where: the type, file and line, whatever the text was.
Raised = collections.namedtuple("Raised", "said traceback place")


class Grader:
    """W threads, each with its own helper processes; results of the same (answer, reference) are computed once."""

    def __init__(self, settings):
        sys.set_int_max_str_digits(0)  # of rows
        self.settings, self.local = settings, threading.local()
        self.pool = concurrent.futures.ThreadPoolExecutor(settings.workers)
        self.cache, self.runs, self.trials = Kept(64 << 20), Kept(64 << 20), Kept(4 << 20)
        self.ready, self.helpers, self.told = set(), [], set()
        self.offer, self.fork_server = ("namespaces", "landlock", "seccomp"), ForkServer()
        self.reused = 0

    def submit(self, row):
        """Start grading a row: the futures of its samples' results."""
        kind = row["kind"]
        if kind not in self.ready:
            self.pool.submit(self.self_test, kind).result()
            self.ready.add(kind)
        completions, row = row["completions"], {key: row.get(key) for key in GRADED_BY}
        reference = hashlib.sha256(json.dumps(row).encode()).digest()
        if kind == "code":
            row["tests"] = prepared_tests(row["tests"], self.settings.max_tests)
        futures = []
        for completion in completions:
            key = hashlib.sha256(reference + completion.encode("utf-8", "surrogatepass")).digest()
            future = self.cache.get(key)
            self.reused += future is not None
            if future is None:
                future = self.pool.submit(self.one, completion, row)
                self.cache.put(key, future, 1500)  # a prediction has at most 1,000 characters
            futures.append(future)
        return futures

    def one(self, completion, row):
        """(score, correct, pred, verdict), or Raised. What the row's own code raises is BadRow; a helper process that
        fails, and a grader that returns anything else, is GraderError."""
        try:
            result = GRADERS[row["kind"]](completion, row, self)
        except (BadRow, GraderError):
            raise
        except OSError as error:  # of the machine, or of a file that a grader reads: not the completion's doing
            raise GraderError(f"kind {row['kind']!r}: its grader failed: {error}") from error
        except (Exception, SystemExit) as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            said = " ".join(traceback.format_exception_only(error)[-1].split())
            return Raised(said[:300], traceback.format_exc()[-10_000:], (type(error), last.filename, last.lineno))
        if not is_result(result):
            raise GraderError(f"kind {row['kind']!r}: its grader returned {shown(result)}, expected (score, correct, "
                              "pred, verdict): a number in [0, 1], True or False, a text or None, and one of "
                              + ", ".join(VERDICTS))
        return result

    def finish(self, row, futures):
        """Wait for its samples: the rewarded row."""
        results = [future.result() for future in futures]
        self.judge_errors(row, results)
        results = [UNGRADED if isinstance(result, Raised) else result for result in results]
        scores, correct, preds, verdicts = ([r[i] for r in results] for i in range(4))
        votes = self.votes(row["kind"], preds, correct)
        rewards = [REWARDS[self.settings.reward](s, c) for s, c in zip(scores, correct)]
        return {**row, "scores": scores, "correct": correct, "preds": preds, "votes": votes, "rewards": rewards,
                "verdicts": verdicts}

    def judge_errors(self, row, results):
        """Show what grading raised, once for each place. GraderError if no completion did it: all of the row raise
        the same, and so does a harmless text."""
        raised = [result for result in results if isinstance(result, Raised)]
        for error in raised:
            if error.place not in self.told:
                self.told.add(error.place)
                print(error.traceback, end="", file=sys.stderr)
        if len(raised) < len(results) or len({error.place for error in raised}) > 1:
            return
        control = self.submit({**row, "completions": ["0"]})[0].result()
        if isinstance(control, Raised) and control.place == raised[0].place:
            said = raised[0].said
            hint = next((f": GRADED_BY has to name {key!r}" for key in row if said == f"KeyError: {key!r}"), "")
            raise GraderError(f"kind {row['kind']!r}: its grader raises the same for every completion: {said}{hint}")

    def votes(self, kind, preds, correct):
        """Classes of equal predictions, numbered by first appearance; -1 for none. Right ones are one class. Math:
        others join the first class whose first member they equal. All that takes at most --timeout-s a row (and one
        comparison, of bounded work); answers that were not compared by then are as equal as their texts."""
        votes, firsts, by_text, end = [], [], {}, time.monotonic() + self.settings.timeout_s

        def alike(i, j):
            if correct[i] or correct[j] or kind != "math":
                return correct[i] and correct[j]
            left = end - time.monotonic()
            verdict = same(preds[i], preds[j]) if left > 0 else False
            left = end - time.monotonic()
            return left > 0 and self.worker().equal(preds[i], preds[j], left) is True if verdict is None else verdict
        for i, pred in enumerate(preds):
            number = -1 if pred is None else by_text.get((pred, correct[i]))
            if number is None:
                number = next((c for c, first in enumerate(firsts) if alike(first, i)), len(firsts))
                by_text[pred, correct[i]] = number
            if number == len(firsts):
                firsts.append(i)
            votes.append(number)
        return votes

    def self_test(self, kind):
        """Grade a known-good and a known-bad sample of this kind; GraderError if either comes out wrong."""
        for completion, right, row in SELF_TEST.get(kind, ()):
            result = self.one(completion, {"kind": kind, **row})
            if isinstance(result, Raised):
                print(result.traceback, end="", file=sys.stderr)
                raise GraderError(f"self-test: {kind} sample {completion!r} raised {result.said}")
            if result[1] is not right:
                raise GraderError(f"self-test: {kind} sample {completion!r} was graded {result}")

    def sandbox(self):
        """This thread's sandbox; GraderError below the floor."""
        if not hasattr(self.local, "sandbox"):
            self.local.sandbox = sandbox = Sandbox(self.offer)
            self.helpers.append(sandbox)
            if len(self.helpers) == 1:
                tell("reward.py", f"sandbox: {', '.join(sandbox.level) or 'none'}"
                     + "".join(f"; no {note}" for note in sandbox.notes))
            if not self.settings.unsafe and not ("seccomp" in sandbox.level and len(sandbox.level) == 2):
                raise GraderError("this machine offers less than the floor for untrusted code (seccomp, and either "
                                  "namespaces or landlock); --unsafe runs it all the same")
        return self.local.sandbox

    def worker(self):
        """This thread's process that asks math-verify."""
        if not hasattr(self.local, "worker"):
            self.local.worker = MathWorker(self.fork_server)
        return self.local.worker

    def close(self):
        for helper in self.helpers:
            helper.process.kill()
        self.fork_server.close()


class Kept:
    """Results by key, for any thread; the oldest go when they take more than `room` bytes together."""

    def __init__(self, room):
        self.room, self.size, self.results, self.lock = room, 0, collections.OrderedDict(), threading.Lock()

    def get(self, key):
        with self.lock:
            if key not in self.results:
                return None
            self.results.move_to_end(key)
            return self.results[key][0]

    def put(self, key, result, size):
        with self.lock:
            self.size += size - self.results.pop(key, (None, 0))[1]
            self.results[key] = result, size
            while self.size > self.room:
                self.size -= self.results.popitem(last=False)[1][1]


# ----------------------------------------------------------------------------------------------------------------------
# Kinds of reward. A new kind is a function (completion, row, grader) -> (score, correct, pred, verdict), as the head of
# this file describes them, and its entry in GRADERS; a pred is a text (equal texts are one class of votes) or None. The
# row has the keys of GRADED_BY alone, because results are kept by them: a grader that reads others names them there.
# The grader has `settings`, and `sandbox()` and `worker()` of the thread: untrusted programs run in the former.
# SELF_TEST: samples of known correctness, graded before the first row of their kind.
# ----------------------------------------------------------------------------------------------------------------------


def grade_math(completion, row, grader):
    pred = extract_answer(completion)
    if pred is None or not pred.strip():
        return 0.0, False, None, "no answer"
    gold, meant = row["gold"], pred
    choices = row.get("choices") or {}
    if choices and canonical(gold) not in choices:  # "(C)" or "C. 16" stands for what choice C says
        plain = re.sub(r"\\text\{([^{}]*)\}", r"\1", normalize(pred[:MAX_ANSWER])[0])
        letter = re.fullmatch(r"\(?([A-Z])\)?(?:[.:)]?\s.*)?", plain, re.S)
        meant = choices.get(letter[1], pred) if letter else pred
    verdict = equal_answers(gold, meant, grader.settings, grader.worker())
    correct = verdict is True
    return float(correct), correct, canonical(meant[:MAX_ANSWER]), {True: "ok", False: "wrong"}.get(verdict, verdict)


def grade_code(completion, row, grader):
    """A test of weight 0 is run but does not count."""
    tests, settings = row["tests"], grader.settings
    try_dataset_code(tests, grader)
    program = completion
    if tests.get("extract") is not False:
        program = extract_program(completion, tests.get("entry_point") or "")
    if not program.strip():
        return 0.0, False, None, "no answer"
    program = in_template(tests.get("template") or "{program}", program)
    limits = tests.get("time_limit_s") or settings.timeout_s, int(tests.get("memory_limit_mb") or settings.memory_mb)
    outputs = run_or_recall(program, tests, limits, grader)
    passed = passed_tests(outputs, tests)
    weights = tests.get("weights") or [1] * len(passed)
    outputs, passed, weights = (list(itertools.compress(values, weights)) for values in (outputs, passed, weights))
    correct = all(passed)
    score = 1.0 if correct else sum(itertools.compress(weights, passed)) / sum(weights)
    verdict = "ok"
    if not correct:
        first = outputs[passed.index(False)]
        verdict = first.why if isinstance(first, Failed) else "wrong"
    return score, correct, seen_of(outputs, tests, program, correct), verdict


def grade_grid(completion, row, grader):
    """The score is the fraction of right cells, 0 for a grid of another size."""
    grid, gold = extract_grid(completion), row["gold"]
    if grid is None:
        return 0.0, False, None, "no answer"
    right = 0
    if len(grid) == len(gold) and len(grid[0]) == len(gold[0]):
        right = sum(g == e for a, b in zip(grid, gold) for g, e in zip(a, b))
    correct = grid == gold
    text = "/".join("".join(map(str, r)) for r in grid)
    pred = text if len(text) <= 1000 else hashlib.sha256(text.encode()).hexdigest()[:16]
    return right / (len(gold) * len(gold[0])), correct, pred, "ok" if correct else "wrong"


def is_result(result):
    """Whether it is what a grader has to return."""
    if not isinstance(result, (tuple, list)) or len(result) != 4:
        return False
    score, correct, pred, verdict = result
    return (isinstance(score, (int, float)) and not isinstance(score, bool) and 0 <= score <= 1
            and isinstance(correct, bool) and isinstance(pred, (str, type(None)))
            and isinstance(verdict, str) and verdict in VERDICTS)


GRADERS = {"math": grade_math, "code": grade_code, "grid": grade_grid}
GRADED_BY = "kind", "gold", "tests", "choices"
VERDICTS = "ok", "wrong", "no answer", "timeout", "memory", "crash", "output"
UNGRADED = 0.0, False, None, "ungraded"
ADDS_ONE = {"tests": {"type": "stdin", "inputs": ["1", "2"], "outputs": ["2", "3\n"]}}
SELF_TEST = {"math": [("so \\boxed{\\frac{1}{2}}", True, {"gold": "0.5"}),
                      ("so \\boxed{\\frac{1}{3}}", False, {"gold": "0.5"})],
             "code": [("```python\nprint(int(input()) + 1)\n```", True, ADDS_ONE),
                      ("```python\nimport sys\nsys.exit(0)\n```", False, ADDS_ONE)],
             "grid": [("[[1, 2], [3, 4]]", True, {"gold": [[1, 2], [3, 4]]}),
                      ("[[1, 2], [3, 5]]", False, {"gold": [[1, 2], [3, 4]]})]}


# ----------------------------------------------------------------------------------------------------------------------
# Math: the answer that a completion gives. It is what the text states last: in a box, between answer tags, after
# "####", or in words ("the answer is", a heading "Answer"). If nothing is stated, it is the value in which the last
# sentence with a value ends. A statement that is taken back afterwards is none. A new way to state an answer is a
# function in STATEMENTS: text -> (start and end of its last statement there, the answer), or None. All of it takes
# linear time.
# ----------------------------------------------------------------------------------------------------------------------

MAX_ANSWER = 1000  # characters; longer ones are wrong (the longest of MATH's 7,500 reference answers has 159)
MAX_STATEMENTS = 500  # so many of a kind are looked at, from the end
FORMULA = "\ue000"  # stands for a formula while the words around it are read


def words(text):
    """A pattern for one of these words (`_` is a blank)."""
    return r"\b(?:" + "|".join(text.split()).replace("_", r"\s+").replace("'", "['’]") + r")\b"


def either(*patterns):
    return re.compile("|".join(patterns), re.I | re.M)


QUOTATION_MARKS = str.maketrans(dict.fromkeys('"“”`'))
BRACES = re.compile(r"\\.|[{}]", re.S)
BOX = re.compile(r"\\f?box(?:ed)?(?:\s*(?=\{)|\s+([^\s$.{]+))")
TAG = re.compile(r"<(?:final_?)?answer>", re.I)
HASHES = re.compile(r"(?<!#)####(?!#)")
BOLD = re.compile(r"(?<!\*)\*{1,3}(?=[^\s*])([^*\n]{0,200}[^\s*])\*{1,3}(?!\*)")
NUMBER = re.compile(r"(?<![\w.,/^\\])[-−]?\s?[$€£]?\d[\d,]*(?:\.\d+)?(?:/\d+)?")
EQUATION = re.compile(r"(?<![\w\\])[a-zA-Z](?:\([a-z]\))?\s*=(?=\s*\S)")
SENTENCE = either(r"\n", r"\.(?=\s|$)", r"[?!](?=\s+(?-i:[A-Z])|\s*$)", r"\.\.", r"</?[a-zA-Z]|<\|", r"\s\|(?=\s|$)")
# what stands between the boxes of one list, and what does not
JOIN = either("[,;&]", words("and or"), r"\n\s*(?:[-*•]|\(?\w[.)])\s")
BREAK = either(r"[.?!](?=[\s$\\)]|$)", r"\n\s*\n", r"\\(?:implies|Rightarrow|to|approx)(?![a-zA-Z])",
               r"(?<![a-zA-Z)\s])\s*=\s*\Z", words("""so thus then hence therefore have has gives? gets? but not
    since because which that means yields? implies equivalently same about approximately answer wait actually no"""))
# a heading; a label, "Answer:" at the beginning of a sentence; "the answer (to ...) is"
SUBJECT = r"(?<![a-zA-Z])(?:ans(?:wers?)?|(?:correct|right)\s+(?:option|choice))(?![a-zA-Z])"
PHRASE = either(
    r"^[^a-zA-Z\d\n]{0,12}(?:final\s+)?(?:answers?|result|conclusion)[^\w\n\\$(]{0,8}\n",
    r"(?:^|[.!?>]\s)[^a-zA-Z\d\n]{0,12}(?:[a-z]+,?\s+){0,3}?" + SUBJECT
    + r"(?:(?!\s(?:is|are)\b)[^.:=\n?!—|$\\]){0,60}?[*_\s]{0,8}(?:[:=—|]|[-–]\s)",
    SUBJECT + r"(?P<gap>[^.:=\n?!—|$\\]{0,80}?)[*_\s]{0,8}"
    + words("is are was equals? be becomes of comes_(?:out_)?to"))
ASIDE = either(words("which and by works so if because when"))  # ... but not in its brackets
NOT_STATED = either(words("""wrong incorrect mistaken tempting naive any every each no whether thought first
    initial initially old previous draft intermediate check checking verify
    (?:may|might|could|would)_(?:think|say|guess|expect|believe)""") + r"(?:\W+\w+){0,3}?\W+(?:ans|correct|right)",
                    words("if had were instead") + r".*\bwould\b")
LEAD = re.compile(r"(?:\n\s*[-•]\s+|[\s:*_>=~|]|-(?!\s*[\d\\$(a-z]|\ue000)|" + words(
    "therefore thus then hence simply just indeed exactly now equal_to either both choice option "
    "(?:it|this|that|there|they)_(?:is|are|will_be|would_be|was)") + ")*", re.I)
VALUE = re.compile(  # its beginning: perhaps "about", signs, brackets; then a digit, formula, command or lone letter
    r"(?:≈|\\approx|\\sim(?:eq)?|approximately|about|roughly|around)?[\s(\[{|+\-−–±<.√\\$€£]*"
    r"(?:[\d\ue000π∅∞½¼¾]|\\[a-zA-Z]|[B-HJ-Zb-hj-z](?![a-zA-Z'’])|[aAiI](?=[-+*/^=_)(.,;:]|\s*(?:$|[=+]))|"
    r"[a-zA-Z]{1,3}(?:\([a-z]\))?\s*=)", re.I | re.M)
ITEM = (r"(?:(?:and|or)\s)?\s*(?:[-+−(\[{$\\\d\ue000±]|[a-zA-Z]{1,2}(?:\([a-z]\))?\s*=|[b-zB-HJ-Z]\b(?!['’])|"
        + words("zero one two three four five six seven eight nine ten eleven twelve no none") + ")")
CLAUSE = either(  # where a value ends and a remark begins
    r"\s*(?:→|⇒|=>|\\(?:implies|Rightarrow))", r",?\s+(?:and\s+)?(?=\d[\d\s]*[-+*/×·][^,;=]*=)", r"(?<=%)\s\(",
    rf"[,;]\s+(?!{ITEM})", rf",?\s+{words('and or')}(?!\s*{ITEM})", ";", r"\s*[—–](?=\s*[a-zA-Z])",
    r"\s--?\s+(?=[a-zA-Z])", rf",?\s+or\s+{words('about roughly approximately equivalently')}", r"(?<=\S):\s+",
    r"\s\((?=[^()$\\]*=)",
    r"\s*\((?!mod)(?=[^()$\\]*[a-z]{2})", r",?\s+(?:in\b(?=\s+\S)|to\b(?!\s*\d)|" + words("""because since as so
    which that who where when while if for of on at by with from after before is are was were has have had will
    would can the this it we i you they he she given making meaning assuming thus hence therefore not altogether
    overall combined but instead rather roughly about""") + ")")
REMARK = either(r"[,;:(—–]|\s-\s", r"\s" + words("because since as so but not"))  # the same after an answer in words
NO_ANSWER = re.compile(words("""as given found obtained in correct right below above shown reached clear that this
    what how we not then the_same"""), re.I)
REASON = re.compile(r"\A[^.!?\n]*?" + words("because since as") + r"[^.!?\n]*", re.I)
IN_OTHER_WORDS = re.compile(r"\s\((?:i\.e\.|that is|approx|about|roughly|≈|or\b)[^()]*\)\W*\Z", re.I)
SIGN_OFF = re.compile(r"\\(?:black)?square|\\Box|\\checkmark|\\therefore|\\because|Q\.?E\.?D")
APPOSITION = re.compile(r"(?:the|their|its|our)\s[a-z ]{2,30},\s+(?=\S)", re.I)  # their sum, 16
BEING = re.compile(words("is are be was") + r"\s*\Z")
BECOMES = either(words("is are was were equals? be becomes makes? gives? gets? totals? leaves"), "[=:]")
CONCLUDING = either(words("""so therefore thus hence altogether total finally conclusion consequently result
    leaves final conclude in_all that_makes"""), "∴")
REFUSAL = either(words("""can(?:not|'t|_not) could(?:n't|_not) unable not_able impossible_to don't_know
    not_(?:possible|sure)"""))
RETRACTION = either(
    words(r"""(?:scratch|strike|forget|ignore|disregard)_(?:that|this|my|the_(?:above|previous|last)) oops
    no,?_wait wait,?_no make_that i_meant?
    i(?:'ve|_have)?_(?:made|see|notice|found|spotted|realized)_(?:a|an|my|the|one)(?:_\w+)?_(?:mistake|error|slip)
    i(?:_was|'m|_am)_(?:wrong|mistaken) i_(?:miscounted|misread|miscalculated|overlooked|mixed_up)
    i_forgot(?!_to_(?:say|mention|note|add|state))"""), r"\bcorrection\b\W{0,4}:", r"(?:[.,—–-]|\n)\s?no[,.:—]\s",
    words("wait hold_on hm+ sorry actually reflection oh") + r"[^.!?\n]{0,60}?(?<!no )" + words(
        "wrong incorrect mistake should_(?:be|have_been) (?:can(?:not|'t)|isn't|not)_(?:be_)?(?:right|correct)"),
    r"\A(?:[^.!?\n]{0,80}[.!?])?[^\w\n]{0,12}(?:but )?" + words("that this it which is was")
    + r"[^.!?,;\n]{0,30}?(?<!not )" + words("wrong(?!_to) incorrect mistaken impossible "
                                             "(?:can't|cannot|isn't|not)_(?:be_)?(?:right|correct)"))


def balanced(text, start, end=None):
    """Content of the brace group that opens at `start`; None if it does not close before `end`."""
    close = text.find("}", start, end)
    if text.find("{", start + 1, close) < 0 and text.find("\\", start, close) < 0:
        return text[start + 1:close] if close >= 0 else None
    depth = 0
    for match in BRACES.finditer(text, start, len(text) if end is None else end):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if depth == 0:
            return text[start + 1:match.start()]
    return None


CLOSING = {"$": "$", "$$": "$$", r"\[": r"\]", r"\(": r"\)"}
DELIMITER = re.compile(r"\\\\|\\\$|\$\$|\$|\\[\[\]()]")


def masked(text):
    """(text with FORMULA for each formula, [formula]). A dollar is money where a formula cannot begin or end."""
    pieces, formulas, last, opened = [], [], 0, None
    for match in DELIMITER.finditer(text):
        mark, start, end = match[0], match.start(), match.end()
        closes = opened and mark == CLOSING[opened[0]]
        if closes and mark == "$":
            closes = start > opened[1] + 1 and not text[start - 1].isspace() and not text[end:end + 1].isdigit() \
                and "\n\n" not in text[opened[1]:start]
        if closes:
            pieces += text[last:opened[1]].replace(FORMULA, " "), FORMULA
            formulas.append(text[opened[1]:end])
            last, opened = end, None
        elif mark in CLOSING and not (opened and opened[0] != "$" and mark == "$"):
            opened = None if mark == "$" and text[end:end + 1].isspace() else (mark, start)
    return "".join(pieces) + text[last:].replace(FORMULA, " "), formulas


def unmasked(text, formulas):
    """`text` with its formulas put back; the content alone if it is nothing but one formula."""
    text = text.strip()
    if text == FORMULA:
        return re.sub(r"\A(\$\$?|\\[\[(])|(\$\$?|\\[\])])\Z", "", formulas[0]).strip()
    left = iter(formulas)
    return "".join(next(left) if c == FORMULA else c for c in text).strip()


def read_value(text):
    """The answer at the beginning of `text`, which stands after "the answer is": a value with its unit up to the end of
    the clause, a list, or a word or a few; None if there is nothing of the kind."""
    text, formulas = masked(text)
    text = BOLD.sub(r"\1", text.translate(QUOTATION_MARKS))
    text = text[LEAD.match(text).end():]
    but = re.match(r"not\b[^.\n]{0,40}?,?\s(?:but|it is|rather)\s(?:rather\s)?", text)
    if but:
        formulas, text = formulas[but[0].count(FORMULA):], text[but.end():]
    end = SENTENCE.search(text)
    sentence = text[:end.start()] if end else text
    if not sentence.strip() or end and end[0] == "?" or sentence.startswith("not ") or "\\box" in sentence:
        return None
    if VALUE.match(sentence):
        clause = CLAUSE.search(sentence, VALUE.match(sentence).end())
        sentence = sentence[:clause.start()] if clause else sentence
        return unmasked(re.sub(r"[\s,*_:]+(?:and|or)?$", "", sentence), formulas) or None
    if FORMULA in sentence:
        return None
    named = APPOSITION.match(sentence)
    if named and VALUE.match(sentence, named.end()):
        return read_value(sentence[named.end():])
    sentence = REMARK.split(sentence)[0].strip(" *_\"“”")
    if not sentence or NO_ANSWER.match(sentence) or re.search(r"\d", sentence) or len(sentence.split()) > 6:
        return None
    return sentence


def value_of(sentence, formulas):
    """The value in which a sentence ends: its last bold one, formula, equation, or its number; None without one."""
    concluding = [m.end() for m in CONCLUDING.finditer(sentence)]
    bold = [m for m in BOLD.finditer(sentence) if VALUE.match(m[1])
            or concluding and len(m[1].split()) < 4 and BEING.search(sentence, m.start() - 6, m.start())]
    if bold:
        return read_value(unmasked(bold[-1][1] + " ", formulas[sentence[:bold[-1].start(1)].count(FORMULA):]))
    aside = IN_OTHER_WORDS.search(sentence)
    if aside and FORMULA in sentence[:aside.start()]:
        formulas = formulas[:sentence.count(FORMULA, 0, aside.start())]
    formulas = [f for f in formulas if not SIGN_OFF.search(f)]
    if formulas:
        with_digits = [f for f in formulas if re.search(r"\d|\\[a-zA-Z]", f)] or formulas
        return unmasked(FORMULA, with_digits[-1:])
    equation = EQUATION.search(sentence)
    if equation:
        return read_value(sentence[equation.start():])
    sentence = sentence[concluding[-1]:] if concluding and NUMBER.search(sentence, concluding[-1]) else sentence
    numbers = list(NUMBER.finditer(sentence))
    if len(numbers) == 1:
        return read_value(sentence[numbers[0].start():])
    results = [m for m in BECOMES.finditer(sentence) if VALUE.match(sentence, m.end())]
    return read_value(sentence[results[-1].end():]) if results else None


def concluded(text, anything=False):
    """The value of the last sentence that has one: a formula, or in words if the sentence says that it concludes."""
    if not anything and len(text.strip()) < 60 and "\n" not in text.strip():
        bare = masked(text.strip())[0]
        if VALUE.match(bare) and not REFUSAL.search(bare) and not CONCLUDING.search(bare):
            return read_value(text)
    text, formulas = masked(text)
    ends = [0] + [m.end() for m in SENTENCE.finditer(text)] + [len(text)]
    left = len(formulas)
    for start, end in zip(ends[-2::-1], ends[::-1]):
        sentence = text[start:end].strip(" \n.*_" if "**" not in text[start:end] else " \n.")
        left -= sentence.count(FORMULA)
        if not sentence:
            continue
        if REFUSAL.search(sentence):
            return None
        if FORMULA in sentence or "**" in sentence or anything or CONCLUDING.search(sentence):
            answer = value_of(sentence[:2 * MAX_ANSWER], formulas[left:left + sentence.count(FORMULA)])
            if answer:
                return answer
    return None


def boxed(text):
    r"""The last \boxed{...} that closes and is not empty, with those that one enumeration joins to it: `3, 5` for
    "\boxed{3} and \boxed{5}"; a value that is boxed again counts once."""
    found, start, limit = [], len(text), len(text)
    while start >= 0 and len(found) < 32:
        near = max(0, start - MAX_ANSWER) if found else 0
        start = max(text.rfind("\\box", near, start), text.rfind("\\fbox", near, start))
        match = BOX.match(text, start) if start >= 0 else None
        content = match and (match[1] or balanced(text, match.end(), limit))
        if match and content is None:
            limit = start  # it does not close, so none that opens before it closes after it
        if not content or not content.strip():
            continue
        end = match.end() + (0 if match[1] else len(content) + 2)
        if found:
            gap = text[end:found[-1][0]]
            if not 0 < len(gap) <= 100 or not JOIN.search(gap) or BREAK.search(gap):
                break
        found.append((match.start(), end, content.strip()))
    if len(found) < 2:
        return found[0] if found else None
    contents = []
    for _, _, content in found:
        if not any(content == other or same(other, content) is True for other in contents):
            contents.insert(0, content)
    return found[-1][0], found[0][1], ", ".join(contents)


def tagged(text):
    """The content of the last <answer> that has any."""
    for match in reversed(collections.deque(TAG.finditer(text), MAX_STATEMENTS)):
        content = text[match.end():match.end() + 4 * MAX_ANSWER].partition("</")[0].strip()
        if content:
            value = extract_answer(content) or (None if VALUE.match(content) else concluded(content, anything=True))
            return match.start(), match.end() + len(content), value or content


def after_hashes(text):
    """What follows the last "####" that is no numbered heading."""
    for match in reversed(collections.deque(HASHES.finditer(text), MAX_STATEMENTS)):
        line = re.match(r"[^\n]{0,2000}", text[match.end():])[0]
        answer = None if re.match(r"\s*\d+[.):]\s+\S|\s*$", line) else read_value(line)
        if answer and (VALUE.match(masked(answer)[0]) or text[match.end() + len(line):].strip() == ""):
            return match.start(), match.end(), answer


def after_phrase(text):
    """What follows the last "answer is", "answer:" or heading that is the text's own statement of a value."""
    in_words = None
    for match in reversed(collections.deque(PHRASE.finditer(text), MAX_STATEMENTS)):
        before = re.split(r"[.!?:\n]|,\s*(?:but|so)\b", text[max(0, match.start() - 120):match.start()])[-1]
        gap = (match["gap"] or "").strip()
        if NOT_STATED.search(before + " " + match[0]) or ASIDE.search(gap):
            continue
        tail = text[match.end():match.end() + 2 * MAX_ANSWER]
        answer = read_value(tail)
        value = answer is not None and VALUE.match(masked(answer)[0])
        if not value and match[0].rstrip(" *_}")[-1] in ":\n=—|":  # a label: **Answer:** There are 17 balls.
            line, formulas = masked(tail.strip().partition("\n")[0])
            end = SENTENCE.search(line)
            line = line[:end.start()] if end else line
            concluding = None if answer else value_of(line, formulas[:line.count(FORMULA)])
            answer, value = concluding or answer, concluding is not None
        if value:
            return match.start(), match.end(), answer
        if answer and in_words is None and not gap:
            in_words = match.start(), match.end(), answer
    return in_words


# each with what any text that it reads contains in lower case: most texts are sorted out by that, which is quick
STATEMENTS = ((boxed, ("box",)), (tagged, ("answer>",)), (after_hashes, ("####",)),
              (after_phrase, ("ans", "option", "choice", "result", "conclusion")))
HINTS = [hint.replace("_", " ") for hint in """
    wrong mista incorrect wait no, no. no: no— error slip t_correct be_correct correction t_right be_right should_
    impossible scratch strike forg ignore disregard oops make_that i_mean misc misr overlook mixed""".split()]


def extract_answer(text):
    """The answer that a completion gives, as text; None if it gives none."""
    if "</think" in text and (response := text.rpartition("</think")[2].partition(">")[2]).strip():
        text = response
    answer, rest, lower = None, text, text.lower()
    for rule, hints in STATEMENTS:
        if not rest.strip(" \n.,$*)]\\"):  # nothing follows
            return answer
        found = rule(rest) if any(hint in lower for hint in hints) else None
        if found and (answer is None or VALUE.match(masked(found[2])[0])):
            answer, rest = found[2], rest[found[1]:]
            lower = rest.lower()
    if answer is None:
        return None if BOX.search(text) else concluded(text)
    if any(hint in lower for hint in HINTS):
        for match in RETRACTION.finditer(rest):
            sentence = SENTENCE.search(rest, match.end())
            if not (sentence and sentence[0] == "?"):
                return concluded(REASON.sub("", rest[match.end():]), anything=True)
    return answer


# ----------------------------------------------------------------------------------------------------------------------
# Math: what is equal. same(gold, pred) decides what can be decided by reading: the spellings of an answer are made one,
# each text is read once for its `form` (a matrix, a list, an equation, ...), two forms are compared by the rule of the
# more special one (RULES), part by part, and expressions by value, in exact fractions or complex floats, at three fixed
# points of their variables. True and False are final; None means "not sure", and math-verify decides, in a worker that
# can be killed. Nothing here evaluates text but `value`, a reader of arithmetic with bounded numbers.
# ----------------------------------------------------------------------------------------------------------------------

SYMBOLS = str.maketrans({
    "−": "-", "–": "-", "×": r"\times ", "·": r"\cdot ", "÷": "/", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ",
    "≥": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "°": r"^\circ ", "√": r"\sqrt ",
    "±": r"\pm ", "½": r"\frac12 ", "¼": r"\frac14 ", "¾": r"\frac34 ", "²": "^2", "³": "^3", "’": "'", "“": "",
    "”": "", "\u00a0": " ", "\u202f": " ", "…": "...", "€": "", "£": "", "∅": r"\emptyset "})
MAGNITUDES = {"thousand": "3", "million": "6", "billion": "9"}
SPELLINGS = [(re.compile(pattern), replacement) for pattern, replacement in [
    (r"\\\\\s*(\[[^\]]*\])?", "¶"),                                                     # row ends of matrices
    (r"\\\$|\$|\\[()\[\]]|\\displaystyle|\\textstyle|\\limits|\\phantom\s*(\{[^{}]*\}|.)|\\nobreak|\\strut", ""),
    (r"\{\s*([-+])\s*\}", r"\1"), (r"(?<![\w})])\+\s*(?=\\infty)", ""),
    (r"\\(left|right|[bB]igg?[lrm]?)(?![a-zA-Z])\.?", ""),
    (r"\\(lbrace|\{)", "⦃"), (r"\\(rbrace|\})", "⦄"), (r"\\langle", "("), (r"\\rangle", ")"),
    (r"\\lvert|\\rvert|\\vert|\\mid", "|"),
    (r"(?<=\d)(\{,\}\s*|,\\!\s*|\\[,!;: ]\s*|\\thinspace\s*|,\s*\\ )(?=(\d{3})+(?!\d))", ""),  # surely thousands
    (r"(?<![\d.,]\s)(?<![\d.,])\d{1,3}(?: \d{3})+(?![\d.,/]|\s*\d)", lambda m: m[0].replace(" ", "")),
    (r"\{,\}", ","), (r"\\!", ""), (r"\\[,;: ]|\\q?quad|\\h(space|skip)\*?\{[^{}]*\}|~|\\thinspace", " "),
    (r"\\[dtc]frac", r"\\frac"), (r"\\[dt]binom", r"\\binom"),
    (r"\\(text(bf|it|rm|normal|tt|sf|sc)?|math(rm|bf|it|sf|tt)|boldsymbol|bf|mbox|hbox|operatorname\*?|emph)\s*(?=\{)",
     r"\\text"),
    (r"(?<=[\d}])\s*(\\text\{\s*)?(thousand|million|billion)(?![a-z])",
     lambda m: f"*10^{MAGNITUDES[m[2]]}" + (m[1] or "")),
    (r"\\text\{([A-Z])\}(?=\w*\s*_)", r"\1"), (r"\\text\{\s*\}", ""), (r"\{\\(rm|bf|it)\s+([^{}]*)\}", r"\\text{\2}"),
    (r"\^\s*(\{\s*\\circ\s*\}|\\circ|\\degrees?)|\\degrees?(?![a-z])|(?<=[\d})])\s*\\circ", "°"),
    (r"\\(?:sim(?:eq)?|approxeq|thickapprox)(?![a-zA-Z])|≈|"
     r"(?:\\text\s*\{\s*)?(?<![\\a-zA-Z])(?:approximately|approx\.?|roughly|about|around)(?![a-zA-Z])(?:\s*\})?",
     r"\\approx "),
    (r"\\leqslant|\\leq(?![a-z])|<=", r"\\le "), (r"\\geqslant|\\geq(?![a-z])|>=", r"\\ge "), (r"\\lt(?![a-z])", "<"),
    (r"\\gt(?![a-z])", ">"), (r"\\neq|\\not\s*=|!=", r"\\ne "), (r"\\%", "%"), (r"\\(l|c|)dots", "..."),
    (r"\\cdot|\\times|\\ast", "*"),
    (r"\\(bullet)", "*"), (r"\\div(?![a-z])", "/"), (r"\\mathbb\s*\{?\s*([A-Z])\s*\}?", r"\\mathbb{\1}"),
    (r"\\infin(?![a-z])|\binfinity\b", r"\\infty"),
    (r"\\varnothing|\\empty(?!set)|⦃\s*⦄", r"\\emptyset"), (r"\\var(phi|epsilon|theta)", r"\\\1"),
    (r"\\i?math(?![a-z])", "i"),
    (r"(?<![\\a-zA-Z])(sqrt|sin|cos|tan|cot|sec|csc|log|ln|pi|arcsin|arccos|arctan)(?![a-zA-Z])", r"\\\1"),
    (r"(?<=\d)\s*(?:\\text\s*\{\s*to\s*\}|to)\s*(?=\d)", ":"),
    (r"\*\*", "^"), (r"(?<=\d)[eE]([+-]?\d+)(?![\w.])", r"*10^{\1}"), (r"\\(overline|bar)\{([A-Z]{2})\}", r"\2")]]
WORDS = {"allreals": r"(-\infty,\infty)", "allrealnumbers": r"(-\infty,\infty)", r"\mathbb{R}": r"(-\infty,\infty)",
         "nosolution": r"\emptyset", "nosolutions": r"\emptyset", "norealsolution": r"\emptyset",
         "norealsolutions": r"\emptyset", "therearenosolutions": r"\emptyset", "emptyset": r"\emptyset",
         **{word: str(n) for n, word in enumerate((
             "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
             "seventeen eighteen nineteen twenty").split())}}
UNITS = {**{name: name for name in """centimeter meter kilometer millimeter foot inch yard mile second minute hour day
    week month year kilogram gram pound ounce liter dollar cent degree radian square cubic percent per""".split()},
    "cm": "centimeter", "centimetre": "centimeter", "m": "meter", "metre": "meter", "km": "kilometer", "h": "hour",
    "kilometre": "kilometer", "mm": "millimeter", "ft": "foot", "feet": "foot", "in": "inch", "inche": "inch",
    "yd": "yard", "mi": "mile", "sec": "second", "s": "second", "min": "minute", "hr": "hour", "kg": "kilogram",
    "g": "gram", "lb": "pound", "oz": "ounce", "sq": "square", "cube": "cubic", "litre": "liter", "ml": "milliliter",
    "mph": "mile per hour", "rad": "radian", "deg": "degree"}
SHORT_UNITS = set("am pm a.m p.m o'clock way box bus car hat hit hop men boy kid dog cat cow pig egg pie row toy bag "
                  "jar pen cup yen rpm mpg".split())  # words of four letters and more are units whatever they are
PLAIN_NUMBER = re.compile(r"-?\d+(?:\.\d+)?", re.A)
LEADING = re.compile(r"^(\\text\s*\{\s*)?(the (final )?answer is|therefore|thus|so|\\approx)[\s,:]*(?(1)\})", re.I)
NO_UNITS = set("hundred thousand million billion trillion dozen times modulo choose where when with".split())


def singular(word):
    word = word.strip(".").lower()
    return word[:-1] if len(word) > 2 and word.endswith("s") and not word.endswith("ss") else word


def split_unit(text):
    r"""('5', ['square', 'meter']) for '5\text{ m}^2' or '5 square meters'; the unit is [] if there is none."""
    match = re.fullmatch(r"(.*[\d})°%a-zA-Z])\s*\\text\s*\{\s*([^{}]*)\}\s*(?:\^\s*\{?\s*([23])\s*\}?)?", text, re.S)
    if match and re.search(r"\d|\\pi|\\sqrt", match[1]) and not re.search(r"\\text", match[1]) \
            and not re.fullmatch(r"\s*(and|or|if|to)\s*", match[2]):
        number, words, power = match.groups()
    else:
        match = re.fullmatch(r"(.*[\d})°%])\s*((?:[a-zA-Z'.]{2,}|/)(?:[\s/]+[a-zA-Z'.]+)*|[mgshL]\s*/\s*[a-z]+)\s*"
                             r"(?:\^\s*\{?\s*([23])\s*\}?)?", text, re.S)
        if not match or not re.search(r"\d", match[1]) or "\\text" in match[2]:
            return text, []
        number, words, power = match.groups()
        words = re.sub(r"\s+", " ", words)
        if not all(singular(w) in UNITS or singular(w) in SHORT_UNITS or
                   len(w) > 3 and w[1:].islower() and w.lower() not in NO_UNITS
                   for w in re.findall(r"[a-zA-Z'.]+", words)):
            return text, []
    unit = [u for w in re.findall(r"[a-zA-Z'.]+", words) for u in UNITS.get(singular(w), "?").split()]
    if power:
        unit = [{"2": "square", "3": "cubic"}[power]] + unit
    return number.strip(), unit


def split_letter(text):
    """('5', ['meter']) for '5 m', which split_unit takes for a product; the unit is [] if there is no such letter."""
    match = re.fullmatch(r"(.*[\d})])\s*([mgshL])", text, re.S)
    return (match[1], [UNITS.get(match[2], "?")]) if match else (text, [])


@functools.lru_cache(4096)
def normalize(text):
    """(canonical text, unit words): one spelling for what LaTeX and people spell in many ways."""
    if PLAIN_NUMBER.fullmatch(text):
        return text, []
    text = text.translate(SYMBOLS).strip().strip("*")
    for pattern, replacement in SPELLINGS:
        text = pattern.sub(replacement, text)
    text = text.strip()
    for _ in range(4):
        inner = re.match(r"\\boxed\s*(?=\{)", text)
        if inner and balanced(text, inner.end()) is not None:
            text = text[:inner.start()] + balanced(text, inner.end())
        if text.startswith("{") and balanced(text, 0) == text[1:-1]:
            text = text[1:-1]
        text = text.strip().rstrip(".,;:\\").lstrip(",;:").strip() if not re.fullmatch(r"\.\d+", text) else text
    text = LEADING.sub("", text)
    text, unit = split_unit(text)
    text = text.rstrip(".,; ")
    if re.fullmatch(r"\\text\{[^{}]*\}", text):
        text = text[6:-1].strip().rstrip(".,;")
    if not re.search(r"[(\[⦃¶]", text) or re.search(r",\s", text):
        text = re.sub(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,]|\.\d*,)", lambda m: m[0].replace(",", ""), text)
    if "°" in text:
        text = re.sub(r"(?<=[\d})])\s*°", r"\\frac{\\pi}{180}" if TRIGONOMETRIC.search(text) else "", text)
    text = re.sub(r"\s+", " ", text).strip()
    word = re.sub(r"\\text|[{}\s.]", "", text).lower()
    return WORDS.get(word, WORDS.get(text, text)), unit


def canonical(text):
    if PLAIN_NUMBER.fullmatch(text):
        return text
    return squeeze(normalize(text)[0])


def squeeze(text):
    """Without the blanks, but for those between two words and between two numbers: 3 1/2 is not 31/2."""
    return re.sub(r"(?<![a-zA-Z\d])\s+|\s+(?![a-zA-Z\d])|(?<=\d)\s+(?=[a-zA-Z])|(?<=[a-zA-Z])\s+(?=\d)", "", text)


def split_top(text, separators):
    """Split at the separators (a compiled pattern) that stand outside all brackets."""
    parts, depth, last, i = [], 0, 0, 0
    while i < len(text):
        if text[i] in "([{⦃":
            depth += 1
        elif text[i] in ")]}⦄":
            depth -= 1
        elif depth == 0:
            match = separators.match(text, i)
            if match:
                parts.append(text[last:i])
                last = i = match.end()
                continue
        i += 1
    return [p.strip() for p in parts + [text[last:]]]


LETTER = re.compile(r"[a-zA-Z]")
LONG_DECIMAL = re.compile(r"(?=[\d.]{6})\d*\.\d*[1-9]")  # of five digits or more: a rounded value, perhaps
TRIGONOMETRIC = re.compile(r"\\(sin|cos|tan|cot|sec|csc)(?![a-z])")
COMMA = re.compile(r"\s*[,;]\s*(?:\\text\{\s*(?:and|or)\s*\}|(?:and|or)(?![a-zA-Z]))?|"
                   r"\s*\\text\{\s*,?\s*(?:and|or)\s*\}|\s+(?:and|or)(?![a-zA-Z])")
UNION = re.compile(r"\\cup(?![a-zA-Z])|\s+U\s+")
RELATION = re.compile(r"=|<|>|\\le(?![a-zA-Z])|\\ge(?![a-zA-Z])|\\ne(?![a-zA-Z])|\\in(?![a-zA-Z])|\\equiv|\\approx")
VARIABLE = re.compile(r"\\?[a-zA-Z]+(?:_\{?\w+\}?)?(?:\s*\(\s*[a-zA-Z](?:\s*,\s*[a-zA-Z])*\s*\))?'*|\\text\{[^{}]*\}")
MATRIX = re.compile(r"[(\[]?\s*\\begin\{([bpvV]?matrix|array)\}\s*(?:\{[^{}]*\})?(.*?)\\end\{\1\}\s*[)\]]?", re.S)


CELL = re.compile("&")
APPROXIMATELY = re.compile(r"\\approx(?![a-zA-Z])")
RATIO = re.compile(r"(\d+)\s*:\s*(\d+)")
NAME = re.compile(r"[A-Za-z .'-]{2,}")
CHOICE = re.compile(r"(?:\\text\{\s*)?\(([A-F])\)(?:\s*\}\s*|\s+)(\S.*)")  # \text{(B)} 12
BASED = re.compile(r"(?:\\text\{)?([0-9A-Z]+)\}?_\s*\{?\s*(\d+|\\text\{\s*\w+\s*\})\s*\}?")  # 1010_2


def every(verdicts):
    """All of them, in three-valued logic."""
    verdicts = list(verdicts)
    return False if False in verdicts else None if None in verdicts else True


def some(verdicts):
    """At least one of them, in three-valued logic."""
    verdicts = list(verdicts)
    return True if True in verdicts else None if None in verdicts else False


def matching(gold, pred, equal):
    """Equal as unordered collections of what `equal` compares, in three-valued logic."""
    if len(gold) != len(pred):
        return False
    left, doubt = list(pred), False
    for g in sorted(gold, key=left.count, reverse=True) if len(gold) > 20 else gold:
        if g in left:
            left.remove(g)
            continue
        verdicts = []
        for p in left:
            verdicts.append(equal(g, p))
            if verdicts[-1]:
                break
        if True in verdicts:
            left.pop(verdicts.index(True))
        elif None in verdicts:
            doubt = True
        else:
            return False
    return None if doubt else True


MAX_WORK = 4000  # parts that are compared for one pair of answers, at most
WORK = threading.local()


class TooMuch(Exception):
    """More parts to compare than MAX_WORK."""


@functools.lru_cache(8192)
def same(gold, pred):
    """True, False or None (not sure): is `pred` the answer `gold`? It raises nothing and takes bounded time."""
    WORK.left = MAX_WORK
    try:
        return same_answer(gold, pred)
    except (RecursionError, TooMuch):
        return None


def same_answer(gold, pred):
    if gold.strip() == pred.strip():
        return True
    (gold_text, gold_unit), (pred_text, pred_unit) = normalize(gold), normalize(pred)
    if not pred_text:
        return False
    # 5 m: five meters where the other side has a unit, else five times m
    if gold_unit and not pred_unit:
        pred_text, pred_unit = split_letter(pred_text)
    elif pred_unit and not gold_unit:
        gold_text, gold_unit = split_letter(gold_text)
    known = [u for u in (gold_unit, pred_unit) if u and "?" not in u]
    if len(known) == 2 and {*known[0]} - {"per"} != {*known[1]} - {"per"}:
        return False
    verdict = same_part(gold_text, pred_text)
    raw = [re.sub(r"\s+", "", t.strip("$ ")) for t in (gold, pred)]
    if verdict is not True and all(re.fullmatch(r"-?\d+(,-?\d+)+", t) for t in raw):  # 100,200: a list after all?
        if sorted(raw[0].split(",")) == sorted(raw[1].split(",")):
            return True
    return verdict


def same_part(gold, pred):
    """`same` for texts that are normalized: by the rule for the more special of their two forms."""
    WORK.left -= 1
    if WORK.left < 0:
        raise TooMuch
    gold, pred = gold.strip(), pred.strip()
    if gold == pred or squeeze(gold) == squeeze(pred):
        return True
    if not gold or not pred:
        return False
    if PLAIN_NUMBER.fullmatch(gold) and PLAIN_NUMBER.fullmatch(pred):
        return same_number(gold, pred, 0)
    g, p = form(gold), form(pred)
    return next(rule for tag, rule in RULES.items() if tag in (g.tag, p.tag))(g, p)


# tag: one of RULES; kind, of "many": its brackets, or one of LISTS, "∪" for intervals, "∪⦃" for values among them, or
# "matrix" with the lengths of its rows
Form = collections.namedtuple("Form", "tag kind parts text")


@functools.lru_cache(8192)
def form(text):
    """What a normalized text is, with the texts of its parts."""
    if found := CHOICE.fullmatch(text):
        return Form("choice", found[1], found[2], text)
    if text.endswith("%") and not RELATION.search(text) and "," not in text:
        return Form("percent", None, text.rstrip("% "), text)
    if found := BASED.fullmatch(text):
        base = re.sub(r"\\text|\W", "", found[2]).lower()
        return Form("based", (found[1].lstrip("0"), WORDS.get(base, base)), found[1], text)
    if found := RATIO.fullmatch(text):
        return Form("ratio", "one", tuple(map(int, found.groups())), text)
    if found := MATRIX.fullmatch(text):
        rows = [split_top(row, CELL) for row in found[2].strip().strip("¶").split("¶")]
        return Form("many", " ".join(["matrix", *(str(len(row)) for row in rows)]), sum(rows, []), text)
    items, sides = split_top(text, COMMA), split_top(text, RELATION)
    signed = [one for item in items for one in plus_minus(item)]
    if len(signed) > len(items) and bracketed(signed[0]):                            # (\pm 1, 2)
        return Form("many", "±", signed, text)
    if pieces := as_pieces(text):
        brackets = {opening + closing for opening, *_, closing in pieces}
        if len(pieces) == 1 or brackets == {"⦃⦄"}:
            return Form("many", min(brackets), [part for _, *parts, _ in pieces for part in parts], text)
        kind = "∪⦃" if "⦃⦄" in brackets else "∪"
        return Form("many", kind, [opening + ",".join(parts) + closing for opening, *parts, closing in pieces], text)
    if len(sides) > 1 and len(items) == 1:
        return Form("relation", "one", sides, text)
    if group := bracketed(text):
        return Form("many", group[0] + group[2], group[1], text)
    if len(signed) > 1:
        return Form("many", "=" if len(sides) > 1 else "" if len(items) > 1 else "±", signed, text)
    tag = next((tag for tag, pattern in PLAIN.items() if pattern.fullmatch(text)), "expression")
    return Form(tag, "one", [text], text)


PLAIN = {"words": re.compile(r"[A-Za-z' -]*[A-Za-z]{3}[A-Za-z' -]*"),
         "number": re.compile(r"-?[\d.]+|-?\\frac\{\d+\}\{\d+\}")}


def same_choice(g, p):
    """(B) 12 is B and is 12."""
    if g.tag == p.tag:
        return g.kind == p.kind
    one, other = (g, p) if g.tag == "choice" else (p, g)
    return re.sub(r"\\text|[(){}.\s]", "", other.text) == one.kind or same_part(one.parts, other.text)


def same_percent(g, p):
    r"""73\% is 73 (a unit) and 0.73."""
    if g.tag == p.tag:
        return same_part(g.parts, p.parts)
    verdict = same_part(*(f.parts if f.tag == "percent" else f.text for f in (g, p)))
    if verdict is not False:
        return verdict
    return same_part(*(rf"\frac{{{f.parts}}}{{100}}" if f.tag == "percent" else f.text for f in (g, p)))


def same_based(g, p):
    """1010_2, which is 1010 too where the base was asked for."""
    return g.kind == p.kind if g.tag == p.tag else g.tag == "based" and g.parts == p.text


def same_ratio(g, p):
    """Times; ratios, if the reference is in lowest terms; 1:4 is 1/4."""
    if g.tag == p.tag:
        (a, b), (c, d) = g.parts, p.parts
        return (a, b) == (c, d) or math.gcd(a, b) == 1 and (c or d) and a * d == b * c or False
    (a, b), other = (g.parts, p) if g.tag == "ratio" else (p.parts, g)
    if "/" in other.text or "frac" in other.text or b == 1:
        return same_part(rf"\frac{{{a}}}{{{b}}}", other.text)
    return False if other.tag in PLAIN else RULES[other.tag](g, p)


def same_many(g, p):
    """Matrices, unions, points, intervals, sets and lists; also of equations: x = 1 or x = 2; x = 1, y = 2."""
    if "relation" in (g.tag, p.tag) and not {"", "="} & {g.kind, p.kind}:
        return same_relation(g, p)
    verdict = same_items(g, p)
    if verdict is not True and ("=" in (g.kind, p.kind) or "relation" in (g.tag, p.tag)):
        return False if any(map(untrue, split_top(p.text, COMMA))) else None
    return verdict


def same_items(g, p):
    """In any order but for matrices, points, intervals and rankings. A set or a point may lack its brackets, a point be
    a row or a column; an open interval may be meant as a point."""
    kinds, (ours, theirs) = {g.kind, p.kind}, (f.parts if f.tag == "many" else [f.text] for f in (g, p))
    if g.kind == "one" and p.kind in LISTS:                                          # 1/2, or 0.5
        return every(same_part(g.text, item) for item in theirs)
    if kinds == {""} and all(map(NAME.fullmatch, ours + theirs)) and not AND_OR.search(g.text):
        kinds = {"ranking"}
    if kinds <= {"⦃⦄", "one"} | LISTS or kinds == {"∪"} or kinds == {"∪⦃"} and len(ours) == len(theirs):
        return matching(ours, theirs, same_part)
    if len(kinds) == 1 and "∪⦃" not in kinds or "()" in kinds and any(map(pointlike, (g, p))):
        return len(ours) == len(theirs) and every(map(same_part, ours, theirs))
    if {"number", "words", "ratio"} & {g.tag, p.tag}:
        return False
    # [0, 1) and {1} may be [0, 1]; a matrix may be a product
    openings = {kind[:1] for kind in kinds}
    doubtful = "∪⦃" in kinds or openings > {"m"} and "∪" not in kinds or openings == {"(", "["} and len(ours) != 2 \
        or "expression" in (g.tag, p.tag) and ("∪" in kinds or RELATION.search(g.text + p.text))
    return None if doubtful else False


def pointlike(f):
    """Whether it may be a point without its brackets, or a row or a column."""
    listed = f.kind in ("", "=") and r"\pm" not in f.text and not any(map(bracketed, f.parts))
    return listed or VECTOR.fullmatch(f.kind) is not None


LISTS = {"", "=", "±"}  # without brackets: of values, of equations, of the two values of one
VECTOR = re.compile(r"matrix(?: \d+|(?: 1)+)")
AND_OR = re.compile(r"(?<![a-z])(and|or)(?![a-z])")


def same_relation(g, p):
    """Equations, and what they state; other relations are left to math-verify."""
    if {m[0] for m in RELATION.finditer(g.text + " " + p.text)} - {"=", r"\in", r"\equiv", r"\approx"}:
        return False if is_constant(g.text) or is_constant(p.text) else None
    if g.tag != "relation":
        return stated(p.text, g.text)
    if p.tag != "relation":
        if not has_variables(g.text):                              # 0.56 = 56\%: the reference is to be trusted
            return some(same_part(side, p.text) for side in g.parts)
        return stated(g.text, p.text) if VARIABLE.fullmatch(g.parts[0]) else None
    if all(map(is_constant, p.parts)):                             # 0 = 0
        return len(g.parts) == len(p.parts) and every(map(same_part, g.parts, p.parts))
    if VARIABLE.fullmatch(g.parts[0]) and VARIABLE.fullmatch(p.parts[0]):
        verdict = stated(p.text, g.parts[-1])
        if re.sub(r"\s|[{}]", "", g.parts[0]) != re.sub(r"\s|[{}]", "", p.parts[0]):
            return False if verdict is False else None
        return None if verdict is False and not is_constant(g.parts[-1]) and len(p.parts) == 2 else verdict
    return None if len(g.parts) == len(p.parts) == 2 else False


def same_expression(g, p):
    if {g.tag, p.tag} == {"number", "words"}:
        return False
    verdict = same_value(g.text, p.text)
    return same_words(g.text, p.text) if verdict is None else verdict


# what two forms are compared by: the first of these that is the tag of one
RULES = {"choice": same_choice, "percent": same_percent, "based": same_based, "ratio": same_ratio,
         "many": same_many, "relation": same_relation, **dict.fromkeys(["expression", *PLAIN], same_expression)}


def untrue(equation):
    """Whether it has sides that are numbers and differ."""
    numbers = [side for side in split_top(equation, RELATION) if is_constant(side)]
    return any(same_part(numbers[0], n) is False and not rounds(numbers[0], n) for n in numbers[1:])


def stated(equation, other):
    r"""Does `x = 2 \cdot 3 = 6` state `other`? All sides but the label must be it: `71 = 72` states nothing. A rounded
    value may follow: of `12\sqrt2 \approx 16.97` one of the two must be it."""
    head, *rest = [split_top(part, RELATION) for part in split_top(equation, APPROXIMATELY)]
    if VARIABLE.fullmatch(head[-1]) and not rest and not VARIABLE.fullmatch(head[0]):  # 5 = x
        head.reverse()
    if not is_constant(head[0]):
        if not VARIABLE.fullmatch(head[0]) and value_or_none(other) is None:
            return None
        head = head[1:]
        while VARIABLE.fullmatch((head + [""])[0]) and (len(head) > 1 or rest):
            head = head[1:]
    chains = []
    for group in [head, *rest]:
        for i, side in enumerate(group):
            if not chains or i == 0 or "." in side and rounds(group[i - 1], side):
                if chains and rounds(chains[-1][-1], side) is False:
                    return False
                chains.append([])
            chains[-1].append(side)
    return some(every(same_part(other, side) for side in chain) for chain in chains) if chains else None


def rounds(exact, rounded):
    """Whether the one value is the other, rounded or cut to the digits that are written; None if unreadable."""
    g, p = value_or_none(exact), value_or_none(rounded)
    if g is None or p is None:
        return None
    decimals, zeros = re.search(r"\.(\d+)", rounded), re.search(r"0*$", rounded)
    unit = Fraction(1, 10 ** len(decimals[1])) if decimals else 10 ** len(zeros[0])
    try:
        if not decimals and 10 * unit > abs(p):
            unit = 1
        return abs(g - p) <= Fraction(unit) / 2 or abs(p) <= abs(g) < abs(p) + unit and abs(g - p) < unit
    except OverflowError:
        return None


def plus_minus(text):
    r"""['1+x', '1-x'] for '1\pm x'."""
    if text.count(r"\pm") == 1:
        return [text.replace(r"\pm", sign) for sign in "+-"]
    return [text]


def bracketed(text):
    """(open, items, close) of a text that is one pair of brackets around a list, else None."""
    if len(text) > 1 and text[0] in "([⦃" and text[-1] in ")]⦄":
        depth = 0
        for i, c in enumerate(text):
            depth += (c in "([{⦃") - (c in ")]}⦄")
            if depth == 0:
                items = split_top(text[1:-1], COMMA)
                return (text[0], items, text[-1]) if i == len(text) - 1 and (len(items) > 1 or text[0] == "⦃") else None
    return None


def as_pieces(text):
    r"""Pieces of a union, [(open, low, high, close) | ('⦃', element, '⦄')], for an interval, a union, x \in ..., or a
    simple inequality; None for anything else."""
    text = re.sub(r"^[a-zA-Z]\s*\\in(?![a-z])\s*", "", text)
    text = re.sub(r"^(?:[a-zA-Z]\s*\\ne(?![a-z])|\(-\\infty,\\infty\)\s*\\(?:setminus|backslash)\s*⦃)\s*([^,⦃⦄]+)⦄?$",
                  r"(-\\infty,\1)\\cup(\1,\\infty)", text)
    set_of = re.fullmatch(r"⦃\s*[a-zA-Z]\s*(?:\\in\s*\\mathbb\{R\}\s*)?(?:\||:)(.*)⦄", text)
    text = set_of[1].strip() if set_of else text
    pieces = []
    for part in split_top(text, re.compile(UNION.pattern + r"|(?<=\s)or(?=\s)|\\text\{\s*or\s*\}|\\lor(?![a-z])")):
        bracket = bracketed(part)
        parts, signs = split_top(part, RELATION), [m.group() for m in RELATION.finditer(part)]
        if bracket and bracket[0] == "⦃":
            pieces += [("⦃", item, "⦄") for item in bracket[1]]
        elif bracket and len(bracket[1]) == 2:
            pieces.append((bracket[0], *bracket[1], bracket[2]))
        elif len(parts) == 2 and len(signs) == 1 and signs[0] in ("<", ">", r"\le", r"\ge"):
            low, high = parts if signs[0] in ("<", r"\le") else parts[::-1]
            strict = signs[0] in "<>"
            if VARIABLE.fullmatch(low) and not VARIABLE.fullmatch(high):
                pieces.append(("(", r"-\infty", high, ")" if strict else "]"))
            elif VARIABLE.fullmatch(high) and not VARIABLE.fullmatch(low):
                pieces.append(("(" if strict else "[", low, r"\infty", ")"))
            else:
                return None
        elif len(parts) == 3 and len(signs) == 2 and VARIABLE.fullmatch(parts[1]):
            if set(signs) <= {">", r"\ge"}:
                parts, signs = parts[::-1], signs[::-1]
            elif not set(signs) <= {"<", r"\le"}:
                return None
            pieces.append(("(" if signs[0] in "<>" else "[", parts[0], parts[2], ")" if signs[1] in "<>" else "]"))
        else:
            return None
    return pieces


def has_variables(text):
    """Letters but e and i outside of commands."""
    return re.search(r"[a-df-hj-zA-Z]", re.sub(r"\\[a-zA-Z]+", "", text)) is not None


def is_constant(text):
    """Whether it is an expression that can be read and has the same value at all points."""
    first = value_or_none(text)
    return first is not None and (not LETTER.search(text) or value_or_none(text, 1) == first)


def value_or_none(text, trial=0):
    try:
        return value(text, trial)
    except (Unclear, OverflowError, ZeroDivisionError):
        return None


def same_value(gold, pred):
    """Expressions by value, at three points if they have variables; None where one cannot be read."""
    positive = r"\sqrt" in gold + pred and "|" not in gold + pred  # \sqrt{ab} is \sqrt{a}\sqrt{b}
    points = POSITIVE_POINTS if positive else POINTS
    verdicts = []
    for trial in points if LETTER.search(gold + pred) else points[:1]:
        try:
            verdicts.append(same_number(gold, pred, trial))
        except ZeroDivisionError:
            verdicts.append(None)
        except TooLarge:  # what cannot be compared exactly is refused: math-verify would round it
            return None if has_variables(gold + pred) else False
        except Unclear:
            return None
        if verdicts[-1] is False:
            break
    return every(verdicts)


def same_number(gold, pred, trial):
    """Equal at one point: exactly if both are exact, else as far as two precisions tell. None: a decimal is near."""
    try:
        g, p = value(gold, trial), value(pred, trial)
        if type(g) is type(p) is Fraction:
            size, equal = max(abs(g), abs(p)), g == p
        else:
            size, equal = max(abs(complex(g)), abs(complex(p))), None
        near = abs(g - p) <= size / 10**5
    except OverflowError:
        g, p, size, equal, near = None, None, math.inf, None, False
    if equal is None:  # floats tell what is far apart, unless they are so small or large that they tell nothing
        doubtful = near or not 1e-6 < size < math.inf or not (g and p)
        equal = doubtful and same_at_any_precision(gold, pred, trial)
    if equal or not near:
        return equal
    return None if any(LONG_DECIMAL.search(b) and rounds(a, b) for a, b in ((gold, pred), (pred, gold))) else False


def same_at_any_precision(gold, pred, trial):
    """Whether the difference of two values shrinks as the precision grows: sin pi is 0 for a reason, e^{-40} small."""
    digits, differences = 50, []
    with PRECISE:
        while len(differences) < 2:
            numbers = precise(digits)
            readers = [Reader(text, trial, numbers) for text in (gold, pred)]
            g, p = (numbers.context.convert(reader.read()) for reader in readers)
            differences.append(abs(g - p))
            noise = numbers.context.mpf(10) ** (150 - digits)
            digits = 500 << (max(reader.bits for reader in readers) // 1600).bit_length()  # the exact parts have fewer
            if len(differences) < 2 and digits * (gold + pred).count("\\") > MAX_BITS:
                raise TooLarge("to be told from what it nearly is")
    low, high = differences
    return bool(high <= noise * max(low, max(abs(g), abs(p)) / 10**50))


def same_words(gold, pred):
    """Texts by their letters; None if they are more than words."""
    drop = r"\\text|[\s{}.,;:!?'()]" if re.search(r"\d|\\(?!text)", gold + pred) else r"\\text|[^a-z]"
    plain = [re.sub(drop, "", t.lower()) for t in (gold, pred)]
    wordy = [bool(re.search(r"[a-zA-Z]{2}", re.sub(r"\\(?!text)[a-zA-Z]+|\\text", "", t))) for t in (gold, pred)]
    if all(wordy):
        if plain[0] == plain[1] and plain[0]:
            return True
        return False if not any(re.search(r"[\\^_=+*/]", re.sub(r"\\text", "", t)) for t in (gold, pred)) else None
    return None


# ----------------------------------------------------------------------------------------------------------------------
# Math: the value of an expression, read from LaTeX or plain notation; bounded in bits, nesting and time. A new function
# or constant goes to FUNCTIONS or GREEK, and to Reader.named.
# ----------------------------------------------------------------------------------------------------------------------

FUNCTIONS = set("sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp".split())
GREEK = set("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau phi chi psi omega "
            "Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell".split())
ATOMS = FUNCTIONS | GREEK | {"frac", "sqrt", "pi", "binom", "lfloor", "lceil"}
NUMERAL = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(?:\s*\\overline\s*\{(\d{1,50})\})?")
COMMAND = re.compile(r"\\([a-zA-Z]+)")
INDEX = re.compile(r"\s*_\s*(\{\w+\}|\w)")
MIXED = re.compile(r"\s*\\frac\s*(?:\{\s*(\d+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d))|\s+(\d+)\s*/\s*(\d+)(?![\d.])")
MAX_BITS = 1 << 18  # of an exact number: enough for 20,000! and 2^-200000
MAX_NESTING = 40
POINTS, POSITIVE_POINTS = (0, 1, 2), (0, 3, 4)  # where expressions are compared: fixed random values of their variables


class Unclear(ValueError):
    """`value` cannot read this."""


class TooLarge(Unclear):
    """`value` reads this, but it has more bits than it may."""


class Floats:
    """Complex arithmetic of 53 bits, for what is not exact."""
    number = argument = staticmethod(complex)
    pi, e, i = complex(math.pi), complex(math.e), 1j
    functions = {name: getattr(cmath, name.replace("arc", "a").replace("ln", "log"))
                 for name in "sin cos tan arcsin arccos arctan sinh cosh tanh exp ln sqrt".split()}


class Precise:
    """The same in `digits` decimal digits. Not to be used by two threads at once: PRECISE is its lock."""

    def __init__(self, digits):
        import mpmath  # sympy's, with math-verify; rarely needed
        self.context = context = mpmath.ctx_mp.MPContext()
        context.dps = digits
        self.pi, self.e, self.i = context.mpc(context.pi), context.mpc(context.e), context.mpc(0, 1)
        self.functions = {name: getattr(context, name.replace("arc", "a")) for name in Floats.functions}

    def number(self, x):
        return self.context.mpc(self.context.convert(x))

    def argument(self, x):
        """The same for a function; TooLarge where not even the first digit of exp(x) would be known."""
        x = self.number(x)
        if x and self.context.mag(x) > 100:
            raise TooLarge
        return x


PRECISE, precise = threading.Lock(), functools.lru_cache(4)(Precise)


class Reader:
    """Recursive descent through arithmetic in LaTeX or plain notation, computing as it goes: Fractions as long as that
    is exact, else what `numbers` calculates with. `bits`: of the largest exact number that it met."""

    def __init__(self, text, trial, numbers):
        self.text, self.trial, self.numbers, self.position, self.depth, self.bits = text, trial, numbers, 0, 0, 0

    def read(self):
        result = self.sum()
        if self.peek():
            raise Unclear(self.text)
        return result

    def peek(self):
        while self.text.startswith(" ", self.position):
            self.position += 1
        return self.text[self.position:self.position + 1]

    def takes(self, char):
        """Whether it comes next; it is then behind us."""
        found = self.peek() == char
        self.position += found
        return found

    def match(self, pattern):
        match = pattern.match(self.text, self.position)
        if match:
            self.position = match.end()
        return match

    def command(self):
        match = COMMAND.match(self.text, self.position)
        return match[1] if match else ""

    def exact(self, number):
        if type(number) is Fraction:
            bits = max(number.numerator.bit_length(), number.denominator.bit_length())
            self.bits = max(self.bits, bits)
            if bits > MAX_BITS:
                raise TooLarge(self.text)
        return number

    def times(self, a, b):
        for zero in a, b:
            if type(zero) is Fraction and zero == 0:  # exactly, whatever the other is
                return zero
        return self.exact(a * b)

    def over(self, top, bottom):
        if bottom == 0:
            raise ZeroDivisionError
        return self.exact(top / bottom)

    def sum(self):
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise Unclear("nested too deeply")
        total = self.product()
        while (plus := self.takes("+")) or self.takes("-"):
            term = self.product()
            total = self.exact(total + term if plus else total - term)
        self.depth -= 1
        return total

    def product(self):
        product = self.signed()
        while True:
            if self.takes("*"):
                product = self.times(product, self.signed())
            elif self.takes("/"):
                product = self.over(product, self.signed())
            elif (c := self.peek()) and self.starts_atom(c):
                product = self.times(product, self.power())
            else:
                return product

    def starts_atom(self, c):
        return self.command() in ATOMS if c == "\\" else c.isalnum() and c.isascii() or c in "({[."

    def signed(self):
        negative = False
        while (minus := self.takes("-")) or self.takes("+"):
            negative ^= minus
        return -self.power() if negative else self.power()

    def power(self):
        base = self.atom()
        while True:
            if self.takes("!"):
                base = self.factorial(base)
            elif self.takes("^"):
                base = self.exact(raised(base, self.exponent(), self.numbers))
            else:
                return base

    def factorial(self, n):
        if type(n) is not Fraction or n.denominator != 1 or n < 0 or self.peek() == "!":
            raise Unclear("factorial")
        if n > 2 and n * math.log2(n) > MAX_BITS:
            raise TooLarge(self.text)
        return self.exact(Fraction(math.factorial(int(n))))

    def exponent(self):
        if self.takes("-"):
            return -self.exponent()
        return self.argument() if self.peek() == "{" else self.atom()

    def argument(self):
        """What a LaTeX command takes: a group in braces, or one digit, letter or command."""
        if self.peek().isdigit():
            self.position += 1
            return Fraction(int(self.text[self.position - 1]))
        return self.atom()

    def group(self, opening, closing):
        self.takes(opening)  # as the caller has seen
        inner = self.sum()
        if not self.takes(closing):
            raise Unclear(self.text)
        return inner

    def atom(self):
        c = self.peek()
        if c.isdigit() or c == ".":
            return self.numeral()
        if c in ("(", "[", "{"):
            return self.group(c, {"(": ")", "[": "]", "{": "}"}[c])
        if c == "|":
            return abs(self.group("|", "|"))
        if c == "\\":
            return self.named()
        word = re.compile("[a-zA-Z]{1,3}").match(self.text, self.position)
        if not word or len(word[0]) > 2:
            raise Unclear("words")
        self.position += 1
        return self.numbers.i if c == "i" else self.numbers.e if c == "e" else self.variable(c)

    def numeral(self):
        match = self.match(NUMERAL)
        if not match:
            raise Unclear(self.text)
        number, period = match.groups()
        result = Fraction(number.rstrip("."))
        if period:
            if "." not in number:
                raise Unclear("an overline")
            result += Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(number.partition(".")[2]))
        mixed = MIXED.match(self.text, self.position) if "." not in number else None
        if mixed:
            top, bottom = [int(g) for g in mixed.groups() if g]
            if 0 < top < bottom and self.text[mixed.end():mixed.end() + 1] not in ("^", "!"):
                self.position = mixed.end()
                result += Fraction(top, bottom)
        if self.peek() == "_":
            raise Unclear("a number in some base")
        return self.exact(result)

    def named(self):
        name = self.match(COMMAND)
        name = name[1] if name else ""
        if name == "frac":
            return self.over(self.argument(), self.argument())
        if name == "sqrt":
            degree = self.group("[", "]") if self.peek() == "[" else Fraction(2)
            return root(self.argument(), degree, self.numbers)
        if name == "pi":
            return self.numbers.pi
        if name == "binom":
            return self.binomial(self.argument(), self.argument())
        if name in ("lfloor", "lceil"):
            inner = self.sum()
            self.peek()
            closing = self.match(COMMAND)
            if not closing or closing[1] != name.replace("l", "r", 1) or type(inner) is not Fraction:
                raise Unclear("rounding")
            return Fraction(math.floor(inner) if name == "lfloor" else math.ceil(inner))
        if name in FUNCTIONS:
            return self.function(name)
        if name not in GREEK:
            raise Unclear(name)
        return self.variable(name)

    def binomial(self, n, k):
        if not all(type(v) is Fraction and v.denominator == 1 and v >= 0 for v in (n, k)):
            raise Unclear("binomial")
        n, k = int(n), int(k)
        if min(k, abs(n - k)) * n.bit_length() > MAX_BITS:
            raise TooLarge(self.text)
        return self.exact(Fraction(math.comb(n, k)))

    def function(self, name):
        base = order = None
        while self.peek() in ("^", "_"):
            if self.takes("_"):
                base = self.argument()
            elif self.takes("^"):
                order = self.exponent()
                if order == -1:                  # \sin^{-1} is the inverse function
                    if name not in ("sin", "cos", "tan"):
                        raise Unclear("inverse or reciprocal")
                    name, order = "arc" + name, None
        if self.peek() in ("(", "{", "["):
            inner = self.atom()
        else:
            if not self.starts_atom(self.peek()) or self.command() in FUNCTIONS:
                raise Unclear(self.text)
            inner = self.power()
            while (c := self.peek()) and c not in "([" and self.starts_atom(c) and self.command() not in FUNCTIONS:
                inner = self.times(inner, self.power())
        result = applied(name, inner, base, self.numbers)
        return result if order is None else raised(result, order, self.numbers)

    def variable(self, name):
        index = self.match(INDEX)
        if index:
            name += "_" + index[1].strip("{}")
        code = zlib.crc32(f"{name}/{self.trial}".encode())
        return Fraction(code % 1997 + 503, 1009) * (-1 if self.trial not in POSITIVE_POINTS and code >> 20 & 1 else 1)


def applied(name, x, base, numbers):
    """A function of FUNCTIONS; ZeroDivisionError where it has no value."""
    if base is None and type(x) is Fraction and x == 0 and name in ("sin", "tan", "arcsin", "arctan", "sinh", "tanh"):
        return x
    x, functions = numbers.argument(x), numbers.functions
    try:
        if name in ("cot", "sec", "csc"):
            return 1 / functions[{"cot": "tan", "sec": "cos", "csc": "sin"}[name]](x)
        result = functions["ln" if name == "log" else name](x)
        return result if base is None else result / functions["ln"](numbers.number(base))
    except ValueError:
        raise ZeroDivisionError from None


def raised(base, exponent, numbers):
    if type(exponent) is Fraction and exponent.denominator == 1:
        n = int(exponent)
        if type(base) is Fraction:
            if base == 0 and n < 0:
                raise ZeroDivisionError
            bits = max(base.numerator.bit_length(), base.denominator.bit_length())
            if abs(n) * bits > MAX_BITS and abs(base) not in (0, 1):
                raise TooLarge
            return base ** n
        if abs(n) > 10**6:
            raise TooLarge
        if base == 0:
            raise Unclear("a power of zero")
        return base ** n
    if type(exponent) is Fraction and type(base) is Fraction and base >= 0:
        if exponent.numerator == 1:
            return root(base, 1 / exponent, numbers)
        return numbers.number(base) ** numbers.number(exponent)
    base = numbers.number(base)
    if base == 0 or base.imag == 0 and base.real < 0:
        raise Unclear("which root")
    return base ** numbers.argument(exponent)


def root(base, degree, numbers):
    if type(degree) is not Fraction or degree.denominator != 1 or not 2 <= degree <= 100:
        raise Unclear("root")
    if type(base) is Fraction and base >= 0 and degree == 2:
        top, bottom = math.isqrt(base.numerator), math.isqrt(base.denominator)
        if top * top == base.numerator and bottom * bottom == base.denominator:
            return Fraction(top, bottom)
    base = numbers.number(base)
    if degree == 2:
        return numbers.functions["sqrt"](base)
    one_by = 1 / numbers.number(degree)
    if base.imag == 0 and base.real < 0 and degree % 2:
        return -((-base) ** one_by)
    return base ** one_by


@functools.lru_cache(8192)
def value(text, trial):
    """Value of an expression in LaTeX or plain notation at the `trial`-th point: a Fraction if exact, else complex.

    Raises Unclear for what it cannot read with certainty, ZeroDivisionError where the expression is not defined,
    OverflowError beyond the range of floats.
    """
    return Reader(text, trial, Floats).read()


# ----------------------------------------------------------------------------------------------------------------------
# Math: what reading leaves open, math-verify decides, in worker processes with a memory limit that are killed when
# their time is up.
# ----------------------------------------------------------------------------------------------------------------------


def equal_answers(gold, pred, settings, worker):
    """True, False, "timeout" or "memory"."""
    if len(pred) > MAX_ANSWER:
        return False
    verdict = same(gold, pred)
    return worker.equal(gold, pred, settings.timeout_s) if verdict is None else verdict


def math_main(fd):
    """ForkServer: imports math-verify once, then forks a worker for every channel that it is sent."""
    import math_verify  # noqa: F401
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    channel = socket.socket(fileno=fd)
    send(channel, "ready")
    while True:
        told, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
        if not told:
            os._exit(0)
        pid = os.fork()
        if pid == 0:
            channel.close()
            math_worker(socket.socket(fileno=descriptors[0]))
        os.close(descriptors[0])
        send(channel, pid)


def math_worker(channel):
    from math_verify import LatexExtractionConfig, parse, verify
    import logging
    logging.disable(logging.CRITICAL)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    config = [LatexExtractionConfig()]
    while True:
        try:
            gold, pred = receive(channel)
        except EOFError:
            os._exit(0)
        try:
            sides = [parse("\\boxed{" + side + "}", config, parsing_timeout=None) for side in (gold, pred)]
            reply = bool(verify(*sides, timeout_seconds=None)) if all(sides) else False
        except MemoryError:
            os._exit(MEMORY)
        except RecursionError:
            reply = False
        send(channel, reply)


class ForkServer:
    """The process that has math-verify loaded, started when the first answer needs it; it dies with its workers."""

    def __init__(self):
        self.lock, self.process = threading.Lock(), None

    def fork(self):
        """(pid, channel) of a new worker."""
        with self.lock:
            if self.process is None or self.process.poll() is not None:
                self.process, self.channel = spawn(LOAD_MATH)
                receive(self.channel, 120)
            ours, theirs = socket.socketpair()
            with theirs:
                socket.send_fds(self.channel, [b"."], [theirs.fileno()])
            return receive(self.channel, 60), ours

    def close(self):
        if self.process:
            self.process.kill()


class MathWorker:
    def __init__(self, fork_server):
        self.fork_server, self.channel = fork_server, None

    def equal(self, gold, pred, limit_s):
        """True, False, "timeout" or "memory"."""
        if self.channel is None:
            self.pid, self.channel = self.fork_server.fork()
        try:
            send(self.channel, [gold, pred])
            return receive(self.channel, limit_s)
        except (TimeoutError, EOFError, ConnectionError) as error:
            os.kill(self.pid, signal.SIGKILL)
            self.channel.close()
            self.channel = None
            return "timeout" if isinstance(error, TimeoutError) else "memory"


# ----------------------------------------------------------------------------------------------------------------------
# Grids.
# ----------------------------------------------------------------------------------------------------------------------

GRID = re.compile(r"\[ ?\[[\d, ]*\](?: ?, ?\[[\d, ]*\])* ?,? ?\]")


def extract_grid(text):
    """The last grid in the text: [[...]] as JSON, else the last run of lines of digits. None if there is none."""
    for candidate in reversed(GRID.findall(re.sub(r"\s+", " ", text))):
        try:
            grid = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if all(isinstance(r, list) and r and all(type(c) is int and c <= 9 for c in r) for r in grid) and \
                len({len(r) for r in grid}) == 1:
            return grid
    runs, current = [], []
    for line in text.splitlines() + [""]:
        digits = re.fullmatch(r"[\s\[|]*\d([\s,|]*\d)*[\s\],|]*", line)
        cells = [int(c) for c in re.findall(r"\d", line)] if digits else None
        if cells and (not current or len(cells) == len(current[0])):
            current.append(cells)
        else:
            if current:
                runs.append(current)
            current = [cells] if cells else []
    return runs[-1] if runs else None


# ----------------------------------------------------------------------------------------------------------------------
# Programs: the program of a completion, its tests, and what became of them. A new type of tests goes to run_program,
# passed_tests and seen_of.
# ----------------------------------------------------------------------------------------------------------------------

FENCE = re.compile(r"(?P<indent>[ \t]*(?:(?:[-*>]|\d+[.)])[ \t]+)?)(?:\S.*?)??"
                   r"(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[\w+.#-]*)[^`\n]*")
MAX_FENCE = 1000  # characters of its line
PYTHON = {"python", "python3", "py", "py3"}
TRIPLE_QUOTES = re.compile(r'"""|' + "'''")


def fenced_blocks(text, python):
    """Contents of the fenced blocks: of ```python ones, which may be open at the end, or of any that close.

    A block closes at a fence of its own kind on a line by itself that is indented like its first one and does not stand
    in a docstring; if there is none, at the first fence.
    """
    lines, blocks, at, never = text.splitlines(keepends=True), [], 0, set()
    while at < len(lines):
        opened = FENCE.fullmatch(lines[at].rstrip()) if len(lines[at]) <= MAX_FENCE else None
        at += 1
        if not opened or python and opened["info"].lower() not in PYTHON:
            continue
        fence, start = opened["fence"], at
        end = None if fence in never else closing_line(lines, start, opened)
        if end is None:  # nor will there be for a later block; perhaps it ends in mid-line: `return x```
            never.add(fence)
            end = next((number for number in range(start, len(lines)) if fence in lines[number]), None)
        at = len(lines) if end is None else end + 1
        block = [line.removeprefix(indent_of(opened)) for line in lines[start:at]]
        if end is not None:
            block[-1] = block[-1].partition(fence)[0]
        if python or end is not None:
            blocks.append("".join(block))
    return blocks


def indent_of(opened):
    """What stands before each line of a block: as much as before its fence, where a list's mark counts as blanks."""
    return opened["indent"] if opened["indent"].isspace() else " " * len(opened["indent"])


def closing_line(lines, start, opened):
    """Number of the line that closes a block; None if none does."""
    inside, first = False, None
    for number in range(start, len(lines)):
        bare = lines[number].strip()
        if bare.startswith(opened["fence"]) and not bare.strip(opened["fence"][0]):
            first = number if first is None else first
            if not inside and lines[number].startswith(indent_of(opened) + bare):
                return number
        inside ^= len(TRIPLE_QUOTES.findall(lines[number])) % 2 == 1
    return first


def extract_program(completion, entry_point=""):
    """The last ```python block (else the last fenced block, else all of the text); of several the last that defines the
    function that the tests call: an example of its use may follow it."""
    blocks = fenced_blocks(completion, python=True) or fenced_blocks(completion, python=False)
    name = re.escape(entry_point.rpartition(".")[2])
    defines = re.compile(rf"^[ \t]*(?:def[ \t]+{name}\b|{name}[ \t]*[=:]|class[ \t]+(?:Solution|{name})\b)", re.M)
    named = [block for block in blocks if name and defines.search(block)]
    return (named or blocks or [completion])[-1]


FUTURE = re.compile(r"(?:[ \t]*(?:#.*)?\n|"  # blank lines, comments, docstrings
                    r"[rRuU]?(?:\"{3}[^\\]*?\"{3}|'{3}[^\\]*?'{3}|\"[^\"\\\n]*\"|'[^'\\\n]*')[ \t]*\n)*"
                    r"(?P<imports>(?:from[ \t]+__future__[ \t]+import[ \t]+(?:\([^()]*\)|[\w \t,]+)(?:#.*)?\n+)+)")


def in_template(template, program):
    """The program within its template; what it imports from __future__ has to stand first of all."""
    found = FUTURE.match(program + "\n") if template != "{program}" else None
    if not found:
        return template.replace("{program}", program)
    imports = found["imports"]
    program = program.replace(imports.rstrip("\n"), "\n" * imports.rstrip("\n").count("\n"), 1)
    return imports + template.replace("{program}", program)


def prepared_tests(tests, max_tests):
    """The first `max_tests` tests (0: all); with call and assert tests what grading needs of them: inputs as JSON, the
    line that stands for each expected value, and how much a program may write. Raises BadRow."""
    if max_tests and tests["type"] != "check":
        tests = {**tests, **{key: tests[key][:max_tests] for key in ("inputs", "outputs", "weights") if tests.get(key)}}
        if tests.get("weights") and not any(tests["weights"]):
            raise BadRow(f"--max-tests {max_tests} leaves no test of positive weight")
    if tests["type"] not in ("call", "assert"):
        return tests
    exact = tests["type"] == "assert"
    try:
        values = map(ast.literal_eval, tests["outputs"]) if exact else tests["outputs"]
        expected = [value_line(value, exact) for value in values]
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise BadRow(f"tests.outputs: expected plain values, at most {VALUE_DEPTH} levels deep: {error}") from None
    return {**tests, "inputs_json": json.dumps(tests["inputs"]), "expected": expected,
            "room": (1 << 16) + 4 * sum(map(len, expected))}


def try_dataset_code(tests, grader):
    """Raises BadRow if a row's setup, template, check or expressions fail without any program."""
    code = [tests.get(name) for name in ("setup", "template", "check")]
    code += tests["inputs"] if tests["type"] == "assert" else []
    if not any(code) or code == [None, "{program}", None]:
        return
    key = hashlib.sha256(json.dumps(code).encode()).digest()
    fault = grader.trials.get(key)
    if fault is None:
        verdict, *why = run_dataset_code(grader.sandbox(), TRIAL, tests, max(5.0, tests.get("time_limit_s") or 0),
                                         int(tests.get("memory_limit_mb") or grader.settings.memory_mb))
        fault = "" if verdict == "ok" else why[0] if why else f"tests: setup, template or check: {verdict}"
        grader.trials.put(key, fault, 200 + len(fault))
    if fault:
        raise BadRow(fault)


def run_or_recall(program, tests, limits, grader):
    """Outputs of all tests. Those of calls are kept between rows by (program, inputs): what a program answers does not
    depend on what is expected of it."""
    if tests["type"] not in ("call", "assert"):
        return run_program(grader.sandbox(), program, tests, *limits, grader.settings.stop_early)
    key = program, tests["entry_point"], tests.get("setup"), tests["inputs_json"], tests["room"], limits
    outputs = grader.runs.get(key)
    if outputs is None:
        outputs = run_program(grader.sandbox(), program, tests, *limits, grader.settings.stop_early)
        grader.runs.put(key, outputs, len(program) + len(tests["inputs_json"]) + sum(100 + len(o) for o in outputs))
    return outputs


def budget_s(limit_s, tests):
    """Seconds that a completion has for all of its tests: four limits, and a quarter of what all may take."""
    return limit_s * min(tests, MAX_TIMEOUTS + 1 + tests / 4)


def run_program(sandbox, program, tests, limit_s, memory_mb, stop_early):
    """Per test: its output, or the line of the value that was returned, or Failed(why). For a check: True or Failed.

    What counts does not depend on the order of the tests: a program that runs out of time on more than MAX_TIMEOUTS of
    them, or of its time for all of them, has failed them all.
    """
    if tests["type"] == "check":
        verdict, *why = run_dataset_code(sandbox, CHECK, tests, limit_s, memory_mb, program)
        if verdict == "broken":
            raise BadRow(*why)
        return [True if verdict == "ok" else Failed(verdict)]
    total = len(tests["outputs"])
    budget = budget_s(limit_s, total)
    if tests["type"] != "stdin":
        _, _, output = sandbox.run(CALL, limit_s, budget, memory_mb, tests["room"], total, program,
                                   tests["inputs_json"], tests["entry_point"], tests.get("setup") or "")
        return read_lines(output, total)
    outputs, seconds, timeouts = [], 0.0, 0
    for given, expected in zip(tests["inputs"], tests["outputs"]):
        room = (1 << 20) + 4 * len(expected)
        status, used, output = sandbox.run(STDIN, limit_s, limit_s, memory_mb, room, 1, program, given, "", "")
        seconds, timeouts = seconds + used, timeouts + (status == "timeout")
        if timeouts > MAX_TIMEOUTS or seconds > budget:
            return [Failed("timeout")] * total
        outputs.append(output if status == "ok" else Failed(status))
        if stop_early and not (status == "ok" and same_output(output, expected)):
            return outputs + [Failed("not run")] * (total - len(outputs))
    return outputs


def run_dataset_code(sandbox, mode, tests, limit_s, memory_mb, program=""):
    """CHECK or TRIAL: [verdict, perhaps why]; "broken" if the dataset's code fails whatever the program is."""
    given = {"setup": tests.get("setup") or "", "template": tests.get("template") or "{program}",
             "check": tests.get("check"), "entry_point": tests.get("entry_point"),
             "expressions": tests["inputs"] if tests["type"] == "assert" else []}
    descriptor = os.memfd_create("tests")
    try:
        os.pwrite(descriptor, json.dumps(given).encode(), 0)
        status, _, output = sandbox.run(mode, limit_s, limit_s, memory_mb, 1 << 16, 1, program, "",
                                        given["entry_point"] or "", given["setup"], descriptor=descriptor)
    finally:
        os.close(descriptor)
    if status != "ok":
        return [status]
    return json.loads(output) if output else ["crash"]


def same_output(got, expected):
    """Standard output: equal whitespace-separated tokens; a token with a decimal point or exponent within 1e-6."""
    got, expected = got.split(), expected.split()
    return len(got) == len(expected) and all(g == e or close(g, e) for g, e in zip(got, expected))


PRINTED_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def close(got, expected):
    if len(got) > 400 or expected.lstrip("+-").isdigit() or not all(map(PRINTED_NUMBER.fullmatch, (got, expected))):
        return False
    got, expected = float(got), float(expected)
    return abs(got - expected) <= 1e-6 * max(1.0, abs(expected))


def passed_tests(outputs, tests):
    if tests["type"] == "check":
        return [outputs[0] is True]
    if tests["type"] == "stdin":
        return [not isinstance(o, Failed) and same_output(o, e) for o, e in zip(outputs, tests["outputs"])]
    return list(map(operator.eq, outputs, tests["expected"]))


def seen_of(outputs, tests, program, correct):
    """What votes compare: a digest of all outputs; None if there is no output."""
    if tests["type"] == "check":  # outputs are not seen: passing programs are one class, each other text is its own
        return "passed" if correct else hashlib.sha256(program.encode("utf-8", "replace")).hexdigest()[:16]
    if all(isinstance(o, Failed) for o in outputs):
        return None
    if tests["type"] == "stdin":
        outputs = [o if isinstance(o, Failed) else " ".join(o.split()) for o in outputs]
    return hashlib.sha256(repr(outputs).encode("utf-8", "backslashreplace")).hexdigest()[:16]


Failed = collections.namedtuple("Failed", "why")  # stands in the place of a test's output when there is none


def read_lines(output, count):
    """The line, or Failed, of each of `count` tests. A program may have written anything: none is read further."""
    lines = output.split("\n")[:-1]
    if len(lines) != count:
        return [Failed("output")] * count
    failures = {f"!{why}": Failed(why) for why in STATUS.values()}
    return [failures.get(line, line) for line in lines]


# ----------------------------------------------------------------------------------------------------------------------
# Helper processes, as seen from here. A change of what they are told is one of the sandbox's section, too.
# ----------------------------------------------------------------------------------------------------------------------


def spawn(start, *flags):
    """Run `start` (source of a program, given a descriptor) in a fresh interpreter: (process, our channel)."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen([sys.executable, "-B", "-s", *flags, "-c", start, str(theirs.fileno())],
                               pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=2, start_new_session=True,
                               env={"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
                                    "LD_BIND_NOW": "1"})
    theirs.close()
    return process, ours


# The parts of this file between the lines of the sandbox process: its imports, and its own section.
LOAD_SANDBOX = (f"exec(''.join(open({__file__!r}).read().split('\\n# ==== The sandbox process ====\\n')[::2])); "
                "sandbox_main(int(sys.argv[1]))")
LOAD_MATH = (f"import sys; sys.path.insert(0, {os.path.dirname(os.path.abspath(__file__))!r}); import reward; "
             "reward.math_main(int(sys.argv[1]))")


class Sandbox:
    """One zygote as seen from here. `offer`: the protections to try."""

    def __init__(self, offer=("namespaces", "landlock", "seccomp")):
        self.offer, self.process = list(offer), None
        self.start()

    def start(self):
        self.process, self.channel = spawn(LOAD_SANDBOX, "-S", "-P")
        send(self.channel, self.offer)
        try:
            hello = receive(self.channel, 60)
        except (EOFError, OSError):
            raise GraderError("the sandbox process did not start") from None
        if "failed" in hello:
            self.close()
            self.offer.remove("namespaces")
            self.start()
            self.notes.insert(0, hello["failed"])
        else:
            self.level, self.notes = hello["level"], hello["notes"]

    def run(self, mode, limit_s, budget_s, memory_mb, room, count, *texts, descriptor=None):
        """(status, seconds used, output) of a request, its fields as in Request; GraderError if the zygote died or does
        not answer, which it does within PATIENCE times the budget."""
        texts = [text.encode("utf-8", "replace") for text in texts]
        head = HEAD.pack(mode, limit_s, budget_s, int(memory_mb) << 20, room, count, *map(len, texts))
        self.channel.settimeout(PATIENCE * budget_s + 60)
        try:
            if descriptor is not None:
                socket.send_fds(self.channel, [head], [descriptor])
                head = b""
            self.channel.sendall(head + b"".join(texts))
            status, touched, seconds, length = REPLY.unpack(exactly(self.channel, REPLY.size))
            output = exactly(self.channel, length).decode("utf-8", "replace")
        except (OSError, EOFError) as error:
            self.close()
            raise GraderError(f"the sandbox process ended or stopped answering: {error!r}") from None
        if touched:
            self.close()
            self.start()
        return STATUS[status], seconds, output

    def close(self):
        self.process.kill()
        self.process.wait()
        self.channel.close()


# ==== The sandbox process ====


# ----------------------------------------------------------------------------------------------------------------------
# Workers: every helper process speaks length-prefixed JSON over one end of a socket pair.
# ----------------------------------------------------------------------------------------------------------------------


def send(channel, message):
    data = json.dumps(message).encode()
    channel.sendall(struct.pack("<I", len(data)) + data)


def receive(channel, timeout=None):
    """The next message; EOFError if the other side is gone, TimeoutError after `timeout` seconds."""
    channel.settimeout(timeout)
    return json.loads(exactly(channel, *struct.unpack("<I", exactly(channel, 4))))


def exactly(channel, length):
    """So many bytes; EOFError if the other side is gone."""
    data = bytearray()
    while len(data) < length:
        chunk = channel.recv(length - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return bytes(data)


PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 36, 38


def prctl(option, value=0):
    if libc().prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def libc(cache=[]):
    if not cache:
        cache.append(ctypes.CDLL(None, use_errno=True))
    return cache[0]


# ----------------------------------------------------------------------------------------------------------------------
# The sandbox. sandbox_main() is the zygote: a small interpreter (no torch, no sympy, no site-packages), which locks
# itself into namespaces once and then forks a child per run. A child is one process: it may make threads, but not fork.
# A run is a pure function of (program, inputs): no state stays between runs.
#
# Modes: CALL calls the entry point on each input (or evaluates an expression) within one child and returns the results
# as data; STDIN runs the program on one standard input; CHECK runs the program in one child, which answers calls over a
# socket from another: the dataset's check function, whose text, expected values and verdict are where no model text is;
# TRIAL loads the dataset's own code without a program.
#
# Time: the zygote keeps it, and counts processor time of its children and time in which none of them moves (not what
# they wait for a processor: where more processes run than there are processors, its share). A test has `limit` seconds,
# all tests of a completion together `budget` seconds; by the clock on the wall that may take PATIENCE times as long on
# a busy machine, and no longer.
#
# The sandbox process loads the part between the two lines of its name, and no more: nothing here uses another name of
# this file but the first imports. Code of a child runs beside the program, which may change it: what protects is the
# kernel.
# ----------------------------------------------------------------------------------------------------------------------

CAPABILITIES_V3, NO_CAPABILITIES = struct.pack("<Ii", 0x20080522, 0), bytes(24)
STDIN, CALL, CHECK, TRIAL = range(4)                 # modes
OK, CRASH, MEMORY, TIMEOUT, OUTPUT = 0, 1, 97, 98, 99   # how a child ended; the first three are its exit statuses
STATUS = {OK: "ok", CRASH: "crash", MEMORY: "memory", TIMEOUT: "timeout", OUTPUT: "output"}
HEAD = struct.Struct("<BddQQI4I")  # the fields of a request; four texts follow, whose lengths stand last
Request = collections.namedtuple("Request", "mode limit budget memory room count program payload entry_point setup")
REPLY = struct.Struct("<B?dI")     # status, /tmp was touched, seconds used, length of the output
HEADER = struct.Struct("<qq")      # shared with a child: tests finished (-1: still loading), bytes written
MAX_TIMEOUTS = 3                   # a program that runs out of time on more tests has failed all of them
PATIENCE = 10
TURN_S = 0.25  # who has not moved for so long is asleep: on a busy machine each has its turn much sooner

# System calls, with numbers for x86-64 and arm64: no exec, socket, ptrace, namespace, key, bpf, ...
SYSCALLS = """read 0 63,write 1 64,close 3 57,fstat 5 80,lseek 8 62,mmap 9 222,mprotect 10 226,munmap 11 215,brk 12 214,
rt_sigaction 13 134,rt_sigprocmask 14 135,rt_sigreturn 15 139,pread64 17 67,pwrite64 18 68,readv 19 65,
writev 20 66,access 21 -,pipe 22 -,pipe2 293 59,select 23 -,pselect6 270 72,poll 7 -,ppoll 271 73,sched_yield 24 124,
mremap 25 216,madvise 28 233,dup 32 23,dup2 33 -,dup3 292 24,pause 34 -,nanosleep 35 101,alarm 37 -,setitimer 38 103,
getitimer 36 102,getpid 39 172,gettid 186 178,getppid 110 173,exit 60 93,exit_group 231 94,uname 63 160,
ftruncate 77 46,fsync 74 82,getdents64 217 61,getcwd 79 17,rename 82 -,
renameat 264 38,renameat2 316 276,mkdir 83 -,mkdirat 258 34,rmdir 84 -,unlink 87 -,unlinkat 263 35,readlink 89 -,
readlinkat 267 78,open 2 -,openat 257 56,stat 4 -,lstat 6 -,newfstatat 262 79,statx 332 291,faccessat 269 48,
faccessat2 439 439,gettimeofday 96 169,getrlimit 97 163,getrusage 98 165,sysinfo 99 179,times 100 153,getuid 102 174,
getgid 104 176,geteuid 107 175,getegid 108 177,sigaltstack 131 132,arch_prctl 158 -,futex 202 98,
sched_getaffinity 204 123,set_tid_address 218 96,restart_syscall 219 128,clock_gettime 228 113,clock_getres 229 114,
clock_nanosleep 230 115,set_robust_list 273 99,getrandom 318 278,rseq 334 293,rt_sigpending 127 136,
rt_sigtimedwait 128 137,membarrier 324 283,umask 95 166,close_range 436 436,sendto 44 206,recvfrom 45 207"""
# What the zygote does besides; each child takes it away from itself before the program starts.
ZYGOTE_SYSCALLS = ("wait4 61 260,waitid 247 95,kill 62 129,recvmsg 47 212,memfd_create 319 279,pidfd_open 434 434,"
                   "fork 57 -,socketpair 53 199")
MACHINES = {"x86_64": (0, 0xC000003E, dict(clone=56, clone3=435, tgkill=234, prlimit64=302, pivot_root=155, fcntl=72,
                                           ioctl=16, prctl=157)),
            "aarch64": (1, 0xC00000B7, dict(clone=220, clone3=435, tgkill=131, prlimit64=261, pivot_root=41, fcntl=25,
                                            ioctl=29, prctl=167))}
FCNTL_COMMANDS = 0, 1, 2, 3, 1030     # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC: no locks, owners, signals
IOCTL_REQUESTS = 0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451  # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIO(N)CLEX
CLONE_THREAD, CLONE_NEW = 0x10000, 0x7E020080
BPF_LOAD, BPF_EQUAL, BPF_AT_LEAST, BPF_ANY_BIT, BPF_RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, REFUSE, ABSENT, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000  # allow, EPERM, ENOSYS, kill the process


def syscall_numbers(table):
    """(numbers of a table of system calls, numbers by name, the kernel's name) of this machine."""
    if os.uname().machine not in MACHINES or sys.byteorder != "little":
        raise OSError("no system call table for this machine")
    column, architecture, special = MACHINES[os.uname().machine]
    entries = (entry.split()[1 + column] for entry in table.replace("\n", "").split(","))
    return [int(number) for number in entries if number != "-"], special, architecture


def only_if(number, argument, test, values):
    """Lines of a filter: this call if `test` of one of its arguments holds for one of the values, else EPERM."""
    lines = [(BPF_LOAD, 0, 0, 16 + 8 * argument)]
    lines += [line for value in values for line in ((test, 0, 1, value), (BPF_RETURN, 0, 0, ALLOW))]
    return [(BPF_EQUAL, 0, len(lines) + 1, number), *lines, (BPF_RETURN, 0, 0, REFUSE)]


def zygote_filter():
    """For the zygote and its children: what is in the tables, and no more."""
    numbers, special, architecture = syscall_numbers(f"{SYSCALLS},{ZYGOTE_SYSCALLS}")
    code = [(BPF_LOAD, 0, 0, 4), (BPF_EQUAL, 1, 0, architecture), (BPF_RETURN, 0, 0, KILL), (BPF_LOAD, 0, 0, 0),
            (BPF_AT_LEAST, 0, 1, 0x40000000), (BPF_RETURN, 0, 0, REFUSE)]
    code += [line for number in numbers for line in ((BPF_EQUAL, 0, 1, number), (BPF_RETURN, 0, 0, ALLOW))]
    code += [(BPF_EQUAL, 0, 1, special["clone3"]), (BPF_RETURN, 0, 0, ABSENT)]  # glibc then uses clone
    code += [(BPF_EQUAL, 0, 4, special["clone"]), (BPF_LOAD, 0, 0, 16), (BPF_ANY_BIT, 1, 0, CLONE_NEW),
             (BPF_RETURN, 0, 0, ALLOW), (BPF_RETURN, 0, 0, REFUSE)]
    code += [(BPF_EQUAL, 0, 1, special["tgkill"]), (BPF_RETURN, 0, 0, ALLOW)]
    code += only_if(special["prlimit64"], 0, BPF_EQUAL, [0])  # on itself
    code += only_if(special["prctl"], 0, BPF_EQUAL, [PR_SET_PDEATHSIG, PR_SET_SECCOMP])
    code += only_if(special["fcntl"], 1, BPF_EQUAL, FCNTL_COMMANDS)
    code += only_if(special["ioctl"], 1, BPF_EQUAL, IOCTL_REQUESTS)
    return code + [(BPF_RETURN, 0, 0, REFUSE)]


def child_filter(pid):
    """On top of the other, and short, as each child installs it: no new process, no signal but to itself."""
    numbers, special, _ = syscall_numbers(ZYGOTE_SYSCALLS)
    code = [(BPF_LOAD, 0, 0, 0)]
    code += [line for number in [*numbers, special["prctl"]] for line in
             ((BPF_EQUAL, 0, 1, number), (BPF_RETURN, 0, 0, REFUSE))]
    code += only_if(special["clone"], 0, BPF_ANY_BIT, [CLONE_THREAD])
    code += only_if(special["tgkill"], 0, BPF_EQUAL, [pid])
    return code + [(BPF_RETURN, 0, 0, ALLOW)]


class Filter:
    """A filter for the kernel, from its lines."""

    def __init__(self, lines):
        program = b"".join(struct.pack("<HBBI", *line) for line in lines)
        self.program = ctypes.create_string_buffer(program, len(program))
        self.argument = struct.pack("<HxxxxxxQ", len(lines), ctypes.addressof(self.program))

    def install(self):
        """Make it hold for this process and its children. Raises OSError."""
        if libc().prctl(PR_SET_SECCOMP, 2, self.argument, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")


def library_paths():
    """What programs may read: this Python's standard library, shared libraries, and numpy where it is installed."""
    import sysconfig
    paths = {os.path.realpath(os.path.dirname(os.__file__)), "/lib", "/lib64", "/usr/lib", "/usr/lib64",
             "/etc/ld.so.cache"}
    site = os.path.join(sysconfig.get_path("purelib", vars={"base": sys.prefix}))
    numpy = [os.path.join(site, name) for name in ("numpy", "numpy.libs") if os.path.isdir(os.path.join(site, name))]
    return [p for p in paths if os.path.exists(p)] + numpy, site if numpy else None


DEVICES = [path for path in ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom") if os.path.exists(path)]


def enter_namespaces(paths):
    """New user, mount, PID, IPC, network and host-name namespaces; a root that holds `paths`, read-only, and /tmp.

    Returns in a forked child, the first process of the PID namespace; the caller's process stays behind as its guard.
    What it returns are the descriptors of /dev/stdin and /dev/stdout.
    """
    newuser, newns, newpid, newipc, newnet, newuts = 0x10000000, 0x20000, 0x20000000, 0x8000000, 0x40000000, 0x4000000
    os.umask(0o022)
    # Who runs the programs: if root started us, `nobody` (a second id can only be mapped from outside, hence the
    # helper); if a user did, that user, called nobody.
    uid, gid, me = os.geteuid(), os.getegid(), os.getpid()
    if uid == 0:
        wait, go = os.pipe()
        helper = os.fork()
        if helper == 0:
            os.close(go)
            os.read(wait, 1)
            write_file(f"/proc/{me}/uid_map", "0 0 1\n65534 65534 1")
            write_file(f"/proc/{me}/gid_map", "0 0 1\n65534 65534 1")
            os._exit(0)
        os.close(wait)
    unshared, error = libc().unshare(newuser | newns | newpid | newipc | newnet | newuts), ctypes.get_errno()
    if uid == 0:
        os.close(go)
        if os.waitpid(helper, 0)[1] != 0 and unshared == 0:
            raise OSError("no map of user ids")
    if unshared != 0:
        raise OSError(error, f"unshare: {os.strerror(error)}")
    if uid != 0:
        write_file("/proc/self/setgroups", "deny")
        write_file("/proc/self/uid_map", f"65534 {uid} 1")
        write_file("/proc/self/gid_map", f"65534 {gid} 1")
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    streams = make_root("/proc", paths)                                              # there is one; we need it no more
    child = os.fork()
    if child:
        os.closerange(0, 2)
        os.closerange(3, 4096)
        os.waitpid(child, 0)
        os._exit(0)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    return streams


MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
MS_REC, MS_PRIVATE = 1 << 14, 1 << 18
MNT_DETACH = 2


def make_root(root, paths):
    """Mount and enter a file system that holds `paths` and devices, read-only, and an empty /tmp: the descriptors of
    /dev/stdin and /dev/stdout, of which the first is written through its descriptor only."""
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    for path in paths:
        bind(path, root + path, MS_RDONLY | MS_NOSUID | MS_NODEV)
    for path in DEVICES:
        bind(path, root + path, 0)
    for name in "/tmp", "/old", "/streams":
        os.makedirs(root + name, exist_ok=True)
    mount("tmpfs", root + "/streams", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=0,mode=755")
    streams = []
    for name, mode, flags in ("stdin", 0o444, MS_RDONLY), ("stdout", 0o666, 0):
        streams.append(os.open(f"{root}/streams/{name}", os.O_RDWR | os.O_CREAT))
        os.fchmod(streams[-1], mode)
        bind(f"{root}/streams/{name}", f"{root}/dev/{name}", flags | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    os.chdir(root)
    if libc().umount2(b"streams", MNT_DETACH) != 0:
        raise OSError(ctypes.get_errno(), "umount")
    os.rmdir("streams")
    if libc().syscall(syscall_numbers(SYSCALLS)[1]["pivot_root"], b".", b"old") != 0:
        raise OSError(ctypes.get_errno(), "pivot_root")
    os.chdir("/")
    if libc().umount2(b"/old", MNT_DETACH) != 0:
        raise OSError(ctypes.get_errno(), "umount")
    os.rmdir("/old")
    mount(None, "/", None, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)
    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64m,nr_inodes=1024,mode=777")
    os.chdir("/tmp")
    return streams


def write_file(path, text):
    with open(path, "w") as file:
        file.write(text)


def mount(source, target, kind, flags, data=None):
    encoded = [None if s is None else s.encode() for s in (source, target, kind)]
    if libc().mount(*encoded, ctypes.c_ulong(flags), None if data is None else data.encode()) != 0:
        raise OSError(ctypes.get_errno(), f"mount {target}: {os.strerror(ctypes.get_errno())}")


def bind(path, target, flags):
    """Show a file or a directory at `target` as well, with these flags and those that we may not take away."""
    os.makedirs(target if os.path.isdir(path) else os.path.dirname(target), exist_ok=True)
    if not os.path.isdir(path):
        open(target, "w").close()
    mount(path, target, None, MS_BIND | MS_REC)
    if flags:
        has = os.statvfs(path).f_flag
        noatime, nodiratime, relatime = 0x400, 0x800, 0x1000  # which is another bit where it is set
        kept = has & (MS_NOSUID | MS_NODEV | MS_NOEXEC | noatime | nodiratime) | (has & relatime) << 9
        mount(None, target, None, MS_REMOUNT | MS_BIND | flags | kept)


# landlock's rights by ABI: all of version 1 without moving files, + refer, truncate, ioctl on devices; TCP; abstract
# sockets and signals
LANDLOCK_FILES = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 5: 0xFFFF}
LANDLOCK_EXECUTE, LANDLOCK_WRITE, LANDLOCK_READ, LANDLOCK_LIST, LANDLOCK_TRUNCATE = 0x1, 0x2, 0x4, 0x8, 0x4000


def enter_landlock(paths):
    """Without namespaces: from here on this process and its children read nothing but `paths` and write no file.
    OSError where the kernel's landlock knows no truncation: there a program could empty the files that it may read."""
    version = libc().syscall(444, None, ctypes.c_size_t(0), 1)
    if version < 3:
        old = f"version {version} of the kernel does not cover truncation"
        raise OSError(old if version > 0 else "not in this kernel")
    files = LANDLOCK_FILES[max(v for v in LANDLOCK_FILES if v <= version)]
    attributes = struct.pack("<QQQ", files, 0x3, 0x3)[:8 if version < 4 else 16 if version < 6 else 24]
    ruleset = libc().syscall(444, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "landlock")
    rights = {path: LANDLOCK_READ | (LANDLOCK_LIST if os.path.isdir(path) else 0) for path in [*paths, *DEVICES]}
    rights["/dev/null"] = LANDLOCK_READ | LANDLOCK_WRITE | LANDLOCK_TRUNCATE
    for path, access in rights.items():
        fd = os.open(path, os.O_PATH)
        if libc().syscall(445, ruleset, 1, struct.pack("<Qi", access, fd), 0) != 0:
            raise OSError(ctypes.get_errno(), "landlock rule")
        os.close(fd)
    if libc().syscall(446, ruleset, 0) != 0:
        raise OSError(ctypes.get_errno(), "landlock restrict")
    os.close(ruleset)


def sandbox_main(fd):
    """The zygote: say which protections this machine gave, then one reply per request until the channel closes."""
    # what programs import most
    import bisect, copy, functools, gc, heapq, itertools, math, operator, string, types, typing  # noqa: E401, F401
    register, os.register_at_fork = os.register_at_fork, lambda **hooks: None  # or every child would seed itself anew:
    import random                                                             # same program, same numbers
    os.register_at_fork = register
    random.seed(0)
    channel = socket.socket(fileno=fd)
    paths, site = library_paths()
    with open("/proc/self/statm") as file:
        base = int(file.read().split()[0]) * mmap.PAGESIZE + (16 << 20)  # our own address space
    load = os.open("/proc/loadavg", os.O_RDONLY)  # out of reach from within
    level, notes, streams = lock_in(receive(channel), paths, channel)
    if site:
        sys.path.append(site)
    own_descriptors()
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)   # a child finds its own files behind these
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
    sys.stderr = sys.__stderr__ = open(2, "w", closefd=False)
    sys.argv = ["program.py"]
    sys.modules["builtins"].exit = sys.modules["builtins"].quit = sys.exit  # which -S leaves out
    sys.set_int_max_str_digits(0)  # the time limit is enough
    limit_self(resource.RLIMIT_CORE, 0)
    limit_self(resource.RLIMIT_NOFILE, 64)
    if "namespaces" in level:
        limit_self(resource.RLIMIT_NPROC, 64)
    send(channel, {"level": level, "notes": notes})
    untouched = os.stat("/tmp").st_ctime_ns if "namespaces" in level else None
    warm = Request(CALL, 1.0, 1.0, 0, 1 << 16, 2, b"def f(x): return x & 1", b"[[1], [2]]", b"f", b"")
    for _ in range(20):  # run the children's path once here: caches filled now are pages that no child has to copy
        call_tests(warm, 0, mmap.mmap(-1, HEADER.size + warm.room))
        own_descriptors()
    gc.collect()
    gc.freeze()
    gc.disable()
    # From here on every page written, here or in a child, is a page copied: few objects, few modules.
    zygote = Zygote(level, streams, load)
    while True:
        head, ancillary, _, _ = channel.recvmsg(HEAD.size, 32)
        if len(head) < HEAD.size:
            os._exit(0)
        descriptor = struct.unpack("<i", ancillary[0][2][:4])[0] if ancillary else None
        mode, limit, budget, memory, room, count, *lengths = HEAD.unpack(head)
        texts = [channel.recv(length, socket.MSG_WAITALL) if length else b"" for length in lengths]
        request = Request(mode, limit, budget, memory + base, room, count, *texts)
        status, seconds, output = zygote.run(request, descriptor)
        touched = untouched is not None and os.stat("/tmp").st_ctime_ns != untouched
        channel.sendall(REPLY.pack(status, touched, seconds, len(output)) + output)


def lock_in(offer, paths, channel):
    """Take what this machine gives of the protections: (their names, notes on others, the standard streams' files)."""
    level, notes, streams = [], [], None
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if "namespaces" in offer:
        try:
            streams = enter_namespaces(paths)
            level.append("namespaces")
        except OSError as error:                                         # perhaps half-way in: start again without
            send(channel, {"failed": f"namespaces: {error}"})
            os._exit(0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # cannot now be sent from within the namespace
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    if "landlock" in offer and not level:
        try:
            os.chdir("/")
            enter_landlock(paths)
            level.append("landlock")
        except OSError as error:
            notes.append(f"landlock: {error}")
    if "namespaces" in level and os.getuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    libc().capset(CAPABILITIES_V3, NO_CAPABILITIES)
    prctl(PR_SET_DUMPABLE, 0)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # again: a change of credentials clears it
    if "seccomp" in offer:
        try:
            pid = os.fork()
            if pid == 0:
                Filter(zygote_filter()).install()
                Filter(child_filter(os.getpid())).install()
                os._exit(0)
            if os.waitpid(pid, 0)[1] != 0:
                raise OSError("seccomp: the kernel refused the filter")
            Filter(zygote_filter()).install()
            level.append("seccomp")
        except OSError as error:
            notes.append(str(error))
    return level, notes, streams


def own_descriptors():
    """A /dev/null of this process's own behind descriptors 0 to 2."""
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in 0, 1, 2:
        os.dup2(null, descriptor)
    os.close(null)


def limit_self(what, value):
    """Set both limits, or as low as they already are."""
    hard = resource.getrlimit(what)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, value))


def failed_line(why):
    return b"!%s\n" % STATUS[why].encode()


class Zygote:
    """Starts the children and keeps their time."""

    SOME_PID = 0x7FFEA55A  # in the filter, which is made once

    def __init__(self, level, streams, load):
        self.level, self.streams, self.load = level, streams, load
        self.filter = Filter(child_filter(self.SOME_PID)) if "seccomp" in level else None
        self.pid_at = self.filter and self.filter.program.raw.index(struct.pack("<I", self.SOME_PID))

    def run(self, request, descriptor):
        """(status, seconds used, output) of a request. CALL: a line of output per test; CHECK and TRIAL: a verdict."""
        try:
            if request.mode == CALL:
                return self.run_calls(request)
            if request.mode == STDIN:
                return self.run_stdin(request)
            return self.run_dataset_code(request, descriptor)
        finally:
            if descriptor is not None:
                os.close(descriptor)
            for stream in self.streams or ():  # any program can open them
                os.ftruncate(stream, 0)
            self.end_all()

    def start(self, request, seconds, work, *arguments, keep=(), streams=()):
        """Fork a child that confines itself and does its work: its id. Of our descriptors it has `keep` alone."""
        for _ in range(200):
            try:
                child = os.fork()
                break
            except BlockingIOError:  # the user has as many processes as he may, perhaps only just now
                time.sleep(0.05)
        else:
            os._exit(1)
        if child:
            return child
        status = CRASH
        try:
            own_descriptors()
            for target, source in enumerate(streams):
                os.dup2(source, target)
            for low, high in zip((2, *sorted(keep)), (*sorted(keep), 64)):
                os.closerange(low + 1, high)
            self.confine(request, seconds)
            work(*arguments)
            status = OK
        except MemoryError:
            status = MEMORY
        except SystemExit as stop:
            status = OK if stop.code in (None, 0, False) else CRASH
        finally:
            os._exit(status)

    def confine(self, request, seconds):
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 2,) * 2)
        resource.setrlimit(resource.RLIMIT_AS, (request.memory, request.memory))
        resource.setrlimit(resource.RLIMIT_FSIZE, (request.room, request.room))
        if "namespaces" not in self.level:
            # a limit on threads is one on all that this user runs: as much as the whole machine runs now, and 64
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            counts = ctypes.create_string_buffer(256)
            libc().sysinfo(counts)
            limit_self(resource.RLIMIT_NPROC, struct.unpack_from("<H", counts, 80)[0] + 64)
        if self.filter:
            struct.pack_into("<I", self.filter.program, self.pid_at, os.getpid())
            self.filter.install()

    def watch(self, children, limit, budget, finished=lambda: False):
        """Wait for the last of the children to end, at most its time: (status, seconds). `finished`: whether a test
        came to its end since it was asked last."""
        handle = os.pidfd_open(children[-1])
        clocks = [~child << 3 | 2 for child in children]  # CPUCLOCK_SCHED of a process
        tick, now = min(limit / 20, 0.1), time.monotonic()
        end = now + PATIENCE * budget + 1
        ran = idle = test = window = used = 0.0
        status = OK
        while not select.select([handle], [], [], tick)[0]:
            before, now = now, time.monotonic()
            before_ran, ran = ran, sum(map(time.clock_gettime, clocks))
            step = ran - before_ran
            # later than that, nothing here was running
            window, used = window + min(now - before, 2 * tick), used + step
            if window >= TURN_S:
                if used < 0.01 * window:
                    asleep = window / self.crowd()
                    step, idle = step + asleep, idle + asleep
                window = used = 0.0
            test = 0.0 if finished() else test + step
            if test > limit or ran + idle > budget or now > end:
                status = TIMEOUT
                break
        os.close(handle)
        for child in children if status == TIMEOUT else children[:-1]:
            os.kill(child, signal.SIGKILL)
        ended, ran = [], 0.0
        for child in children:
            _, code, usage = os.wait4(child, 0)
            ended.append(os.waitstatus_to_exitcode(code))
            ran += usage.ru_utime + usage.ru_stime
        self.ended = ended
        if status != TIMEOUT:
            status = ended[-1] if ended[-1] in (OK, MEMORY) else TIMEOUT if ended[-1] == -signal.SIGXCPU else CRASH
        return status, ran + idle

    def crowd(self):
        """How many processes there are to a processor, at least 1: one that does not move may be waiting for its turn,
        and a niced one waits long."""
        running = int(os.pread(self.load, 100, 0).split()[3].partition(b"/")[0])  # of the whole machine, with this one
        return max(1.0, (running - 1) / os.cpu_count())

    def run_calls(self, request):
        """All tests, the rest in a new child whenever the program dies of one."""
        shared = mmap.mmap(-1, HEADER.size + request.room)
        lines, first, seconds, timeouts = bytearray(), 0, 0.0, 0
        while first < request.count:
            if len(lines) > request.room:
                return OK, seconds, failed_line(OUTPUT) * request.count
            HEADER.pack_into(shared, 0, -1, 0)
            done, size, start = -1, 0, len(lines)

            def finished():
                """Take over what is done: from here on the child cannot change it."""
                nonlocal done, size
                now, length = HEADER.unpack_from(shared)
                if not (done < now <= request.count - first and size <= length <= request.room):
                    return False
                lines.extend(shared[HEADER.size + size:HEADER.size + length])
                done, size = now, length
                return True
            child = self.start(request, request.budget, call_tests, request, first, shared)
            status, used = self.watch([child], request.limit, request.budget - seconds, finished)
            finished()
            seconds, timeouts = seconds + used, timeouts + (status == TIMEOUT)
            if timeouts > MAX_TIMEOUTS or seconds > request.budget:
                return OK, seconds, failed_line(TIMEOUT) * request.count
            if done >= 0 and lines.count(b"\n", start) != done:  # not what call_tests writes
                return OK, seconds, failed_line(OUTPUT) * request.count
            first += max(done, 0)
            if first < request.count:
                died = failed_line(CRASH if status == OK else status)
                lines += died * (1 if done >= 0 else request.count - first)  # -1: it would not load again
                first += 1 if done >= 0 else request.count
        return OK, seconds, bytes(lines)

    def run_stdin(self, request):
        """One test. Standard input and output are files, as programs may expect: no pipe to fill or to drain."""
        if self.streams:
            streams = self.streams
            os.pwrite(streams[0], request.payload, 0)
            given = os.open("/dev/stdin", os.O_RDONLY), os.open("/dev/stdout", os.O_RDWR)
        else:
            streams = given = os.memfd_create("stdin"), os.memfd_create("stdout")
            os.pwrite(streams[0], request.payload, 0)
        child = self.start(request, request.limit, run_program_on_stdin, request, streams=given)
        status, seconds = self.watch([child], request.limit, request.limit)
        size = os.fstat(streams[1]).st_size
        output = os.pread(streams[1], min(size, request.room), 0)
        for descriptor in given:
            os.close(descriptor)
        return OUTPUT if size >= request.room else status, seconds, output

    def run_dataset_code(self, request, descriptor):
        """CHECK: the program in one child, the check in another. TRIAL: no program. The check's text is behind a
        descriptor that the program's child has not, and never in this process, which that child is a copy of."""
        children, keep = [], [descriptor]
        if request.mode == CHECK:
            ours, theirs = socket.socketpair()
            children.append(self.start(request, request.budget, serve_calls, request, theirs, keep=[theirs.fileno()]))
            theirs.close()
            keep.append(ours.fileno())
        shared = mmap.mmap(-1, HEADER.size + request.room)
        children.append(self.start(request, request.budget, judge_in_child, descriptor,
                                   ours if children else None, shared, keep=keep))
        if request.mode == CHECK:
            ours.close()
        status, seconds = self.watch(children, request.limit, request.budget)
        served = self.ended[0]
        output = shared[HEADER.size:HEADER.size + min(HEADER.unpack_from(shared)[1], request.room)]
        if status == OK and output == b'["gone"]':  # the program's process ended first: of what?
            status = served if served == MEMORY else TIMEOUT if served == -signal.SIGXCPU else CRASH
        return status, seconds, output

    def end_all(self):
        """Kill and reap every descendant. Under seccomp there are none; without, orphans come to us."""
        if "seccomp" in self.level:
            return
        try:
            if "namespaces" in self.level:
                os.kill(-1, signal.SIGKILL)
                while True:
                    os.wait()
            while os.waitpid(-1, os.WNOHANG)[0] or True:
                with open(f"/proc/self/task/{os.getpid()}/children") as file:
                    for pid in file.read().split():
                        os.kill(int(pid), signal.SIGKILL)
                time.sleep(0.001)
        except (ChildProcessError, ProcessLookupError):
            pass


# ---- In a child, all limits set. Nothing here is to be trusted once the program has started.


def load_program(request, name):
    """The program's module. `name`: its __name__; what stands under `if __name__ == "__main__"` is for STDIN alone."""
    main = type(sys)(name)
    main.__builtins__ = __builtins__
    sys.modules["__main__"] = sys.modules[name] = main
    if request.setup:
        exec(compile(request.setup.decode(), "setup.py", "exec"), main.__dict__)
    code = compile(request.program.decode(), "program.py", "exec", dont_inherit=True)
    if request.mode == STDIN:
        exec(code, main.__dict__)
        return main
    entry_point = request.entry_point.decode()
    try:
        exec(code, main.__dict__)
    except (SystemExit, EOFError):  # an example of its use that reads input, or that ends the program
        if not hasattr(main, entry_point) and not hasattr(main, "Solution"):
            raise
    return main


def resolve(main, entry_point):
    """A method of a new `Solution()` (LeetCode style), or a function of the program."""
    name, owner = entry_point.rpartition(".")[2], getattr(main, "Solution", None)
    return getattr(owner(), name) if hasattr(owner, name) else getattr(main, entry_point)


def run_program_on_stdin(request):
    try:
        main = load_program(request, "__main__")
    finally:  # as an interpreter ends, also after sys.exit
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        if "atexit" in sys.modules:
            sys.modules["atexit"]._run_exitfuncs()
        if not getattr(sys.stdout, "closed", False):
            sys.stdout.flush()
        sys.modules["__main__"].__dict__.clear()  # files that it left open are written out
        if not sys.__stdout__.closed:
            sys.__stdout__.flush()


def call_tests(request, first, shared):
    """The tests from number `first` on, a line of output each. An input is a list of arguments, or an expression."""
    pack, start, room, line_of = HEADER.pack_into, HEADER.size, request.room, value_line
    inputs, entry_point = json.loads(request.payload)[first:], request.entry_point.decode()
    text, main, used, target = str, load_program(request, "program"), 0, None
    pack(shared, 0, 0, 0)
    for done, item in enumerate(inputs, 1):
        try:
            if item.__class__ is text:
                line = line_of(eval(item, main.__dict__), True, room).encode() + b"\n"
            else:
                if target is None or hasattr(main, "Solution"):
                    target = resolve(main, entry_point)
                line = line_of(target(*item), False, room).encode() + b"\n"
        except MemoryError:
            line = failed_line(MEMORY)
        except Unencodable:
            line = failed_line(OUTPUT)
        except (Exception, SystemExit):
            line = failed_line(CRASH)
        if used + len(line) > room:
            line = failed_line(OUTPUT)
        if used + len(line) > room:
            os._exit(OUTPUT)
        shared[start + used:start + used + len(line)] = line
        used += len(line)
        pack(shared, 0, done, used)


# A value on its way between the children of a check: JSON, and {"~": kind, "v": ...} for what JSON does not hold. What
# a call returns leaves the sandbox as a line of text, which is the same for equal values: the grader compares such
# lines, and reads nothing from them.
VALUE_DEPTH = 100  # levels of a value
BUILTINS = sys.modules["builtins"].__dict__


class Unencodable(ValueError):
    pass


def encode(value, room=1 << 20):
    """A value as JSON; Unencodable if it is not plain data, or has more than `room` items or VALUE_DEPTH levels."""
    return json.dumps(plain(value, VALUE_DEPTH, [room]))


def value_line(value, exact, room=1 << 62):
    """A value as text that is the same for equal values: also for 1, 1.0 and True, a set and a frozenset, NaN and NaN
    and, if not `exact`, a list and a tuple. Unencodable as above."""
    if type(value) is int and -10**15 < value < 10**15:
        return int.__repr__(value)
    return spelled(plain(value, VALUE_DEPTH, [room]), exact)


def spelled(item, exact):
    """The same from the form of `plain`."""
    if type(item) is int:
        return int.__repr__(item)
    kind, value = (item["~"], item["v"]) if type(item) is dict else (type(item).__name__, item)
    if kind in ("str", "NoneType"):
        return repr(value)
    if kind in ("bytes", "type"):
        return kind + repr(value)
    if kind in ("list", "tuple", "iterator"):
        items = ",".join([spelled(v, exact) for v in value])
        return f"[{items}]" if kind == "list" or kind == "tuple" and not exact else f"{kind}({items})"
    if kind in ("set", "frozenset"):
        return "{%s}" % ",".join(sorted([spelled(v, exact) for v in value]))
    if kind == "dict":
        return "{:%s}" % ",".join(sorted([f"{spelled(k, exact)}:{spelled(v, exact)}" for k, v in value]))
    value = item if type(item) is not dict else decode(json.dumps(item))
    if kind == "range":
        return f"range({','.join(map(spelled_number, (*value[:2], *value[-1:])))})"
    return spelled_number(value)


def spelled_number(number):
    if isinstance(number, complex):
        if number.imag:
            return repr(number)
        number = number.real
    try:
        top, bottom = number.as_integer_ratio()
    except (ValueError, OverflowError):  # nan, inf
        return str(float(number))
    return int.__repr__(top) if bottom == 1 and -10**15 < top < 10**15 else f"{top:x}/{bottom:x}"


def plain(value, depth, left):
    """A value in the form above; `left`: a list with how many items it may still have. Subclasses count as their plain
    base, numpy's scalars as Python's, views of a dict as sets, and what can only be iterated over as an iterator, equal
    to nothing but its like."""
    kind = type(value)
    if kind in UNCHANGED:
        return value
    if kind is int:
        return value if -10**15 < value < 10**15 else {"~": "int", "v": hex(value)}
    if kind is list and depth:
        return each_plain(value, depth, left)
    numpy_scalar = loaded("numpy", "generic")
    if numpy_scalar and isinstance(value, numpy_scalar):
        value = value.item()
    for base, spell in LEAVES:
        if isinstance(value, base):
            return spell(value)
    if depth == 0:
        raise Unencodable("nested too deeply")
    if isinstance(value, list):
        return each_plain(list.__iter__(value), depth, left)
    if isinstance(value, dict):
        return {"~": "dict", "v": [each_plain(pair, depth, left) for pair in dict.items(value)]}
    for base in tuple, set, frozenset:
        if isinstance(value, base):
            return {"~": base.__name__, "v": each_plain(base.__iter__(value), depth, left)}
    if isinstance(value, (type({}.keys()), type({}.items()))):
        return {"~": "set", "v": each_plain(value, depth, left)}
    if hasattr(type(value), "__next__") or isinstance(value, (type({}.values()), collections.deque)):
        return {"~": "iterator", "v": each_plain(value, depth, left)}
    if isinstance(value, range):
        return {"~": "range", "v": [spell_int(n) for n in (value.start, value.stop, value.step)]}
    if isinstance(value, loaded("fractions", "Fraction")):
        return {"~": "fraction", "v": [spell_int(n) for n in (value.numerator, value.denominator)]}
    if isinstance(value, loaded("decimal", "Decimal")):
        return spell_decimal(value)
    if isinstance(value, type) and BUILTINS.get(value.__name__) is value:
        return {"~": "type", "v": value.__name__}
    raise Unencodable(type(value).__name__)


def each_plain(values, depth, left):
    items = []
    for item in values:
        left[0] -= 1
        if left[0] < 0:
            raise Unencodable("too large")
        items.append(plain(item, depth - 1, left))
    return items


UNCHANGED = {str, float, bool, type(None)}


def loaded(module, name):
    """A class of a module that the program has imported; () if it has not."""
    return getattr(sys.modules.get(module), name, ())


def spell_int(value):
    value = int(value)
    return value if -10**15 < value < 10**15 else {"~": "int", "v": hex(value)}


def spell_decimal(value):
    if len(value.as_tuple().digits) > 10_000 or value.is_finite() and abs(value.as_tuple().exponent) > 10_000:
        raise Unencodable("too long")
    return {"~": "decimal", "v": str(value)}


LEAVES = [(int, spell_int), (float, float), (str, str.__str__),
          ((bytes, bytearray), lambda v: {"~": "bytes", "v": v.hex()}),
          (complex, lambda v: {"~": "complex", "v": [v.real, v.imag]})]


def decode(text):
    """The inverse of encode. In a child: what it is told may be nonsense, and may take its time and memory."""
    return json.loads(text, object_hook=lambda item: DECODED[item["~"]](item["v"]))


def decoded_later(module, name, spread=False):
    """A constructor whose module is imported when it is needed."""
    def make(value):
        made = getattr(__import__(module), name)
        return made(*value) if spread else made(value)
    return make


DECODED = {"int": lambda v: int(v, 16), "dict": dict, "tuple": tuple, "set": set, "frozenset": frozenset,
           "iterator": iter, "bytes": bytes.fromhex, "complex": lambda v: complex(*v), "range": lambda v: range(*v),
           "fraction": decoded_later("fractions", "Fraction", True), "decimal": decoded_later("decimal", "Decimal"),
           "type": BUILTINS.get}


# ---- The dataset's own code: template, setup and check.


def serve_calls(request, channel):
    """In the program's child: call the entry point as the check asks, until it asks no more."""
    main, entry_point = load_program(request, "program"), request.entry_point.decode()
    while True:
        try:
            arguments, keywords = map(decode, receive(channel))
        except EOFError:
            return
        try:
            reply = ["value", encode(resolve(main, entry_point)(*arguments, **keywords))]
        except Exception as error:
            reply = ["error", type(error).__name__, str(error)[:1000]]
        send(channel, reply)


class Broken(Exception):
    """The dataset's own code is at fault, whatever the program is."""


class Gone(BaseException):
    """The program's process has ended (no Exception, which a check may well catch)."""


def judge_in_child(descriptor, channel, shared):
    """In a child that no model text enters: load the dataset's code and, if there is a channel, run its check with a
    stand-in for the program. A verdict as JSON goes to `shared`."""
    with open(descriptor, "rb") as file:
        tests = json.loads(file.read())
    try:
        namespace = load_dataset_code(tests)
        verdict = [judge(namespace, tests["entry_point"], channel) if channel else "ok"]
    except Broken as error:
        verdict = ["broken", str(error)[:500]]
    except MemoryError:
        verdict = ["memory"]
    verdict = json.dumps(verdict).encode()
    shared[HEADER.size:HEADER.size + len(verdict)] = verdict
    HEADER.pack_into(shared, 0, 1, len(verdict))


def load_dataset_code(tests):
    """The names that a check finds: those of setup, template and check. Raises Broken."""
    namespace = {"__name__": "check"}
    head, _, tail = tests["template"].partition("{program}")
    execute(tests["setup"], "setup", namespace)
    if compiled(head) is not None:  # else it goes on in the program
        execute(head, "template", namespace)
    valid = any(compiled(head + filler + tail) for filler in ("", "pass", "    pass", "0", "x = 0"))
    if not valid and not unfinished(head):
        raise Broken("tests.template: no program would make it valid Python")
    if compiled(tail) is not None:
        execute(tail, "template", namespace, needs_program=True)
    for expression in tests["expressions"]:
        if compiled(expression, "eval") is None:
            raise Broken(f"tests.inputs: not an expression: {expression!r:.200}")
    if tests["check"] is not None:
        import_named(tests["check"], namespace)
        execute(tests["check"], "check", namespace)
        if not callable(namespace.get("check")):
            raise Broken("tests.check: it defines no function `check`")
    return namespace


def import_named(source, namespace):
    """Import the standard modules that source text names and nobody imports: a check of MBPP relies on the program's
    `import sys`, and a program is not to be asked what `sys` is."""
    codes, names = [compiled(source)], set()
    for code in filter(None, codes):
        names.update(code.co_names)
        codes.extend(constant for constant in code.co_consts if isinstance(constant, type(code)))
    for name in sys.stdlib_module_names & names - set(namespace):
        try:
            namespace[name] = __import__(name)
        except Exception:  # the name of an attribute perhaps
            pass


def compiled(source, mode="exec"):
    try:
        return compile(source, "tests", mode, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def unfinished(source):
    """Whether it is the beginning of something valid."""
    try:
        compile(source, "tests", "exec", 0x4200, dont_inherit=True)  # DONT_IMPLY_DEDENT, ALLOW_INCOMPLETE_INPUT
    except SyntaxError as error:
        return "incomplete input" in str(error)
    except (ValueError, RecursionError, MemoryError):
        return False
    return True


def execute(source, name, namespace, needs_program=False):
    """Run source text statement by statement. `needs_program`: those that ask for names of the program are left out."""
    try:
        tree = compile(source, f"{name}.py", "exec", 0x400, dont_inherit=True)  # ast.PyCF_ONLY_AST
        for statement in tree.body:
            try:
                exec(compile(type(tree)([statement], []), f"{name}.py", "exec", dont_inherit=True), namespace)
            except NameError:
                if not needs_program:
                    raise
    except MemoryError:
        raise
    except BaseException as error:
        raise Broken(f"tests.{name}: {type(error).__name__}: {error}") from None


def judge(namespace, entry_point, channel):
    """The verdict of the check on the program behind the channel."""
    raised, gone = [], False

    def candidate(*arguments, **keywords):
        nonlocal gone
        try:
            message = [encode(list(arguments), 1 << 30), encode(keywords, 1 << 30)]
        except Unencodable as error:
            raise Broken(f"tests.check: an argument of the program is not plain data: {error}") from None
        try:
            send(channel, message)
            kind, *rest = receive(channel)
            if kind == "value":
                return decode(rest[0])
            name, message = map(str, rest)
        except Exception:  # no answer, or nonsense
            gone = True
            raise Gone from None
        error = BUILTINS.get(name)
        # StopIteration would end a loop of the check in silence: all(map(candidate, ...))
        if not (isinstance(error, type) and issubclass(error, Exception)) or name.startswith("Stop"):
            error = RuntimeError
        try:
            raised.append(error(message))
        except TypeError:  # UnicodeDecodeError and its like want more
            raised.append(RuntimeError(message))
        raise raised[-1]

    namespace[entry_point] = candidate
    try:
        namespace["check"](candidate)
    except Gone:
        return "gone"
    except Broken:
        raise
    except Exception as error:
        if gone:
            return "gone"
        chain = [error, error.__context__, error.__cause__]
        if isinstance(error, MemoryError):
            return "memory"
        if any(one is link for one in raised for link in chain):
            return "crash"
        if type(error) is NameError:
            raise Broken(f"tests.check: {error}") from None
        return "wrong"
    return "gone" if gone else "ok"


# ==== The sandbox process ====

if __name__ == "__main__":
    main()
