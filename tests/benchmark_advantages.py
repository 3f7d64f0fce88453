"""python advantages.py --benchmark: every estimator against a plain loop over groups, written as the papers write
it."""
import statistics
import time

import numpy as np

from advantages import ESTIMATORS, uses
from tests.test_advantages import loops


def benchmark(P=4096, n=16, k=8):
    """Time each estimator on P groups, and its loop on as many groups as a second allows."""
    rng = np.random.default_rng(0)
    votes = rng.integers(-1, 5, (P, n))
    correct, graded = (votes == 0).astype(float), rng.integers(0, 11, (P, n)) / 10
    log_ratio = 0.1 * rng.standard_normal((P, n))
    print(f"{P} groups of n = {n}, k = {k} (k = n where the estimator needs it), median of 15 runs, CPU time\n"
          f"{'estimator':30}{'all groups':>13}{'loop (scaled)':>16}{'ratio':>9}{'largest difference':>20}")
    for name, f in ESTIMATORS.items():
        size, rewards = k, correct if uses(name, "votes") else graded
        try:
            f(rewards[:1], size, votes=votes[:1])
        except ValueError as error:  # it is defined for k = n, or for 0/1 rewards
            size, rewards = (n, rewards) if "k = n" in str(error) else (k, correct)
        times = []
        for _ in range(15):
            start = time.process_time()
            values = f(rewards, size, votes=votes, log_ratio=log_ratio)
            times.append(time.process_time() - start)
        fast = statistics.median(times)
        line = f"{name:30}{1e3 * fast:10.2f} ms"
        if loop := loops(n, size).get(name):
            difference, g, start = 0.0, 0, time.process_time()
            while g < P and time.process_time() < start + 1:
                expected = loop(rewards[g].tolist(), votes[g].tolist(), np.exp(log_ratio[g]).tolist())
                difference = max(difference, np.abs(values[g] - expected).max())
                g += 1
            slow = (time.process_time() - start) * P / g
            line += f"{slow:14.2f} s{slow / fast:8.0f}x{difference:20.1e}"
        print(line, flush=True)
