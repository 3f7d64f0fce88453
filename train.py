"""Stage 4 of 4: the off-policy clipped update. Reads rows with advantages, updates the policy, publishes its weights.

    ... | python advantages.py --estimator pkpo_s_loo_minus_one --k 8 |
        python train.py --model DIR --run RUN --steps 150
    python generate.py --model DIR --reference --split sft --steps 700 |
        python train.py --loss sft --model DIR --run RUN --steps 700
    ... | torchrun --standalone --nproc-per-node 8 -- train.py ...      # sharded over 8 GPUs (FSDP2)
    python train.py --init tiny --model DIR        # writes a new random model and stops
    python train.py --benchmark --model DIR        # what a step costs, beside TRL where that is installed

A step is the rows that share `step`. Its gradient is the papers' sum convention, averaged over the P prompts:
    (1/P) sum_p sum_i A_i grad log pi(y_i | x_p)
After step s the weights are published as RUN/policy-<s+1> and the link RUN/policy is flipped to them; every
--save-every steps the directory also holds trainer.pt, from which the same command resumes. RUN/metrics.jsonl has one
line a step, RUN/rollouts/ every row. The on-policy loss is close to zero at all times (its gradient is not): watch the
rewards.

To read: train and Training.loop, then rl_step, then sample_losses; what they call stands below, part by part.
Tang et al. 2025: arXiv 2503.19595. Walder and Karkhanis 2025: 2505.15201. Bagirov et al. 2025: 2510.23393.
Shapes in comments: P prompts, n samples per prompt, B = P * n, U distinct completions, T tokens, V vocabulary,
H hidden.
"""

import argparse
import concurrent.futures
import contextlib
import datetime
import fcntl
import functools
import gc
import gzip
import hashlib
import json
import logging
import math
import os
import pickle
import random
import select
import shutil
import sys
import tempfile
import time
import weakref
import zlib
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import safetensors
import torch
import torch.distributed as dist
import transformers
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, DynamicCache
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.modeling_layers import GradientCheckpointingLayer

import advantages
from advantages import STEP, BadRow, Help, at_row, check_input, progress, read_rows, tell
from generate import (POLICY, check_checkpoint, check_device, flag, load_tokenizer, plain_attention_if_capped,
                      resumable, whole_lines)

RANK, RANKS = (int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])) if dist.is_torchelastic_launched() else (0, 1)
say = functools.partial(tell, f"train.py, rank {RANK}" if RANKS > 1 else "train.py")


# -------------------------------------------------------------------------------------------------------------- the run
# From the models to the last step: Training.loop is the loop, rl_step below is what a step of it does to the policy.

def main():
    args = parse_arguments()
    transformers.utils.logging.disable_progress_bar()
    if args.benchmark:
        from tests.benchmark_train import benchmark
        return benchmark(args.model)
    try:
        if args.init:
            return init_tiny(args.model, args.seed, args.init, args.dtype)
        if args.memory:
            return print_memory(args)
        train(args)
        if RANKS > 1:
            leave_ranks()
    except (ValueError, OSError, safetensors.SafetensorError) as error:
        say(error)
        sys.exit(2)
    except FloatingPointError as error:
        say(f"{error}. Nothing of this step was published, and the last checkpoint stays: the same command goes on "
            "from there. What to try: a lower --lr, --clip-grad or --log-ratio-max, a longer --warmup")
        sys.exit(3)
    except KeyboardInterrupt:
        sys.exit(130)


def train(args):
    """Everything from the start, or the last checkpoint, of --run to its last step."""
    if RANK == 0:
        check_input()
    if RANKS > 1:
        start_ranks(args)
    for path in {args.model, args.reference_model or args.model} - {"none"}:
        check_checkpoint(path)
    defaults_by_size(args)
    if RANKS == 1:
        check_device(args.device)
    if RANK == 0 and args.device.startswith("cuda"):
        total = torch.cuda.get_device_properties(args.device).total_memory
        check_memory(AutoConfig.from_pretrained(args.model), args, RANKS, total)
    training = Training(args)
    try:
        training.loop()
    finally:
        if RANK == 0:
            leave_home(training.home, args.run)


class Training:
    """A run after `step` updates: its models and optimizers; the prompts `seen` and `solved`, and `grew`, the last step
    after which more were solved; how its rows are `drawn`. A new object is --run's start, or its last checkpoint."""

    def __init__(self, args):
        self.args, self.run, self.sft = args, args.run, args.loss == "sft"
        self.locked = lock(args.run) if RANK == 0 else None  # as long as this object lives
        self.step, self.solved, self.seen, self.grew, self.drawn = 0, set(), set(), 0, None
        checkpoint_path = from_rank_0(lambda: resume(args.run, args))
        self.resumed = checkpoint_path is not None
        self.policy, self.reference, self.value, self.others = build(args, checkpoint_path or args.model)
        self.modules = {"policy": self.policy} | ({"value": self.value} if self.value else {})
        self.optimizers = {name: adam(module, args.value_lr if name == "value" else args.lr, args)
                           for name, module in self.modules.items()}
        if self.resumed:
            self.restore(read_state(checkpoint_path))
        elif args.share_gpu:
            for name, module in self.modules.items():
                first_moments(module, self.optimizers[name])
        self.home = from_rank_0(lambda: weights_home(args, self.policy.model))

    def loop(self):
        """Read the rows of a step, update, log, publish."""
        args, run = self.args, self.run
        if args.keep_every and RANK == 0:
            check_room(run, self.policy.model, args)
        publish_s = None if self.resumed else self.pass_on(True)
        if self.over():
            return end(run, self.step, args)
        (run / "rollouts").mkdir(exist_ok=True)
        tensorboard = open_tensorboard(run, self.step) if args.tensorboard and RANK == 0 else None
        bar = progress(run.name, args.steps, RANK == 0, "step", initial=self.step)
        with open(run / "metrics.jsonl" if RANK == 0 else os.devnull, "a") as metrics_file, bar:
            gc.freeze()  # what the libraries have made stays: the collector need not look at it again and again
            arriving = rows_from(read_rows(sys.stdin.buffer, "sft" if self.sft else "train"), self.step, run)
            first = self.step
            while not self.over():
                started = time.perf_counter()
                rows = from_rank_0(lambda: read_step(arriving, self.step, self.sft, self.policy.vocabulary))
                if rows is None and args.steps is None:
                    break
                if rows is None:
                    raise ValueError(f"the input ended after {self.step} of {args.steps} steps")
                arrived = time.perf_counter()
                if self.step == first:
                    self.check_drawn(rows[0])
                metrics = self.learn(rows)
                if RANK == 0:
                    check_held(self.locked, run)
                    write_rows(run, self.step, rows, args)
                # publish_s: of the weights that the step started with
                metrics |= speed(started, arrived, rows, args) | {"publish_s": publish_s}
                record(metrics_file, tensorboard, self.step, metrics)
                self.step += 1
                save = self.step % args.save_every == 0 or self.over()
                # last, so that a checkpoint never lacks the records of its steps
                if save or self.to_keep() or not self.sft:  # no one samples in the middle of a warm-up
                    publish_s = self.pass_on(save)
                show(bar, metrics, self.sft)
        if args.steps is None and not (run / f"policy-{self.step:06d}" / "trainer.pt").exists():
            self.pass_on(True)
        if self.saturated():
            end(run, self.step, args)
        elif RANK == 0:
            wait_for_end(sys.stdin.buffer)

    def check_drawn(self, row):
        """Refuse to go on with rows that the stages before made with other flags."""
        drawn = how_drawn(row, self.sft)
        if self.drawn and (said := changed(self.drawn | drawn, self.drawn, drawn)):
            raise ValueError(f"{self.run}: its rows were made with other flags: {said}: start another --run, or the "
                             "stages before with the same flags")
        self.drawn = drawn
        if RANK == 0:
            (self.run / "args.json").write_text(json.dumps(recorded(self.args) | {"rows": drawn}, indent=1) + "\n")

    def learn(self, rows):
        """The updates of one step. Returns its metrics."""
        batch = Batch(rows, self.sft, self.args.device)
        if self.sft:
            return sft_step(batch, self.step, self.policy, self.optimizers["policy"], self.args)
        before = len(self.solved)
        metrics = row_metrics(rows, self.step, self.solved, self.seen)
        if len(self.solved) > before:
            self.grew = self.step + 1
        metrics |= rl_step(batch, self.step, self.policy, self.reference, self.value, self.optimizers, self.args)
        say_mismatch(self.step, metrics["mismatch_mean"])
        return metrics

    def pass_on(self, save):
        """Publish the weights; then, while the next step is sampled, keep what a resumption needs. Returns the seconds
        until the sampler could go on."""
        started = time.perf_counter()
        published = publish(self.home, self.step, self.policy, self.others, self.args)
        seconds = time.perf_counter() - started
        if RANK == 0 and self.to_keep():
            keep(self.run, published)  # before the state: a resumed run does not publish these weights again
        if save:
            state = self.state()
            if RANK == 0:
                save_state(published, state, self.args)
        if RANK == 0:
            remove_old(self.home, self.step, self.args)
        return seconds

    def saturated(self):
        return self.args.stall_steps is not None and self.step - self.grew >= self.args.stall_steps

    def over(self):
        return self.args.steps is not None and self.step >= self.args.steps or self.saturated()

    def to_keep(self):
        return self.args.keep_every and (self.step % self.args.keep_every == 0 or self.over())

    def state(self):
        """All that the same command needs to go on, beside the published weights."""
        return {"step": self.step, "solved": sorted(self.solved), "seen": sorted(self.seen), "grew": self.grew,
                "drawn": self.drawn,
                "weights": weights_of(self.policy.model) if self.args.dtype != "float32" else None,
                "value": weights_of(self.value) if self.value else None,
                "optimizers": {name: moments_of(module, self.optimizers[name])
                               for name, module in self.modules.items()},
                "args": recorded(self.args)}

    def restore(self, state):
        self.step, self.solved, self.seen = state["step"], set(state["solved"]), set(state["seen"])
        self.grew, self.drawn = state.get("grew", self.step), state.get("drawn")
        if state["weights"]:  # more exact than the published ones
            load_weights(self.policy.model, state["weights"])
        if self.value:
            load_weights(self.value, state["value"])
        for name, module in self.modules.items():
            load_moments(module, self.optimizers[name], state["optimizers"][name])


def how_drawn(row, sft):
    """What all rows of a run share, as far as they say it. (k may follow a schedule, and a run may be moved.)"""
    drawn = {"n": len(row["completions"]), "step_prompts": row["step_prompts"]}
    if not sft:
        sampling = {name: value for name, value in (row.get("sampling") or {}).items() if name != "model"}
        drawn |= {"estimator": row["estimator"], **sampling}
    return drawn


def recorded(args):
    """The flags as JSON has them: for RUN/args.json, and for a resumption, which has to have the same."""
    return {name: value if isinstance(value, (int, float, str, list, type(None))) else str(value)
            for name, value in vars(args).items()}


def changed(names, before, now, shown=str):
    """In what two sets of flags differ, in words."""
    return ", ".join(f"{shown(name)} {before.get(name)} then, {now.get(name)} now" for name in names
                     if before.get(name) != now.get(name))


def end(run, step, args):
    """The run is over before its input is. What comes all the same is read, since no stage is to fail for want of a
    reader; a sampler that waits for more weights is told by the link RUN/complete to the last ones."""
    if RANK:
        return
    stalled = args.steps is None or step < args.steps
    say(f"{run} is complete: {step} steps"
        + (f", in the last {args.stall_steps} of which no more prompts were solved" if stalled else ""))
    if stalled:
        replace_link(run / "complete", f"policy-{step:06d}")
    unused = sum(not line.isspace() for line in sys.stdin.buffer)
    if unused and not stalled:
        say(f"{unused} rows came all the same, and were not used")


def wait_for_end(stream, seconds=60):
    """After the last step the stages before close their output, but not at once, and who is left by its reader
    meanwhile fails. Waits for the end of the input, or for a row too many, or `seconds`."""
    try:
        ready = select.select([stream], [], [], seconds)[0]
    except OSError:  # no file of the system's: no one waits behind it
        return
    if ready:
        stream.read1()


# ----------------------------------------------------------------------------------------------------------- the update
# rl_step: which samples an update sees and what it weighs them with. A new loss is a branch of sample_losses, a new
# term of it two lines in policy_update.

def rl_step(batch, step, policy, reference, value, optimizers, args):
    """All updates of one step: --ppo-epochs passes over its groups, an update for every minibatch. Returns its
    metrics."""
    if batch.off_policy and (value or args.old_logprobs == "recomputed"):
        raise ValueError(f"{batch.estimator} has its ratios to the sampler, and its baseline, inside: "
                         "no --value-lr, no --old-logprobs recomputed")
    # log-probabilities that stay fixed during the step
    everything, budget = range(len(batch.tokens)), args.microbatch_tokens
    ref = batch.all_logprobs(reference, everything, budget) if reference else None
    old = batch.sampler
    if args.old_logprobs == "recomputed" and args.ppo_epochs * len(minibatches(batch, step, 0, args)) > 1:
        old = batch.all_logprobs(policy, everything, budget)
    baseline = value_baseline(batch, value) if value else None
    advantage = baseline.advantage if value else batch.advantages

    seen = defaultdict(list)  # what the updates saw of the samples they used
    for epoch in range(args.ppo_epochs):
        for groups in minibatches(batch, step, epoch, args):
            if value:
                seen["value_loss"].append(value_update(batch, step, groups, baseline, value, optimizers["value"], args))
            used = advantages_of(batch, groups, advantage, policy, args)
            if used:  # else there is nothing to learn from these groups, and Adam is not stepped on a zero gradient
                policy_update(batch, step, groups, used, ref, old, policy, optimizers["policy"], seen, args)
    return update_metrics(batch, ref, seen, args)


def advantages_of(batch, groups, advantage, policy, args):
    """{sample: advantage} of the samples of `groups` that have a gradient. advantage: (B,), as the step began."""
    samples = batch.samples_of(groups)
    A = advantage[samples]
    if batch.off_policy:
        current = batch.all_logprobs(policy, samples, args.microbatch_tokens)[samples]
        A = off_policy_advantages(batch, groups, samples, current, args)
    if args.mask_truncated:
        A = A * batch.stopped[samples]
    # without advantage there is a gradient only of the KL or the entropy
    return {i: a for i, a in zip(samples, A.tolist()) if a != 0 or args.beta or args.entropy_bonus}


def policy_update(batch, step, groups, used, ref, old, policy, optimizer, seen, args):
    """One update of the policy on `used`, {sample: advantage}, of `groups`. What it saw is added to `seen`."""
    tokens = batch.mask[batch.samples_of(groups)].sum()
    total, current = torch.zeros_like(tokens), torch.zeros_like(batch.mask)
    # recomputed, the first update's own pass is the denominator: its ratio is exactly 1
    own = args.old_logprobs == "recomputed" and not seen["loss"]
    for micro, weight in batch.microbatches(used, policy, args.microbatch_tokens):
        lp, entropy = batch.logprobs(policy, micro, entropy=args.entropy_bonus > 0)  # (b, T)
        mask, sampler = batch.mask[micro, :lp.shape[1]], batch.sampler[micro, :lp.shape[1]]
        losses = sample_losses(lp, lp.detach() if own else old[micro, :lp.shape[1]], sampler,
                               lp.new_tensor([used[i] for i in micro]), mask, args, batch.off_policy)
        if args.beta:
            anchor = (ref if args.kl_to == "reference" else batch.sampler)[micro, :lp.shape[1]]
            losses = losses + args.beta / batch.n * length_norm(kl_estimate(lp, anchor) * mask, mask, args)
        loss = losses.sum() / len(groups)
        if args.entropy_bonus:
            loss = loss - args.entropy_bonus * (entropy * mask).sum() / tokens
        refuse_nonfinite("loss", loss.item(), step, batch, micro)
        (RANKS * weight * loss).backward()  # FSDP averages over ranks, where the loss is a sum

        total += weight * loss.detach()
        current[micro, :lp.shape[1]] += weight * lp.detach()
    samples = list(used)
    current, mask, sampler = over_ranks(current)[samples], batch.mask[samples], batch.sampler[samples]
    rho = ratio(current, current if own else old[samples], mask, args)
    seen["ratio"].append(rho[mask.bool()] if args.ratio == "token" else rho.flatten())
    seen["kl_behaviour"].append((kl_estimate(sampler, current) * mask).sum(1))
    if not seen["loss"]:
        seen["mismatch"].append((current - sampler)[mask.bool()].abs())
    seen["loss"].append(over_ranks(total)[None])
    seen["grad_norm"].append(torch.tensor([update(optimizer, policy, step, batch, samples, args)]))


def update_metrics(batch, ref, seen, args):
    """Means, or the largest, of what the updates of a step saw."""
    def of(name, reduce=torch.mean):  # None: no sample was used
        return reduce(torch.cat(seen[name])).item() if seen[name] else None

    def outside(rho):
        return ((rho > 1 + args.clip_high) | (rho < 1 - args.clip_low)).float().mean()
    return {
        # under the policy that sampled: an unbiased estimate of its KL to the reference, in nats a completion
        "kl_ref": None if ref is None else ((batch.sampler - ref) * batch.mask).sum(1).mean().item(),
        "loss": of("loss"), "grad_norm": of("grad_norm"), "value_loss": of("value_loss"), "updates": len(seen["loss"]),
        "clip_fraction": of("ratio", outside) if args.loss == "ppo" else None, "ratio_max": of("ratio", torch.max),
        "kl_behaviour": of("kl_behaviour"), "mismatch_mean": of("mismatch"), "mismatch_max": of("mismatch", torch.max)}


def off_policy_advantages(batch, groups, samples, lp, args):
    """(G * n,) advantages of an off-policy estimator for `groups` and their `samples`, at the current log-probabilities
    lp (G * n, T). The ratios of whole completions are clipped first: as PPO does, or, for pg, from above by
    --importance-max."""
    rows = [batch.rows[g] for g in groups]
    low, high = -args.log_ratio_max, math.log(args.importance_max)
    if args.loss == "ppo":
        low, high = math.log(1 - args.clip_low), math.log(1 + args.clip_high)
    log_ratio = ((lp - batch.sampler[samples]) * batch.mask[samples]).double().sum(1).clamp(low, high)
    values = advantages.ESTIMATORS[rows[0]["estimator"]](
        np.array([row["rewards"] for row in rows]), rows[0]["k"], votes=np.array([row["votes"] for row in rows]),
        log_ratio=log_ratio.view(len(rows), -1).cpu().numpy())  # (G, n)
    return torch.tensor(values, dtype=torch.float32, device=lp.device).flatten()


def minibatches(batch, step, epoch, args):
    """Whole groups in a seeded order, --minibatch-prompts at a time (default: all at once)."""
    groups = list(range(len(batch.rows)))
    size = args.minibatch_prompts or len(groups)
    if size < len(groups):
        random.Random(f"{args.seed}/{step}/{epoch}").shuffle(groups)
    return [sorted(groups[i:i + size]) for i in range(0, len(groups), size)]


def update(optimizer, module, step, batch, samples, args):
    """Clip the gradient, set the learning rate of `step`, update, free the gradient. Returns the norm before
    clipping."""
    norm = whole(torch.nn.utils.clip_grad_norm_(module.parameters(), args.clip_grad or math.inf))
    refuse_nonfinite("gradient's norm", norm.item(), step, batch, samples)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * lr_factor(step, args)
    optimizer.step()
    optimizer.zero_grad()
    broken = not all(torch.isfinite(local(p)).all() for p in module.parameters())
    if over_ranks(norm.new_tensor(float(broken))):
        refuse_nonfinite("largest weight after the update", math.nan, step, batch, samples)
    return norm.item()


def refuse_nonfinite(what, number, step, batch, samples):
    """Raise FloatingPointError, with the rows that were in use, if `number` is NaN or infinite."""
    if not math.isfinite(number):
        rows = sorted({batch.rows[batch.group[i]]["task_id"] for i in samples})
        raise FloatingPointError(f"the {what} of step {step} is {float(number)} (rows {', '.join(rows[:3])}"
                                 f"{f' and {len(rows) - 3} more' if len(rows) > 3 else ''})")


def lr_factor(step, args):
    """Linear warm-up, then constant, linear or cosine decay to --lr-final of the peak at the last step."""
    if step < args.warmup:
        return (step + 1) / args.warmup
    if args.schedule == "constant":
        return 1.0
    done = (step - args.warmup) / max(1, args.steps - args.warmup)
    shape = 1 - done if args.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return args.lr_final + (1 - args.lr_final) * shape


def sft_step(batch, step, policy, optimizer, args):
    """Maximum likelihood of the completions, a mean over tokens. Returns the step's metrics."""
    tokens, total = batch.mask.sum(), 0.0
    for micro, weight in batch.microbatches(range(len(batch.tokens)), policy, args.microbatch_tokens):
        loss = weight * -batch.logprobs(policy, micro)[0].sum() / tokens
        refuse_nonfinite("loss", loss.item(), step, batch, micro)
        (RANKS * loss).backward()  # FSDP averages over ranks, where the loss is a sum
        total += loss.item()
    return {"loss": over_ranks(tokens.new_tensor(total)).item(),
            "grad_norm": update(optimizer, policy, step, batch, range(len(batch.tokens)), args)}


# ------------------------------------------------------------------------------------------------------------- the loss

def sample_losses(lp, old, sampler, advantage, mask, args, off_policy=False):
    """The surrogate of each sample, (b,), to be summed over a group and averaged over prompts.

    lp (b, T): current log-probabilities, with the graph; old: those in the denominator of the ratio; sampler: those
    under which the samples were drawn; advantage (b,); mask (b, T).
    --loss ppo: -min(rho A, clip(rho, 1 - low, 1 + high) A), rho = pi / pi_old (PPO; Tang et al. App. A.4), times the
        truncated importance weight pi_old / pi_sampler, a constant, which is 1 where old is the sampler's.
    --loss pg: -A log pi, no clip (Tang et al. eq. 2 and 3), times the truncated importance weight pi / pi_sampler.
    off_policy: A holds the ratios of the whole set already (Bagirov et al.), so it is -A log pi; with ppo it is
        left out where PPO's clip would cut it, that is where rho is beyond the clip on the side that A pushes to.
    """
    A = advantage[:, None]
    rho = ratio(lp, old, mask, args)
    if args.loss == "ppo" and not off_policy:
        clipped = rho.clamp(1 - args.clip_low, 1 + args.clip_high)
        weight = ratio(old, sampler, mask, args).clamp(max=args.importance_max)
        per_token = -torch.minimum(rho * A, clipped * A) * weight  # (b, T) or (b, 1)
        if args.ratio == "token":
            per_token = per_token * mask
    else:
        per_token = -A * lp * mask
        if off_policy and args.loss == "ppo":
            per_token = per_token * ~torch.where(A > 0, rho > 1 + args.clip_high, rho < 1 - args.clip_low)
        elif not off_policy:
            per_token = per_token * rho.detach().clamp(max=args.importance_max)
    return length_norm(per_token, mask, args)


def ratio(numerator, denominator, mask, args):
    """exp of the difference of log-probabilities, cut to +- --log-ratio-max: (b, T), or (b, 1) of whole completions."""
    difference = (numerator - denominator) * mask
    if args.ratio == "sequence":
        difference = difference.sum(1, keepdim=True)
    return difference.clamp(-args.log_ratio_max, args.log_ratio_max).exp()


def length_norm(per_token, mask, args):
    """(b, T) -> (b,): the sum (the papers'), GRPO's mean over the completion, or Dr. GRPO's sum over a constant."""
    return per_token.sum(1) / {"sum": 1, "sequence-mean": mask.sum(1), "constant": args.max_tokens}[args.loss_norm]


def kl_estimate(lp, other):
    """Per-token estimate of KL(pi || other) from samples of pi, >= 0 and unbiased: exp(d) - 1 - d with d = log other -
    log pi (Schulman's k3). In the loss, as in GRPO: the gradient of its mean is that of KL(other || pi)."""
    d = other - lp
    return d.exp() - 1 - d


# ------------------------------------------------------------------------------------------------------- what is logged
# A line of RUN/metrics.jsonl is row_metrics and what the update returned: a new number is one entry of either.

def row_metrics(rows, step, solved, seen):
    """What the rows say about the policy that drew them; `solved` and `seen` (sets of task_ids) are updated."""
    k = rows[0]["k"]
    rewards, scores, correct, votes, signal = (  # (P, n) each
        np.array([row[key] for row in rows]) for key in ("rewards", "scores", "correct", "votes", "advantages"))
    seen |= {row["task_id"] for row in rows}
    solved |= {row["task_id"] for row, right in zip(rows, correct.any(1)) if right}
    surprisal = [-lp for row in rows for sample in row["logprobs"] for lp in sample]
    return {
        "lag": None if rows[0].get("policy_step") is None else step - rows[0]["policy_step"], "k": k,
        "reload_s": rows[0].get("reload_s"),
        "reward": rewards.mean(), "score": scores.mean(), "correct": correct.mean(),
        "pass_at_k": advantages.pass_at_k(correct, k).mean(), "max_at_k": advantages.max_at_k(scores, k).mean(),
        "maj_at_k": advantages.maj_at_k(correct, votes, k).mean(),
        # the same for all methods, whatever their k
        "pass_at_n": correct.any(1).mean(), "maj_at_n": advantages.maj_at_k(correct, votes, correct.shape[1]).mean(),
        "no_signal": (signal == 0).all(1).mean(),
        "all_right": correct.all(1).mean(), "all_wrong": (~correct).all(1).mean(),
        "solved": len(solved) / len(seen), "entropy": np.mean(surprisal),  # of the tokens that were drawn: unbiased
        "length": np.mean([len(ids) for row in rows for ids in row["token_ids"]]),
        "truncated": np.mean([reason == "length" for row in rows for reason in row["finish_reasons"]]),
    }


def speed(started, arrived, rows, args):
    """Of a step that waited for its rows from `started` to `arrived`, and is done now."""
    work, tokens = time.perf_counter() - arrived, sum(len(ids) for row in rows for ids in row["token_ids"])
    return {"lr": args.lr * lr_factor(rows[0]["step"], args), "tokens": tokens, "wait_s": arrived - started,
            "work_s": work, "tokens_per_s": tokens / work,
            "peak_gb": torch.cuda.max_memory_allocated() / 1e9 if args.device.startswith("cuda") else None}


def record(metrics_file, tensorboard, step, metrics):
    metrics = {"step": step} | {key: v if v is None or isinstance(v, int) else float(v) for key, v in metrics.items()}
    metrics_file.write(json.dumps(metrics) + "\n")
    metrics_file.flush()
    if tensorboard:
        for key, v in metrics.items():
            if v is not None:
                tensorboard.add_scalar(key, v, step)


def show(bar, metrics, sft):
    shown = {"loss": metrics["loss"]} if sft else {
        "reward": metrics["reward"], f"pass@{metrics['k']}": metrics["pass_at_k"], "kl": metrics["kl_ref"],
        "entropy": metrics["entropy"], "no signal": metrics["no_signal"], "lag": metrics["lag"]}
    bar.set_postfix({key: f"{round(v, 3) + 0.0:g}" for key, v in shown.items() if v is not None}, refresh=False)
    bar.update()


def open_tensorboard(run, first):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError("--tensorboard needs a package that is not in requirements.txt: pip install "
                         "tensorboard") from None
    return SummaryWriter(run / "tensorboard", purge_step=first)


def write_rows(run, step, rows, args):
    """The rows of a step in RUN/rollouts, but those of a warm-up; now and then a look at some in RUN/samples.log."""
    if args.loss != "sft":
        with gzip.GzipFile(run / "rollouts" / f"step-{step:06d}.jsonl.gz", "wb", compresslevel=1, mtime=0) as file:
            for row in rows:
                file.write((json.dumps(row) + "\n").encode())
    if args.samples_every and step % args.samples_every == 0:
        log_samples(run / "samples.log", step, rows)


def log_samples(path, step, rows):
    """Three completions with their rewards, for a look at what the policy writes."""
    with open(path, "a", encoding="utf-8", errors="backslashreplace") as file:  # text may hold half a surrogate pair
        for row in rows[:3]:
            reward = (row.get("rewards") or [None])[0]
            file.write(f"--- step {step}, {row['task_id']}, reward {reward}\n"
                       f"{row['prompt'][-400:]}\n>>> {row['completions'][0]}\n")
# nats a token. The engines' rounding makes 1e-5 in float32 and 0.03 in bfloat16; a lag adds what was learned
FOREIGN = 1.0


def say_mismatch(step, mismatch):
    """Say so, at every step, if the rows' log-probabilities are far from the policy's: they are of another model. It is
    no error, since old rows may be used deliberately, but their ratios are clipped or truncated, and little is
    learned."""
    if RANK == 0 and mismatch is not None and mismatch > FOREIGN:
        say(f"WARNING: step {step}: the rows' log-probabilities are {mismatch:.2f} nats a token from the policy's "
            "(mean over the samples used): did another model draw them?")


# ------------------------------------------------------------------------------------------------------------ the batch

def rows_from(arriving, first, run):
    """(number, row) of read_rows, without the rows of steps that RUN had already done when this process started: a
    file, or a pipe without weights to follow, starts again from step 0. BadRow if there is nothing else."""
    number, done, used = 0, 0, False
    for number, row in arriving:
        if not used and row["step"] < first:
            done += 1
            continue
        if done and not used:
            say(f"{done} rows of steps before {first} left out, which {run} has done")
        used = True
        yield number, row
    if not number:
        raise BadRow("no row came in")
    if not used:
        raise BadRow(f"nothing to do: {run} has done {first} steps, and all {done} rows that came are of steps before "
                     f"{first}. Other rows of the same step need another --run")


def read_step(arriving, step, sft, vocabulary):
    """The rows of `step`, in order of arrival; None at the end of the input. Raises BadRow for a row that cannot be
    used and for an input that ends in mid-step."""
    rows = []
    for number, row in arriving:
        try:
            if row["step"] != step:
                raise BadRow(f"a row of step {step} expected, found step {row['step']}")
            check_row(row, rows[0] if rows else row, sft, vocabulary)
        except BadRow as error:
            raise at_row(number, row, error) from None
        rows.append(row)
        if len(rows) == row["step_prompts"]:
            return rows
    if rows:
        raise BadRow(f"the input ended in step {step}: {len(rows)} of {rows[0]['step_prompts']} rows")
    return None


def check_row(row, first, sft, vocabulary):
    """Raise BadRow if the update is not defined for a row, or if it is not of one kind with the `first` of its step."""
    n = len(first["completions"])
    if len(row["completions"]) != n:
        raise BadRow(f"{len(row['completions'])} samples, but the other rows of the step have {n}")
    if row["step_prompts"] != first["step_prompts"]:
        raise BadRow(f"step_prompts {row['step_prompts']} within a step of {first['step_prompts']}")
    highest = max(map(max, [row["prompt_token_ids"], *row["token_ids"]]))
    if highest >= vocabulary:
        raise BadRow(f"token ids in [0, {vocabulary}) expected, found {highest}: were they sampled by another model?")
    if sft:
        return
    for key in ("estimator", "k"):
        if row[key] != first[key]:
            raise BadRow(f"{key} {row[key]!r} within a step of {first[key]!r}")
    if row["k"] > n:
        raise BadRow(f"k = {row['k']}, but there are n = {n} samples")
    if list(map(len, row["token_ids"])) != list(map(len, row["logprobs"])):
        raise BadRow("one log-probability a token expected")
    sampling = row.get("sampling") or {}
    drawn = {key: sampling.get(key) for key in ("temperature", "top_p", "top_k")}
    if drawn["temperature"] not in (None, 1) or drawn["top_p"] not in (None, 1) or (drawn["top_k"] or 0) > 0:
        words = ", ".join(f"{key} {value}" for key, value in drawn.items() if value is not None)
        raise BadRow(f"sampled with {words}: the ratio is defined for temperature 1, top_p 1 and top_k 0 (off)")


class Batch:
    """The B = P * n samples of a step, flat and group after group, with padded (B, T) tensors on the policy's
    device."""

    def __init__(self, rows, sft, device):
        def flat(key):
            return [x for row in rows for x in row[key]]
        self.rows, self.n = rows, len(rows[0]["completions"])
        self.prompts = [row["prompt_token_ids"] for row in rows]
        self.group = [g for g, row in enumerate(rows) for _ in row["completions"]]
        self.tokens = flat("token_ids")
        self.mask = self.padded([[1.0] * len(ids) for ids in self.tokens], device)  # (B, T)
        if not sft:
            self.estimator = rows[0]["estimator"]
            self.off_policy = advantages.uses(self.estimator, "log_ratio")
            self.sampler = self.padded(flat("logprobs"), device)  # (B, T)
            self.rewards = torch.tensor(flat("rewards"), dtype=torch.float32, device=device)  # (B,)
            self.advantages = torch.tensor(flat("advantages"), dtype=torch.float32, device=device)  # (B,)
            self.stopped = torch.tensor([reason == "stop" for reason in flat("finish_reasons")], device=device)  # (B,)

    def samples_of(self, groups):
        return [g * self.n + i for g in groups for i in range(self.n)]

    @staticmethod
    def padded(rows, device):
        width = max(map(len, rows))
        return torch.tensor([row + [0.0] * (width - len(row)) for row in rows], device=device)

    def microbatches(self, samples, policy, budget):
        """This rank's [(list of samples, weight)]: the distinct (prompt, completion) pairs of a list hold at most
        `budget` tokens, with the prompt counted once a list where the policy shares it, else as often as it is
        computed, and with the padding. Identical completions of a group stay together: they are computed once. The
        weight is 1; or 0 on a rank that repeats a list because the others have one more, as all must take part in every
        pass."""
        def whole(i):
            return len(self.prompts[self.group[i]]) + len(self.tokens[i])

        def order(i):
            return (0 if policy.share_prompt else whole(i), self.group[i], len(self.tokens[i]), self.tokens[i])
        if RANKS > 1:  # work for each
            budget = min(budget, sum(map(whole, samples)) // RANKS)
        micro, seen, pairs, cost, previous = [], None, 0, 0, None
        for i in sorted(samples, key=order):
            new = (self.group[i], self.tokens[i])
            if new != previous:
                pairs += 1
                cost = (cost + (len(self.tokens[i]) if self.group[i] == seen else whole(i)) if policy.share_prompt else
                        pairs * whole(i))
                if not micro or cost > budget:
                    micro.append([])
                    pairs, cost = 1, whole(i)
                seen, previous = self.group[i], new
            micro[-1].append(i)
        mine = [(some, 1.0) for some in micro[RANK::RANKS]]
        return mine + [(micro[0], 0.0)] * (-(-len(micro) // RANKS) - len(mine))

    def logprobs(self, policy, samples, entropy=False):
        """(b, T) log-probabilities (and entropies) of `samples` under `policy`: each distinct completion of a group
        goes through the model once, and its result to every copy."""
        groups, distinct = {}, {}
        copies = [distinct.setdefault((self.group[i], tuple(self.tokens[i])), len(distinct)) for i in samples]
        group = [groups.setdefault(g, len(groups)) for g, _ in distinct]
        lp, ent = policy([self.prompts[g] for g in groups], [list(ids) for _, ids in distinct], group, entropy)
        return lp[copies], ent[copies] if entropy else None

    @torch.no_grad()
    def all_logprobs(self, policy, samples, budget):
        """(B, T) log-probabilities without a graph; 0 for samples that are not in `samples`."""
        result = torch.zeros_like(self.mask)
        for micro, weight in self.microbatches(samples, policy, budget):
            lp, _ = self.logprobs(policy, micro)
            result[micro, :lp.shape[1]] += weight * lp
        return over_ranks(result)


# ---------------------------------------------------------------------------------------------------- log-probabilities

# most logits held at a time: the loss's memory does not grow with T * V. Each slice reads the whole output layer
LOGITS_AT_ONCE = {"cpu": 2**24, "cuda": 2**28}


class Policy(torch.nn.Module):
    """A causal language model that returns the log-probabilities of completions. The prompt of a group is computed once
    and its keys and values are shared by the group's completions. Without share_prompt (sliding-window attention,
    activation checkpointing, several ranks) every completion carries its own copy of the prompt. Both give the same
    numbers.

    dtype torch.bfloat16: products are computed in bfloat16 (autocast), entered anew for every pass, because it keeps
    its bfloat16 copies of the weights until it is left: a pass after an update would still see the weights before
    it."""

    logits_at_once = None  # the device's

    def __init__(self, model, share_prompt=True, dtype=torch.float32):
        super().__init__()
        self.model, self.share_prompt, self.dtype = model, share_prompt, dtype
        self.vocabulary = model.config.get_text_config().vocab_size

    def forward(self, prompts, completions, group, entropy=False):
        with autocast(self.model.device, self.dtype):
            return self.logprobs(prompts, completions, group, entropy)

    def logprobs(self, prompts, completions, group, entropy):
        """prompts: G lists of token ids; completions: U lists; group: U indices into prompts.
        Returns float32 (U, T) log-probabilities of the completions' tokens, 0 beyond their end, and, if asked for, the
        (U, T) entropies of the distributions they were drawn from, else None."""
        logprobs, entropies = [None] * len(completions), [None] * len(completions)
        read = self.read_prompts(prompts) if self.share_prompt else None
        # ranks must enter the layers equally often, so with several of them the microbatch is not divided further
        for some in by_length(completions) if RANKS == 1 else [range(len(completions))]:
            lengths = [len(completions[u]) for u in some]
            # (b, long)
            targets = self.tensor([completions[u] + [0] * (max(lengths) - len(completions[u])) for u in some])
            hidden = (self.after_prompts(*read, self.tensor([group[u] for u in some]), targets)
                      if self.share_prompt else
                      # (b, long, H)
                      self.with_prompts([prompts[group[u]] for u in some], [completions[u] for u in some]))
            real = self.tensor(lengths)[:, None] > torch.arange(max(lengths), device=targets.device)
            lp, ent = self.select(hidden[real], targets[real], entropy)  # tokens of padding are not computed
            for u, a, b in zip(some, lp.split(lengths), ent.split(lengths)):
                logprobs[u], entropies[u] = a, b
        pad = lambda rows: torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return pad(logprobs), pad(entropies) if entropy else None

    def tensor(self, x):
        return torch.tensor(x, device=self.model.device)

    def read_prompts(self, prompts):
        """The decoder's output on G prompts, padded on the left so that a prompt's last column is its last token; and
        the mask, None where nothing is padded."""
        longest = max(map(len, prompts))
        ids = self.tensor([[0] * (longest - len(ids)) + ids for ids in prompts])
        mask = self.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts])
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        mask = mask if min(map(len, prompts)) < longest else None
        return self.model.base_model(input_ids=ids, attention_mask=mask, use_cache=True, position_ids=positions), mask

    def after_prompts(self, read, mask, of, targets):
        """(b, long, H) states that predict targets (b, long) after the prompts number `of` (b,)."""
        # the prompt's end predicts the first token
        hidden, more = read.last_hidden_state[of, -1:], targets.shape[1] - 1
        if not more:
            return hidden
        cache = DynamicCache(config=self.model.config)
        for layer, prompt in enumerate(read.past_key_values.layers):
            cache.update(prompt.keys[of], prompt.values[of], layer)
        seen, before = None, read.last_hidden_state.shape[1]
        if mask is not None:
            seen, before = torch.cat([mask[of], mask.new_ones(len(of), more)], 1), mask[of].sum(1, keepdim=True)
        positions = (before + torch.arange(more, device=of.device)).expand(len(of), more)
        rest = self.model.base_model(input_ids=targets[:, :-1], attention_mask=seen, position_ids=positions,
                                     past_key_values=cache, use_cache=True)
        return torch.cat([hidden, rest.last_hidden_state], 1)

    def with_prompts(self, prompts, completions):
        """(b, long, H) states that predict the completions, of whole sequences. They are padded on the right, which
        needs no mask: no token attends to what comes after it."""
        whole = [prompt + ids[:-1] for prompt, ids in zip(prompts, completions)]
        wide, long = max(map(len, whole)), max(map(len, completions))
        ids = self.tensor([ids + [0] * (wide - len(ids)) for ids in whole])
        hidden = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        place = self.tensor([[min(len(prompt) - 1 + t, wide - 1) for t in range(long)] for prompt in prompts])
        return hidden.gather(1, place[..., None].expand(-1, -1, hidden.shape[-1]))

    def select(self, hidden, targets, entropy):
        """(N, H), (N,) -> log-probabilities (N,) and entropies (N,), a slice of the logits at a time. Where there is
        more than one slice, their logits are computed again in the backward pass instead of being kept."""
        def piece(hidden, targets):
            logits = self.model.get_output_embeddings()(hidden)
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            if softcap := getattr(self.model.config, "final_logit_softcapping", None):
                logits = torch.tanh(logits / softcap) * softcap
            total = logits.logsumexp(-1)
            lp = logits.gather(1, targets[:, None]).squeeze(1) - total
            return lp, total - (logits.softmax(-1) * logits).sum(-1) if entropy else lp
        size = max(1, (self.logits_at_once or LOGITS_AT_ONCE[hidden.device.type]) // self.model.config.vocab_size)
        if len(hidden) <= size:
            return piece(hidden, targets)
        parts = [checkpoint(piece, h, t, use_reentrant=False) for h, t in zip(hidden.split(size), targets.split(size))]
        return tuple(torch.cat(part) for part in zip(*parts))


def autocast(device, dtype):
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16)


def load_model(path, kind=AutoModelForCausalLM, **how):
    """A checkpoint's model; ValueError if its files cannot be read."""
    try:
        return plain_attention_if_capped(kind.from_pretrained(path, **how))
    except (safetensors.SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"the weights of {path} cannot be read: {error}") from None


def by_length(completions):
    """Indices of the completions in lists of similar length, so that little of a list is padding: at most a fifth of a
    long completion, and more of short ones, for which another pass through the layers costs more than their padding."""
    lists = []
    for u in sorted(range(len(completions)), key=lambda u: len(completions[u])):
        if not lists or len(completions[u]) > 1.25 * len(completions[lists[-1][0]]) + 8:
            lists.append([])
        lists[-1].append(u)
    return lists


# --------------------------------------------------------------------------------------------- the value model and Adam

class Value(torch.nn.Module):
    """V(x), the value of a prompt: a scalar head on a backbone of its own (Tang et al. App. A.4)."""

    def __init__(self, path, dtype=torch.float32):
        super().__init__()
        self.backbone, self.dtype = load_model(path, AutoModel, dtype=torch.float32), dtype
        self.head = torch.nn.Linear(self.backbone.config.hidden_size, 1)
        torch.nn.init.zeros_(self.head.weight), torch.nn.init.zeros_(self.head.bias)

    def forward(self, prompts):
        """P lists of token ids -> (P, 1) values, read at the prompt's last token."""
        device, width = self.head.weight.device, max(map(len, prompts))
        ids = torch.tensor([ids + [0] * (width - len(ids)) for ids in prompts], device=device)
        with autocast(device, self.dtype):
            # padding on the right needs no mask
            hidden = self.backbone(input_ids=ids, use_cache=False).last_hidden_state
        last = hidden[range(len(prompts)), [len(ids) - 1 for ids in prompts]]
        return torch.nn.functional.linear(last.float(), self.head.weight.float(), self.head.bias.float())


class Baseline(NamedTuple):
    """What the value model makes of a step before its updates."""
    target: torch.Tensor     # (B,) R, what V is to become
    before: torch.Tensor     # (P, 1) V
    advantage: torch.Tensor  # (B,)


@torch.no_grad()
def value_baseline(batch, value):
    """A_i = R_i - V(x). The mean objective is (1/n) sum_i r_i; the R_i of a k-sample objective, which is its
    estimator's value for the sample, is not divided (Tang et al. App. A.4)."""
    before = value(batch.prompts)
    target, scale = (batch.rewards, batch.n) if batch.estimator == "rloo" else (batch.advantages, 1)
    return Baseline(target, before, (target - before[batch.group, 0]) / scale)


def value_update(batch, step, groups, baseline, value, optimizer, args):
    """One update of the value model on `groups`. Returns its losses (G * n,)."""
    losses = value_losses(value([batch.prompts[g] for g in groups]), baseline.before[groups],
                          baseline.target.view(-1, batch.n)[groups], args.value_clip)  # (G, n)
    losses.mean().backward()
    update(optimizer, value, step, batch, batch.samples_of(groups), args)
    return losses.detach().flatten()


def value_losses(value, old, target, clip):
    """1/2 max((V - R)^2, (clip(V, V_old - alpha, V_old + alpha) - R)^2), elementwise (Tang et al. App. A.4)."""
    clipped = torch.minimum(torch.maximum(value, old - clip), old + clip)
    return 0.5 * torch.maximum((value - target) ** 2, (clipped - target) ** 2)


def adam(module, lr, args):
    kind = Adam8bit
    if args.adam_bits == 32:  # not fused, a step on a GPU makes another copy of the moments for a while
        kind = functools.partial(torch.optim.AdamW, fused=args.device.startswith("cuda") or None)
    return kind([{"params": list(module.parameters()), "peak": lr}], lr=lr, betas=tuple(args.betas),
                weight_decay=args.weight_decay)


class Adam8bit(torch.optim.Optimizer):
    """AdamW with a byte for each moment, 2.03 bytes a parameter instead of 8: 256 numbers share a scale, and each is
    one of at most 256 levels that lie close together near 0 (dynamic block-wise quantization, Dettmers et al., arXiv
    2110.02861). Kept are the first moment and the root of the second, which has half the range and here no level 0 to
    divide by."""

    BLOCK, AT_ONCE = 256, 2**24

    def __init__(self, params, lr, betas, weight_decay, eps=1e-8):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "eps": eps})

    @staticmethod
    @functools.cache
    def levels(name, device):
        """Ascending levels in [-1, 1], or in (0, 1]: of seven decades, each has twice as many as the one below."""
        signed, decades = name == "exp_avg", []
        for decade in range(7):
            edges = torch.linspace(0.1, 1, 2 ** (decade + (not signed)) + 1, device=device)
            decades.append(10.0 ** (decade - 6) * (edges[1:] + edges[:-1]) / 2)
        positive = torch.cat(decades)
        positive[-1] = 1.0  # the block's largest number is exact
        return torch.cat([-positive.flip(0), positive.new_zeros(1), positive]) if signed else positive

    def pack(self, name, x):
        """(N,) float32 -> (N,) codes and (N / 256,) scales."""
        blocks = torch.nn.functional.pad(x, (0, -len(x) % self.BLOCK)).view(-1, self.BLOCK)
        scale, levels = blocks.abs().amax(1), self.levels(name, x.device)
        codes = torch.bucketize(blocks / scale.clamp(min=1e-38)[:, None], (levels[1:] + levels[:-1]) / 2,
                                out_int32=True)
        return codes.to(torch.uint8).flatten()[:len(x)], scale

    def unpack(self, name, codes, scale):
        return self.levels(name, codes.device)[codes.int()] * scale.repeat_interleave(self.BLOCK)[:len(codes)]

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            (beta1, beta2), lr, eps = group["betas"], group["lr"], group["eps"]
            for p in (p for p in group["params"] if p.grad is not None):
                if not self.state[p]:
                    zeros = torch.zeros_like(p)
                    self.write(p, {"step": torch.tensor(0.0), "exp_avg": zeros, "exp_avg_rms": zeros})
                state = self.state[p]
                state["step"] += 1
                rate, bias = lr / (1 - beta1 ** state["step"].item()), math.sqrt(1 - beta2 ** state["step"].item())
                weights, gradient = local(p).view(-1), local(p.grad).reshape(-1)
                # the moments are whole for a part of a layer at a time
                for start in range(0, len(weights), self.AT_ONCE):
                    end = start + self.AT_ONCE
                    part, blocks = slice(start, end), slice(start // self.BLOCK, end // self.BLOCK)
                    w, g = weights[part], gradient[part]
                    (m, m_scale), (v, v_scale) = ((codes[part], scale[blocks]) for codes, scale in
                                                  (state["exp_avg"], state["exp_avg_rms"]))
                    mean = self.unpack("exp_avg", m, m_scale).lerp_(g, 1 - beta1)
                    rms = self.unpack("exp_avg_rms", v, v_scale).square_()
                    rms = rms.mul_(beta2).addcmul_(g, g, value=1 - beta2).sqrt_()
                    w.mul_(1 - lr * group["weight_decay"]).addcdiv_(mean, rms / bias + eps, value=-rate)
                    for name, moment, codes, scale in ("exp_avg", mean, m, m_scale), ("exp_avg_rms", rms, v, v_scale):
                        new_codes, new_scale = self.pack(name, moment)
                        codes.copy_(new_codes), scale.copy_(new_scale)

    def read(self, p):
        """The state of `p` with float32 moments, sharded as `p` is."""
        def as_p(x):
            x = x.view(local(p).shape)
            if isinstance(p, DTensor):
                x = DTensor.from_local(x, p.device_mesh, p.placements, shape=p.shape, stride=p.stride())
            return x
        return {name: x if name == "step" else as_p(self.unpack(name, *x)) for name, x in self.state[p].items()}

    def write(self, p, state):
        """The inverse of `read`: what was packed once is packed the same way again."""
        self.state[p] = {name: x.cpu().clone() if name == "step" else self.pack(name, local(x).float().reshape(-1))
                         for name, x in state.items()}


def first_moments(module, optimizer):
    """All of Adam's memory before the first update: a sampler that shares the GPU starts with what is left of it."""
    second = "exp_avg_rms" if isinstance(optimizer, Adam8bit) else "exp_avg_sq"
    load_moments(module, optimizer, {
        name: {"step": torch.tensor(0.0), "exp_avg": torch.zeros_like(p), second: torch.zeros_like(p)}
        for name, p in module.named_parameters()})


# ---------------------------------------------------------------------------------------------- models on their devices

def build(args, path):
    """The policy with the weights at `path`, the reference and the value model (None without), and the files beside a
    checkpoint's weights. A model is on its devices before the next is read; with several ranks, which divide each layer
    as they take it from the host, as many ranks read at a time as the host's memory allows."""
    precision, value_model = getattr(torch, args.dtype), None
    others = {}

    def policy_of(path, trains):
        if RANKS == 1:  # what trains has float32 master weights
            model = load_model(path, dtype=torch.float32 if trains else precision).to(args.device)
        else:
            model = load_model(path, dtype="auto" if trains else precision)
        model.requires_grad_(trains)
        if trains:
            if RANK == 0:
                check_logits(model, path)
            others.update(other_files(model, load_tokenizer(path), precision))
        checkpointed = trains and args.activation_checkpointing
        share = shares_prompt(model.config, RANKS)
        return placed(Policy(model, share and not checkpointed, precision), model, args, checkpointed)
    policy = in_turn(checkpoint_bytes(path), lambda: policy_of(path, True))
    reference, name = None, args.reference_model or args.model
    if args.loss != "sft" and name != "none":
        reference = in_turn(checkpoint_bytes(name), lambda: policy_of(name, False))
    if args.value_lr:
        value = Value(args.model, precision).to(args.device if RANKS == 1 else "cpu")
        value_model = placed(value, value.backbone, args, args.activation_checkpointing)
    return policy, reference, value_model, others


def placed(module, backbone, args, checkpointed):
    if checkpointed:
        checkpoint_activations(backbone)
    if RANKS > 1:
        shard(module, args)
    return module


def checkpoint_bytes(path):
    """Size of the weights at `path`; of a name on the hub, which has no size here, that of a large model."""
    return sum(file.stat().st_size for file in Path(path).glob("*.safetensors")) or 2e11


def shares_prompt(config, ranks):
    """Whether the completions of a group can share their prompt's keys and values."""
    return ranks == 1 and "sliding_attention" not in (getattr(config, "layer_types", None) or [])


def probe_ids(model):
    return [(7919 * i + 104729) % model.config.vocab_size for i in range(16)]


@torch.no_grad()
def check_logits(model, path):
    """Refuse a model whose logits are not its output layer applied to its last states: `Policy.select` would be wrong.
    Both are computed from one sequence in the model's own precision; what its rounding may do is a few units in the
    last place of the largest logit, where another scale is a multiple."""
    ids = torch.tensor([probe_ids(model)], device=model.device)
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0]
    found, _ = Policy(model, share_prompt=False).select(hidden, ids[0], False)
    logits = model(input_ids=ids, use_cache=False).logits[0].float()
    expected = logits.log_softmax(-1).gather(1, ids[0, :, None]).squeeze(1)
    tolerance = max(4 * torch.finfo(model.dtype).eps, 1e-4) * logits.nan_to_num().abs().max().item()
    if not torch.allclose(found.float(), expected, rtol=0, atol=tolerance, equal_nan=True):
        raise ValueError(f"{path} ({model.config.model_type}) scales its logits in a way that train.py does not know")


def checkpoint_activations(model):
    """Keep no activations inside a layer, compute them again in the backward pass. Only the layers themselves are told
    that they train, and not what is inside them: dropout stays off."""
    model.gradient_checkpointing_enable({"use_reentrant": False})
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.training = True


# -------------------------------------------------------------------------------------------------------- several ranks
# Under torchrun every rank has all rows of a step and does the same arithmetic on them; the passes through the models
# are divided (Batch.microbatches; the value model's are not), and parameters, gradients and Adam's moments are sharded
# (FSDP2). Rank 0 reads the pipe and writes the run's directory.

def start_ranks(args):
    """Join the other ranks, each with a device of its own."""
    if args.device.startswith("cuda"):
        args.device = f"cuda:{os.environ['LOCAL_RANK']}"
        check_device(args.device)
        torch.cuda.set_device(args.device)
    # no one gives up while rank 0 waits for the sampler
    dist.init_process_group("cpu:gloo,cuda:nccl" if args.device.startswith("cuda") else "gloo",
                            timeout=datetime.timedelta(days=7))
    all_ranks(torch.device(args.device).type)


def leave_ranks():
    """End this process, after all ranks' work. Gloo's threads outlive their group, and one that releases a tensor while
    the interpreter ends would abort the process; so the interpreter's own end is left out."""
    dist.barrier()
    dist.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@functools.cache
def all_ranks(device_type):
    """The mesh of all ranks. Made once, by all of them together."""
    return dist.init_device_mesh(device_type, (RANKS,))


def shard(module, args):
    """Divide the parameters of `module` over the ranks, layer by layer: one layer at a time is whole on the device.
    Those that train are float32, the others stay as they are."""
    def prepared(part):
        for parameter in part.parameters():
            if parameter.requires_grad and not isinstance(parameter, DTensor):
                parameter.data = parameter.data.float()
        return part
    precision = MixedPrecisionPolicy()
    if args.dtype == "bfloat16":
        precision = MixedPrecisionPolicy(torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False)
    how = {"mesh": all_ranks(torch.device(args.device).type), "mp_policy": precision}
    for layer in [m for m in module.modules() if isinstance(m, GradientCheckpointingLayer)]:
        fully_shard(prepared(layer), **how)
    fully_shard(prepared(module), **how, reshard_after_forward=True)


def in_turn(size, function):
    """function() on every rank; of a machine's ranks as many at a time as its memory holds `size` bytes for each."""
    if RANKS == 1:
        return function()
    place, here = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    at_once = from_rank_0(lambda: max(1, min(here, int(0.7 * free_memory() / size))))
    for first in range(0, here, at_once):
        if first <= place < first + at_once:
            result = function()
        dist.barrier()
    return result


def free_memory():
    """Bytes of host memory that are free or can be freed."""
    with open("/proc/meminfo") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith("MemAvailable"))


def together():
    """Wait for the other ranks."""
    if RANKS > 1:
        dist.barrier()


def over_ranks(x):
    """The sum of `x` over the ranks, in place."""
    if RANKS > 1:
        dist.all_reduce(x)
    return x


def from_rank_0(f):
    """What f() is on rank 0, for all ranks."""
    found = [f() if RANK == 0 else None]
    if RANKS > 1:
        dist.broadcast_object_list(found, device=torch.device("cpu"))
    return found[0]


def whole(x):
    """All of a tensor that may be sharded; a plain one as it is."""
    return x.full_tensor() if isinstance(x, DTensor) else x


def local(x):
    """This rank's part of a tensor that may be sharded."""
    return x.to_local() if isinstance(x, DTensor) else x


def on_host(x):
    """whole(x), on the CPU of rank 0; None on the other ranks, whose part in this is only to give theirs."""
    x = whole(x.detach())
    return x.cpu() if RANK == 0 else None


def like(x, parameter):
    """A whole tensor on the devices of `parameter`, sharded as it is."""
    x = x.to(parameter.device)
    return distribute_tensor(x, parameter.device_mesh, parameter.placements) if isinstance(parameter, DTensor) else x


# ---------------------------------------------------------------------------------------------- weights for the sampler
# Every update ends in a normal Hugging Face checkpoint. Each rank casts and writes the rows that it holds, a piece at a
# time, so that nothing is gathered, nowhere a second copy of the weights is made, and the ranks write at once.


PIECE = 2**23  # numbers that are cast and written at a time
NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.int64: "I64"}  # of safetensors


def weights_home(args, model):
    """Where weights are published: RUN, or a folder of this run below --weights-dir. Raises ValueError for a place that
    has not the room for --keep-policies of them and two more."""
    if args.weights_dir is None:
        return args.run
    if not args.weights_dir.is_dir():
        raise ValueError(f"--weights-dir {args.weights_dir} is not a directory")
    run = args.run.resolve()
    home = args.weights_dir.resolve() / f"{run.name}-{hashlib.sha256(str(run).encode()).hexdigest()[:8]}"
    home.mkdir(parents=True, exist_ok=True)
    size = sum(tensor.numel() for tensor in saved_tensors(model).values()) * getattr(torch, args.dtype).itemsize
    needed = (args.keep_policies + 2) * size
    free = shutil.disk_usage(home).free + sum(file.stat().st_size for file in home.rglob("*") if file.is_file())
    if free < needed:
        raise ValueError(f"--weights-dir {args.weights_dir} has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are "
                         f"needed ({args.keep_policies + 2} times the weights): name another place, or leave the flag "
                         "out")
    return home


def saved_tensors(model):
    """{name: tensor} as a checkpoint holds them: once where two names share one. Raises ValueError for a model of which
    transformers arranges the tensors otherwise than its checkpoint does."""
    if get_model_conversion_mapping(model, add_legacy=False):
        raise ValueError(f"train.py cannot write checkpoints of a {model.config.model_type}: transformers rearranges "
                         "its tensors")
    left_out = set(model.all_tied_weights_keys) | set(model._keys_to_ignore_on_save or ())
    return {name: tensor.detach() for name, tensor in model.state_dict().items() if name not in left_out}


def publish(home, step, policy, others, args):
    """Write the weights after `step` updates as <home>/policy-<step>, complete before it has its name, and flip
    RUN/policy to it. Returns the new directory."""
    final, new = home / f"policy-{step:06d}", home / "policy.new"
    probed = probe(policy)
    try:
        if RANK == 0:
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir()
            for name, content in (others | {"probe.json": json.dumps(probed).encode()}).items():
                (new / name).parent.mkdir(exist_ok=True)
                (new / name).write_bytes(content)
        together()
        write_weights(new, saved_tensors(policy.model), getattr(torch, args.dtype))
    except OSError as error:
        raise OSError(f"cannot write {new}: {error}") from None
    if args.share_gpu:  # the sampler takes its memory back as soon as it sees the new weights
        torch.cuda.empty_cache()
    together()
    if RANK == 0:
        shutil.rmtree(final, ignore_errors=True)
        new.rename(final)
        replace_link(args.run / "policy", final.name if home == args.run else final)
    return final


@torch.no_grad()
def probe(policy):
    """A fixed token sequence and its log-probability under the policy: the sampler compares after each reload."""
    ids = probe_ids(policy.model)
    lp, _ = policy([ids[:1]], [ids[1:]], [0])
    if not lp.isfinite().all():
        raise FloatingPointError("the updated policy's log-probabilities are not finite")
    return {"token_ids": ids, "logprob": lp.sum().item()}


def write_weights(directory, tensors, dtype):
    """Write {name: tensor} into `directory` as safetensors in `dtype`: a file a rank, and an index if there are
    several. A rank holds some rows of every tensor, which lie together in its file: each writes its own, and nothing is
    gathered. The ranks begin with different files, because a file is written by one process at a time."""
    files = [f"model-{i + 1:05d}-of-{RANKS:05d}.safetensors" if RANKS > 1 else "model.safetensors"
             for i in range(RANKS)]
    inside, size = {file: [] for file in files}, dict.fromkeys(files, 0)  # names; numbers
    for name, tensor in tensors.items():
        file = min(files, key=size.get)
        inside[file].append(name)
        size[file] += tensor.numel()
    kinds = {name: dtype if tensor.is_floating_point() else tensor.dtype for name, tensor in tensors.items()}
    starts = {}
    for file in files:
        header, end = {"__metadata__": {"format": "pt"}}, 0
        for name in inside[file]:
            start, end = end, end + tensors[name].numel() * kinds[name].itemsize
            header[name] = {"dtype": NAMES[kinds[name]], "shape": list(tensors[name].shape),
                            "data_offsets": [start, end]}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        starts |= {name: 8 + len(text) + header[name]["data_offsets"][0] for name in inside[file]}
        if RANK == 0:
            with open(directory / file, "wb") as out:
                out.write(len(text).to_bytes(8, "little") + text)
                out.truncate(8 + len(text) + end)
    if RANKS > 1 and RANK == 0:
        total = sum(tensor.numel() * kinds[name].itemsize for name, tensor in tensors.items())
        index = {"metadata": {"total_size": total},
                 "weight_map": {name: file for file in files for name in inside[file]}}
        (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    together()
    for file in files[RANK:] + files[:RANK]:
        with open(directory / file, "r+b") as out:
            for name in inside[file]:
                part, first = own_part(tensors[name])
                out.seek(starts[name] + first * kinds[name].itemsize)
                write_tensor(out, part, kinds[name])


def own_part(tensor):
    """The numbers that this rank has of a tensor, flat, and the place of the first; of one that all ranks have rank
    0's."""
    if not isinstance(tensor, DTensor):
        return tensor.reshape(-1)[:None if RANK == 0 else 0], 0
    if tensor.placements != (Shard(0),):
        raise ValueError(f"train.py writes tensors that are divided by rows, not by {tensor.placements}")
    rows = -(-tensor.shape[0] // RANKS)  # of each rank; the last may have fewer or none
    return tensor.to_local().reshape(-1), min(RANK * rows, tensor.shape[0]) * math.prod(tensor.shape[1:])


@functools.lru_cache(2)
def host_buffer(dtype, pinned):
    return torch.empty(PIECE, dtype=dtype, pin_memory=pinned)


def write_tensor(file, numbers, dtype):
    """Cast, bring to the host and write a piece at a time."""
    buffer = host_buffer(dtype, numbers.is_cuda)
    for piece in numbers.split(PIECE):
        if len(piece):
            if piece.is_cuda:  # copy_ would bring it over whole and unpinned, and cast on the host
                piece = piece.to(dtype)
            file.write(buffer[:len(piece)].copy_(piece).view(torch.uint8).numpy().data)


def other_files(model, tokenizer, dtype):
    """{name: bytes} of what lies beside the weights in a checkpoint, the same at every step."""
    with tempfile.TemporaryDirectory() as scratch:
        model.config.architectures, model.config.dtype = [type(model).__name__], dtype
        model.config.save_pretrained(scratch)
        if model.can_generate():
            model.generation_config.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        return {str(file.relative_to(scratch)): file.read_bytes() for file in Path(scratch).rglob("*")
                if file.is_file()}


def replace_link(link, target):
    """Point `link` to `target` in one atomic step."""
    new = link.with_name(link.name + ".link")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    os.replace(new, link)


def remove_old(home, step, args):
    """Remove weights that no sampler may still load, but for the newest checkpoint that can be resumed from."""
    for path in {*home.glob(POLICY), *args.run.glob(POLICY)} - {resumable(args.run)}:
        if int(path.name[-6:]) < step - 1 - args.keep_policies:
            shutil.rmtree(path)


def leave_home(home, run):
    """At the end of a run: RUN/policy is the newest checkpoint in RUN, and nothing stays on a memory file system."""
    if home != run:
        if last := resumable(run):
            replace_link(run / "policy", last.name)
        shutil.rmtree(home, ignore_errors=True)


# ----------------------------------------------------------------------------------------------- checkpoints and resume

CHECKED_AT_ONCE = 2**26  # bytes of a file that a thread checks
AFTER_DAMAGE = ("Every checkpoint is complete before it has its name, so the disk or a copy damaged it: remove {} to "
                "resume from the one before, if there is one, or start another --run")


def lock(run):
    """A file that keeps every other train.py out of RUN as long as it is held."""
    run.mkdir(parents=True, exist_ok=True)
    file = open(run / "lock", "w")
    for _ in range(20):  # an evaluation that follows the run looks at the lock now and then
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            time.sleep(0.05)
    raise ValueError(f"another train.py is at work in {run}")


def check_held(held, run):
    """ValueError if RUN is not the directory any more in which this process holds the lock."""
    try:
        same = os.path.samestat(os.fstat(held.fileno()), os.stat(run / "lock"))
    except FileNotFoundError:
        same = False
    if not same:
        raise ValueError(f"{run} was removed or replaced while train.py was at work in it: it ends here")


def resume(run, args):
    """The newest checkpoint of RUN that has a state, or None. Turns RUN/policy back to it, drops what came after."""
    last, metrics = resumable(run), run / "metrics.jsonl"
    if not last:
        if metrics.exists() and metrics.stat().st_size:
            raise ValueError(f"{metrics} has steps of a run, but there is no checkpoint to go on from "
                             f"({run}/policy-*/trainer.pt): "
                             f"start another --run, or remove {run}")
        return None
    verify_checksums(last)
    state = read_state(last)
    free = {"steps"} if args.schedule == "constant" else set()
    free |= {"run", "device", "microbatch_tokens", "save_every", "keep_policies", "keep_every", "tensorboard",
             "samples_every", "weights_dir", "share_gpu"}
    if said := changed([name for name in state["args"] if name not in free], state["args"], recorded(args), flag):
        raise ValueError(f"{run} was started with other flags: {said}: start another --run, or remove it")
    replace_link(run / "policy", last.name)
    for path in [*run.glob(POLICY), *run.glob(f"kept/{POLICY}")]:
        if path.name > last.name:
            shutil.rmtree(path)
    for path in run.glob("rollouts/step-*.jsonl.gz"):
        if path.name >= f"step-{state['step']:06d}":
            path.unlink()
    metrics.with_suffix(".new").write_bytes(b"".join(metrics_before(state["step"], metrics)))
    os.replace(metrics.with_suffix(".new"), metrics)
    return last


def metrics_before(step, path):
    """The lines of metrics.jsonl of the steps before `step`. Steps that are missing are named; ValueError for a line
    that is none of train.py's, or a step that does not follow the one before."""
    steps, kept = [], []
    with open(path, "a+b") as file:
        lines = list(whole_lines(file))
    for number, row in read_rows(lines, None, source=f"{path}: "):
        if not STEP.fit([row.get("step")]) or steps and row["step"] <= steps[-1]:
            raise ValueError(f"{path}: row {number}: expected a step above {steps[-1] if steps else -1}, found "
                             f"{row.get('step')}: remove the lines that are wrong, or start another --run")
        steps.append(row["step"])
        if row["step"] < step:
            kept.append(lines[number - 1])
    if missing := sorted(set(range(step)) - set(steps)):
        say(f"{path} lacks {len(missing)} of the steps before {step}: {', '.join(map(str, missing[:5]))}"
            f"{', ...' if len(missing) > 5 else ''}. The run goes on, and its curves have a gap")
    return kept


def read_state(path):
    try:
        return torch.load(path / "trainer.pt", map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path / 'trainer.pt'} cannot be read ({error}). {AFTER_DAMAGE.format(path)}") from None


def weights_of(module):
    return {name: on_host(tensor) for name, tensor in module.state_dict().items()}


def load_weights(module, weights):
    own = module.state_dict()
    module.load_state_dict({name: like(tensor, own[name]) for name, tensor in weights.items()})


def moments_of(module, optimizer):
    """{parameter: Adam's state}, whole whatever the number of ranks, so that a run can go on with another number."""
    read = optimizer.read if isinstance(optimizer, Adam8bit) else optimizer.state.get
    return {name: {key: on_host(x) for key, x in read(p).items()}
            for name, p in module.named_parameters() if p in optimizer.state}


def load_moments(module, optimizer, moments):
    write = optimizer.write if isinstance(optimizer, Adam8bit) else optimizer.state.__setitem__
    for name, p in module.named_parameters():
        if name in moments:
            write(p, {key: x.to(p.device) if key == "step" else like(x, p) for key, x in moments[name].items()})


def save_state(published, state, args):
    """Make RUN/policy-<step> a checkpoint from which the same command resumes: `published`, where it lies on another
    file system, and trainer.pt, complete before it has its name."""
    target, new = args.run / published.name, args.run / "policy.new"
    try:
        if published.parent != args.run:
            shutil.rmtree(new, ignore_errors=True)
            shutil.copytree(published, new)
        torch.save(state, (new if new.exists() else target) / "trainer.new")
        write_checksums(new if new.exists() else target)
        if new.exists():
            os.replace(new / "trainer.new", new / "trainer.pt")
            shutil.rmtree(target, ignore_errors=True)
            new.rename(target)
        else:
            os.replace(target / "trainer.new", target / "trainer.pt")
    except (RuntimeError, OSError) as error:  # what torch makes of a failed write
        raise OSError(f"cannot write {target / 'trainer.pt'}: {error}") from None


def checksum(file):
    """CRC-32 of a file, as hexadecimal digits; of its parts first, since threads can share those."""
    size = file.stat().st_size

    def of_part(start):
        room, crc, left = memoryview(bytearray(2**20)), 0, CHECKED_AT_ONCE
        with open(file, "rb", buffering=0) as content:
            content.seek(start)
            while left and (count := content.readinto(room[:min(left, len(room))])):
                crc, left = zlib.crc32(room[:count], crc), left - count
        return crc.to_bytes(4, "big")
    with concurrent.futures.ThreadPoolExecutor() as threads:
        return f"{zlib.crc32(b''.join(threads.map(of_part, range(0, size, CHECKED_AT_ONCE)))):08x}"


def write_checksums(directory):
    """Write what the files of a checkpoint have to be into its checksums.json, {name: [bytes, checksum]}, the state
    that is still called trainer.new included."""
    files = {str(file.relative_to(directory)): file for file in sorted(directory.rglob("*")) if file.is_file()}
    files["trainer.pt"] = files.pop("trainer.new")
    files.pop("checksums.json", None)
    sums = {name: [file.stat().st_size, checksum(file)] for name, file in files.items()}
    (directory / "checksums.json").write_text(json.dumps(sums, indent=1))


def verify_checksums(directory):
    """ValueError that names the file if one of a checkpoint is not what was written."""
    try:
        sums = json.loads((directory / "checksums.json").read_text())
        files = [(directory / name, size, expected) for name, (size, expected) in sums.items()]
    except FileNotFoundError:
        say(f"{directory} has no checksums.json: whether its files are whole is not known")
        return
    except (ValueError, TypeError, AttributeError):
        files = [(directory / "checksums.json", -1, "")]
    for file, size, expected in files:
        if not file.is_file():
            raise ValueError(f"{file} is missing. {AFTER_DAMAGE.format(directory)}")
        if file.stat().st_size != size or checksum(file) != expected:
            raise ValueError(f"{file} is damaged: it is not what was written. {AFTER_DAMAGE.format(directory)}")


def keep(run, checkpoint):
    """RUN/kept/policy-<step>: the files of a published checkpoint, for good, so that it can be evaluated later or
    beside the training. Complete before it has its name. Hard links, which cost nothing, where the file system has
    them."""
    def link(source, target):
        try:
            os.link(source, target)
        except OSError:  # another file system, or one without links
            shutil.copy2(source, target)
    new, final = run / "kept" / "new", run / "kept" / checkpoint.name
    for stale in (new, final):
        shutil.rmtree(stale, ignore_errors=True)
    shutil.copytree(checkpoint, new, copy_function=link)
    new.rename(final)


def check_room(run, model, args):
    """Say what --keep-every will take of the disk; ValueError where the disk has not so much."""
    size = sum(p.numel() for p in model.parameters()) * getattr(torch, args.dtype).itemsize
    steps = {*range(0, args.steps + 1, args.keep_every), args.steps} if args.steps is not None else None
    there = len(list(run.glob(f"kept/{POLICY}")))
    free = shutil.disk_usage(run).free
    text = f"checkpoints of {size / 1e6:,.1f} MB every {args.keep_every} steps"
    if steps is None:
        text = f"--keep-every: {text}, for good; {free / 1e9:,.1f} GB are free"
    else:
        text = (f"--keep-every: {len(steps)} {text}, {len(steps) * size / 1e9:,.3f} GB in {run / 'kept'}, {there} of "
                f"them are there; {free / 1e9:,.1f} GB are free")
        if (len(steps) - there) * size > free:
            raise ValueError(text)
    say(text)


# ----------------------------------------------------------------------------------------------- memory, before the run
# What a GPU will hold. Activations depend on the architecture, on precision and on how attention is computed, so no
# formula is kept here: a pass of the model's own code over fake tensors, which have shapes but no numbers, is watched.


# tokens of a sequence, half of them prompt. Where attention is fused, what a microbatch holds depends on it little
SEQUENCE = 2048


def print_memory(args):
    """The table for 1 to 16 GPUs (--memory)."""
    defaults_by_size(args)
    config = AutoConfig.from_pretrained(args.model)
    alone, one_of_several = (activations(config, args, ranks, args.memory) for ranks in (1, 2))
    print(memory_table({ranks: memory(config, args, ranks, one_of_several if ranks > 1 else alone)
                        for ranks in (1, 2, 4, 8, 16)},
                       args, args.memory))


def check_memory(config, args, ranks, total):
    """Print what each of `ranks` GPUs with `total` bytes will hold; warn if that comes close. ValueError, with what to
    change, where weights, gradients and moments alone are too large."""
    def stays(ranks, **changed):
        return sum(held(config, argparse.Namespace(**vars(args) | changed), ranks).values())
    if stays(ranks) > total:
        changes = {"--adam-bits 8": {"adam_bits": 8}, "--reference-model none": {"reference_model": "none"}}
        less = {flag: stays(ranks, **change) for flag, change in changes.items()
                if flag != "--reference-model none" or not (args.beta and args.kl_to == "reference")}
        ways = [f"{flag} ({size / 1e9:.0f} GB)" for flag, size in less.items() if size < stays(ranks)]
        raise ValueError(f"weights, gradients and Adam's moments need {stays(ranks) / 1e9:.0f} GB on each of {ranks} "
                         f"GPUs, which have {total / 1e9:.0f} GB. What helps: " + ", ".join(
                             [f"more than {int(stays(1) / total)} GPUs under torchrun", *ways, "a smaller model"]))
    try:
        found = memory(config, args, ranks, activations(config, args, ranks))
    except ValueError as error:  # the run itself may well work
        say(f"warning: weights, gradients and Adam's moments: {stays(ranks) / 1e9:.1f} GB on each GPU of "
            f"{total / 1e9:.0f} GB; {error}")
        return
    print(memory_table({ranks: found}, args, SEQUENCE), file=sys.stderr)
    if sum(found.values()) > 0.9 * total:
        ways = ["--activation-checkpointing"] * (not args.activation_checkpointing) + ["a smaller --microbatch-tokens"]
        ways += ["--adam-bits 8"] * (args.adam_bits == 32) + ["more GPUs"]
        say(f"warning: that is close to the GPU's {total / 1e9:.0f} GB, or above. What helps: {', '.join(ways)}")


def memory_table(columns, args, length):
    """Text of {number of GPUs: memory()}, in GB."""
    rows = [["GB on each GPU, of", *map(str, columns)]]
    for what in next(iter(columns.values())):
        rows.append([what, *(f"{column[what] / 1e9:.1f}" for column in columns.values())])
    rows.append(["together", *(f"{sum(column.values()) / 1e9:.1f}" for column in columns.values())])
    return "\n".join([f"{row[0]:32}" + "".join(f"{cell:>9}" for cell in row[1:]) for row in rows] + [
        f"(at most {max(args.microbatch_tokens, length)} tokens at once, in sequences of {length})"])


def memory(config, args, ranks, watch):
    """{what: bytes on each of `ranks` GPUs} when an update holds most; watch: activations() of as many ranks."""
    return held(config, args, ranks) | {"layers gathered from all GPUs": gathered(config, args, ranks, watch),
                                        "activations": watch.kept,
                                        "logits, casts, one layer's work": watch.most - watch.kept}


def held(config, args, ranks):
    """{what: bytes on each of `ranks` GPUs} of all that stays from step to step, and of the gradients."""
    size, bits = getattr(torch, args.dtype).itemsize, args.adam_bits
    moments = {32: 8, 8: 2 + 8 / Adam8bit.BLOCK}[bits]
    with without_numbers():
        count = fake_model(config).num_parameters()
        found = {"weights, float32": 4 * count, "gradients, float32": 4 * count,
                 f"Adam's moments, {bits} bits": moments * count}
        if args.loss != "sft" and args.reference_model != "none":
            other = AutoConfig.from_pretrained(args.reference_model) if args.reference_model else config
            found[f"reference, {args.dtype}"] = size * fake_model(other).num_parameters()
        if args.value_lr:
            found["value model, the first three"] = (4 + 4 + moments) * fake_model(config).base_model.num_parameters()
    return {what: n / ranks for what, n in found.items()}


def gathered(config, args, ranks, watch):
    """Bytes that FSDP adds to a pass on each GPU: the parameters outside the layers whole, and their gradients, for all
    of the pass; two layers, the one at work and the next; and a layer's gradients, also in float32, in which they are
    summed over ranks (not with all activations kept: a layer has freed more when its gradients are there). Or, if that
    is more, the same sum for what is outside the layers, at the end, when no activations are left."""
    if ranks == 1:
        return 0
    with without_numbers():
        model, size = fake_model(config), getattr(torch, args.dtype).itemsize
        layer = max(sum(p.numel() for p in m.parameters()) for m in model.modules()
                    if isinstance(m, GradientCheckpointingLayer))
        outside = model.num_parameters() - sum(
            p.numel() for m in model.modules() if isinstance(m, GradientCheckpointingLayer) for p in m.parameters())
    at_the_end = (2 * size + 4 + 4 / ranks) * outside + (size + 4) * layer
    in_layers = 2 * size * layer + ((size + 4) * layer if args.activation_checkpointing else 0)
    return max(2 * size * outside + in_layers, at_the_end - watch.most)


def activations(config, args, ranks, length=SEQUENCE):
    """The Watch of the largest microbatch of sequences of `length` tokens, on one of `ranks` GPUs. ValueError for a
    model whose code cannot run without numbers (mixtures of experts)."""
    dtype = getattr(torch, args.dtype)
    with without_numbers():
        model = fake_model(config, dtype if ranks > 1 else torch.float32)  # FSDP gathers layers in this dtype
        if args.activation_checkpointing:
            checkpoint_activations(model)
        policy = Policy(model, shares_prompt(config, ranks) and not args.activation_checkpointing, dtype)
        policy.logits_at_once = LOGITS_AT_ONCE["cuda"]
        half = length // 2
        count = (args.microbatch_tokens - half) // half if policy.share_prompt else args.microbatch_tokens // length
        prompts, completions = [[0] * (length - half)], [[0] * half] * max(1, count)
        try:
            return one_pass(policy, prompts if policy.share_prompt else prompts * len(completions), completions,
                            args.entropy_bonus > 0)
        except Exception as error:  # whatever a model's code makes of such tensors
            raise ValueError(f"the activations of a {config.model_type} are not known beforehand: its code does not "
                             f"run on tensors without numbers ({' '.join(str(error).split())[:200]})") from error


class Watch(TorchDispatchMode):
    """The bytes of the storages that operations within this block have made: `now` alive, and `most` at any time.
    Between keep() and its end also `kept`: those that the forward pass saves for the backward pass, parameters
    excluded."""

    def __init__(self, parameters):
        super().__init__()
        self.now = self.most = 0
        self.known = {p.untyped_storage()._cdata for p in parameters}
        self.saved = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for x in tree_leaves(result):
            if isinstance(x, torch.Tensor) and x.untyped_storage()._cdata not in self.known:
                storage = x.untyped_storage()
                self.known.add(storage._cdata)
                self.now += storage.nbytes()
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self.freed, storage._cdata, storage.nbytes())
        return result

    def freed(self, key, size):
        self.known.discard(key)
        self.now -= size

    @contextlib.contextmanager
    def keep(self):
        own = set(self.known)

        def save(x):
            storage = x.untyped_storage()
            if storage._cdata not in own:
                self.saved[storage._cdata] = storage  # held, so that no later one has its key
            return x
        with torch.autograd.graph.saved_tensors_hooks(save, lambda x: x):
            yield
        self.kept = sum(storage.nbytes() for storage in self.saved.values())
        self.saved.clear()


def one_pass(policy, prompts, completions, entropy):
    """The forward and backward pass of a microbatch: `completions` of one length, each of the prompt of the same
    number, or all of the only one. Returns its Watch."""
    for parameter in policy.parameters():  # accumulated gradients are counted elsewhere
        parameter.register_post_accumulate_grad_hook(lambda parameter: setattr(parameter, "grad", None))
    with Watch(policy.parameters()) as watch:
        with watch.keep(), autocast(policy.model.device, policy.dtype):
            targets = policy.tensor(completions)
            hidden = (policy.after_prompts(*policy.read_prompts(prompts), targets.new_zeros(len(targets)), targets)
                      if policy.share_prompt else policy.with_prompts(prompts, completions))
            lp, entropies = policy.select(hidden.flatten(0, 1).clone(), targets.flatten(), entropy)
            del hidden
        (lp.sum() + entropies.sum() if entropy else lp.sum()).backward()
    return watch


@contextlib.contextmanager
def without_numbers():
    """Tensors made in this block have no numbers. transformers would look at some for sequences packed into one: none
    are."""
    with FakeTensorMode(), mock.patch("transformers.masking_utils.find_packed_sequence_indices", return_value=None), \
            mock.patch.object(logging.getLogger("torch._subclasses.fake_tensor"), "disabled", True):
        yield


def fake_model(config, dtype=torch.float32):
    """To be called without numbers."""
    return plain_attention_if_capped(AutoModelForCausalLM.from_config(config, dtype=dtype)).eval()


# -------------------------------------------------------------------------------------------------- models from scratch

def init_tiny(path, seed, architecture="tiny", dtype="float32"):
    """Write a random 0.1M-parameter model with a byte-level tokenizer as a normal Hugging Face checkpoint: Qwen2, or
    one of the papers' other architectures, Llama's with an output layer of its own as theirs is. Head dimension 32, the
    smallest that vLLM loads."""
    if os.path.exists(os.path.join(path, "config.json")):
        raise ValueError(f"--init writes a new model, and {path} has one")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import Gemma2Config, LlamaConfig, PreTrainedTokenizerFast, Qwen2Config

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())  # 256 characters, one a byte
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<eos>", *alphabet])}
    core = Tokenizer(models.BPE(vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>")
    config = {"tiny": Qwen2Config, "qwen2-0.5b": Qwen2Config, "tiny-llama": LlamaConfig,
              "tiny-gemma2": Gemma2Config}[architecture](
        vocab_size=len(vocabulary), hidden_size=64, intermediate_size=192, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=8192,
        tie_word_embeddings=architecture != "tiny-llama", initializer_range=0.05,
        bos_token_id=None, eos_token_id=1, pad_token_id=0)
    if architecture == "qwen2-0.5b":  # Qwen2.5-0.5B's shape, for measurements
        config.update({"vocab_size": 151_936, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
                       "head_dim": 64,
                       "num_attention_heads": 14, "layer_types": ["full_attention"] * 24, "initializer_range": 0.02})
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config).to(getattr(torch, dtype)).save_pretrained(path)
    tokenizer.save_pretrained(path)


# ----------------------------------------------------------------------------------------------------- the command line

def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(usage="%(prog)s --model MODEL --run RUN [flags] < advantages.jsonl",
                                     allow_abbrev=False,
                                     description=__doc__.split("\n")[0],
                                     formatter_class=Help)
    parser.add_argument("--model", required=True, help="initial weights: checkpoint directory or hub name")
    parser.add_argument("--init", choices=["tiny", "tiny-llama", "tiny-gemma2", "qwen2-0.5b"],
                        help="write a new random checkpoint (Qwen2, Llama or Gemma 2) to --model and stop")
    parser.add_argument("--benchmark", action="store_true",
                        help="measure the loop and its stages on --model, beside TRL if it is installed")
    parser.add_argument("--memory", type=int, metavar="LENGTH",
                        help="print what each of 1 to 16 GPUs holds, for sequences of so many tokens, and stop")
    parser.add_argument("--run", type=Path,
                        help="run directory: policy, metrics.jsonl, rollouts/; the same command resumes")
    parser.add_argument("--seed", type=int, default=0, help="of --init and of the order of minibatches")
    loss = parser.add_argument_group("loss")
    loss.add_argument("--loss", choices=["ppo", "pg", "sft"], default="ppo",
                      help="ppo: clipped surrogate; pg: policy gradient without a clip; sft: maximum likelihood")
    loss.add_argument("--ratio", choices=["sequence", "token"], default="sequence",
                      help="probability ratio of whole completions (Tang et al. A.4, Bagirov et al.) or of tokens "
                           "(GRPO)")
    loss.add_argument("--clip-low", type=float, default=0.2, help="the ratio is clipped to [1 - low, 1 + high]")
    loss.add_argument("--clip-high", type=float, default=0.2, help="0.2 in Tang et al. and Bagirov et al.")
    loss.add_argument("--log-ratio-max", type=float, default=20.0, help="log-ratios are cut to +- this before exp")
    loss.add_argument("--ppo-epochs", type=int, default=1,
                      help="passes over a step's rows (Bagirov et al.: 3 off-policy)")
    loss.add_argument("--minibatch-prompts", type=int, help="whole groups per update; default: the whole step")
    loss.add_argument("--old-logprobs", choices=["sampler", "recomputed"], default="sampler",
                      help="denominator of the ratio: the rows' log-probabilities, or the trainer's own before the "
                           "step")
    loss.add_argument("--importance-max", type=float, default=2.0,
                      help="truncation of the weight old / sampler (pg: current / sampler)")
    loss.add_argument("--loss-norm", choices=["sum", "sequence-mean", "constant"], default="sum",
                      help="sum over tokens (the papers' sum_i A_i grad log pi), divided by the completion's length "
                           "(GRPO) or by --max-tokens (Dr. GRPO); the last two with --ratio token")
    loss.add_argument("--max-tokens", type=int, help="to be given with --loss-norm constant: the constant")
    loss.add_argument("--mask-truncated", action="store_true",
                      help="completions cut at the length limit have no advantage")
    loss.add_argument("--beta", type=float, default=0.0,
                      help="coefficient of the KL in the loss (Bagirov et al.: 0.01)")
    loss.add_argument("--kl-to", choices=["reference", "old"], default="reference",
                      help="of --beta: to the reference model or to the sampling policy (Bagirov et al.)")
    loss.add_argument("--reference-model", help="for the KL, logged always; default: --model; 'none': no reference")
    loss.add_argument("--entropy-bonus", type=float, default=0.0, help="baseline of PKPO: 0.001 to 0.1 there")
    value = parser.add_argument_group("value model (Tang et al. App. A.4)")
    value.add_argument("--value-lr", type=float,
                       help="train a value model of the prompt: A_i = R_i - V(x). R_i is the reward with the rows' "
                            "estimator rloo, and with any other estimator its value for the sample")
    value.add_argument("--value-clip", type=float, default=0.2, help="alpha, clip of V around V_old")
    step = parser.add_argument_group("optimisation")
    step.add_argument("--steps", type=int, help="steps of the whole run; default: until the input ends")
    step.add_argument("--stall-steps", type=int, metavar="N",
                      help="end the run when in N steps no prompt was solved that had "
                      "not been before (Walder and Karkhanis on ARC-AGI-1: 1,000)")
    step.add_argument("--lr", type=float, help="default: 1e-3 for weights of at most 100 MB (the embedded task); to be "
                                               "given with larger models")
    step.add_argument("--betas", type=float, nargs=2, default=[0.9, 0.98], help="of AdamW")
    step.add_argument("--weight-decay", type=float, default=0.0, help="0: Adam")
    step.add_argument("--adam-bits", type=int, choices=[32, 8], default=32, help="of each of Adam's two moments")
    step.add_argument("--warmup", type=int, default=5, help="steps of linear warm-up")
    step.add_argument("--schedule", choices=["constant", "linear", "cosine"], default="constant")
    step.add_argument("--lr-final", type=float, default=0.1,
                      help="share of --lr at the end of a linear or cosine schedule")
    step.add_argument("--clip-grad", type=float, default=1.0, help="largest gradient norm; 0: not clipped")
    machine = parser.add_argument_group("machine and files")
    machine.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda or cuda:N")
    machine.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32",
                         help="bfloat16: autocast with float32 master weights; published weights are bfloat16")
    machine.add_argument("--microbatch-tokens", type=int,
                         help="tokens in one forward and backward pass; default: 16384, on CPU 1024 for weights above "
                              "100 MB")
    machine.add_argument("--activation-checkpointing", action="store_true",
                         help="less memory, more work: layers are computed twice")
    machine.add_argument("--save-every", type=int, default=10,
                         help="steps between checkpoints that can be resumed from")
    machine.add_argument("--keep-every", type=int, metavar="N",
                         help="keep the weights of every Nth step, and with --steps or --stall-steps of the last, in "
                              "RUN/kept, to be evaluated: see generate.py --along")
    machine.add_argument("--keep-policies", type=int, default=1, help="published weights to keep for samplers that lag")
    machine.add_argument("--weights-dir", type=Path, help="where the weights of each step are published: a memory file "
                         "system (/dev/shm) is fastest; default: --run, which holds what is resumed from in any case")
    machine.add_argument("--share-gpu", action="store_true",
                         help="leave the GPU's free memory to generate.py --share-gpu whenever new weights are "
                              "published")
    machine.add_argument("--tensorboard", action="store_true", help="write the metrics to RUN/tensorboard too")
    machine.add_argument("--samples-every", type=int, default=50,
                         help="steps between looks at 3 samples (RUN/samples.log); 0: never")
    args = parser.parse_args(argv)
    check_arguments(parser, args)
    return args


def defaults_by_size(args):
    """The learning rate of the embedded task's model is none for real ones: ValueError for want of another. Those also
    train faster on a CPU, and in less memory, in small microbatches."""
    large = checkpoint_bytes(args.model) > 100e6
    if args.microbatch_tokens is None:
        args.microbatch_tokens = 2**10 if large and args.device == "cpu" else 2**14
    if args.lr is None and large and not args.memory:
        raise ValueError(f"{args.model} needs --lr: 1e-3 is the default for models of the embedded task's size "
                         "(the papers take 2e-7 to 5e-6)")
    args.lr = args.lr or 1e-3


def check_arguments(parser, args):
    """Refuse what cannot work and flags that would have no effect."""
    given = {name for name, value in vars(args).items() if value != parser.get_default(name)}
    if args.init or args.benchmark:
        unused = given - ({"init", "model", "seed", "dtype"} if args.init else {"benchmark", "model"})
    else:
        if args.run is None and args.memory is None:
            parser.error("--run is required")
        groups = {group.title: {action.dest for action in group._group_actions} for group in parser._action_groups}
        unused = set()
        if args.loss == "sft":
            unused |= groups["loss"] - {"loss"} | {"value_lr", "stall_steps"}
        if args.loss != "ppo":
            unused |= {"clip_low", "clip_high", "old_logprobs"}
        if args.loss == "ppo" and args.old_logprobs == "sampler":
            unused |= {"importance_max"}
        if not args.beta:
            unused |= {"kl_to"}
        if not args.value_lr:
            unused |= {"value_clip"}
        if args.loss_norm != "constant":
            unused |= {"max_tokens"}
        if args.schedule == "constant":
            unused |= {"lr_final"}
        unused &= given
    if unused:
        parser.error("no effect in this mode: " + " ".join(map(flag, sorted(unused))))
    if args.schedule != "constant" and args.steps is None:
        parser.error(f"--schedule {args.schedule} needs --steps")
    if args.loss_norm == "constant" and args.max_tokens is None:
        parser.error("--loss-norm constant needs --max-tokens")
    if args.loss_norm != "sum" and args.ratio == "sequence":
        parser.error(f"--loss-norm {args.loss_norm} is defined for --ratio token")
    if args.beta and args.kl_to == "reference" and args.reference_model == "none":
        parser.error("--beta needs a reference model")
    at_least = {"ppo_epochs": 1, "minibatch_prompts": 1, "max_tokens": 1, "steps": 1, "save_every": 1, "keep_every": 1,
                "stall_steps": 1, "microbatch_tokens": 1, "importance_max": 1, "warmup": 0, "keep_policies": 0,
                "samples_every": 0, "beta": 0, "entropy_bonus": 0, "weight_decay": 0, "clip_grad": 0,
                "lr_final": 0, "memory": 2}
    above = {"lr": 0, "value_lr": 0, "clip_low": 0, "clip_high": 0, "log_ratio_max": 0, "value_clip": 0}
    for name, low in (at_least | above).items():
        found = getattr(args, name)
        if found is not None and not (found >= low if name in at_least else found > low):
            bound = f"{'at least' if name in at_least else 'above'} {low}"
            parser.error(f"{flag(name)} must be {bound}, not {found}")
    if args.clip_low >= 1:
        parser.error(f"--clip-low must be below 1, not {args.clip_low}")
    if not all(0 <= beta < 1 for beta in args.betas):
        parser.error(f"--betas must be in [0, 1), not {args.betas}")


if __name__ == "__main__":
    main()
