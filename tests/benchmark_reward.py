"""python reward.py --benchmark < rows.jsonl: how fast programs and math answers are graded."""
import logging
import subprocess
import sys
import time

import reward

PROGRAM = "a, b = map(int, input().split())\nprint(a + b)\n"
TESTS = {"type": "stdin", "inputs": ["3 4\n"], "outputs": ["7\n"]}
FORKS = """import os, sys, time
start = time.perf_counter()
for _ in range(int(sys.argv[1])):
    pid = os.fork()
    if pid == 0: os._exit(0)
    os.waitpid(pid, 0)
print(int(sys.argv[1]) / (time.perf_counter() - start))"""


def benchmark(settings):
    """Speeds side by side in one run."""
    benchmark_programs()
    rows = [] if sys.stdin.isatty() else [(row["gold"], row["completions"][0]) for _, row in
                                          reward.read_rows(sys.stdin.buffer, "reward") if row["kind"] == "math"]
    if rows:
        benchmark_math(rows, settings)
    else:
        print("math: no rows on standard input")


def per_second(run, count):
    start = time.perf_counter()
    for i in range(count):
        run(i)
    return count / (time.perf_counter() - start)


def fork_and_wait(count):
    done = subprocess.run([sys.executable, "-I", "-S", "-c", FORKS, str(count)], capture_output=True, check=True)
    return float(done.stdout)


def benchmark_programs():
    """One small program: a fresh interpreter for each run, the sandbox, and a fork that does nothing."""
    sandbox = reward.Sandbox()
    print("sandbox:", ", ".join(sandbox.level))

    def interpreter(*flags):
        command = [sys.executable, *flags, "-c", PROGRAM]
        assert subprocess.run(command, input=b"3 4\n", capture_output=True).stdout == b"7\n"

    def ours(i):
        assert reward.run_program(sandbox, PROGRAM, TESTS, 5.0, 1024, False) == ["7\n"]
    rates = {"a fresh interpreter": [], "the same without -I -S": [], "this sandbox": [], "an empty fork": []}
    for _ in range(5):
        rates["a fresh interpreter"].append(per_second(lambda i: interpreter("-I", "-S"), 30))
        rates["the same without -I -S"].append(per_second(lambda i: interpreter(), 15))
        rates["this sandbox"].append(per_second(ours, 300))
        rates["an empty fork"].append(fork_and_wait(300))
    medians = {name: sorted(values)[2] for name, values in rates.items()}
    for name, rate in medians.items():
        print(f"programs a second, {name}: {rate:.0f} ({rate / medians['a fresh interpreter']:.1f}x)")
    sandbox.close()


def benchmark_math(rows, settings):
    """Math rows, one solution each, against math-verify alone: on their own answers and on the next row's."""
    from math_verify import parse, verify
    logging.disable(logging.CRITICAL)
    grader = reward.Grader(settings)
    grader.worker().equal("x", "x", 120)  # math-verify is loaded
    for what, shift in ("their own", 0), ("the next row's", 1):
        pairs = [(gold, rows[(i + shift) % len(rows)][1]) for i, (gold, _) in enumerate(rows)]
        theirs, ours = [], []
        reward.same.cache_clear(), reward.normalize.cache_clear()
        slow = per_second(lambda i: theirs.append(verify(parse(f"${pairs[i][0]}$"), parse(pairs[i][1]))), len(pairs))
        fast = per_second(lambda i: ours.append(
            reward.grade_math(pairs[i][1], {"gold": pairs[i][0]}, grader)[1]), len(pairs))
        print(f"math answers a second, {what}: math-verify alone {slow:.0f}, here {fast:.0f} ({fast / slow:.1f}x); "
              f"accepted {sum(theirs)} and {sum(ours)} of {len(pairs)}")
        for (gold, text), one, other in zip(pairs, theirs, ours):
            if one is not other:
                answer = reward.extract_answer(text)
                print(f"  differ: reference {gold!r}, answer {answer!r}: math-verify {one}, here {other}")
    grader.close()
