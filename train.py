"""Stage 4 of 4: the off-policy clipped update. Reads rows with advantages, updates the policy, publishes its weights.

    ... | python advantages.py --estimator pkpo_s_loo_minus_one --k 8 | python train.py --model DIR --run RUN --steps 150
    python generate.py --model DIR --reference --split sft --steps 700 | python train.py --loss sft --model DIR --run RUN --steps 700
    python train.py --init tiny --model DIR        # writes a new random model and stops

A step is the rows that share `step`. Its gradient is the papers' sum convention, averaged over the P prompts:
    (1/P) sum_p sum_i A_i grad log pi(y_i | x_p)
After step s the weights are published as RUN/policy-<s+1> and the link RUN/policy is flipped to them; every --save-every
steps the directory also holds trainer.pt, from which the same command resumes. RUN/metrics.jsonl has one line a step,
RUN/rollouts/ every row. The on-policy loss is close to zero at all times (its gradient is not): watch the rewards.

Tang et al. 2025: arXiv 2503.19595. Walder and Karkhanis 2025: 2505.15201. Bagirov et al. 2025: 2510.23393.
Shapes in comments: P prompts, n samples per prompt, B = P * n, U distinct completions, T tokens, V vocabulary, H hidden.
"""

import argparse
import copy
import gzip
import json
import math
import os
import random
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import torch
import transformers
from torch.utils.checkpoint import checkpoint
from tqdm import tqdm
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, DynamicCache

import advantages

LOGITS_AT_ONCE = 2**24  # most logits held at a time: the loss's memory does not grow with T * V


# ------------------------------------------------------------------------------------------------ log-probabilities

class Policy(torch.nn.Module):
    """A causal language model that returns the log-probabilities of completions. The prompt of a group is computed once
    and its keys and values are shared by the group's completions; with activation checkpointing, which excludes a KV
    cache, every completion carries its own copy of the prompt. Both give the same numbers."""

    def __init__(self, model, share_prompt=True):
        super().__init__()
        self.model, self.share_prompt = model, share_prompt

    def forward(self, prompts, completions, group, entropy=False):
        """prompts: G lists of token ids; completions: U lists; group: U indices into prompts.
        Returns float32 (U, T) log-probabilities of the completions' tokens, 0 beyond their end, and, if asked for, the
        (U, T) entropies of the distributions they were drawn from, else None."""
        device, decoder = self.model.device, self.model.base_model
        width = max(map(len, completions))
        logprobs, entropies = [None] * len(completions), [None] * len(completions)
        if self.share_prompt:
            longest = max(map(len, prompts))
            padding = [longest - len(ids) for ids in prompts]  # on the left: a prompt's last column is its last token
            ids = torch.tensor([[0] * pad + ids for pad, ids in zip(padding, prompts)], device=device)
            mask = torch.tensor([[0] * pad + [1] * len(ids) for pad, ids in zip(padding, prompts)], device=device)
            out = decoder(input_ids=ids, attention_mask=mask if any(padding) else None,
                          position_ids=(mask.cumsum(1) - 1).clamp(min=0), use_cache=True)
        for some in by_length(completions):
            of = torch.tensor([group[u] for u in some], device=device)
            long = max(len(completions[u]) for u in some)
            targets = torch.tensor([completions[u] + [0] * (long - len(completions[u])) for u in some], device=device)
            if self.share_prompt:
                hidden = out.last_hidden_state[of, -1:]  # (b, 1, H): predicts the first token of the completion
                if long > 1:
                    cache = DynamicCache(config=self.model.config)
                    for layer, (keys, values) in enumerate((c.keys, c.values) for c in out.past_key_values.layers):
                        cache.update(keys[of], values[of], layer)
                    seen = torch.cat([mask[of], mask.new_ones(len(some), long - 1)], 1)
                    rest = decoder(input_ids=targets[:, :-1], attention_mask=seen if any(padding) else None,
                                   position_ids=mask[of].sum(1, keepdim=True) + torch.arange(long - 1, device=device),
                                   past_key_values=cache, use_cache=True)
                    hidden = torch.cat([hidden, rest.last_hidden_state], 1)  # (b, long, H)
            else:
                whole = [prompts[group[u]] + completions[u][:-1] for u in some]
                wide = max(map(len, whole))
                ids = torch.tensor([s + [0] * (wide - len(s)) for s in whole], device=device)
                mask = torch.tensor([[1] * len(s) + [0] * (wide - len(s)) for s in whole], device=device)
                first = torch.tensor([len(prompts[group[u]]) - 1 for u in some], device=device)
                place = (first[:, None] + torch.arange(long, device=device)).clamp(max=wide - 1)  # (b, long)
                hidden = decoder(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
                hidden = hidden.gather(1, place[..., None].expand(-1, -1, hidden.shape[-1]))
            real = torch.tensor([len(completions[u]) for u in some], device=device)[:, None] > torch.arange(long, device=device)
            lp, ent = self.select(hidden[real], targets[real], entropy)  # tokens of padding are not computed
            for u, a, b in zip(some, *(x.split(real.sum(1).tolist()) for x in (lp, ent))):
                logprobs[u], entropies[u] = a, b
        pad = lambda rows: torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return pad(logprobs), pad(entropies) if entropy else None

    def select(self, hidden, targets, entropy):
        """(N, H), (N,) -> log-probabilities (N,) and entropies (N,), a slice of the logits at a time. Where there is more
        than one slice, their logits are computed again in the backward pass instead of being kept."""
        def piece(hidden, targets):
            logits = self.model.get_output_embeddings()(hidden).float()
            if softcap := getattr(self.model.config, "final_logit_softcapping", None):
                logits = torch.tanh(logits / softcap) * softcap
            total = logits.logsumexp(-1)
            lp = logits.gather(1, targets[:, None]).squeeze(1) - total
            return lp, total - (logits.softmax(-1) * logits).sum(-1) if entropy else lp
        size = max(1, LOGITS_AT_ONCE // self.model.config.vocab_size)
        if len(hidden) <= size:
            return piece(hidden, targets)
        parts = [checkpoint(piece, h, t, use_reentrant=False) for h, t in zip(hidden.split(size), targets.split(size))]
        return tuple(torch.cat(part) for part in zip(*parts))


def by_length(completions, slack=1.25):
    """Indices of the completions in lists of similar length: within a list at most a fifth of a row is padding."""
    lists = []
    for u in sorted(range(len(completions)), key=lambda u: len(completions[u])):
        if not lists or len(completions[u]) > slack * len(completions[lists[-1][0]]):
            lists.append([])
        lists[-1].append(u)
    return lists


# ------------------------------------------------------------------------------------------------------- the batch

def read_step(lines, step):
    """The rows of `step`, in order of arrival; None at the end of the input. Rows of earlier steps are skipped (a file,
    or a pipe without weights to follow, starts again from step 0). Raises ValueError for a row that is not a row with
    advantages of this step, and for an input that ends in mid-step."""
    rows = []
    for number, line in lines:
        try:
            row = json.loads(line)
            where = f"row {number} ({row['task_id']})"
            if row["step"] < step:
                continue
            if row["step"] > step:
                raise ValueError(f"{where} is of step {row['step']}, expected step {step}")
            lengths = {key: len(row[key]) for key in ("completions", "token_ids", "logprobs", "advantages", "rewards")
                       if row.get(key) is not None}
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"row {number} is not a row of the pipe: {error!r}") from None
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise ValueError(f"{where}: lists of one length above 0 expected, found {lengths}")
        if rows and lengths["completions"] != len(rows[0]["completions"]):
            raise ValueError(f"{where} has {lengths['completions']} samples, the rows before it {len(rows[0]['completions'])}")
        rows.append(row | {"row_number": number})
        if len(rows) == row["step_prompts"]:
            return rows
    if rows:
        raise ValueError(f"the input ended in step {step}: {len(rows)} of {rows[0]['step_prompts']} rows")
    return None


class Batch:
    """The B = P * n samples of a step, flat, with padded (B, T) tensors on the policy's device."""

    def __init__(self, rows, sft, device):
        self.rows = rows
        self.prompts = [row["prompt_token_ids"] for row in rows]
        self.group = [g for g, row in enumerate(rows) for _ in row["completions"]]
        self.tokens = [ids for row in rows for ids in row["token_ids"]]
        self.mask = self.padded([[1.0] * len(ids) for ids in self.tokens], device)  # (B, T)
        if not sft:
            for row in rows:
                for key in ("logprobs", "advantages", "rewards", "estimator", "k", "correct", "scores", "votes"):
                    if row.get(key) is None:
                        raise ValueError(f"row {row['row_number']} ({row['task_id']}) has no {key!r}: rows come from "
                                         "generate.py, reward.py and advantages.py, in this order")
                if [len(ids) for ids in row["token_ids"]] != [len(lp) for lp in row["logprobs"]]:
                    raise ValueError(f"row {row['row_number']} ({row['task_id']}): one log-probability a token expected")
            self.sampler = self.padded([lp for row in rows for lp in row["logprobs"]], device)  # (B, T)
            self.advantages = torch.tensor([a for row in rows for a in row["advantages"]], device=device)  # (B,)

    @staticmethod
    def padded(rows, device):
        return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True).to(device)

    def microbatches(self, samples, budget):
        """Split `samples` into lists whose distinct (prompt, completion) pairs hold at most `budget` tokens, a prompt
        counted once a list. Identical completions of a group stay together: they are computed once."""
        micro, seen, cost, previous = [], None, 0, None
        for i in sorted(samples, key=lambda i: (self.group[i], len(self.tokens[i]), self.tokens[i])):
            new = (self.group[i], self.tokens[i])
            if new != previous:
                extra = len(self.tokens[i]) + (len(self.prompts[self.group[i]]) if self.group[i] != seen else 0)
                if micro and cost + extra > budget or not micro:
                    micro.append([])
                    cost, extra = 0, len(self.tokens[i]) + len(self.prompts[self.group[i]])
                cost, seen, previous = cost + extra, self.group[i], new
            micro[-1].append(i)
        return micro

    def logprobs(self, policy, samples, entropy=False):
        """(b, T) log-probabilities (and entropies) of `samples` under `policy`: each distinct completion of a group goes
        through the model once, and its result to every copy."""
        groups, distinct = {}, {}
        copies = [distinct.setdefault((self.group[i], tuple(self.tokens[i])), len(distinct)) for i in samples]
        group = [groups.setdefault(g, len(groups)) for g, _ in distinct]
        lp, ent = policy([self.prompts[g] for g in groups], [list(ids) for _, ids in distinct], group, entropy)
        return lp[copies], ent[copies] if entropy else None

    @torch.no_grad()
    def all_logprobs(self, policy, samples, budget):
        """(B, T) log-probabilities without a graph; 0 for samples that are not in `samples`."""
        result = torch.zeros_like(self.mask)
        for micro in self.microbatches(samples, budget):
            lp, _ = self.logprobs(policy, micro)
            result[micro, :lp.shape[1]] = lp
        return result


# --------------------------------------------------------------------------------------------------------- the loss

def sample_losses(lp, old, sampler, advantage, mask, args, off_policy=False):
    """The surrogate of each sample, (b,), to be summed over a group and averaged over prompts.

    lp (b, T): current log-probabilities, with the graph; old: those in the denominator of the ratio; sampler: those under
    which the samples were drawn; advantage (b,); mask (b, T).
    --loss ppo: -min(rho A, clip(rho, 1 - low, 1 + high) A), rho a token's or a sequence's ratio pi / pi_old (PPO; Tang
        et al. App. A.4 and Bagirov et al. with the sequence's).
    --loss pg: -A log pi, no clip (Tang et al. eq. 2 and 3), weighted by the truncated ratio to the sampler.
    off_policy: `advantage` holds the ratios already (Bagirov et al.): -A log pi, and where PPO's clip would cut the
        gradient (rho beyond the clip on the side that A pushes to), it is cut here too.
    """
    sequence = args.ratio == "sequence"
    def log_ratio(numerator, denominator):  # (b, T), or (b, 1) for the sequence
        difference = (numerator - denominator) * mask
        return (difference.sum(1, keepdim=True) if sequence else difference).clamp(-args.log_ratio_max, args.log_ratio_max)

    advantage = advantage[:, None]
    rho = log_ratio(lp, old).exp()
    # samples drawn by another engine or by older weights than `old`: truncated importance weight (a constant)
    weight = log_ratio(old if args.loss == "ppo" else lp.detach(), sampler).exp().clamp(max=args.importance_max)
    if args.loss == "pg" or off_policy:
        per_token = -advantage * lp * mask
        if off_policy:
            beyond = torch.where(advantage > 0, rho > 1 + args.clip_high, rho < 1 - args.clip_low)
            per_token = per_token * ~beyond
    else:
        clipped = rho.clamp(1 - args.clip_low, 1 + args.clip_high)
        per_token = -torch.minimum(rho * advantage, clipped * advantage)  # (b, T) or (b, 1)
    per_token = per_token * weight * (1 if per_token.shape[1] == 1 else mask)
    norm = {"sum": 1, "sequence-mean": mask.sum(1), "constant": args.max_tokens}[args.loss_norm]
    return per_token.sum(1) / norm, rho


def kl_estimate(lp, other):
    """Per-token estimate of KL(pi || other) from samples of pi, >= 0 and unbiased: exp(d) - 1 - d with d = log other -
    log pi (Schulman's k3, as in GRPO)."""
    d = other - lp
    return d.exp() - 1 - d


def minibatches(batch, step, epoch, args):
    """Whole groups in a seeded order, --minibatch-prompts at a time (default: all at once)."""
    groups = list(range(len(batch.rows)))
    size = args.minibatch_prompts or len(groups)
    if size < len(groups):
        random.Random(f"{args.seed}/{step}/{epoch}").shuffle(groups)
    return [sorted(groups[i:i + size]) for i in range(0, len(groups), size)]


def off_policy_advantages(batch, groups, log_ratio, args):
    """Advantages of an off-policy estimator at the current ratios, clipped first as PPO does: -> (samples of `groups`,).
    log_ratio (B, 1): log pi / pi_old of whole completions."""
    low, high = math.log(1 - args.clip_low), math.log(1 + args.clip_high)
    result = {}
    for g in groups:
        row, samples = batch.rows[g], [i for i, of in enumerate(batch.group) if of == g]
        ratios = log_ratio[samples].clamp(low, high).double().cpu().numpy().T  # (1, n)
        values = advantages.ESTIMATORS[row["estimator"]](np.array([row["rewards"]]), row["k"], votes=np.array([row["votes"]]),
                                                         log_ratio=ratios)
        result |= dict(zip(samples, values[0].tolist()))
    return result


# ------------------------------------------------------------------------------------------------------- the update

class Value(torch.nn.Module):
    """V(x), the value of a prompt: a scalar head on a backbone of its own (Tang et al. App. A.4)."""

    def __init__(self, path):
        super().__init__()
        self.backbone = AutoModel.from_pretrained(path, dtype=torch.float32)
        self.head = torch.nn.Linear(self.backbone.config.hidden_size, 1)
        torch.nn.init.zeros_(self.head.weight), torch.nn.init.zeros_(self.head.bias)

    def forward(self, prompts):
        """P lists of token ids -> (P,) values, read at the prompt's last token."""
        device, width = self.head.weight.device, max(map(len, prompts))
        ids = torch.tensor([ids + [0] * (width - len(ids)) for ids in prompts], device=device)
        mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in prompts], device=device)
        hidden = self.backbone(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        return self.head(hidden[torch.arange(len(prompts)), mask.sum(1) - 1]).squeeze(1)


def value_losses(value, old, target, clip):
    """1/2 max((V - R)^2, (clip(V, V_old - alpha, V_old + alpha) - R)^2), elementwise (Tang et al. App. A.4)."""
    clipped = torch.minimum(torch.maximum(value, old - clip), old + clip)
    return 0.5 * torch.maximum((value - target) ** 2, (clipped - target) ** 2)


def train_step(batch, step, policy, reference, value, optimizers, args):
    """All updates of one step. Returns its metrics as a dict of floats."""
    everything, budget = range(len(batch.tokens)), args.microbatch_tokens
    sft, P = args.loss == "sft", len(batch.rows)
    sums, sizes, updates = {}, {}, 0

    def log(name, values, weight=None):  # running sum and count, for a mean over the step
        weight = torch.ones_like(values) if weight is None else weight
        sums[name] = sums.get(name, 0) + (values.detach() * weight).sum().item()
        sizes[name] = sizes.get(name, 0) + weight.sum().item()

    if not sft:
        ref = batch.all_logprobs(reference, everything, budget) if reference else None
        updates_of_step = args.ppo_epochs * len(minibatches(batch, step, 0, args))
        if args.old_logprobs == "sampler":
            old = batch.sampler
        elif updates_of_step > 1:
            old = batch.all_logprobs(policy, everything, budget)
        else:
            old = None  # one update: the policy's own log-probabilities of this very pass, so the ratio is exactly 1
        if reference:  # sampled under the policy of `policy_step`: an estimate of its KL to the reference
            log("kl_ref", ((batch.sampler - ref) * batch.mask).sum(1))
        advantage = batch.advantages
        if value:
            with torch.no_grad():
                value_old = value(batch.prompts)
            target = advantage
            if args.value_target == "rewards":
                target = torch.tensor([r for row in batch.rows for r in row["rewards"]], device=advantage.device)
            n = torch.tensor([len(batch.rows[g]["rewards"]) for g in batch.group], device=advantage.device)
            # the mean objective is (1/n) sum_i r_i; a k-sample objective's R_i is not divided (Tang et al. eq. 2)
            advantage = (target - value_old[batch.group]) / (n if args.value_target == "rewards" else 1)
        if args.mask_truncated:
            stopped = [reason == "stop" for row in batch.rows for reason in row["finish_reasons"]]
            advantage = advantage * torch.tensor(stopped, device=advantage.device)

    for epoch in range(1 if sft else args.ppo_epochs):
        for groups in minibatches(batch, step, epoch, args):
            chosen = set(groups)
            samples = [i for i in everything if batch.group[i] in chosen]
            needed, off_policy = samples, False
            if not sft:
                off_policy = batch.rows[0]["estimator"] in advantages.USES_LOG_RATIO
                if off_policy:
                    current = batch.all_logprobs(policy, samples, budget)
                    denominator = current if old is None else old
                    ratios = ((current - denominator) * batch.mask).sum(1, keepdim=True)
                    for i, a in off_policy_advantages(batch, groups, ratios, args).items():
                        advantage[i] = a
                if not args.beta and not args.entropy_bonus:
                    keep = advantage.tolist()  # a sample without advantage has no gradient
                    needed = [i for i in samples if keep[i] != 0]
            if value:
                losses = value_losses(value(batch.prompts)[batch.group], value_old[batch.group], target, args.value_clip)
                loss = losses[samples].mean()
                log("value_loss", losses[samples])
                optimizers["value"].zero_grad()
                loss.backward()
                apply(optimizers["value"], value, args, step)
            if not needed:
                continue  # every group is all equal: nothing to learn, and Adam is not stepped on a zero gradient
            tokens = batch.mask[samples].sum()
            optimizers["policy"].zero_grad()
            for micro in batch.microbatches(needed, budget):
                lp, entropy = batch.logprobs(policy, micro, entropy=args.entropy_bonus > 0)
                mask = batch.mask[micro, :lp.shape[1]]
                if sft:
                    loss = -lp.sum() / tokens
                    log("loss", -lp, mask)
                else:
                    sampler = batch.sampler[micro, :lp.shape[1]]
                    denominator = lp.detach() if old is None else old[micro, :lp.shape[1]]
                    losses, rho = sample_losses(lp, denominator, sampler, advantage[micro], mask, args, off_policy)
                    loss = losses.sum() / len(groups)
                    log("loss", losses / len(groups) * (len(needed) / args.ppo_epochs))
                    log("clip_share", ((rho > 1 + args.clip_high) | (rho < 1 - args.clip_low)).float(),
                        mask if rho.shape == mask.shape else None)
                    sums["ratio_max"] = max(sums.get("ratio_max", 0), rho.max().item())
                    log("kl_behaviour", kl_estimate(lp.detach(), sampler), mask)
                    if not updates:
                        log("mismatch_mean", (lp.detach() - sampler).abs(), mask)
                        sums["mismatch_max"] = max(sums.get("mismatch_max", 0), (lp.detach() - sampler).abs().max().item())
                    if args.beta:
                        other = (ref if args.kl_to == "reference" else batch.sampler)[micro, :lp.shape[1]]
                        loss = loss + args.beta * (kl_estimate(lp, other) * mask).sum() / len(samples)
                    if args.entropy_bonus:
                        loss = loss - args.entropy_bonus * (entropy * mask).sum() / tokens
                if not math.isfinite(loss.item()):
                    raise FloatingPointError(f"the loss of step {step} is {loss.item()}; rows "
                                             f"{sorted({batch.rows[batch.group[i]]['task_id'] for i in micro})[:4]}")
                loss.backward()
            log("grad_norm", apply(optimizers["policy"], policy, args, step))
            updates += 1
    metrics = {name: sums[name] / sizes[name] if name in sizes else sums[name] for name in sums}
    return metrics | {"updates": updates, "tokens": int(batch.mask.sum().item())}


def apply(optimizer, module, args, step):
    """Clip the gradient, set the learning rate of `step`, update. Returns the norm before clipping."""
    norm = torch.nn.utils.clip_grad_norm_(module.parameters(), args.clip_grad or math.inf)
    if not torch.isfinite(norm):
        raise FloatingPointError(f"the gradient of step {step} has norm {norm.item()}")
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * lr_factor(step, args)
    optimizer.step()
    return norm


def lr_factor(step, args):
    """Linear warm-up, then constant, linear or cosine decay to --lr-final of the peak at the last step."""
    if step < args.warmup:
        return (step + 1) / args.warmup
    if args.schedule == "constant":
        return 1.0
    done = (step - args.warmup) / max(1, args.steps - args.warmup)
    shape = 1 - done if args.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return args.lr_final + (1 - args.lr_final) * shape


def row_metrics(rows, solved, seen):
    """What the rows say about the policy that drew them; `solved` and `seen` (sets of task_ids) are updated."""
    k = rows[0]["k"]
    rewards, scores, correct, votes, signal = (
        np.array([row[key] for row in rows]) for key in ("rewards", "scores", "correct", "votes", "advantages"))  # (P, n)
    seen |= {row["task_id"] for row in rows}
    solved |= {row["task_id"] for row, right in zip(rows, correct.any(1)) if right}
    surprisal = [-lp for row in rows for sample in row["logprobs"] for lp in sample]
    return {
        "policy_step": rows[0]["policy_step"], "k": k,
        "reward": rewards.mean(), "score": scores.mean(), "correct": correct.mean(),
        "pass_at_k": advantages.pass_at_k(correct, k).mean(), "max_at_k": advantages.max_at_k(scores, k).mean(),
        "maj_at_k": advantages.maj_at_k(correct, votes, k).mean(), "no_signal": (signal == 0).all(1).mean(),
        "all_right": correct.all(1).mean(), "all_wrong": (~correct).all(1).mean(),
        "solved": len(solved) / len(seen), "entropy": np.mean(surprisal),  # of the tokens that were drawn: unbiased
        "length": np.mean([len(ids) for row in rows for ids in row["token_ids"]]),
        "truncated": np.mean([reason == "length" for row in rows for reason in row["finish_reasons"]]),
    }


# ------------------------------------------------------------------------------------------- checkpoints and resume

def replace_link(link, target):
    """Point `link` to `target` in one atomic step."""
    new = link.with_name(link.name + ".new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    os.replace(new, link)


def publish(run, step, policy, tokenizer, args, state=None):
    """Write the weights after `step` updates as RUN/policy-<step>, complete before it has its name, and flip RUN/policy.
    With `state` the directory can be resumed from. Older ones go, but for what a lagging sampler may still load."""
    final, new = run / f"policy-{step:06d}", run / "policy.new"
    shutil.rmtree(new, ignore_errors=True)
    dtype = getattr(torch, args.dtype)
    weights = {name: tensor.to(dtype) for name, tensor in policy.model.state_dict().items()}
    policy.model.save_pretrained(new, state_dict=weights)
    tokenizer.save_pretrained(new)
    (new / "probe.json").write_text(json.dumps(probe(policy)))
    if state:
        torch.save(state | ({"weights": policy.model.state_dict()} if dtype != torch.float32 else {}), new / "trainer.pt")
    shutil.rmtree(final, ignore_errors=True)
    new.rename(final)
    replace_link(run / "policy", final.name)
    kept = sorted(run.glob("policy-??????"))
    resumable = [path for path in kept if (path / "trainer.pt").exists()]
    for path in kept:
        if path not in resumable[-1:] and int(path.name[-6:]) < step - 1 - args.keep_policies:
            shutil.rmtree(path)


@torch.no_grad()
def probe(policy):
    """A fixed token sequence and its log-probability under the policy: the sampler compares after each reload."""
    ids = [(7919 * i + 104729) % policy.model.config.vocab_size for i in range(16)]
    lp, _ = policy([ids[:1]], [ids[1:]], [0])
    return {"token_ids": ids, "logprob": lp.sum().item()}


def resume(run, args):
    """The newest checkpoint of RUN with its state, or (None, None). Turns RUN/policy back to it, drops what came after."""
    found = sorted(path.parent for path in run.glob("policy-??????/trainer.pt"))
    if not found:
        return None, None
    state = torch.load(found[-1] / "trainer.pt", weights_only=True)
    free = {"steps"} if args.schedule == "constant" else set()
    free |= {"run", "save_every", "keep_policies", "samples_every", "microbatch_tokens"}
    changed = {name: (then, getattr(args, name, None)) for name, then in state["args"].items()
               if name not in free and getattr(args, name, None) != then}
    if changed:
        raise ValueError(f"{run} was started with other flags: " + ", ".join(
            f"--{name.replace('_', '-')} {then} then, {now} now" for name, (then, now) in changed.items()))
    replace_link(run / "policy", found[-1].name)
    for path in run.glob("policy-??????"):
        if path > found[-1]:
            shutil.rmtree(path)
    metrics = run / "metrics.jsonl"
    if metrics.exists():
        lines = [line for line in metrics.read_text().splitlines(keepends=True) if line.endswith("\n")]
        kept = [line for line in lines if json.loads(line)["step"] < state["step"]]
        metrics.with_suffix(".new").write_text("".join(kept))
        os.replace(metrics.with_suffix(".new"), metrics)
    return found[-1], state


def train(args):
    run, sft = args.run, args.loss == "sft"
    run.mkdir(parents=True, exist_ok=True)
    checkpoint_path, state = resume(run, args)
    load = lambda path: AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).to(args.device)
    model = load(checkpoint_path or args.model)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path or args.model)
    sliding = "sliding_attention" in (getattr(model.config, "layer_types", None) or [])
    policy = Policy(model, share_prompt=not sliding)
    reference = None
    if not sft and args.reference_model != "none":
        reference = Policy(load(args.reference_model or args.model).requires_grad_(False), share_prompt=not sliding)
    value = Value(args.model).to(args.device) if args.value_lr else None
    adam = lambda module, lr: torch.optim.AdamW([{"params": list(module.parameters()), "peak": lr}], lr=lr,
                                                betas=tuple(args.betas), weight_decay=args.weight_decay)
    optimizers = {"policy": adam(policy, args.lr)} | ({"value": adam(value, args.value_lr)} if value else {})
    first, solved, seen = 0, set(), set()
    if state:
        first, solved, seen = state["step"], set(state["solved"]), set(state["seen"])
        if "weights" in state:
            policy.model.load_state_dict(state["weights"])
        if value:
            value.load_state_dict(state["value"])
        for name, optimizer in optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])

    def state_after(step):
        return {"step": step, "solved": sorted(solved), "seen": sorted(seen), "value": value and value.state_dict(),
                "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers.items()},
                "args": {name: v if isinstance(v, (int, float, str, list, type(None))) else str(v)
                         for name, v in vars(args).items()}}

    if not state:
        publish(run, 0, policy, tokenizer, args, state_after(0))
    if args.steps is not None and first >= args.steps:
        print(f"train.py: {run} is complete: {first} steps", file=sys.stderr)
        return
    (run / "rollouts").mkdir(exist_ok=True)
    lines = ((number, line) for number, line in enumerate(sys.stdin, 1))
    bar = tqdm(total=args.steps, initial=first, desc=run.name, unit="step", mininterval=1, dynamic_ncols=True)
    with open(run / "metrics.jsonl", "a") as metrics_file, bar:
        step = first
        while args.steps is None or step < args.steps:
            started = time.perf_counter()
            rows = read_step(lines, step)
            if rows is None and args.steps is None:
                break
            if rows is None:
                raise ValueError(f"the input ended after {step} of {args.steps} steps")
            arrived = time.perf_counter()
            batch = Batch(rows, sft, args.device)
            metrics = {} if sft else row_metrics(rows, solved, seen)
            with torch.autocast(args.device, torch.bfloat16, enabled=args.dtype == "bfloat16"):
                metrics |= train_step(batch, step, policy, reference, value, optimizers, args)
            if not all(torch.isfinite(p).all() for p in policy.parameters()):
                raise FloatingPointError(f"weights are not finite after step {step}")
            step += 1
            save = step % args.save_every == 0 or step == args.steps
            if not sft:
                write_rollouts(run / "rollouts" / f"step-{step - 1:06d}.jsonl.gz", rows)
            work = time.perf_counter() - arrived
            metrics |= {"lag": step - 1 - (rows[0]["policy_step"] or 0), "lr": args.lr * lr_factor(step - 1, args),
                        "wait_s": arrived - started, "work_s": work, "tokens_per_s": metrics["tokens"] / work}
            metrics_file.write(json.dumps({"step": step - 1} | {k: v if isinstance(v, int) else float(v)
                                                                for k, v in metrics.items()}) + "\n")
            metrics_file.flush()
            if save or not sft:  # no one samples from a policy in the middle of its warm-up
                publish(run, step, policy, tokenizer, args, state_after(step) if save else None)
            if args.samples_every and (step - 1) % args.samples_every == 0:
                log_samples(run / "samples.log", step - 1, rows)
            shown = {"loss": metrics.get("loss", 0.0)} if sft else {
                "reward": metrics["reward"], f"pass@{metrics['k']}": metrics["pass_at_k"],
                "kl": metrics.get("kl_ref", math.nan), "entropy": metrics["entropy"], "lag": metrics["lag"]}
            bar.set_postfix({key: f"{v:.3g}" for key, v in shown.items()}, refresh=False)
            bar.update()
    if args.steps is None and not (run / f"policy-{step:06d}" / "trainer.pt").exists():
        publish(run, step, policy, tokenizer, args, state_after(step))


def write_rollouts(path, rows):
    with gzip.GzipFile(path, "wb", compresslevel=1, mtime=0) as file:
        for row in rows:
            file.write((json.dumps({key: v for key, v in row.items() if key != "row_number"}) + "\n").encode())


def log_samples(path, step, rows):
    """Three completions with their rewards, for a look at what the policy writes."""
    with open(path, "a") as file:
        for row in rows[:3]:
            reward = row.get("rewards", [None])[0]
            file.write(f"--- step {step}, {row['task_id']}, reward {reward}\n{row['prompt'][-400:]}\n>>> {row['completions'][0]}\n")


# ----------------------------------------------------------------------------------------------- models from scratch

def init_tiny(path, seed, architecture="tiny"):
    """Write a random 0.1M-parameter model with a byte-level tokenizer as a normal Hugging Face checkpoint: Qwen2, or one
    of the papers' other architectures. Head dimension 32, the smallest that vLLM loads."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import Gemma2Config, LlamaConfig, PreTrainedTokenizerFast, Qwen2Config

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())  # 256 characters, one a byte
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<eos>", *alphabet])}
    core = Tokenizer(models.BPE(vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>")
    config = {"tiny": Qwen2Config, "tiny-llama": LlamaConfig, "tiny-gemma2": Gemma2Config}[architecture](
        vocab_size=len(vocabulary), hidden_size=64, intermediate_size=192, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=8192, tie_word_embeddings=True, initializer_range=0.05,
        bos_token_id=None, eos_token_id=1, pad_token_id=0)
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    tokenizer.save_pretrained(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False,
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--model", required=True, help="initial weights: checkpoint directory or hub name")
    parser.add_argument("--init", choices=["tiny", "tiny-llama", "tiny-gemma2"],
                        help="write a new random checkpoint (Qwen2, Llama or Gemma 2) to --model and stop")
    parser.add_argument("--run", type=Path, help="run directory: policy, metrics.jsonl, rollouts/; the same command resumes")
    parser.add_argument("--seed", type=int, default=0, help="of --init and of the order of minibatches")
    loss = parser.add_argument_group("loss")
    loss.add_argument("--loss", choices=["ppo", "pg", "sft"], default="ppo",
                      help="ppo: clipped surrogate; pg: policy gradient without a clip; sft: maximum likelihood")
    loss.add_argument("--ratio", choices=["sequence", "token"], default="sequence",
                      help="probability ratio of whole completions (Tang et al. A.4, Bagirov et al.) or of tokens (GRPO)")
    loss.add_argument("--clip-low", type=float, default=0.2, help="the ratio is clipped to [1 - low, 1 + high]")
    loss.add_argument("--clip-high", type=float, default=0.2, help="0.2 in Tang et al. and Bagirov et al.")
    loss.add_argument("--log-ratio-max", type=float, default=20.0, help="log-ratios are cut to +- this before exp")
    loss.add_argument("--ppo-epochs", type=int, default=1, help="passes over a step's rows (Bagirov et al.: 3 off-policy)")
    loss.add_argument("--minibatch-prompts", type=int, help="whole groups per update; default: the whole step")
    loss.add_argument("--old-logprobs", choices=["sampler", "recomputed"], default="sampler",
                      help="denominator of the ratio: the rows' log-probabilities, or the trainer's own before the step")
    loss.add_argument("--importance-max", type=float, default=2.0,
                      help="truncation of the weight old / sampler (pg: current / sampler)")
    loss.add_argument("--loss-norm", choices=["sum", "sequence-mean", "constant"], default="sum",
                      help="sum over tokens (the papers' sum_i A_i grad log pi), divided by the completion's length (GRPO) "
                           "or by --max-tokens (Dr. GRPO); the last two with --ratio token")
    loss.add_argument("--max-tokens", type=int, default=10, help="the constant of --loss-norm constant")
    loss.add_argument("--mask-truncated", action="store_true", help="completions cut at the length limit have no advantage")
    loss.add_argument("--beta", type=float, default=0.0, help="coefficient of the KL in the loss (Bagirov et al.: 0.01)")
    loss.add_argument("--kl-to", choices=["reference", "old"], default="reference",
                      help="of --beta: to the reference model or to the sampling policy (Bagirov et al.)")
    loss.add_argument("--reference-model", help="for the KL, logged always; default: --model; 'none': no reference")
    loss.add_argument("--entropy-bonus", type=float, default=0.0, help="baseline of PKPO: 0.001 to 0.1 there")
    value = parser.add_argument_group("value model (Tang et al. App. A.4)")
    value.add_argument("--value-lr", type=float, help="train a value model of the prompt: A_i = R_i - V(x)")
    value.add_argument("--value-target", choices=["rewards", "advantages"], default="rewards",
                       help="R_i: the reward (mean objective) or the estimator's value (leave-one-out difference)")
    value.add_argument("--value-clip", type=float, default=0.2, help="alpha, clip of V around V_old")
    step = parser.add_argument_group("optimisation")
    step.add_argument("--steps", type=int, help="steps of the whole run; default: until the input ends")
    step.add_argument("--lr", type=float, default=1e-3)
    step.add_argument("--betas", type=float, nargs=2, default=[0.9, 0.98], help="of AdamW")
    step.add_argument("--weight-decay", type=float, default=0.0, help="0: Adam")
    step.add_argument("--warmup", type=int, default=5, help="steps of linear warm-up")
    step.add_argument("--schedule", choices=["constant", "linear", "cosine"], default="constant")
    step.add_argument("--lr-final", type=float, default=0.1, help="share of --lr at the end of a linear or cosine schedule")
    step.add_argument("--clip-grad", type=float, default=1.0, help="largest gradient norm; 0: not clipped")
    machine = parser.add_argument_group("machine and files")
    machine.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    machine.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32",
                         help="bfloat16: autocast with float32 master weights; published weights are bfloat16")
    machine.add_argument("--microbatch-tokens", type=int, default=2**14, help="tokens in one forward and backward pass")
    machine.add_argument("--save-every", type=int, default=10, help="steps between checkpoints that can be resumed from")
    machine.add_argument("--keep-policies", type=int, default=1, help="published weights to keep for samplers that lag")
    machine.add_argument("--samples-every", type=int, default=50, help="steps between looks at 3 samples (RUN/samples.log); 0: never")
    args = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    if args.init:
        init_tiny(args.model, args.seed, args.init)
        return
    check_arguments(parser, args)
    try:
        train(args)
    except (ValueError, OSError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        sys.exit(2)
    except FloatingPointError as error:
        print(f"train.py: {error}; nothing of this step was published. Try a lower --lr or --clip-grad; the same command "
              "goes on from the last checkpoint", file=sys.stderr)
        sys.exit(3)
    except KeyboardInterrupt:
        sys.exit(130)


def check_arguments(parser, args):
    """Refuse what cannot work and flags that would have no effect."""
    given = {name for name, value in vars(args).items() if value != parser.get_default(name)}
    if args.run is None:
        parser.error("--run is required")
    rl_only = {"ratio", "clip_low", "clip_high", "log_ratio_max", "ppo_epochs", "old_logprobs", "importance_max", "loss_norm",
               "max_tokens", "mask_truncated", "beta", "kl_to", "reference_model", "entropy_bonus", "value_lr",
               "value_target", "value_clip"}
    unused = given & rl_only if args.loss == "sft" else set()
    if args.loss == "pg":
        unused |= given & {"clip_low", "clip_high", "old_logprobs"}
    if not args.beta:
        unused |= given & {"kl_to"}
    if not args.value_lr:
        unused |= given & {"value_target", "value_clip"}
    if args.loss_norm != "constant":
        unused |= given & {"max_tokens"}
    if args.schedule == "constant":
        unused |= given & {"lr_final"}
    if unused:
        parser.error("no effect in this mode: " + " ".join(f"--{name.replace('_', '-')}" for name in sorted(unused)))
    if args.schedule != "constant" and args.steps is None:
        parser.error(f"--schedule {args.schedule} needs --steps")
    if args.loss_norm != "sum" and args.ratio == "sequence" and args.loss != "sft":
        parser.error(f"--loss-norm {args.loss_norm} is defined for --ratio token")
    if not 0 < args.clip_low < 1 or args.clip_high <= 0:
        parser.error("--clip-low must be in (0, 1) and --clip-high above 0")
    for name in ("ppo_epochs", "save_every", "microbatch_tokens"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")


if __name__ == "__main__":
    main()
