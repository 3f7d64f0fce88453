"""python evaluate.py --benchmark P: time and peak memory of the evaluation of synthetic rows."""
import json
import os
import resource
import tempfile
import time

import numpy as np

from evaluate import evaluate


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
