"""Stage 1 of 4: sample n completions for every prompt and write one JSON line per prompt.

One pass over a dataset, with fixed weights (evaluation, or rollouts to a file):
    python generate.py --model DIR --dataset rules --split test --limit 400 --num-samples 128 > completions.jsonl
The dataset's own solutions as completions (the SFT warm-up goes through the same pipe):
    python generate.py --model DIR --reference --split sft --prompts-per-step 128 --steps 700 |
        python train.py --loss sft ...
The sampling side of the loop: step s is sampled once train.py has published weights of a step >= s - max_staleness
in RUN/policy, which are then reloaded in place:
    python generate.py --run RUN --steps 150 --max-staleness 0 |
        python reward.py | python advantages.py | python train.py
Evaluation along training, of the checkpoints that train.py --keep-every N keeps, also while it is at work; the same
command goes on where it was stopped:
    python generate.py --along RUN --split test --limit 100 --resume e.jsonl | python reward.py >> e.jsonl

Prompt order and sampling noise are functions of (seed, step): a run that is stopped and started again draws the same.
Shapes in comments: P prompts, n samples per prompt, T tokens, V vocabulary.
"""

import argparse
import ast
import base64
import builtins
import contextlib
import fcntl
import functools
import gc
import glob
import hashlib
import http.client
import importlib.util
import itertools
import json
import math
import os
import pickletools
import random
import re
import select
import stat
import sys
import threading
import time
import urllib.error
import urllib.request
import warnings
import zlib
from collections import defaultdict
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np

from advantages import MAX_DEPTH, OF_SAMPLES, ROW, Help, depth, own_output, progress, read_rows, tell

say = functools.partial(tell, "generate.py")


# ------------------------------------------------------------------------------------------------------------ the stage
# main's path, from the flags to the last row: wait for weights, load them, sample, write. A row's keys are made in
# generate and write_row; a new one belongs into ROW of advantages.py too.

def main():
    try:
        args = parse_arguments()
        with contextlib.ExitStack() as at_end, own_output() as rows:
            generate(args, rows, at_end)
    except BrokenPipeError:
        sys.exit("generate.py: stopped, the next stage is gone")
    except (ValueError, OSError) as error:
        say(error)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def generate(args, rows, at_end):
    """For every batch of prompts: wait for the weights, load them, sample, write the rows as groups finish. With
    --along there is one batch, which is sampled from each checkpoint. The engine, which may take its time to end, is
    closed by the ExitStack `at_end`, when the next stages have been told that no more rows come."""
    from transformers.utils import logging

    if args.steps is not None or not sys.stderr.isatty():  # else downloads and the loading of a model show their own
        logging.disable_progress_bar()
    goes_on = resumable(args.run) if args.run else None
    first_step = policy_step(goes_on) if goes_on else 0
    if args.run and first_step >= args.steps:
        say(f"{args.run} is complete: {first_step} steps, nothing to sample")
        return
    paths = weights_for(args, first_step, rows)
    path = next(paths)
    if path is None:
        return
    check_checkpoint(path)
    tokenizer, sampling, sampler, bar = load_tokenizer(path), sampling_of(args), Sampler(args), None
    ends = end_ids(path, tokenizer)
    at_end.callback(sampler.close)
    prompts_of = prompts_by_step(args, tokenizer)
    done = read_done(args.resume, args, sampling, prompts_of(0)) if args.resume else set()
    paths = itertools.chain([path], paths)
    for step in range(first_step, args.steps or 1):
        prompts = prompts_of(step)  # while train.py is at work on the step before
        ids = [prompt_ids(tokenizer, prompt, args.system) for prompt in prompts]
        for path in paths:
            if path is None:
                return
            places = [g for g, prompt in enumerate(prompts) if (policy_step(path), prompt["task_id"]) not in done]
            if not places:
                continue
            if args.reference:
                groups = reference_groups([prompts[g] for g in places], tokenizer, ends)
            else:
                groups = sampler.sample(path, [(ids[g], sampling_seed(args.seed, step, g)) for g in places])
            if bar is None:
                bar = at_end.enter_context(rows_to_come(args, first_step, rows))
            if args.steps is None:
                bar.total = bar.n + len(places)  # from these weights
            shared = {"step": step, "step_prompts": len(prompts), "policy_step": policy_step(path),
                      "sampling": sampling, "reload_s": sampler.reload_s}
            for i, group in groups:
                write_row(rows, prompts[places[i]], group, shared | {"prompt_token_ids": ids[places[i]]})
                bar.set_postfix_str(f"{(bar.n + 1) * len(group)} samples", refresh=False)
                bar.update()
        paths = weights_for(args, step + 1, rows)
    if args.along and bar is None:
        say(f"nothing left to do: {args.resume} has the rows of all {len(prompts)} prompts from all these checkpoints")


POLICY = "policy-" + 6 * "[0-9]"  # how train.py names checkpoints, by their step; any other name is the user's own


def resumable(run):
    """The newest checkpoint of RUN that train.py can go on from, or None. Also for train.py."""
    return max((file.parent for file in run.glob(f"{POLICY}/trainer.pt")), default=None)


def weights_for(args, step, rows):
    """Yield the paths of the weights that sample a step's prompts, once they are there: with --along those of every
    checkpoint. None if the run is complete before."""
    if args.along:
        yield from kept_checkpoints(args.along, args.at_steps, rows)
    else:
        yield wait_for_weights(args.run, step, args.max_staleness, rows) if args.run else args.model


def sampling_of(args):
    """The settings that rows have to share to be compared."""
    names = ("seed", "temperature", "top_p", "top_k", "max_tokens")
    return {"model": str(args.model or args.run or args.along), **{name: getattr(args, name) for name in names}}


def rows_to_come(args, first_step, rows):
    """The progress bar of the rows; none in the loop, where train.py, at the other end of the pipe, has one."""
    to_a_trainer = args.steps is not None and stat.S_ISFIFO(os.fstat(rows.fileno()).st_mode)
    total = math.inf if args.steps is None else (args.steps - first_step) * args.prompts_per_step
    return progress("generate.py", total, shown=not to_a_trainer)


def write_row(rows, prompt, group, shared):
    keep = prompt["dataset"] == "rows"  # there a row's own key; no stage reads it
    row = {key: value for key, value in prompt.items() if key != "reference" or keep}
    lists = zip(("completions", "token_ids", "logprobs", "finish_reasons"), zip(*group))
    row |= {key: None if None in of_samples else of_samples for key, of_samples in lists}
    rows.write(json.dumps(row | shared) + "\n")
    rows.flush()


def reference_groups(prompts, tokenizer, ends):
    """Each prompt's first solution in the shape of one sample; no policy drew it, so it has no log-probabilities."""
    end = ends[0] if tokenizer.eos_token_id is None else tokenizer.eos_token_id
    for i, prompt in enumerate(prompts):
        solution = solution_of(prompt)
        yield i, [(solution, tokenizer(solution, add_special_tokens=False)["input_ids"] + [end], None, "stop")]


def solution_of(prompt):
    """Its first reference solution, a text; None if it has none."""
    found = prompt.get("reference")
    found = found[0] if isinstance(found, list) and found else found
    return found if isinstance(found, str) and found else None


class Sampler:
    """The engine with the weights that were asked for last.
    `reload_s`: seconds that they took to arrive; None for the first."""

    def __init__(self, args):
        self.args, self.engine, self.path, self.reload_s, self.reloads, self.known = args, None, None, None, 0, None

    def sample(self, path, prompts):
        """engine.sample(prompts) from the weights of `path`. ValueError if they cannot be read, or have not arrived."""
        if path != self.path:
            self.use(path)
        return self.engine.sample(prompts)

    def use(self, path):
        started = time.perf_counter()
        self.load(path)
        if self.args.run or self.args.along:
            check_probe(path, self.engine.score, self.args.dtype)
        if self.path:
            self.reloads += 1
            self.reload_s = time.perf_counter() - started
        if self.args.run and (self.path is None or self.reloads % DIGESTS_EVERY == 1):
            self.known = check_digests(path, self.engine.digests(), self.known)
        self.path = path

    def load(self, path):
        from safetensors import SafetensorError
        try:
            if self.engine is None:
                self.engine = ENGINES[self.args.engine](path, self.args)
                gc.freeze()  # what the libraries have made stays: the collector need not look at it again and again
            else:
                self.engine.load(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be loaded: {error}") from None

    def close(self):
        if self.engine:
            self.engine.close()


SAY_AFTER, GIVE_UP_AFTER = 10, 300  # seconds that generate.py waits for weights where no train.py is at work


def wait_for_weights(run, step, max_staleness, rows):
    """Block until RUN/policy points to weights that may sample `step`: published after step - max_staleness updates or
    more. Newer ones than `step` are left over from a run that was cut off: train.py turns the link back to its last
    checkpoint when it starts, so they are waited out too. None if the run is complete before its last step (train.py
    --stall-steps). Raises BrokenPipeError if the next stage ends meanwhile, ValueError if no train.py ever begins."""
    started, said = time.monotonic(), False
    while True:
        newest = Path(os.path.realpath(run / "policy"))
        found = policy_step(newest)
        if found is not None and step - max_staleness <= found <= step:
            return newest
        if (run / "complete").exists() and policy_step(run / "complete") == found:
            return None
        if found is not None and found > step and (run / newest.name / "trainer.pt").exists():
            return None  # another command has brought the run further since this one began
        wait(0.001, rows)
        waited = time.monotonic() - started
        if waited > SAY_AFTER and not said:
            said = True
            if not trainer_at_work(run):
                say(f"waiting for a train.py to publish weights in {run / 'policy'}; none is at work there yet")
        if waited > GIVE_UP_AFTER and not (run / "lock").exists():
            raise ValueError(f"no train.py has begun in {run} for {GIVE_UP_AFTER} s: is it the same --run?")


def wait(seconds, rows):
    """Wait, as long as the next stage reads: BrokenPipeError as soon as it has ended."""
    reader = select.poll()
    reader.register(rows, 0)  # asks for nothing, so it reports only that the other end was closed
    if reader.poll(1000 * seconds):
        raise BrokenPipeError


def policy_step(path):
    """12 for RUN/policy-000012 and for a link to it; None for any other path."""
    name = os.path.basename(os.path.realpath(path))
    return int(name[7:]) if name.startswith("policy-") and name[7:].isdigit() else None


def trainer_at_work(run):
    """Whether a train.py holds RUN/lock."""
    try:
        with open(run / "lock") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # let go at once: train.py tries for a second
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


# ----------------------------------------------------------------------------------------------------- the command line
# A new flag goes into one of the three groups and, where a mode or an engine cannot do it or makes no use of it, into
# check_modes, check_unused or choose_engine: none is ignored without a word.

def parse_arguments():
    parser = argparse.ArgumentParser(
        usage="%(prog)s (--model MODEL | --run RUN | --along RUN) [flags] > completions.jsonl", allow_abbrev=False,
        description=__doc__.split("\n")[0], formatter_class=Help)
    add_weights(parser.add_argument_group("weights"))
    add_prompts(parser.add_argument_group("prompts"))
    add_sampling(parser.add_argument_group("sampling"))
    args = parser.parse_args()
    check_modes(parser, args)
    check_numbers(parser, args)
    check_unused(parser, args)
    if not args.reference:
        choose_engine(parser, args)
    set_defaults(parser, args)
    return args


def add_weights(group):
    group.add_argument("--model", help="checkpoint directory or hub name: fixed weights")
    group.add_argument("--run", type=Path, help="run directory: follow the weights that train.py publishes in it")
    group.add_argument("--along", type=Path, metavar="RUN", help="the checkpoints that train.py --keep-every keeps in "
                       "RUN, one after another, those of a run that is still at work too")
    group.add_argument("--at-steps", type=int, nargs="+", metavar="STEP", help="with --along: of these steps, waited "
                       "for while RUN is trained; default: all that are kept")
    group.add_argument("--resume", metavar="FILE", help="with --along: leave out what has rows in FILE, to which this "
                       "command's (rewarded) rows are appended; a last line that was cut off is removed from it")
    group.add_argument("--max-staleness", type=int, default=0, help="with --run: how many updates the weights may lag "
                       "(0: on-policy; 1: sampling overlaps training)")
    group.add_argument("--engine", choices=["auto", *ENGINES], default="auto",
                       help="auto: vllm on a GPU where it is installed, else transformers")
    group.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    group.add_argument("--device", help="transformers engine; default: cuda where there is one")
    group.add_argument("--tensor-parallel-size", type=int, default=1, help="vllm: GPUs that hold one copy of the model")
    group.add_argument("--gpu-memory-utilization", type=float, help="vllm: its share of a GPU's memory; default: 0.9, "
                       "with --share-gpu what train.py leaves free")
    group.add_argument("--share-gpu", action="store_true", help="vllm: gives the memory back while train.py works")
    group.add_argument("--servers", nargs="+", metavar="URL", help="vllm-server: addresses")
    group.add_argument("--server-requests", type=int, default=64, help="vllm-server: requests under way at each")
    group.add_argument("--server-attempts", type=int, default=15,
                       help="vllm-server: tries of a request, in about 5 minutes")


def add_prompts(group):
    group.add_argument("--dataset", choices=["rules", *DATASETS], default="rules")
    group.add_argument("--data-files", nargs="+",
                       help="local json, jsonl or parquet files of the dataset's schema; default: the hub")
    group.add_argument("--against", help="rows of the dataset to decontaminate against: local files or 'none'; "
                       "default: the hub")
    group.add_argument("--split", default="train")
    group.add_argument("--limit", type=int, help="use the first LIMIT prompts only")
    group.add_argument("--steps", type=int, help="number of batches; default: one pass over the dataset")
    group.add_argument("--prompts-per-step", type=int,
                       help=f"with --steps: {OF_RULES['prompts_per_step']} with --dataset rules, needed with any other")
    group.add_argument("--reference", action="store_true", help="write the dataset's own solution as the completion")
    group.add_argument("--system", help="replaces the system prompt; '' for none")
    group.add_argument("--max-prompt-tokens", type=int, default=1024, help="longer prompts are dropped, and counted")


def add_sampling(group):
    group.add_argument("--num-samples", type=int, default=16, help="n, completions per prompt")
    group.add_argument("--max-tokens", type=int, help="longest completion, in tokens: "
                       f"{OF_RULES['max_tokens']} with --dataset rules, needed with any other")
    group.add_argument("--temperature", type=float, default=1.0)
    group.add_argument("--top-p", type=float, default=1.0, help="evaluation only: it biases the ratio in training")
    group.add_argument("--top-k", type=int, default=0, help="0: off; evaluation only")
    group.add_argument("--seed", type=int, default=0, help="of prompt order and sampling")
    group.add_argument("--batch-tokens", type=int, help="transformers engine: most tokens in the KV cache; default: "
                       "524288, on CPU less for large models, so that rows come after a minute or so")


OF_RULES = {"max_tokens": 10, "prompts_per_step": 64}  # what only the embedded task has defaults for
OF_ENGINE = {"transformers": "device batch_tokens", "vllm": "tensor_parallel_size gpu_memory_utilization share_gpu",
             "vllm-server": "servers server_requests server_attempts"}  # flags of one engine only


def check_modes(parser, args):
    """Refuse what cannot work together."""
    if [args.model, args.run, args.along].count(None) != 2:
        parser.error("give one of --model (fixed weights), --run (the loop's sampling side) and "
                     "--along (kept checkpoints)")
    if args.along and (args.steps is not None or args.reference):
        parser.error("--along samples one pass over the prompts from each checkpoint: not with --steps or --reference")
    if args.at_steps is not None and (min(args.at_steps) < 0 or args.at_steps != sorted(set(args.at_steps))):
        parser.error("--at-steps must be different steps, ascending")
    if args.run and args.steps is None:
        parser.error("--run needs --steps, the number of steps of the whole run")
    if args.run and (args.top_p < 1 or args.top_k):
        parser.error("--top-p below 1 and --top-k bias the probability ratio: not with --run")
    if args.run and args.temperature != 1:
        parser.error("--temperature other than 1 samples from another policy than the one that is trained: "
                     "not with --run")
    splits = ("train", "test", "sft") if args.dataset == "rules" else DATASETS[args.dataset]["splits"]
    if args.split not in splits:
        parser.error(f"--dataset {args.dataset} has the splits {', '.join(splits)}, not {args.split!r}")
    if args.dataset == "rules" and (args.steps is None) == (args.limit is None):
        parser.error("--dataset rules is endless: give either --steps or --limit")
    if args.dataset == "rows" and args.data_files is None:
        parser.error("--dataset rows needs --data-files, rows that a stage of the pipe wrote")


def check_numbers(parser, args):
    """Refuse numbers out of range, by the name of the flag."""
    for name in ("num_samples", "max_tokens", "prompts_per_step", "limit", "steps", "max_prompt_tokens", "batch_tokens",
                 "tensor_parallel_size", "server_requests", "server_attempts", "max_staleness", "top_k", "seed"):
        low = 0 if name in ("max_staleness", "top_k", "seed") else 1
        if getattr(args, name) is not None and getattr(args, name) < low:
            parser.error(f"{flag(name)} must be at least {low}, not {getattr(args, name)}")
    if args.temperature == 0:
        parser.error("--temperature must be above 0; the likeliest token alone is drawn with --top-k 1")
    if not 0 < args.temperature < math.inf:
        parser.error(f"--temperature must be a number above 0, not {args.temperature}")
    if not 0 < args.top_p <= 1:
        parser.error(f"--top-p must be above 0 and at most 1, not {args.top_p}")
    if args.gpu_memory_utilization is not None and not 0 < args.gpu_memory_utilization < 1:
        parser.error(f"--gpu-memory-utilization must be between 0 and 1, not {args.gpu_memory_utilization}")


def flag(name):
    """"--max-tokens" for "max_tokens". Also for train.py."""
    return "--" + name.replace("_", "-")


def given(parser, args, names):
    """Those of the flags that are not at their default."""
    return [flag(name) for name in names.split() if getattr(args, name) != parser.get_default(name)]


def check_unused(parser, args):
    """Refuse flags that would have no effect in this mode."""
    unused = given(parser, args, "data_files against") if args.dataset == "rules" else []
    if args.reference:
        unused += given(parser, args, "num_samples max_tokens temperature top_p top_k engine dtype")
        unused += given(parser, args, " ".join(OF_ENGINE.values()))
    if not args.run:
        unused += given(parser, args, "max_staleness")
    if not args.along:
        unused += given(parser, args, "at_steps resume")
    if args.steps is None:
        unused += given(parser, args, "prompts_per_step")
    if unused:
        parser.error(f"no effect in this mode: {' '.join(unused)}")


def set_defaults(parser, args):
    """Fill in what only the embedded task has defaults for."""
    needed = {"max_tokens": not args.reference, "prompts_per_step": args.steps is not None}
    for name, default in OF_RULES.items():
        if args.dataset == "rules" and getattr(args, name) is None:
            setattr(args, name, default)
        if needed[name] and getattr(args, name) is None:
            parser.error(f"--dataset {args.dataset} needs {flag(name)} (the embedded task's is {default})")


def choose_engine(parser, args):
    """Resolve --engine auto, and refuse the flags of other engines and what the engine cannot do."""
    if args.engine == "auto":
        args.engine = "transformers"
        if importlib.util.find_spec("vllm") and args.device is None:
            import torch
            args.engine = "vllm" if torch.cuda.device_count() else "transformers"
    if args.device:
        check_device(args.device)
    unused = [f"{name} ({engine} only)" for engine, names in OF_ENGINE.items() if engine != args.engine
              for name in given(parser, args, names)]
    if args.dataset == "rules" and args.engine != "vllm":  # no prompt is dropped; vLLM makes room for the longest
        unused += given(parser, args, "max_prompt_tokens")
    if unused:
        parser.error(f"no effect with --engine {args.engine}: {', '.join(unused)}")
    if args.share_gpu and (args.run is None or args.max_staleness):
        parser.error("--share-gpu takes turns with the trainer: it needs --run and --max-staleness 0")
    if args.engine == "vllm-server" and not args.servers:
        parser.error("--engine vllm-server needs --servers")
    if args.engine != "transformers" and args.temperature < 0.01:
        parser.error("vLLM raises temperatures below 0.01 to 0.01: take --engine transformers")
    if args.engine == "vllm" and not importlib.util.find_spec("vllm"):
        parser.error("--engine vllm: vLLM is not installed here (run.sh installs it where there is a GPU)")


# ---------------------------------------------------------------------------------------------------------- the engines
# A new engine is a function (path, args) -> Engine and an entry of ENGINES. What it draws for a prompt must be a
# function of the prompt's seed, whatever else is in the batch; the log-probabilities are of the distribution sampled.

class Engine:
    """Engine(path of a checkpoint, the command line's args) has
    sample([(token ids, seed)]), which yields (position in the list, n samples) as prompts finish; a sample is (text,
        token_ids, logprobs under the sampling distribution, finish_reason)
    load(path), which puts the weights of another checkpoint of the same model into the running engine
    score(token_ids), the log-probability of token_ids[1:] at temperature 1, which shows what weights are in use
    digests(), {parameter's name: SHA-256 of the bytes that the engine computes with}"""

    def close(self):
        """End what the engine has started."""


def as_sample(tokenizer, ids, logprobs, reason, args):
    """A completion as sample() yields it; `ids` and `logprobs` include the end-of-sequence token."""
    if reason not in ("stop", "length") or reason == "length" and len(ids) < args.max_tokens:
        raise ValueError(f"vLLM ended a completion after {len(ids)} of {args.max_tokens} tokens ({reason}): "
                         "its max_model_len must hold the prompt and --max-tokens")
    return tokenizer.decode(ids[:-1] if reason == "stop" else ids, skip_special_tokens=True), ids, logprobs, reason


CPU_WORK = 2**41  # parameters x tokens of a batch: two cores take about a minute for it


class TransformersEngine(Engine):
    """Plain PyTorch sampling with a KV cache, for CPU and small GPUs. A group is sampled as a prefix tree: the prompt
    is computed once, samples share a row of the batch until they differ, and finished samples leave it."""

    def __init__(self, path, args):
        import torch
        from transformers import AutoModelForCausalLM

        self.args, self.device = args, args.device or ("cuda" if torch.cuda.is_available() else "cpu")
        model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, args.dtype)).to(self.device).eval()
        self.model, self.tokenizer = plain_attention_if_capped(model), load_tokenizer(path)
        self.stop_ids = torch.tensor(end_ids(path, self.tokenizer), device=self.device)

    def sample(self, prompts):
        n, most = self.args.num_samples, self.args.batch_tokens or 2**19
        if self.device == "cpu" and not self.args.batch_tokens:  # also large models' first rows are to come soon
            most = min(most, CPU_WORK // self.model.num_parameters())
        batch = max(1, most // (n * (max(len(ids) for ids, _ in prompts) + self.args.max_tokens)))
        for first in range(0, len(prompts), batch):
            drawn = self.draw(prompts[first:first + batch])
            for g in range(len(drawn) // n):
                yield first + g, [as_sample(self.tokenizer, *one, self.args) for one in drawn[g * n:(g + 1) * n]]

    def draw(self, prompts):
        """One batch -> [(token ids, their log-probabilities, "stop" or "length")], sample after sample."""
        import torch
        n, limit, device = self.args.num_samples, self.args.max_tokens, self.device
        with torch.inference_mode():
            width = max(len(ids) for ids, _ in prompts)
            padded = torch.tensor([[0] * (width - len(ids)) + ids for ids, _ in prompts], device=device)  # (P, width)
            mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids, _ in prompts], device=device)
            noise = np.stack([np.random.default_rng(seed).random((n, limit)) for _, seed in prompts])  # (P, n, limit)
            noise = torch.from_numpy(noise).reshape(-1, limit).to(device)
            tokens = torch.zeros(len(noise), limit, dtype=torch.long, device=device)  # (P * n, limit)
            logprobs = torch.zeros(len(noise), limit, device=device)
            lengths = torch.full((len(noise),), limit, device=device)
            stopped = torch.zeros(len(noise), dtype=torch.bool, device=device)
            live = torch.arange(len(noise), device=device)  # samples that are still running
            node = live // n                                # row of the batch on which each of them sits
            position = mask.sum(1, keepdim=True)
            out = self.model(input_ids=padded, attention_mask=unless_all(mask), use_cache=True, logits_to_keep=1,
                             position_ids=(mask.cumsum(1) - 1).clamp(min=0))
            for t in range(limit):
                table = sampling_distribution(out.logits[:, -1], self.args)  # (rows, V)
                # inverse CDF in float64; only a strictly positive probability can be drawn
                cdf = table.double().exp().cumsum(-1)[node]
                if not cdf[:, -1].isfinite().all():
                    raise ValueError("the model's logits are not finite: are its weights?")
                token = torch.searchsorted(cdf, noise[live, t, None] * cdf[:, -1:], right=True).squeeze(1)
                tokens[live, t], logprobs[live, t] = token, table[node, token]
                end = torch.isin(token, self.stop_ids)
                lengths[live[end]], stopped[live[end]] = t + 1, True
                live, node, token = live[~end], node[~end], token[~end]
                if len(live) == 0 or t + 1 == limit:
                    break
                branch, node = torch.unique(node * table.shape[1] + token, return_inverse=True)
                parent, token = branch // table.shape[1], branch % table.shape[1]
                if len(parent) != len(mask) or not torch.equal(parent, torch.arange(len(mask), device=device)):
                    out.past_key_values.batch_select_indices(parent)
                    mask, position = mask[parent], position[parent]
                mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
                out = self.model(input_ids=token[:, None], position_ids=position, past_key_values=out.past_key_values,
                                 attention_mask=unless_all(mask), use_cache=True)
                position = position + 1
            found = zip(tokens.tolist(), logprobs.tolist(), lengths.tolist(), stopped.tolist())
            return [(ids[:length], of[:length], "stop" if stop else "length") for ids, of, length, stop in found]

    def load(self, path):
        missing, unexpected = self.model.load_state_dict(checkpoint_tensors(path), strict=False)
        if unexpected or not set(missing) <= set(self.model.all_tied_weights_keys):
            raise ValueError(f"{path} does not hold the weights of this model: {(missing + unexpected)[:3]}")
        self.model.tie_weights()

    def score(self, token_ids):
        import torch
        with torch.inference_mode():
            logits = self.model(input_ids=torch.tensor([token_ids], device=self.device)).logits
            return logits.float().log_softmax(-1)[0, range(len(token_ids) - 1), token_ids[1:]].sum().item()

    def digests(self):
        return {name: digest_of([parameter]) for name, parameter in self.model.named_parameters()}


def unless_all(mask):
    """The attention mask, or None where it hides nothing, for which attention is faster."""
    return mask if mask.numel() > mask.sum() else None


def sampling_distribution(logits, args):
    """(N, V) logits -> float32 log-probabilities of the sampling distribution."""
    import torch
    logprobs = torch.log_softmax(logits.float() / args.temperature, -1)
    if args.top_k:
        kth = logprobs.topk(min(args.top_k, logprobs.shape[-1])).values[:, -1:]
        logprobs = logprobs.masked_fill(logprobs < kth, -torch.inf)
    if args.top_p < 1:
        ordered, order = torch.log_softmax(logprobs, -1).sort(descending=True)
        beyond = ordered.exp().cumsum(-1) - ordered.exp() >= args.top_p  # the token that crosses top_p stays
        logprobs = logprobs.masked_fill(beyond.scatter(1, order, beyond), -torch.inf)
    return torch.log_softmax(logprobs, -1) if args.top_k or args.top_p < 1 else logprobs


class VllmEngine(Engine):
    """vLLM in this process, on --tensor-parallel-size GPUs (or on CPU, which is good for tests). Token ids go in and
    come out; the text is decoded here, as by the other engines."""

    def __init__(self, path, args):
        os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")  # a fork would hold the next stage's pipe open
        from vllm import LLM
        from vllm.platforms import current_platform

        self.args, self.on_cpu = args, current_platform.is_cpu()
        if self.on_cpu and args.share_gpu:
            raise ValueError("--share-gpu is vLLM's sleep mode, which needs a GPU")
        if self.on_cpu:
            os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # apply_model below runs in this process
            # whole prompts at once: on CPU vLLM crashes where a chunk cuts the prompt of a seeded request
            machine = {"enforce_eager": True, "kv_cache_memory_bytes": 2**30, "enable_chunked_prefill": False,
                       "max_num_batched_tokens": max(4096, longest_sequence(args))}
        else:
            machine = {"gpu_memory_utilization": share_of_memory(args), "enable_sleep_mode": args.share_gpu,
                       "sleep_mode_offload_cudagraph": args.share_gpu}
        self.llm = LLM(str(path), dtype=args.dtype, tensor_parallel_size=args.tensor_parallel_size,
                       max_model_len=longest_sequence(args), logprobs_mode="processed_logprobs", **machine)
        self.tokenizer = load_tokenizer(path)

    def sample(self, prompts):
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind
        engine = self.llm.llm_engine
        for g, (ids, seed) in enumerate(prompts):
            engine.add_request(str(g), {"prompt_token_ids": ids}, SamplingParams(
                **vllm_sampling(self.args, seed), output_kind=RequestOutputKind.FINAL_ONLY))
        while engine.has_unfinished_requests():
            done = [out for out in engine.step() if out.finished]
            if self.args.share_gpu and not engine.has_unfinished_requests():
                self.llm.sleep(level=1)  # before the last rows go out, at which the trainer starts its step
            for out in done:
                yield int(out.request_id), [
                    as_sample(self.tokenizer, list(c.token_ids),
                              [at[t].logprob for at, t in zip(c.logprobs, c.token_ids)], c.finish_reason, self.args)
                    for c in out.outputs]

    def load(self, path):
        if self.args.share_gpu:  # with --run and --max-staleness 0 every batch is sampled from new weights
            self.llm.wake_up()
        self.llm.collective_rpc("reload_weights", kwargs={"weights_path": str(path)})
        if self.on_cpu:
            self.llm.apply_model(repack_tied_head)
        if not self.llm.reset_prefix_cache():  # else a prompt seen before would start from the old weights' cache
            raise ValueError("vLLM could not reset its prefix cache")

    def score(self, token_ids):
        from vllm import SamplingParams
        params = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False)
        [out] = self.llm.generate({"prompt_token_ids": token_ids}, params, use_tqdm=False)
        return sum(at[token].logprob for at, token in zip(out.prompt_logprobs[1:], token_ids[1:]))

    def digests(self):
        workers = self.llm.collective_rpc("compute_weight_checksums")
        return {name: digest for worker in workers for name, digest in worker.items()}

    def close(self):  # left to the interpreter's end, vLLM's engine may be waited for before it is told to stop
        self.llm.llm_engine.engine_core.shutdown()


def longest_sequence(args):
    """Tokens for which vLLM has to make room: the longest prompt, or the probe, and a completion."""
    return max(args.max_prompt_tokens, 64) + args.max_tokens


def share_of_memory(args):
    """The share of a GPU's memory for vLLM, which refuses to start if less is free. On a shared GPU: what train.py,
    which holds its weights, moments and reference by now, leaves, less a little for its own passes' start."""
    if args.gpu_memory_utilization or not args.share_gpu:
        return args.gpu_memory_utilization or 0.9
    import torch
    free, total = torch.cuda.mem_get_info()
    if free < 0.1 * total:
        raise ValueError(f"train.py leaves {free / 1e9:.0f} of the GPU's {total / 1e9:.0f} GB: too little to sample on "
                         "the same GPU. A smaller model, --adam-bits 8 or --reference-model none (train.py), "
                         "or a GPU for each")
    return math.floor(100 * (free / total - 0.03)) / 100


def repack_tied_head(model):
    """vLLM's CPU build multiplies by packed copies of the layers. A reload renews all of them but that of an output
    layer tied to the embeddings: the old one would stay in use with no more than a warning."""
    from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm
    if getattr(model.config, "tie_word_embeddings", False):
        dispatch_cpu_unquantized_gemm(model.lm_head, remove_weight=False)


def vllm_sampling(args, seed):
    """Keywords of vLLM's SamplingParams for one prompt. Sample j of n has the noise of seed + j, whatever else is in
    the batch; with `logprobs` 0 only the sampled token's is returned."""
    return {"n": args.num_samples, "seed": seed, "max_tokens": args.max_tokens, "temperature": args.temperature,
            "top_p": args.top_p, "top_k": args.top_k, "logprobs": 0, "detokenize": False}


class VllmServerEngine(Engine):
    """vLLM servers at --servers, each of which may span GPUs and machines. They need VLLM_SERVER_DEV_MODE=1,
    --enable-scale-out (token ids in and out) and --logprobs-mode processed_logprobs, and see RUN under the same path.
    A group goes out in requests of at most 32 samples, to the servers in turn; threads bound how many are under way.
    Every answer names the weights that drew it: a server that was restarted gets them, and the request, again."""

    def __init__(self, path, args):
        self.args, self.tokenizer = args, load_tokenizer(path)
        self.servers = [url.rstrip("/") if "://" in url else f"http://{url.rstrip('/')}" for url in args.servers]
        self.locks = {server: threading.Lock() for server in self.servers}
        # its threads are daemons: the end of the run does not wait for them
        self.threads = ThreadPool(args.server_requests * len(self.servers))
        self.version = None  # path of the weights that the servers must have
        self.on_all(self.check)
        self.load(path)  # whatever the servers were started with

    def sample(self, prompts):
        n, size = self.args.num_samples, min(32, self.args.num_samples)
        parts = [(g, first) for g in range(len(prompts)) for first in range(0, n, size)]

        def ask(turn):
            g, first = parts[turn]
            ids, seed = prompts[g]
            return g, first, self.completions(turn, ids, vllm_sampling(self.args, seed + first)
                                              | {"n": min(size, n - first)})
        groups = [{} for _ in prompts]  # number of a part's first sample -> its samples
        for g, first, samples in self.threads.imap_unordered(ask, range(len(parts))):
            groups[g][first] = samples
            if sum(map(len, groups[g].values())) == n:
                yield g, [one for first in sorted(groups[g]) for one in groups[g][first]]

    def completions(self, turn, ids, params):
        """The samples of one request. `turn`: which server is asked first."""
        def once(attempt):
            server = self.servers[(turn + attempt) % len(self.servers)]
            choices = call(server, "/inference/v1/generate", {"token_ids": ids, "sampling_params": params})["choices"]
            if {span["version"] for c in choices for span in c["weight_versions"]} != {self.version}:
                with self.locks[server]:
                    if call(server, "/weight_info")["weight_version"] != self.version:
                        self.reload(server)
                raise ConnectionError(f"{server} had other weights than {self.version}, and has loaded them")
            return sorted(choices, key=lambda c: c["index"])
        return [as_sample(self.tokenizer, c["token_ids"], [at["logprob"] for at in c["logprobs"]["content"]],
                          c["finish_reason"], self.args) for c in self.persist(once)]

    def persist(self, request):
        """request(attempt), again after a lost connection: long enough for a server to be started again."""
        for attempt in range(self.args.server_attempts):
            try:
                return request(attempt)
            except (OSError, http.client.HTTPException) as error:
                lost = error
                if attempt + 1 < self.args.server_attempts:
                    say(f"{error}: trying again")
                    time.sleep(min(2 ** attempt, 30))
        raise ValueError(f"no answer after {self.args.server_attempts} attempts: {lost}")

    def on_all(self, function):
        """{server: function(server)}."""
        def one(server):
            return server, self.persist(lambda attempt: function(server))
        return dict(self.threads.imap_unordered(one, self.servers))

    def check(self, server):
        """Refuse a server that was not started as it has to be."""
        config = call(server, "/server_info?config_format=json")["vllm_config"]["model_config"]
        for name, wanted in (("logprobs_mode", "processed_logprobs"), ("dtype", f"torch.{self.args.dtype}")):
            if config[name] != wanted:
                raise ValueError(f"{server} has {name} {config[name]}, not {wanted}")
        longest = longest_sequence(self.args)
        if config["max_model_len"] < longest:
            raise ValueError(f"{server} has max_model_len {config['max_model_len']}, less than the longest prompt and "
                             f"completion, {longest} tokens: start it with --max-model-len {longest}")

    def load(self, path):
        self.version = os.path.realpath(path) if os.path.isdir(path) else str(path)
        self.on_all(self.reload)

    def reload(self, server):
        call(server, "/pause?mode=wait", {})
        call(server, "/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": self.version}})
        if not call(server, "/reset_prefix_cache", {})["success"]:
            raise ValueError(f"{server} could not reset its prefix cache")
        call(server, "/update_weight_version", {"new_version": self.version})
        call(server, "/resume", {})

    def score(self, token_ids):
        body = {"token_ids": token_ids,
                "sampling_params": {"max_tokens": 1, "prompt_logprobs": 0, "detokenize": False}}
        replies = self.on_all(lambda server: call(server, "/inference/v1/generate", body)["prompt_logprobs"])
        found = {server: sum(at[str(token)]["logprob"] for at, token in zip(reply[1:], token_ids[1:]))
                 for server, reply in replies.items()}
        if max(found.values()) - min(found.values()) > len(token_ids) * PROBE_TOLERANCE[self.args.dtype]:
            raise ValueError(f"the servers do not have the same weights: log-probabilities of the probe are {found}")
        return found[self.servers[0]]

    def digests(self):
        found = self.on_all(lambda server: call(server, "/weight_checker", {"action": "checksum"})["checksums"])
        return {f"{server}:{name}": digest for server, of in found.items() for name, digest in of.items()}

    def close(self):
        self.threads.terminate()


DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy between machines of a cluster


def call(server, route, body=None):
    """The JSON that a server answers: ConnectionError if it may answer a later try, ValueError if not."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server + route, data, {"Content-Type": "application/json"})
    try:
        with DIRECT.open(request, timeout=3600) as reply:  # a server silent for an hour counts as lost
            return json.load(reply)
    except urllib.error.HTTPError as error:
        message = f"{server}{route} answered {error.code}: {error.read().decode(errors='replace')[:500]}"
        passing = error.code >= 500 and route != "/collective_rpc"
        raise (ConnectionError if passing else ValueError)(message) from None


ENGINES = {"transformers": TransformersEngine, "vllm": VllmEngine, "vllm-server": VllmServerEngine}


def check_checkpoint(path):
    """ValueError in one line if `path` is a path on this machine, and no directory with a model in it; a name on the
    hub has at most one slash inside. Also for train.py."""
    path = str(path)
    if os.path.isdir(path):
        if not os.path.exists(os.path.join(path, "config.json")):
            raise ValueError(f"{path} is not a checkpoint: it has no config.json")
        if not any(name.endswith((".safetensors", ".bin", ".safetensors.index.json")) for name in os.listdir(path)):
            raise ValueError(f"{path} is not a checkpoint: it has no weights (*.safetensors)")
    elif os.path.exists(path):
        raise ValueError(f"{path} is not a checkpoint: it is no directory")
    elif (path.startswith((".", "/", "~")) or path.endswith("/") or path.count("/") > 1
          or os.path.isdir(path.partition("/")[0])):
        raise ValueError(f"{path}: no such directory")


def load_tokenizer(path):
    """The tokenizer of a checkpoint or hub name. ValueError in one line where there is none: transformers makes an
    empty one of a directory without its files. Also for train.py."""
    from transformers import AutoTokenizer
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
    except Exception as error:  # a damaged file raises what its parser raises
        raise ValueError(f"{path}: its tokenizer cannot be read: {error}") from None
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise ValueError(f"{path} has no tokenizer (tokenizer.json or the like)")
    return tokenizer


def check_device(name):
    """ValueError in one line if torch cannot use the device. Also for train.py."""
    import torch
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {name}: {str(error).splitlines()[0]}") from None


def plain_attention_if_capped(model):
    """Gemma 2's attention logits have a cap that transformers' fused attention drops, and says nothing: such models
    get the plain one. Also for train.py."""
    if getattr(model.config, "attn_logit_softcapping", None):
        model.set_attn_implementation("eager")
    return model


def end_ids(path, tokenizer):
    """The token ids that end a completion: all that the generation config or the tokenizer names. ValueError if there
    is none: every completion would run to its limit."""
    from transformers import AutoConfig, GenerationConfig
    try:
        found = GenerationConfig.from_pretrained(path).eos_token_id
    except OSError:  # no generation_config.json
        found = AutoConfig.from_pretrained(path).eos_token_id
    ids = {tokenizer.eos_token_id, *(found if isinstance(found, list) else [found])} - {None}
    if not ids:
        raise ValueError(f"{path} names no end-of-sequence token, "
                         "neither in its generation config nor in its tokenizer")
    return sorted(ids)


# ---------------------------------------------------------------------------------------------------- prompts, in order
# From rows of a dataset to the token ids of each step. SYSTEM may be changed, or --system given; the order of prompts
# and their seeds have to stay functions of (seed, step), or a run that is resumed is another run.

SYSTEM = {  # by kind; used where the tokenizer has a chat template; --system replaces it; other kinds have none
    "math": "Solve the problem step by step and put the final answer in \\boxed{}.",
    "code": "Write a Python program that solves the problem. Put the whole program in one ```python block.",
    "grid": "Find the rule that turns each input grid into its output grid. Answer with the output grid for the test "
            "input: one line per row, digits separated by spaces.",
}


def prompts_by_step(args, tokenizer):
    """A function from a step to its prompts: batches of --prompts-per-step, or, where --steps is not given, one pass
    over the dataset. Rules are endless; a finite dataset is reshuffled every epoch by (seed, epoch)."""
    if args.dataset == "rules":
        numbered = functools.partial(rules_prompt, args.seed, args.split)
        one_pass = first_distinct(map(numbered, itertools.count()), args.limit) if args.steps is None else []
    else:
        one_pass = load_prompts(args.dataset, args.split, args.data_files, args.limit, args.against, args.steps is None)
        if args.reference:
            one_pass = kept(one_pass, map(solution_of, one_pass), "which have no reference solution")
        lengths = [len(prompt_ids(tokenizer, prompt, args.system))
                   for prompt in shown(one_pass, "lengths of prompts", args.steps is None, len(one_pass))]
        one_pass = kept(one_pass, [length <= args.max_prompt_tokens for length in lengths],
                        f"longer than --max-prompt-tokens {args.max_prompt_tokens}")
        if args.steps is not None and len(one_pass) < args.prompts_per_step:
            say(f"{args.dataset}/{args.split} has {len(one_pass)} prompts, fewer than --prompts-per-step "
                f"{args.prompts_per_step}: every step has some of them more than once")
        order = functools.lru_cache(2)(
            lambda epoch: np.random.default_rng([args.seed, epoch]).permutation(len(one_pass)))
        numbered = lambda i: one_pass[order(i // len(one_pass))[i % len(one_pass)]]
    if args.steps is None:
        return lambda step: one_pass
    return lambda step: [numbered(step * args.prompts_per_step + j) for j in range(args.prompts_per_step)]


def first_distinct(prompts, count):
    """The first `count` prompts with different task_ids."""
    found = {}
    for prompt in prompts:
        found.setdefault(prompt["task_id"], prompt)
        if len(found) == count:
            return list(found.values())


def kept(prompts, which, others):
    """The prompts for which `which` (one a prompt) is true; how many are dropped is said. `others`: what these are."""
    found = list(itertools.compress(prompts, which))
    if len(found) < len(prompts):
        say(f"dropped {len(prompts) - len(found)} of {len(prompts)} prompts, {others}")
    if not found:
        raise ValueError(f"no prompt of {prompts[0]['dataset']} is left: all were dropped, {others}")
    return found


def prompt_ids(tokenizer, prompt, system):
    """Token ids of a prompt, through the chat template where the tokenizer has one. A system prompt for which the
    template has no role (Gemma's refuses it) opens the user's turn. ValueError if the template refuses that, too."""
    if tokenizer.chat_template is None:
        ids, plain = (tokenizer(prompt["prompt"], add_special_tokens=special)["input_ids"] for special in (True, False))
        # some tokenizers end every text: what follows such an end would be another text
        return ids[:-1] if len(ids) > 1 and ids[-1] == tokenizer.eos_token_id and plain[-1:] != ids[-1:] else ids
    from jinja2 import TemplateError
    system, user = SYSTEM.get(prompt["kind"], "") if system is None else system, prompt["prompt"]
    forms = [[{"role": "system", "content": system}, {"role": "user", "content": user}]] if system else []
    forms.append([{"role": "user", "content": f"{system}\n\n{user}" if system else user}])
    for messages in forms:
        try:
            return tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
        except TemplateError as error:
            refused = error
    raise ValueError(f"{prompt['task_id']}: the tokenizer's chat template refuses the prompt: {refused}")


def sampling_seed(seed, step, place):
    """48-bit seed of the prompt at `place` of step `step`: sampling noise does not depend on the batches."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}/{place}".encode()).digest()[:6], "big")


# ---------------------------------------------------------------------------------- proof that the weights have arrived
# What an engine has to show after it was given new weights, whichever it is. One that joins other tensors than those
# in JOINED needs an entry there, or these are only compared by whether they change.

# Nats per token. In bfloat16 two right passes differ by 0.1 a token (standard deviation) on the probe's random tokens,
# whose logits are large. That the weights are the right ones, the digests show; that they are in use, the probe.
PROBE_TOLERANCE = {"float32": 1e-4, "bfloat16": 0.15}


def check_probe(path, score, dtype):
    """train.py publishes a token sequence and its log-probability with every checkpoint: the engine must agree, or it
    still samples from other weights (with a stale KV cache, or with an output layer that was not replaced)."""
    probe = json.loads((Path(path) / "probe.json").read_text())
    found, tolerance = score(probe["token_ids"]), len(probe["token_ids"]) * PROBE_TOLERANCE[dtype]
    if not abs(found - probe["logprob"]) <= tolerance:
        raise ValueError(f"the engine does not use the weights of {path}: its log-probability of the probe is "
                         f"{found:.5f}, train.py's {probe['logprob']:.5f} (tolerance {tolerance:.0e})")


# vLLM joins some of a checkpoint's tensors, one below the other
JOINED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}
NOTHING = hashlib.sha256(b"").hexdigest()  # of parameters that vLLM's CPU build replaces by packed copies
DIGESTS_EVERY = 100  # reloads: all bytes are read twice, on both sides


def checkpoint_tensors(path):
    """{name: tensor} of all files of a checkpoint, mapped, not read."""
    from safetensors.torch import load_file
    return {name: tensor for file in sorted(Path(path).glob("*.safetensors"))
            for name, tensor in load_file(file).items()}


def digest_of(tensors):
    """SHA-256 of the bytes of tensors, one after the other."""
    import torch
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def checkpoint_digests(path, names):
    """{name: SHA-256 of the bytes that a checkpoint has for an engine's parameter, None where it has none}."""
    tensors, found = checkpoint_tensors(path), {}
    for name in names:
        parts = [name]
        for joined, of in JOINED.items():
            if f".{joined}." in name and name not in tensors:
                parts = [name.replace(joined, part) for part in of]
        found[name] = digest_of(tensors[part] for part in parts) if all(part in tensors for part in parts) else None
    return found


def check_digests(path, found, known):
    """Compare the engine's bytes ({name: digest}) with the checkpoint's. `known`: {name: (the checkpoint's digest, the
    engine's)} when they were last compared, None for a new engine, which has just read the files. What was byte for
    byte the checkpoint's then has to be it again; what the engine keeps in another form (divided over GPUs, padded) has
    to change if and only if the checkpoint's changed. Raises ValueError, returns what is known now."""
    names = {name: name.rsplit(":", 1)[-1] for name, digest in found.items() if digest != NOTHING}
    wanted = checkpoint_digests(path, set(names.values()))
    now = {name: (wanted[short], found[name]) for name, short in names.items() if wanted[short]}
    if known is None:
        if not now:
            raise ValueError(f"no parameter of the engine has a name of {path}: "
                             "what it samples from cannot be verified")
        exact = sum(of_checkpoint == own for of_checkpoint, own in now.values())
        say_what_is_compared(os.path.basename(path), exact, len(now) - exact, len(found) - len(now))
        return now
    for name, (of_checkpoint, own) in now.items():
        old_checkpoint, old_own = known[name]
        exact = old_checkpoint == old_own
        if own != of_checkpoint if exact else (own != old_own) != (of_checkpoint != old_checkpoint):
            raise ValueError(f"the engine does not use the weights of {path}: {name} " + (
                "has other bytes" if exact else "has changed" if own != old_own else "has not changed"))
    return now


def say_what_is_compared(name, exact, changed, unknown):
    """Of how many of an engine's tensors every reload is proven: by their bytes, by whether they change, not at all."""
    if not changed and not unknown:
        say(f"{name}: the engine's weights are the file's, byte for byte ({exact} tensors)")
        return
    more = f"; in another form, compared only by whether reloads change them: {changed}" if changed else ""
    more += f"; not to be compared: {unknown}" if unknown else ""
    say(f"{name}: {exact} of the engine's {exact + changed + unknown} tensors are the file's, byte for byte{more}")


# -------------------------------------------------------------------------------------------- evaluation along training
# Which checkpoints of a run are sampled, in which order, and what of that is already done.

PATIENCE = 60  # seconds without a train.py in RUN until a checkpoint that is to come is given up


def kept_checkpoints(run, at_steps, rows):
    """Yield RUN/kept/policy-<step> in the order of steps: those of `at_steps`, which are waited for while a train.py is
    at work there; or, without it, all that there are and, while a train.py is at work, those to come. Raises ValueError
    for one that will not come, BrokenPipeError if the next stage ends."""
    last, seen, strange, said = -1, time.monotonic(), set(), False
    while True:
        if at_work := trainer_at_work(run):  # asked first: what a trainer that ends has left is found below
            seen = time.monotonic()
        found = {policy_step(path): path for path in run.glob("kept/*")}
        for path in {path for path in run.glob("kept/*") if policy_step(path) is None and path.name != "new"} - strange:
            strange.add(path)
            say(f"{path} is not named as train.py names a checkpoint: left out")
        found.pop(None, None)
        due = [step for step in at_steps or sorted(found) if step > last]
        if due and due[0] in found:
            last = due[0]
            yield found[last]
        elif not due and (at_steps or last >= 0 and not at_work):
            return
        elif not at_work and time.monotonic() - seen >= PATIENCE or due and due[0] < max(found, default=-1):
            missing = ", ".join(f"policy-{step:06d}" for step in due if step not in found) or "any checkpoint"
            raise ValueError(f"{run / 'kept'} does not hold {missing} of train.py --keep-every"
                             + ("" if at_work else f", and no train.py is at work in {run}"))
        else:
            if not said and not at_work:
                said = True
                say(f"no train.py is at work in {run}: waiting {PATIENCE} s for checkpoints")
            wait(0.2, rows)


def read_done(path, args, sampling, prompts):
    """{(policy_step, task_id)} of the rows in the file that this command's rows are appended to; a last line that was
    cut off is removed from it. Raises ValueError for rows that this command would not have written."""
    known, done = {prompt["task_id"] for prompt in prompts}, set()
    expected = {"dataset": args.dataset, "split": args.split, "sampling": sampling, "n": args.num_samples}
    needed = ("dataset", "split", "sampling", "completions", "policy_step")
    with open(path, "a+b") as file:
        for number, row in read_rows(whole_lines(file), "evaluate", needed, f"{path}: "):
            found = {key: row[key] for key in needed[:3]} | {"n": len(row["completions"])}
            if found != expected or row["task_id"] not in known:
                raise ValueError(f"{path}: row {number}: {row['task_id']} was sampled by another command: "
                                 f"{found}, here {expected}"
                                 + ("" if row["task_id"] in known else ", and it is not among these prompts"))
            done.add((row["policy_step"], row["task_id"]))
    return done


def whole_lines(file):
    """Its lines from the first on; a last one that was cut off is removed from it. Also for train.py."""
    file.seek(0)
    for line in file:
        if line.endswith(b"\n"):
            yield line
        else:
            file.truncate(file.tell() - len(line))


# --------------------------------------------------------------------------------------------------------- the datasets
# A new dataset is a function from_<dataset> and an entry of DATASETS, at the end of this part.
# from_<dataset>: a row as it lies on the hub -> {task_id, level, kind, prompt, gold, tests, reference, extras}.
# Adapters raise KeyError, ValueError, TypeError or SyntaxError on a row that does not fit; load_prompts names and
# counts those. Dataset text is data: it is parsed as JSON or as literals, never evaluated.

SAID_REJECTED = 5  # rows of a dataset that are named, each with its reason


def load_prompts(dataset, split, data_files=None, limit=None, against=None, alone=False):
    """Prompt rows of a split, in the source's order.

    Returns a list of {task_id, dataset, split, level, kind, prompt, gold, tests, reference, ...}. `data_files`: path or
    list of paths of local files in the hub's schema; without it the hub is read. `against`: local files, instead of the
    hub, of the dataset to decontaminate against, or "none". `alone`: no other stage draws a progress bar meanwhile.
    Rows that do not fit are counted, and the first few named on standard error. Raises ValueError if no row is left.
    """
    sys.set_int_max_str_digits(0)  # tests of integers hold some of 5,000 digits
    spec = DATASETS[dataset]
    _, in_split, overlap = (*spec["splits"][split], None)[:3]
    known = known_keys(overlap, data_files, against, alone) if overlap else set()
    prompts, seen, read, rejected, other, overlapping = [], set(), 0, 0, 0, 0
    for read, row in enumerate(shown(source_rows(dataset, split, data_files), f"reading {dataset}", alone), start=1):
        try:
            if not isinstance(row, dict):
                raise row if isinstance(row, ValueError) else ValueError(f"expected a JSON object, got {row!r:.60}")
            if in_split is not None and not in_split(row):
                other += 1
                continue
            if known and known & overlap[3](row):
                overlapping += 1
                continue
            found = spec["adapter"](row)
            found = found if isinstance(found, list) else [found]
            if seen & {prompt["task_id"] for prompt in found}:
                raise ValueError(f"a second row with the task_id {found[0]['task_id']}")
        except (KeyError, ValueError, TypeError, IndexError, AttributeError, SyntaxError) as error:
            rejected += 1
            name = next((row[k] for k in ("task_id", "unique_id", "uid", "name", "id", "question_id", "file_name")
                         if isinstance(row, dict) and row.get(k)), "no id")
            reason = f"no field {error}" if isinstance(error, KeyError) else error or type(error).__name__
            if rejected <= SAID_REJECTED:
                say(f"{dataset} row {read} ({name}): {reason}; rejected")
            continue
        seen.update(prompt["task_id"] for prompt in found)
        prompts += [{"dataset": dataset, "split": split, **prompt} for prompt in found]
        if limit is not None and len(prompts) >= limit:
            break
    if rejected > SAID_REJECTED:
        say(f"and {rejected - SAID_REJECTED} more rows of {dataset} rejected")
    left_out = {"filtered or of other splits": other, "overlapping": overlapping, "rejected": rejected}
    counts = ", ".join([f"{read} rows read", *(f"{count} {why}" for why, count in left_out.items() if count)])
    say(f"{dataset}/{split}: {len(prompts[:limit])} prompts; {counts}")
    if not prompts:
        raise ValueError(f"{dataset}/{split}: no prompt left; {counts}")
    return prompts[:limit]


def known_keys(overlap, data_files, against, alone):
    """Keys of all rows of the dataset to decontaminate against: of the files `against`, else of the hub."""
    dataset, split, keys, _, columns = overlap
    if against is None and data_files is not None:
        raise ValueError(f"with --data-files, decontamination needs {dataset} rows too: give --against PATH or none")
    if against == "none":
        say(f"NOT decontaminated against {dataset} (--against none)")
        return set()
    rows = source_rows(dataset, split, against, columns)
    return set().union(*[keys(row) for row in shown(rows, f"reading {dataset}", alone)])


def shown(rows, what, alone, total=math.inf):
    """The rows, with the progress of reading them: a bar where no other stage has one, else a line a minute."""
    with progress(f"generate.py: {what}", total if alone else None) as bar:
        for row in rows:
            yield row
            bar.update()


def source_rows(dataset, split, data_files=None, columns=None):
    """Raw rows of a split from local files, or from the hub (only `columns` of it, streamed, if given)."""
    spec = DATASETS[dataset]
    hub_split = spec["splits"][split][0]
    if data_files is not None:
        for path in [data_files] if isinstance(data_files, str) else data_files:
            yield from local_rows(str(path), hub_split)
        return
    import datasets
    if spec["hub"] is None:
        for path in datasets.DownloadManager().download_and_extract(hub_split):
            yield from local_rows(path, hub_split)
    elif columns is None:
        yield from datasets.load_dataset(spec["hub"], spec["config"], split=hub_split)
    else:
        rows = datasets.load_dataset(spec["hub"], spec["config"], split=hub_split, streaming=True)
        yield from rows.select_columns(columns)


def local_rows(path, hub_split):
    """Rows of a local .jsonl, .json (a list, or one object: the ARC form) or .parquet file, or of a directory of them:
    of those files in it that are named like the split, or like its files, on the hub, where there are such."""
    files = [path]
    if os.path.isdir(path):
        names = hub_split.split("+") if isinstance(hub_split, str) else [
            os.path.basename(f).split(".")[0] for f in hub_split]
        files = sorted(f for f in glob.glob(os.path.join(path, "**"), recursive=True)
                       if f.endswith((".jsonl", ".json", ".parquet")))
        named = [f for f in files if any(re.split(r"[-.]", part)[0] in names
                                         for part in os.path.relpath(f, path).split(os.sep))]
        files = named or files
    if not files or not os.path.exists(path):
        raise ValueError(f"{path}: no .jsonl, .json or .parquet file there")
    for file in files:
        if file.endswith(".parquet"):
            import datasets
            yield from datasets.load_dataset("parquet", data_files=file, split="train")
        elif file.endswith(".jsonl"):
            with open(file, "rb") as lines:
                yield from map(json_row, lines)
        elif file.endswith(".json"):
            with open(file, "rb") as text:
                content = json_row(text.read())
            name = os.path.splitext(os.path.basename(file))[0]
            yield from content if isinstance(content, list) else [
                {"file_name": name, **content} if isinstance(content, dict) else content]
        else:
            raise ValueError(f"{file}: expected .jsonl, .json or .parquet")


def json_row(text):
    """The JSON value, or the error in its place: load_prompts names and counts it as a row."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        return ValueError(f"not JSON: {error}")


def digest(text):
    """Identity of a row that has none of its own: 12 hex digits of its text, the same wherever the row stands."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def uniform_hash(text):
    """A fixed pseudo-random number in [0, 1) for an id: seeded splits that no file order or subset can change."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:13], 16) / 16**13


def field(row, name, kind=str):
    """row[name], which has to be there, of that kind, and (text, lists) not empty."""
    if row.get(name) is None:
        raise ValueError(f"no field {name!r}")
    if not isinstance(row[name], kind) or row[name] in ("", []):
        expected = kind.__name__ if isinstance(kind, type) else " or ".join(k.__name__ for k in kind)
        raise ValueError(f"field {name!r}: expected non-empty {expected}, got {row[name]!r:.60}")
    return row[name]


def fenced(code):
    """A reference program in the form that completions have: one ```python block, Unix line ends."""
    return "```python\n" + code.replace("\r\n", "\n").strip("\n") + "\n```"


def boxed(text):
    r"""[(start, end, content)] of every \boxed{...} in a text, braces balanced."""
    found = []
    for match in re.finditer(r"\\boxed(?=\{)", text):
        depth = 0
        for end in range(match.end(), len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                found.append((match.start(), end + 1, text[match.end() + 1:end]))
                break
    return found


def boxed_answer(problem, solution, answer):
    r"""The answer of MATH: `answer`, else the last box. Where a problem asks for all values and the solution boxes
    each, "$x = \boxed{1}$ or $x = \boxed{2}$", the last is half of the answer (in 9 of the 7,500 training rows)."""
    boxes = boxed(solution)
    if not answer and not boxes:
        raise ValueError("no balanced \\boxed{...} in 'solution'")
    if not boxes or answer and answer.strip() != boxes[-1][2].strip():
        return answer
    start, _, last = boxes.pop()
    values = [last]
    while boxes and re.search(r"\ball\b|separated by", problem):
        before, end, content = boxes.pop()
        if not re.fullmatch(r"\$?,?\s(?:and|or)\s[^.]{0,20}", solution[end:start]):
            break
        values.insert(0, content)
        start = before
    return ", ".join(values)


def from_math(row):
    r"""MATH (Hendrycks et al. 2021). `level` is 'Level 3' or 3 by source; two rows have none ('Level ?').

    Two of the 7,500 training rows end in an empty \boxed{}: no answer can be right, so they do not fit.
    """
    level, solution = re.fullmatch(r"(?:Level )?([1-5])", str(row["level"])), field(row, "solution")
    gold = boxed_answer(field(row, "problem"), solution, row.get("answer"))
    if not gold.strip():
        raise ValueError("no answer: empty \\boxed{}")
    return {"task_id": field(row, "unique_id"), "level": level and int(level[1]), "kind": "math",
            "prompt": field(row, "problem"), "gold": gold, "tests": None, "reference": [solution]}


def from_gsm8k(row):
    r"""GSM8K: the answer follows '####'. The reference loses the <<calculator>> marks and ends in \boxed, as asked."""
    question, (solution, hashes, gold) = field(row, "question"), field(row, "answer").rpartition("####")
    gold = gold.strip().replace(",", "")
    if not hashes or not re.fullmatch(r"-?[0-9.]+", gold):
        raise ValueError("field 'answer': expected '... #### number' at its end")
    solution = re.sub(r"<<[^>]*>>", "", solution).rstrip()
    return {"task_id": "gsm8k/" + digest(question), "level": None, "kind": "math", "prompt": question, "gold": gold,
            "tests": None, "reference": [f"{solution}\nThe answer is $\\boxed{{{gold}}}$."]}


def parsed(source):
    """The syntax tree, without warnings: the datasets' string literals hold invalid escapes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


def called_function(asserts, code):
    """Name of the function of `code` that the asserts call first: the entry point."""
    defined = {node.name for node in ast.walk(parsed(code)) if isinstance(node, ast.FunctionDef)}
    calls = [node.func.id for text in asserts for node in ast.walk(parsed(text.strip()))
             if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in defined]
    if not calls:
        raise ValueError("no assert calls a function that the reference defines")
    return calls[0]


def literal_calls(asserts):
    """[`assert f(1, (2, 3)) == [4]`, ...] -> "f", [(1, (2, 3)), ...], [[4], ...]; ValueError for any other form."""
    names, calls, values = set(), [], []
    for text in asserts:
        statement, = parsed(text.strip()).body
        try:
            call, (operator,), (value,) = statement.test.left, statement.test.ops, statement.test.comparators
            names.add(call.func.id)
            calls.append(ast.literal_eval(ast.Tuple(call.args, ast.Load())))
            values.append(ast.literal_eval(value))
        except (AttributeError, ValueError, TypeError):
            operator = None
        if not isinstance(operator, ast.Eq) or call.keywords or len(names) != 1:
            raise ValueError(f"not of the form f(literals) == literal: {text!r:.80}")
    return names.pop(), calls, values


def as_test(text, entry_point):
    """`assert EXPRESSION == LITERAL` -> ("EXPRESSION", "LITERAL"); None for any other form.

    The expression is evaluated where the program runs, so it must yield more than a truth value, unless the program's
    own function does: else a program could redefine what judges it, as in `isclose(f(1), 0.5) == True`.
    """
    statement, *more = parsed(text.strip()).body
    try:
        tested, (operator,), (expected,) = statement.test.left, statement.test.ops, statement.test.comparators
        if isinstance(expected, ast.Call) and expected.func.id == "set" and not expected.keywords:
            members = expected.args[0].elts if expected.args else []
            expected = ast.Set(members) if members else ast.parse("set()").body[0].value
        value = ast.literal_eval(expected)
    except (AttributeError, ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    called = {node.func.id for node in ast.walk(tested)
              if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    direct = isinstance(tested, ast.Call) and isinstance(tested.func, ast.Name) and tested.func.id == entry_point
    if more or not isinstance(operator, ast.Eq) or entry_point not in called or isinstance(value, bool) and not direct:
        return None
    return ast.unparse(tested), ast.unparse(expected)


def assert_tests(asserts, code, setup=""):
    """Asserts of the form `expression == literal` -> tests that each count by themselves (fraction of tests passed).

    If any is of another form (isclose, not f(x)), all go into one opaque check, which has to do without the program's
    other names. `setup` runs after the program: in MBPP it builds objects of the program's classes.
    """
    entry_point, setup = called_function(asserts, code), setup.replace("\r\n", "\n")
    tests = {"entry_point": entry_point, "template": "{program}\n" + setup}
    pairs = [as_test(text, entry_point) for text in asserts]
    if all(pairs):
        return {"type": "assert", **tests, "inputs": [left for left, _ in pairs],
                "outputs": [right for _, right in pairs]}
    lines = "\n".join(text.strip() for text in asserts).split("\n")
    check = "def check(candidate):\n" + "".join(f"    {line}\n" for line in lines)
    nodes = [node for source in (check, setup) for node in ast.walk(parsed(source))]
    loaded = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    bound = {"candidate", entry_point, *dir(builtins), *sys.stdlib_module_names}  # which reward.py imports for a check
    for node in nodes:
        names = [node, *getattr(node, "names", [])]  # of an import
        bound |= {getattr(name, "asname", None) or getattr(name, "name", "").partition(".")[0] for name in names
                  if isinstance(name, (ast.alias, ast.FunctionDef, ast.ClassDef))}
        bound |= {node.arg} if isinstance(node, ast.arg) else set()
        bound |= {node.id} if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load) else set()
    unknown = loaded - bound
    if unknown:
        raise ValueError("asserts that are not all `expression == literal` use what only the program defines: "
                         f"{unknown}")
    return {"type": "check", **tests, "check": check}


def from_mbpp(row):
    """MBPP, full (`text`) or sanitized (`prompt`, `test_imports`). The asserts are shown: they name the function."""
    text, asserts, code = row.get("text") or field(row, "prompt"), field(row, "test_list", list), field(row, "code")
    code = code.replace("\r\n", "\n")
    setup = "\n".join([*(row.get("test_imports") or []), row.get("test_setup_code") or ""])
    return {"task_id": f"mbpp/{field(row, 'task_id', int)}", "level": None, "kind": "code",
            "prompt": text + "\nYour code should pass these tests:\n\n" + "\n".join(asserts) + "\n", "gold": None,
            "tests": assert_tests(asserts, code, setup), "reference": [fenced(code)]}


def from_humaneval(row):
    """HumanEval and HumanEval+. The template puts the prompt before the program, so that both a bare body and a whole
    function that repeats the signature are valid."""
    prompt, check = field(row, "prompt"), field(row, "test")
    if "def check(candidate)" not in check:
        raise ValueError("field 'test': expected a 'def check(candidate)'")
    return {"task_id": field(row, "task_id"), "level": None, "kind": "code", "prompt": prompt, "gold": None,
            "tests": {"type": "check", "entry_point": field(row, "entry_point"), "check": check,
                      "template": prompt + "{program}"},
            "reference": [fenced(prompt + field(row, "canonical_solution"))]}


def has_one_print(value):
    """Whether equal values print alike (up to 7 and 7.0, which graders take for equal)."""
    return all(map(has_one_print, value)) if isinstance(value, (list, tuple)) else not isinstance(value, (set, dict))


def from_mbpp_stdin(row):
    """MBPP as a program that reads and prints (Bagirov et al.; their conversion is not stated, this one is ours).

    One argument per line, strings as they are and all else as Python literals; the answer as print() shows it.
    """
    name, calls, values = literal_calls(field(row, "test_list", list))
    is_text = [isinstance(argument, str) for argument in calls[0]]
    if any([isinstance(v, str) for v in call] != is_text or any(isinstance(v, str) and "\n" in v for v in call)
           for call in calls):
        raise ValueError("arguments do not fit one line each: a string with a line end, or a type that changes")
    if not all(map(has_one_print, values)):
        raise ValueError("equal sets or dicts may print in different orders")
    tests = stdin_tests(["".join(f"{v if isinstance(v, str) else repr(v)}\n" for v in call) for call in calls],
                        [f"{value}\n" for value in values])
    reads = ", ".join("input()" if text else "literal_eval(input())" for text in is_text)
    code = field(row, "code").replace("\r\n", "\n")
    return {**from_mbpp(row), "tests": tests, "reference": [
                fenced(f"from ast import literal_eval\n{code}\nprint({name}({reads}))")],
            "prompt": f"{row.get('text') or row['prompt']}\nRead the arguments from standard input, one per line: "
                      f"strings as they are, all else as Python literals. Print the result.\n\n"
                      f"Example input:\n{tests['inputs'][0]}Example output:\n{tests['outputs'][0]}"}


def from_mbpp_plus(row):
    """MBPP+ (EvalPlus): the test script compares hundreds of results with tolerances of its own, so it runs whole, in a
    namespace that holds only the function. It imports numpy."""
    name, script = called_function(field(row, "test_list", list), field(row, "code")), field(row, "test")
    return {**from_mbpp(row), "tests": {"type": "check", "entry_point": name, "template": "{program}", "check":
                                        f"def check(candidate):\n    exec({script!r}, {{{name!r}: candidate}})\n"}}


def from_harp(row):
    """HARP (Yue et al. 2024), short answers. The original choices, where a source has them, are kept but not shown."""
    return {"task_id": "harp/" + harp_name(row), "level": field(row, "level", int), "kind": "math",
            "prompt": field(row, "problem"), "gold": field(row, "answer"), "tests": None,
            "reference": [row[key] for key in sorted(row) if re.fullmatch(r"solution_\d+", key) and row[key]],
            "choices": row.get("choices")}


STDIN_NOTE = "\n\nThe program reads its input from standard input and writes its output to standard output.\n"
REFERENCES = 4  # most solutions kept per problem: CodeContests has hundreds of some


def stdin_tests(inputs, outputs, time_limit_s=None, memory_limit_mb=None):
    if not inputs or len(inputs) != len(outputs) or not all(isinstance(text, str) for text in [*inputs, *outputs]):
        raise ValueError(f"expected as many test inputs as outputs, as text; got {len(inputs)} and {len(outputs)}")
    limits = {"time_limit_s": time_limit_s, "memory_limit_mb": memory_limit_mb}
    return {"type": "stdin", "inputs": inputs, "outputs": outputs, **{k: v for k, v in limits.items() if v}}


def from_code_contests(row):
    """CodeContests (Li et al. 2022): public, private and generated tests. Problems with many right outputs are not
    marked as such, so they too are judged by comparison."""
    groups = [field(row, key, dict) for key in ("public_tests", "private_tests", "generated_tests")]
    limit, solutions = row.get("time_limit"), field(row, "solutions", dict)
    tests = stdin_tests([text for group in groups for text in group["input"]],
                        [text for group in groups for text in group["output"]],
                        time_limit_s=limit and (limit["seconds"] or 0) + (limit["nanos"] or 0) / 1e9,
                        memory_limit_mb=(row.get("memory_limit_bytes") or 0) / 1e6)
    python = [code for language, code in zip(solutions["language"], solutions["solution"]) if language == 3]
    return {"task_id": "code_contests/" + field(row, "name"), "level": field(row, "difficulty", int), "kind": "code",
            "prompt": field(row, "description").rstrip() + STDIN_NOTE, "gold": None, "tests": tests,
            "reference": [fenced(code) for code in python[:REFERENCES]], "rating": row.get("cf_rating") or None}


# For solutions in the form of LeetCode's: what its judge (and the benchmarks' own graders) import beforehand.
PREAMBLE = """import bisect, collections, functools, heapq, itertools, math, operator, random, re, string, sys
from bisect import *; from collections import *; from functools import *; from heapq import *
from itertools import *; from math import *; from typing import *; from builtins import *
"""


def solution_tests(name, inputs, outputs):
    """Call tests of a function, or of a method of `class Solution`."""
    if not inputs or len(inputs) != len(outputs) or not all(isinstance(arguments, list) for arguments in inputs):
        raise ValueError(f"expected as many argument lists as outputs, got {len(inputs)} and {len(outputs)}")
    return {"type": "call", "entry_point": name, "setup": "", "inputs": inputs, "outputs": outputs,
            "template": PREAMBLE + "{program}"}


def with_starter(question, starter_code):
    if starter_code:
        return f"{question.rstrip()}\n\nUse this starter code:\n```python\n{starter_code.rstrip()}\n```\n"
    return question.rstrip() + STDIN_NOTE


def from_taco(row):
    """TACO (Li et al. 2023); `solutions` and `input_output` are JSON text."""
    question, cases = field(row, "question"), json.loads(field(row, "input_output"))
    inputs, outputs, name = cases["inputs"], cases["outputs"], cases.get("fn_name")
    if name:
        if any(isinstance(v, dict) for arguments in inputs for v in arguments):
            raise ValueError("an argument is a dict: JSON has lost the type of its keys")
        if all(isinstance(value, list) and len(value) == 1 for value in outputs):  # most sources wrap the result
            outputs = [value for value, in outputs]
        tests = solution_tests(name, inputs, outputs)
    else:
        seconds = re.match(r"([\d.]+) *s", row.get("time_limit") or "")
        megabytes = re.match(r"([\d.]+) *(?:megabytes|MB)", row.get("memory_limit") or "")
        inputs, outputs = [["\n".join(v) if isinstance(v, list) else v for v in texts] for texts in (inputs, outputs)]
        tests = stdin_tests(inputs, outputs, seconds and float(seconds[1]), megabytes and float(megabytes[1]))
    return {"task_id": "taco/" + digest(question), "level": field(row, "difficulty"), "kind": "code",
            "prompt": with_starter(question, row.get("starter_code")), "gold": None, "tests": tests,
            "reference": [fenced(code) for code in json.loads(row.get("solutions") or "[]")[:REFERENCES]]}


def decoded_cases(text):
    """Test cases: JSON, or base64 of zlib of a pickled string of JSON. The pickle is read by its opcodes and never
    loaded: anything in it but one string is refused."""
    if not text.lstrip().startswith("["):
        try:
            found = list(pickletools.genops(zlib.decompress(base64.b64decode(text, validate=True))))
        except (ValueError, zlib.error) as error:
            raise ValueError(f"test cases are neither JSON nor base64 of zlib of pickle: {error}") from None
        strings = [argument for code, argument, _ in found if "UNICODE" in code.name]
        harmless = {"PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "STOP"}
        if len(strings) != 1 or len([code for code, _, _ in found if code.name not in harmless]) != 1:
            raise ValueError("pickled test cases hold more than one string: refused")
        text = strings[0]
    return json.loads(text)


def contest_tests(row, metadata):
    """Tests of LiveCodeBench and LiveBench: standard input, or calls with one JSON argument per line."""
    cases = decoded_cases(field(row, "public_test_cases")) + decoded_cases(row.get("private_test_cases") or "[]")
    inputs, outputs = [case["input"] for case in cases], [case["output"] for case in cases]
    types = {case["testtype"] for case in cases}
    if types == {"stdin"}:
        return {**stdin_tests(inputs, outputs), "template": PREAMBLE + "{program}"}
    if types != {"functional"}:
        raise ValueError(f"testtype: expected all stdin or all functional, got {sorted(types)}")
    inputs = [[json.loads(line) for line in text.split("\n")] for text in inputs]
    return solution_tests(json.loads(metadata)["func_name"], inputs, [json.loads(text) for text in outputs])


def from_livecodebench(row):
    """LiveCodeBench (Jain et al. 2024), code generation. `private_tests`: whether the hidden tests are included."""
    return {"task_id": "livecodebench/" + field(row, "question_id"), "level": field(row, "difficulty"), "kind": "code",
            "prompt": with_starter(field(row, "question_content"), row.get("starter_code")), "gold": None,
            "tests": contest_tests(row, field(row, "metadata")), "reference": [], "date": str(row.get("contest_date")),
            "private_tests": bool(row.get("private_test_cases"))}


def from_livebench(row):
    """LiveBench coding (White et al. 2024): whole programs, and completions of a partial one. Its prompts are complete.

    A completion is asked to leave out the given part, so the template puts that part before it.
    """
    original = field(row, "original_json", (dict, str))
    original = json.loads(original) if isinstance(original, str) else original
    tests, partial = contest_tests(row, original["metadata"]), row.get("partial_solution")
    reference = row.get("remainder" if partial else "solution")
    if partial:
        tests["template"] = tests["template"].replace("{program}", partial + "\n{program}")
    return {"task_id": "livebench/" + field(row, "question_id"), "level": original.get("difficulty"), "kind": "code",
            "prompt": field(row, "turns", list)[0], "gold": None, "tests": tests,
            "reference": [fenced(reference)] if reference else [], "task": field(row, "task")}


def from_codeforces(row):
    """open-r1/codeforces: the statement put together from its parts, the official tests."""
    parts = [field(row, "description")]
    parts += [f"{title}\n\n{row[key]}" for title, key in (("Input", "input_format"), ("Output", "output_format"))
              if row.get(key)]
    parts += [f"Example input:\n{case['input']}\nExample output:\n{case['output']}"
              for case in row.get("examples") or []]
    parts += [f"Note\n\n{row['note']}"] if row.get("note") else []
    tests = field(row, "official_tests", list)
    return {"task_id": "codeforces/" + field(row, "id"), "level": row.get("rating"), "kind": "code",
            "prompt": "\n\n".join(parts).rstrip() + STDIN_NOTE, "gold": None, "reference": [],
            "tests": stdin_tests([t["input"] for t in tests], [t["output"] for t in tests], row.get("time_limit"),
                                 row.get("memory_limit"))}


def judged_by_output(row):
    """Codeforces rows that comparing standard output can judge: they have tests, no files, interaction or checker."""
    return (row.get("input_mode") == "stdio" and bool(row.get("official_tests"))
            and not row.get("interaction_format") and not row.get("generated_checker"))


def from_arc(row):
    """ARC-AGI-1 (Chollet 2019): one prompt per test input, grids as lines of digits. The content is a row's identity,
    since the hub's rows have no name."""
    def grid(pair, side):
        rows = field(pair, side, list)
        if len({len(line) for line in rows}) != 1 or not all(c in range(10) for line in rows for c in line):
            raise ValueError(f"expected a rectangle of digits as {side!r}")
        return "\n".join(" ".join(map(str, line)) for line in rows)

    train, test = field(row, "train", list), field(row, "test", list)
    shown = "".join(f"Input:\n{grid(pair, 'input')}\nOutput:\n{grid(pair, 'output')}\n\n" for pair in train)
    return [{"task_id": f"arc/{row.get('file_name') or arc_id(row)}/{i}", "level": None, "kind": "grid",
             "prompt": f"{shown}Test input:\n{grid(pair, 'input')}\nTest output:\n", "gold": pair["output"],
             "tests": None, "reference": [grid(pair, "output")]} for i, pair in enumerate(test)]


def arc_id(row):
    return digest(json.dumps([field(row, "train", list), field(row, "test", list)]))


# What a row has from the pass that wrote it; of the rest of generate.py's keys, write_row replaces those of a pass.
OF_A_PASS = {"dataset", "split", *OF_SAMPLES} | {key for key, entry in ROW.items() if entry.writer != "generate"}


def from_rows(row):
    """A row of this pipe, whatever stages it went through: its prompt again, with all keys that no stage writes in the
    coming pass, so that any selection of rows is a dataset. What it is graded by has to be there; a kind that is not
    known here, reward.py may know. A row may be given a `reference`, a solution or a list of them, for --reference."""
    graded_by = {"math": "gold", "grid": "gold", "code": "tests"}
    if field(row, "kind") in graded_by:
        field(row, graded_by[row["kind"]], (str, list, dict))
    kept = {key: value for key, value in row.items() if key not in OF_A_PASS}
    if depth(kept) > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    json.dumps(kept)  # TypeError for what only a parquet file can hold, such as a date
    return {"level": None, "gold": None, "tests": None, **kept, "task_id": field(row, "task_id"),
            "prompt": field(row, "prompt")}


# Splits and decontamination: which rows of a source are a split's, and which are known from another dataset.


def mbpp_ids(first, last):
    """MBPP's splits are ranges of task_id (Austin et al. 2021, section 2.1)."""
    return lambda row: first <= field(row, "task_id", int) <= last


def seeded(part, share, name, rule=lambda row: True):
    """Rows that keep `rule` and whose hashed name falls below `share` (part "test"), or not (part "train")."""
    return lambda row: rule(row) and (uniform_hash(name(row)) < share) == (part == "test")


def harp_name(row):
    return "/".join(str(field(row, key, (str, int))) for key in ("year", "contest", "number"))


def short_answer(row):
    return not row.get("multiple_choice_only")


def five_tests(row):
    """Tang et al. A.4: problems with less than 5 tests are dropped."""
    return sum(len(field(row, key, dict)["input"]) for key in ("public_tests", "private_tests", "generated_tests")) >= 5


def easy_contest(row):
    """Bagirov et al.: difficulty <= 3. That is 0 unknown, 1 easy, 2 medium, 3 hard; Codeforces' letters start at 7."""
    return field(row, "difficulty", int) <= 3


def problem_keys(description, solutions):
    """Fingerprints of a problem; two problems with one in common are taken for the same.

    Description: the first 200 letters and digits of the story (what stands before the input section), without LaTeX
    commands, so that layout does not matter; if it has 40. Solutions: without comments and blanks, if 100 characters
    are left: shorter programs solve many problems.
    """
    story = re.split(r"\n\W*(?:input|constraints)\W*\n", description.lower())[0]
    story = re.sub(r"\\[a-z]+|[^a-z0-9]", "", story)[:200]
    programs = [re.sub(r"#.*|\s", "", code) for code in solutions]
    return {digest(text) for text in [story] * (len(story) >= 40) + [code for code in programs if len(code) >= 100]}


def code_contests_keys(row):
    solutions = field(row, "solutions", dict)
    python = [code for language, code in zip(solutions["language"], solutions["solution"]) if language in (1, 3)]
    return problem_keys(field(row, "description"), python)


def taco_keys(row):
    return problem_keys(field(row, "question"), json.loads(row.get("solutions") or "[]"))


def code_contests_ids(row):
    return {f"{row['cf_contest_id']}/{row['cf_index']}"} if row.get("cf_contest_id") else set()


def codeforces_ids(row):
    return {field(row, "id"), *(row.get("aliases") or [])}


LIVECODEBENCH = "hf://datasets/livecodebench/code_generation_lite/"  # files: `datasets` runs no loading scripts now
AGAINST_TACO = ("taco", "test", taco_keys, code_contests_keys, ["question", "solutions"])
AGAINST_CODE_CONTESTS = ("code_contests", "everything", code_contests_ids, codeforces_ids,
                         ["cf_contest_id", "cf_index"])

# name: adapter, hub path, hub config, and splits: name -> (hub splits or files, which of their rows or None for all[,
# what to decontaminate against: dataset, split, keys of its rows, keys of ours, its columns]). The row rule holds for
# local files too, so that a split that is defined by ids or hashes is the same there.
DATASETS = {
    "math": dict(adapter=from_math, hub="nlile/hendrycks-MATH-benchmark", config=None, splits={
        "train": ("train+test", lambda row: field(row, "unique_id").startswith("train/")),    # 7,500
        "test": ("train+test", lambda row: field(row, "unique_id").startswith("test/")),      # 5,000
        "train12k": ("train", None), "test500": ("test", None)}),                             # 12,000 / MATH-500
    "harp": dict(adapter=from_harp, hub=None, config=None, splits={
        name: (["https://github.com/aadityasingh/HARP/raw/main/HARP.jsonl.zip"], rule) for name, rule in {
            "all": short_answer,                                                              # 4,780
            "train": seeded("train", 0.1, harp_name, short_answer),                           # "about 4,300"
            "test": seeded("test", 0.1, harp_name, short_answer)}.items()}),
    "gsm8k": dict(adapter=from_gsm8k, hub="openai/gsm8k", config="main", splits={
        "train": ("train", None), "test": ("test", None)}),
    "code_contests": dict(adapter=from_code_contests, hub="deepmind/code_contests", config=None, splits={
        "train": ("train", five_tests, AGAINST_TACO), "valid": ("valid", None), "test": ("test", None),
        "everything": ("train+valid+test", None)}),
    "code_contests_easy": dict(adapter=from_code_contests, hub="deepmind/code_contests", config=None, splits={
        part: ("train", seeded(part, 276 / 2766, lambda row: field(row, "name"), easy_contest))  # 2,490 / 276 with
        for part in ("train", "test")}),                                                      # --max-prompt-tokens 512
    "taco": dict(adapter=from_taco, hub="BAAI/TACO", config="ALL", splits={
        "easy": ("test", lambda row: field(row, "difficulty") == "EASY"),
        "hard": ("test", lambda row: field(row, "difficulty") == "HARD"),
        "train": ("train", None), "test": ("test", None)}),
    "livecodebench": dict(adapter=from_livecodebench, hub=None, config=None, splits={
        "test": ([f"{LIVECODEBENCH}test{i}.jsonl" for i in ("", 2, 3, 4, 5, 6)], None),       # release_v6: 1,055
        "v6": ([f"{LIVECODEBENCH}test6.jsonl"], None)}),                                      # what v6 added: 175
    "livebench_coding": dict(adapter=from_livebench, hub="livebench/coding", config=None, splits={
        "test": ("test", None)}),
    "codeforces": dict(adapter=from_codeforces, hub="open-r1/codeforces", config="default", splits={
        part: (part, judged_by_output, AGAINST_CODE_CONTESTS) for part in ("train", "test")}),
    "mbpp": dict(adapter=from_mbpp, hub="google-research-datasets/mbpp", config="full", splits={
        "train": ("train", mbpp_ids(601, 974)), "validation": ("validation", mbpp_ids(511, 600)),
        "test": ("test", mbpp_ids(11, 510)), "prompt": ("prompt", mbpp_ids(1, 10)),
        "all": ("train+test+validation+prompt", None)}),
    "mbpp_stdin": dict(adapter=from_mbpp_stdin, hub="google-research-datasets/mbpp", config="full", splits={
        "test": ("test", mbpp_ids(11, 510)), "all": ("train+test+validation+prompt", None)}),
    "humaneval": dict(adapter=from_humaneval, hub="openai/openai_humaneval", config=None, splits={
        "test": ("test", None)}),
    "mbpp_plus": dict(adapter=from_mbpp_plus, hub="evalplus/mbppplus", config=None, splits={"test": ("test", None)}),
    "humaneval_plus": dict(adapter=from_humaneval, hub="evalplus/humanevalplus", config=None, splits={
        "test": ("test", None)}),
    "arc_agi_1": dict(adapter=from_arc, hub="lordspline/arc-agi", config=None, splits={
        # the public training tasks are the easy public set; seed 9 gives exactly 320 and 80 of the 400
        part: ("training", seeded(part, 0.2, lambda row: arc_id(row) + "/9")) for part in ("train", "test")}),
    # --data-files
    "rows": dict(adapter=from_rows, hub=None, config=None, splits={"train": ([], None), "test": ([], None)}),
}


# ------------------------------------------------------------------ the embedded task: boolean rules from five examples
# All that the stage asks of it is rules_prompt(seed, split, index), a prompt like a dataset's.
#
# An item has one of three values of each of four attributes (abc, def, ghi, jkl), e.g. "adgj"; a rule such as "a&~h" is
# a Python expression over the twelve letters as 0/1 integers. The prompt shows five items, lower case where the rule
# holds and upper case where it does not; the completion is a rule, graded by calling it on the 76 items not shown.
# Several rules fit every prompt: a policy can commit to one (pass@1) or spread over them (pass@k).

ATTRIBUTES = ("abc", "def", "ghi", "jkl")
LETTERS = "".join(ATTRIBUTES)
ITEMS = ["".join(letters) for letters in itertools.product(*ATTRIBUTES)]  # 81
ALL_ITEMS = (1 << len(ITEMS)) - 1
CALLED_ON = [[item] for item in ITEMS]  # arguments of a rule's tests
HOLDS = {x: sum(1 << j for j, item in enumerate(ITEMS) if x in item) for x in LETTERS}  # letter -> bit mask over ITEMS
RULE_TEMPLATE = f"""def rule(item):
    {', '.join(LETTERS)} = [int(letter in item) for letter in "{LETTERS}"]
    return ({{program}}) & 1"""


def rule_priors():
    """The two rule distributions, as lists of (weight, [(rule, bit mask over ITEMS), ...]): a family is drawn by
    weight, then a rule uniformly in it. `task` (240 rules) is what RL and evaluation use; SFT mixes it half and half
    with `broad` (702 others), so that the base model covers more than the task."""
    no = lambda x: ALL_ITEMS ^ HOLDS[x]
    pairs = [(x, y) for g, h in itertools.combinations(ATTRIBUTES, 2) for x in g for y in h]
    triples = [xyz for groups in itertools.combinations(ATTRIBUTES, 3) for xyz in itertools.product(*groups)]
    both_ways = pairs + [(y, x) for x, y in pairs]
    task = [
        (2, [(x, HOLDS[x]) for x in LETTERS]),
        (1, [(f"~{x}", no(x)) for x in LETTERS]),
        (4, [(f"{x}&{y}", HOLDS[x] & HOLDS[y]) for x, y in pairs]),
        (4, [(f"{x}|{y}", HOLDS[x] | HOLDS[y]) for x, y in pairs]),
        (2, [(f"{x}&~{y}", HOLDS[x] & no(y)) for x, y in both_ways]),
    ]
    broad = [
        (2, [(f"{x}|~{y}", HOLDS[x] | no(y)) for x, y in both_ways]),
        (1, [(f"~{x}&~{y}", no(x) & no(y)) for x, y in pairs]),
        (1, [(f"~{x}|~{y}", no(x) | no(y)) for x, y in pairs]),
        (1, [(f"{x}^{y}", HOLDS[x] ^ HOLDS[y]) for x, y in pairs]),
        (2, [(f"{x}&{y}&{z}", HOLDS[x] & HOLDS[y] & HOLDS[z]) for x, y, z in triples]),
        (2, [(f"{x}|{y}|{z}", HOLDS[x] | HOLDS[y] | HOLDS[z]) for x, y, z in triples]),
        (1, [(f"{x}&{y}&~{z}", HOLDS[x] & HOLDS[y] & no(z)) for x, y, z in triples]),
        (1, [(f"{x}|{y}|~{z}", HOLDS[x] | HOLDS[y] | no(z)) for x, y, z in triples]),
    ]
    return task, broad


TASK_PRIOR, BROAD_PRIOR = rule_priors()


def shown_likelihood(mask, positives, negatives):
    """P(these labelled items | rule), up to a constant: the number of positives is Binomial(5, 1/2) conditioned on
    1..4 (and on the rule having that many of each), then items are drawn without replacement."""
    size = mask.bit_count()
    if positives & ~mask or negatives & mask:
        return 0.0
    possible = [p for p in range(1, 5) if p <= size and 5 - p <= len(ITEMS) - size]
    p = positives.bit_count()
    return (math.comb(5, p) / sum(math.comb(5, q) for q in possible)
            / math.comb(size, p) / math.comb(len(ITEMS) - size, 5 - p))


def rule_posterior(positives, negatives):
    """Posterior masses, descending, of the behaviours on the items not shown, under the task prior. The best list of k
    answers reaches pass@k = the sum of the first k; sampling from the posterior reaches sum_j p_j (1 - (1 - p_j)^k)."""
    unseen = ALL_ITEMS & ~(positives | negatives)
    mass = defaultdict(float)
    for weight, rules in TASK_PRIOR:
        for _, mask in rules:
            likelihood = shown_likelihood(mask, positives, negatives)
            if likelihood:
                mass[mask & unseen] += weight / len(rules) * likelihood
    total = math.fsum(mass.values())
    return sorted((m / total for m in mass.values()), reverse=True)


def rules_prompt(seed, split, index):
    """Prompt number `index` of `split`: "train" and "test" draw the rule from the task prior, "sft" half from each.
    A fifth of all sets of labelled items, chosen by hash, is held out: only "test" has them."""
    rng = random.Random(f"{seed}/{split}/{index}")
    while True:
        families = BROAD_PRIOR if split == "sft" and rng.random() < 0.5 else TASK_PRIOR
        [(_, rules)] = rng.choices(families, [weight for weight, _ in families])
        rule, mask = rng.choice(rules)
        inside = [j for j in range(len(ITEMS)) if mask >> j & 1]
        outside = [j for j in range(len(ITEMS)) if not mask >> j & 1]
        possible = [p for p in range(1, 5) if p <= len(inside) and 5 - p <= len(outside)]
        [p] = rng.choices(possible, [math.comb(5, p) for p in possible])
        shown = rng.sample(inside, p) + rng.sample(outside, 5 - p)
        labelled = [ITEMS[j] if mask >> j & 1 else ITEMS[j].upper() for j in shown]
        key = "-".join(sorted(labelled))
        if (hashlib.sha256(key.encode()).digest()[0] % 5 == 0) == (split == "test"):
            break
    outputs = [mask >> j & 1 for j in range(len(ITEMS))]
    unseen = [outputs[j] for j in range(len(ITEMS)) if j not in shown]
    # right positives and negatives weigh one half each
    weight = {value: unseen.count(1 - value) or 1 for value in (0, 1)}
    row = {
        "task_id": f"rules/{key}", "dataset": "rules", "split": split, "level": None, "kind": "code",
        "prompt": "".join(rng.sample(labelled, 5)) + ":", "gold": None, "reference": [rule], "rule": rule,
        # called on all 81 items, so that reward.py runs a rule once for all prompts; those shown have weight 0
        "tests": {"type": "call", "entry_point": "rule", "setup": "", "template": RULE_TEMPLATE, "extract": False,
                  "inputs": CALLED_ON, "outputs": outputs,
                  "weights": [0 if j in shown else weight[outputs[j]] for j in range(len(ITEMS))]},
    }
    if split == "test":
        positives = sum(1 << j for j in shown if mask >> j & 1)
        row["posterior"] = rule_posterior(positives, sum(1 << j for j in shown) ^ positives)
    return row


if __name__ == "__main__":
    main()
