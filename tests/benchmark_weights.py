"""What it costs to bring new weights from train.py to the sampler, beside a plain copy of the same bytes in the same
run.

    python tests/benchmark_weights.py --model DIR [--dtype bfloat16] [--to /dev/shm] [--engine transformers]
    torchrun --standalone --nproc-per-node 2 tests/benchmark_weights.py --model DIR       # every rank writes its share

A line each for publishing, for the writing of its weights alone (publishing begins with the probe, a pass over all
weights, which is short on a GPU) and, with one rank, for the engine's reload: GB/s of checkpoint bytes, of the copy,
and their ratio (medians; what is compared is timed one after the other, because machines are shared)."""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from transformers import AutoTokenizer
from transformers.utils import logging

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import generate
import train


def seconds(function):
    train.together()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    train.together()
    return time.perf_counter() - started


def copy_share(source, target):
    """Every rank copies its part of the files of a checkpoint, as `cp` does."""
    for file in sorted(source.glob("*.safetensors"))[train.RANK::train.RANKS]:
        shutil.copyfile(file, target / file.name)


def report(what, size, pairs):
    ours, plain = (statistics.median(times) for times in zip(*pairs))
    ratio = statistics.median(b / a for a, b in pairs)
    if train.RANK == 0:
        print(f"{what}: {size / ours / 1e9:.2f} GB/s, a plain copy {size / plain / 1e9:.2f} GB/s, ratio {ratio:.2f} "
              f"({min(b / a for a, b in pairs):.2f} to {max(b / a for a, b in pairs):.2f})", flush=True)
    return ratio


def publishing(args, run, home):
    flags = train.parse_arguments(["--model", args.model, "--run", str(run), "--dtype", args.dtype, "--lr", "1e-6",
                                   "--reference-model", "none"])
    if train.RANKS > 1:
        train.start_ranks(flags)
    policy, _, _, others = train.build(flags, args.model)
    train.together()
    published, pairs, writes = None, [], []
    for step in range(args.repeats + 1):  # the first is not counted
        def publish():
            nonlocal published
            published = train.publish(home, step, policy, others, flags)
        ours = seconds(publish)
        copied, written = home / "copied", home / "written"
        if train.RANK == 0:
            copied.mkdir()
            written.mkdir()
        writes.append(seconds(lambda: train.write_weights(
            written, train.saved_tensors(policy.model), getattr(torch, args.dtype))))
        plain = seconds(lambda: copy_share(published, copied))
        size = sum(file.stat().st_size for file in published.glob("*.safetensors"))
        pairs.append((ours, plain))
        train.together()
        if train.RANK == 0:
            shutil.rmtree(copied), shutil.rmtree(written)
            for old in home.glob("policy-*"):
                if old != published:
                    shutil.rmtree(old)
    return published, size, pairs[1:], [(write, plain) for write, (_, plain) in zip(writes, pairs)][1:]


def reloading(args, published, size):
    AutoTokenizer.from_pretrained(args.model).save_pretrained(published)
    settings = SimpleNamespace(num_samples=1, max_tokens=8, temperature=1.0, top_p=1.0, top_k=0, dtype=args.dtype,
                               device=None, share_gpu=False, batch_tokens=2**16, max_prompt_tokens=64,
                               tensor_parallel_size=1, gpu_memory_utilization=None)
    engine, pairs = generate.ENGINES[args.engine](published, settings), []
    target = np.empty(size, np.uint8)
    def plain():
        start = 0
        for file in published.glob("*.safetensors"):
            bytes_of = np.memmap(file, np.uint8, "r")
            target[start:start + len(bytes_of)] = bytes_of
            start += len(bytes_of)
    for _ in range(args.repeats + 1):
        pairs.append((seconds(lambda: engine.load(published)), seconds(plain)))
    return pairs[1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--to", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--engine", default="transformers", choices=["transformers", "vllm"])
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    logging.disable_progress_bar()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    scratch = train.from_rank_0(lambda: Path(tempfile.mkdtemp(dir=args.to))) if train.RANKS == 1 else Path(
        args.to / f"weights-{os.environ['TORCHELASTIC_RUN_ID']}")
    scratch.mkdir(exist_ok=True)
    try:
        (scratch / "run").mkdir(exist_ok=True)
        published, size, pairs, writes = publishing(args, scratch / "run", scratch)
        ranks = f"{train.RANKS} rank{'s' * (train.RANKS > 1)}"
        report(f"publish, {ranks}, {size / 1e9:.2f} GB of {args.dtype} to {args.to}", size, pairs)
        report(f"weights alone, {ranks}", size, writes)
        if train.RANKS == 1:
            report(f"reload, {args.engine}, {size / 1e9:.2f} GB", size, reloading(args, published, size))
        train.together()
    finally:
        if train.RANK == 0:
            shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
