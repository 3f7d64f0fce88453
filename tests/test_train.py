"""train.py against a float64 reference that computes one token at a time, and its runs: kills, resumes, full disks,
bad rows."""

import fcntl
import gzip
import functools
import io
import itertools
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

import advantages
import train
from conftest import ROOT
from test_pipe import group_members, wait_for

V = 13  # vocabulary of the small models; token 1 ends a sequence
SIZES = {"vocab_size": V, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
         "num_key_value_heads": 1, "max_position_embeddings": 64, "initializer_range": 0.3, "bos_token_id": None,
         "eos_token_id": 1, "pad_token_id": 0}
MODELS = {
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES, tie_word_embeddings=True)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**SIZES, head_dim=8, sliding_window=4, query_pre_attn_scalar=8,
                                                     final_logit_softcapping=2.0, attn_logit_softcapping=3.0,
                                                     attn_implementation="eager")),
}


def small(kind="qwen2", seed=0):
    torch.manual_seed(seed)
    return MODELS[kind]().eval()


def settings(*flags):
    return train.parse_arguments(["--model", "m", "--run", "r", "--clip-grad", "0", "--lr", "1e-3",
                                  "--microbatch-tokens", "16384", *flags])


def plain_logprobs(model, prompt, ids):
    """(T,) log-probabilities and (T,) entropies of one completion after one prompt, by the model's own logits."""
    table = model(torch.tensor([prompt + ids[:-1]])).logits[0, len(prompt) - 1:].log_softmax(-1)
    return table[range(len(ids)), ids], -(table.exp() * table).sum(-1)


def some_rows(model, estimator="rloo", k=3, P=3, n=4, drift=0.15, seed=0):
    """Rows of one step with prompts and completions of unequal length and one completion twice; the sampler's
    log-probabilities are the model's with noise of standard deviation `drift`."""
    rng, rows = random.Random(seed), []
    for g in range(P):
        prompt = [rng.randrange(2, V) for _ in range(rng.randint(2, 9))]
        token_ids = [[rng.randrange(2, V) for _ in range(rng.randint(0, 6))] + [1] for _ in range(n - 1)]
        token_ids.append(list(token_ids[0]))
        with torch.no_grad():
            clean = [plain_logprobs(model, prompt, ids)[0].tolist() for ids in token_ids]
        rewards = [rng.choice([0.0, 0.25, 0.5, 1.0]) for _ in range(n)]
        votes = [rng.randrange(-1, 2) for _ in range(n)]
        A = advantages.ESTIMATORS[estimator](np.array([rewards]), k, votes=np.array([votes]))[0].tolist()
        rows.append({
            "task_id": f"task/{g}", "prompt": f"prompt {g}", "prompt_token_ids": prompt,
            "step": 0, "step_prompts": P, "policy_step": 0,
            "token_ids": token_ids, "completions": ["x"] * n, "finish_reasons": ["stop"] * (n - 1) + ["length"],
            "logprobs": [[x + rng.gauss(0, drift) for x in lp] for lp in clean],
            "scores": rewards, "rewards": rewards, "correct": [r == 1.0 for r in rewards], "votes": votes,
            "estimator": estimator, "k": k, "advantages": A, "sampling": {"temperature": 1.0}})
    return rows


class Capture:
    """An optimiser that keeps the gradients it is given and changes nothing."""

    def __init__(self, module):
        self.module, self.param_groups, self.gradients = module, [{"peak": 1.0, "lr": 1.0}], []

    def zero_grad(self):
        self.module.zero_grad()

    def step(self):
        self.gradients.append(torch.cat([p.grad.flatten().double() for p in self.module.parameters()]))


def gradient(policy, rows, args, reference=None, value=None):
    """The gradients of one step (a list, one an update) and its metrics."""
    optimizers = {"policy": Capture(policy)} | ({"value": Capture(value)} if value else {})
    metrics = train.rl_step(train.Batch(rows, False, "cpu"), 0, policy, reference, value, optimizers, args)
    return optimizers["policy"].gradients, metrics


def close(a, b, tolerance):
    return (a - b).norm() <= tolerance * b.norm() and b.norm() > 0


# ------------------------------------------------------------------------------- the gradient of one update, in float64

def reference_gradient(model, rows, args, anchor=None, baseline=None):
    """The definition, sample by sample and token by token. anchor: the reference model; baseline: V(x) of every
    prompt."""
    total, clip = 0.0, lambda x: min(max(x, 1 - args.clip_low), 1 + args.clip_high)
    tokens = sum(len(ids) for row in rows for ids in row["token_ids"])
    for g, row in enumerate(rows):
        n, k, A = len(row["token_ids"]), row["k"], row["advantages"]
        now = [plain_logprobs(model, row["prompt_token_ids"], ids) for ids in row["token_ids"]]
        off_policy = advantages.uses(row["estimator"], "log_ratio")
        if off_policy:  # (1/C(n,k)) sum over k-subsets with i of prod rho (f - baseline), f = max or maj
            def f(s):
                if row["estimator"].startswith("bon"):
                    return max(row["rewards"][j] for j in s)
                return advantages.maj_at_k([[row["rewards"][j] for j in s]], [[row["votes"][j] for j in s]], len(s))[0]
            rho = [clip(math.exp(sum(lp.tolist()) - sum(b))) if args.loss == "ppo" else
                   min(math.exp(sum(lp.tolist()) - sum(b)), args.importance_max)
                   for (lp, _), b in zip(now, row["logprobs"])]
            subsets, loo = list(itertools.combinations(range(n), k)), row["estimator"].endswith("minus_one")
            A = [sum(math.prod(rho[j] for j in s) * (f(s) - loo * f([j for j in s if j != i]))
                     for s in subsets if i in s) / len(subsets) for i in range(n)]
        if baseline is not None:
            A = [(row["rewards"][i] - baseline[g]) / n if row["estimator"] == "rloo" else A[i] - baseline[g]
                 for i in range(n)]
        for i, (lp, entropy) in enumerate(now):
            length = {"sum": 1, "sequence-mean": len(lp), "constant": args.max_tokens}[args.loss_norm]
            if args.mask_truncated and row["finish_reasons"][i] == "length":
                A = A[:i] + [0.0] + A[i + 1:]
            behaviour = torch.tensor(row["logprobs"][i], dtype=torch.float64)
            old = lp.detach() if args.old_logprobs == "recomputed" else behaviour
            whole = args.ratio == "sequence"
            for t in range(1 if whole else len(lp)):
                at = slice(None) if whole else slice(t, t + 1)
                rho, mismatch = (lp - old)[at].sum().exp(), math.exp((old - behaviour)[at].sum())
                if off_policy:
                    cut = args.loss == "ppo" and (rho > 1 + args.clip_high if A[i] > 0 else rho < 1 - args.clip_low)
                    gain = 0.0 if cut else A[i] * lp[at].sum()
                elif args.loss == "ppo":
                    gain = torch.minimum(rho * A[i], rho.clamp(1 - args.clip_low, 1 + args.clip_high) * A[i])
                    gain = gain * min(mismatch, args.importance_max)
                else:
                    gain = A[i] * lp[at].sum() * min((lp - behaviour)[at].sum().exp().item(), args.importance_max)
                total = total - gain / length / len(rows)
            if args.beta:
                d = (behaviour if args.kl_to == "old" else
                     plain_logprobs(anchor, row["prompt_token_ids"], row["token_ids"][i])[0]) - lp
                total = total + args.beta * (d.exp() - 1 - d).sum() / length / n / len(rows)
            total = total - args.entropy_bonus * entropy.sum() / tokens
    return torch.cat([x.flatten() for x in torch.autograd.grad(total, list(model.parameters()))])


ON_POLICY = ["rloo", "max_loo_biased", "pkpo_s_loo_minus_one", "maj_centred", "bon_mean"]
OFF_POLICY = ["bon_off_policy", "bon_off_policy_loo_minus_one", "maj_off_policy", "maj_off_policy_loo_minus_one"]
UPDATES = [(e, f) for e in ON_POLICY for f in (
    "", "--ratio token", "--loss pg", "--loss pg --ratio token",
    "--ratio token --loss-norm sequence-mean", "--ratio token --loss-norm constant --max-tokens 7")]
UPDATES += [(e, f) for e in OFF_POLICY for f in ("", "--ratio token", "--loss pg", "--clip-low 0.05 --clip-high 0.4")]
UPDATES += [("rloo", f) for f in (
    "--clip-low 0.1 --clip-high 0.28", "--ratio token --clip-low 0.05 --clip-high 0.05", "--old-logprobs recomputed",
    "--old-logprobs recomputed --ratio token --importance-max 1.05", "--loss pg --importance-max 1.1",
    "--beta 0.3", "--beta 0.3 --kl-to old", "--beta 0.3 --ratio token --loss-norm sequence-mean", "--entropy-bonus 0.2",
    "--mask-truncated",
    "--beta 0.1 --entropy-bonus 0.05 --mask-truncated --ratio token --loss-norm constant --max-tokens 3")]


@pytest.mark.parametrize("estimator, flags", UPDATES, ids=lambda x: x.replace("--", "").replace(" ", "_") or "default")
def test_gradient_of_one_update(estimator, flags):
    args, model, anchor = settings(*flags.split()), small(), small(seed=1)
    rows = some_rows(model, estimator, k=4 if estimator == "max_loo_biased" else 3)
    [found], metrics = gradient(train.Policy(model), rows, args, train.Policy(anchor))
    expected = reference_gradient(small().double(), rows, args, anchor.double())
    assert close(found, expected, 1e-5)
    if args.loss == "ppo" and args.old_logprobs == "sampler":
        assert 0 < metrics["clip_fraction"] < 1  # both sides of the clip were met


@pytest.mark.parametrize("estimator", ["rloo", "pkpo_s_loo_minus_one"])
def test_gradient_with_a_value_model(estimator, value_model):
    args, model = settings("--value-lr", "0.1", "--value-clip", "0.01"), small()
    rows = some_rows(model, estimator)
    with torch.no_grad():  # one prompt at a time
        prompts = [torch.tensor([row["prompt_token_ids"]]) for row in rows]
        V_x = [value_model.head(value_model.backbone(prompt).last_hidden_state[0, -1]).item() for prompt in prompts]
    [found], metrics = gradient(train.Policy(model), rows, args, value=value_model)
    assert close(found, reference_gradient(small().double(), rows, args, baseline=V_x), 1e-5)
    R = [row["rewards" if estimator == "rloo" else "advantages"] for row in rows]
    assert metrics["value_loss"] == pytest.approx(
        np.mean([0.5 * (V_x[g] - R[g][i])**2 for g in range(3) for i in range(4)]), rel=1e-5)


def test_clipped_value_loss():
    """1/2 max of the two squares, by hand: V_old = 0, alpha = 0.2."""
    V = torch.tensor([0.5, 0.5, -0.5, 0.1], requires_grad=True)
    R = torch.tensor([1.0, 0.0, -0.1, 1.0])
    losses = train.value_losses(V, torch.zeros(4), R, 0.2)
    assert losses.tolist() == pytest.approx([0.5 * 0.8**2, 0.5 * 0.5**2, 0.5 * 0.4**2, 0.5 * 0.9**2])
    losses.sum().backward()
    # the clip stops a V that ran ahead, not one to be pulled back
    assert V.grad.tolist() == pytest.approx([0.0, 0.5, -0.4, -0.9])


@pytest.fixture
def value_model(tmp_path):
    small(seed=2).save_pretrained(tmp_path)
    value = train.Value(tmp_path)
    torch.nn.init.normal_(value.head.weight, std=0.1)
    return value


@pytest.mark.parametrize("flags", ["", "--ratio token", "--ppo-epochs 3", "--minibatch-prompts 1"])
def test_on_policy_first_update(flags):
    """The ratio is exactly 1, and the clipped loss has the gradient of -sum_i A_i log pi(y_i)."""
    model = small()
    rows = some_rows(model, drift=0.0)
    gradients, metrics = gradient(train.Policy(model), rows, settings("--old-logprobs", "recomputed", *flags.split()))
    first = train.minibatches(train.Batch(rows, False, "cpu"), 0, 0, settings(*flags.split()))[0]
    double, used = small().double(), [rows[g] for g in first]
    total = sum(-a * plain_logprobs(double, row["prompt_token_ids"], ids)[0].sum() / len(used)
                for row in used for ids, a in zip(row["token_ids"], row["advantages"]))
    expected = torch.cat([x.flatten() for x in torch.autograd.grad(total, list(double.parameters()))])
    assert close(gradients[0], expected, 1e-5)
    assert (metrics["ratio_max"] == 1.0 if not flags or flags == "--ratio token" else
            metrics["ratio_max"] == pytest.approx(1, abs=1e-5))
    assert metrics["clip_fraction"] == 0.0 and metrics["mismatch_max"] < 1e-5


def test_samples_without_advantage_are_skipped():
    model = small()
    policy, calls = train.Policy(model), []
    policy.register_forward_pre_hook(lambda module, inputs: calls.append(len(inputs[1])))
    rows = some_rows(model, P=6)
    for row in rows[1:]:
        row["advantages"] = [0.0, row["advantages"][1], 0.0, 0.0]
    [skipped], _ = gradient(policy, rows, settings())
    [everything], _ = gradient(policy, rows, settings("--beta", "1e-30"), policy)  # a KL term needs every sample
    assert close(skipped, everything, 1e-6)
    distinct = lambda only: len({(g, *ids) for g, row in enumerate(rows)
                                 for ids, a in zip(row["token_ids"], row["advantages"]) if a or not only})
    # completions through the model
    assert [calls[0], calls[-1]] == [distinct(True), distinct(False)] and calls[0] < calls[-1]
    for row in rows:
        row["advantages"] = [0.0] * 4
    gradients, metrics = gradient(policy, rows, settings())
    assert not gradients and metrics["updates"] == 0 and metrics["loss"] is None


# -------------------------------------------------------------------------- microbatches, padding, paths, architectures

class Walk(Capture):
    """Moves the weights by `length` down the gradient, or to the places that another Walk has been to."""

    def __init__(self, module, length, other=None):
        super().__init__(module)
        self.length, self.other, self.places = length, other, []

    def step(self):
        super().step()
        way = self.length * self.gradients[-1] / self.gradients[-1].norm()
        here = torch.cat([p.detach().flatten() for p in self.module.parameters()])
        self.places.append(self.other.places[len(self.places)] if self.other else here - way.float())
        torch.nn.utils.vector_to_parameters(self.places[-1], self.module.parameters())


# What the presets train with: loss, estimator and epochs, each family once.
PRESET_UPDATES = [
    ("rloo", "--loss pg"), ("max_loo", "--loss pg"), ("max_loo_biased", "--loss ppo"), ("maj_loo_biased", "--loss pg"),
    ("pkpo_s_loo_minus_one", "--loss pg --entropy-bonus 0.05"), ("grpo", "--beta 0.01 --kl-to old"),
    ("grpo", "--beta 0.01 --kl-to old --ppo-epochs 3"), ("bon_mean", "--beta 0.01 --kl-to old --ppo-epochs 3"),
    ("bon_max_mean", "--ppo-epochs 3 --ratio token"),
    ("bon_off_policy_first_order", "--beta 0.01 --kl-to old --ppo-epochs 3"),
    ("bon_off_policy_loo_minus_one", "--beta 0.01 --kl-to old --ppo-epochs 3"),
    ("bon_off_policy", "--loss pg --ppo-epochs 3")]


@pytest.mark.parametrize("device", [
    "cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma2"])
@pytest.mark.parametrize("estimator, flags", PRESET_UPDATES, ids=lambda x: x.replace("--", "").replace(" ", "_"))
def test_bfloat16_follows_float32_through_every_update(estimator, flags, kind, device):
    """The same rows and the same weights, with bfloat16 products and without: the gradients agree to bfloat16's
    precision at every update of the step and not only at the first. Between them the weights move so far that old
    ones would show."""
    k = 4 if estimator in ("rloo", "grpo", "max_loo", "max_loo_biased", "maj_loo_biased") else 2
    # a clip is a jump, which no rounding follows
    flags = [*flags.split(), "--activation-checkpointing",
             *([] if "pg" in flags else ["--clip-low", "0.9", "--clip-high", "9"])]
    rows, paths, metrics = some_rows(small(kind), estimator, k, P=4, n=4, drift=0.02), [None], []
    for dtype in "float32", "bfloat16":
        policy = train.Policy(small(kind).to(device), share_prompt=False, dtype=getattr(torch, dtype))
        train.checkpoint_activations(policy.model)
        paths.append(Walk(policy, 0.5, paths[-1]))
        metrics.append(train.rl_step(train.Batch(rows, False, device), 0, policy, None, None, {"policy": paths[-1]},
                                     settings(*flags, "--dtype", dtype)))
    exact, rounded = (path.gradients for path in paths[1:])
    assert len(exact) == len(rounded) >= (3 if "3" in flags else 1)
    for update, (a, b) in enumerate(zip(rounded, exact)):
        assert close(a, b, 0.1), (update, ((a - b).norm() / b.norm()).item())
    for before, after in zip(exact, exact[1:]):
        assert not close(before, after, 0.25)
    assert metrics[1]["ratio_max"] == pytest.approx(metrics[0]["ratio_max"], rel=0.1)


@pytest.mark.parametrize("kind, share_prompt", [
    ("qwen2", True), ("qwen2", False), ("llama", True), ("llama", False), ("gemma2", False)])
def test_microbatches_and_padding_change_nothing(kind, share_prompt, monkeypatch):
    """Every path and every split gives the gradient of samples that go through the model alone."""
    model = small(kind).double()
    rows = some_rows(model, P=4, n=5)
    args = settings("--entropy-bonus", "0.1")
    policy = train.Policy(model, share_prompt)
    expected = reference_gradient(model, rows, args)
    alone, _ = gradient(policy, rows, settings("--entropy-bonus", "0.1", "--microbatch-tokens", "1"))
    assert close(alone[0], expected, 1e-6)
    for budget in (30, 60, 10_000):
        found, _ = gradient(policy, rows, settings("--entropy-bonus", "0.1", "--microbatch-tokens", str(budget)))
        assert close(found[0], alone[0], 1e-6)
    monkeypatch.setitem(train.LOGITS_AT_ONCE, "cpu", 5 * V)  # the loss over slices of five tokens
    chunked, _ = gradient(policy, rows, args)
    assert close(chunked[0], alone[0], 1e-6)


@pytest.mark.parametrize("kind", MODELS)
def test_activation_checkpointing_changes_nothing(kind):
    model = small(kind)
    rows = some_rows(model)
    [plain], _ = gradient(train.Policy(model, share_prompt=False), rows, settings())
    train.checkpoint_activations(model)
    forwards = []
    model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: forwards.append(1))
    [checkpointed], _ = gradient(train.Policy(model, share_prompt=False), rows, settings())
    assert close(checkpointed, plain, 1e-6) and len(forwards) == 2  # forward, and again in backward


def test_loaded_models_keep_the_cap_on_attention_logits(tmp_path):
    """Gemma 2's, which fused attention in transformers leaves out without a word."""
    model = small("gemma2")
    model.save_pretrained(tmp_path)
    prompt, ids = [5, 3, 2], [7, 4, 9, 1]
    expected, _ = plain_logprobs(model, prompt, ids)
    found, _ = train.Policy(train.load_model(tmp_path), share_prompt=False)([prompt], [ids], [0])
    fused = plain_logprobs(Gemma2ForCausalLM.from_pretrained(tmp_path, attn_implementation="sdpa"), prompt, ids)[0]
    assert torch.allclose(found[0], expected, atol=1e-5) and not torch.allclose(fused, expected, atol=1e-2)


def test_unknown_logits_are_refused():
    model = small()
    train.check_logits(small("gemma2"), "gemma"), train.check_logits(model, "qwen")
    model.register_forward_hook(lambda module, inputs, out: setattr(out, "logits", 0.5 * out.logits))
    with pytest.raises(ValueError, match="scales its logits"):
        train.check_logits(model, "other")


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_are_judged_in_the_precision_of_the_checkpoint(kind, dtype):
    """Vocabulary and logits of real size: rounding is not taken for another scale, and another scale not for
    rounding."""
    for seed in range(4):
        torch.manual_seed(seed)
        model = small(kind, seed)
        model.resize_token_embeddings(50_000)
        torch.nn.init.normal_(model.get_output_embeddings().weight, std=4.0)
        model = model.to(dtype)
        train.check_logits(model, kind)
        model.register_forward_hook(lambda module, inputs, out: setattr(out, "logits", out.logits / 8))
        with pytest.raises(ValueError, match="scales its logits"):
            train.check_logits(model, kind)


@pytest.mark.parametrize("share_prompt", [True, False])
def test_microbatches_keep_to_the_budget(share_prompt):
    model = small()
    batch, policy = train.Batch(some_rows(model, P=5, n=6), False, "cpu"), train.Policy(model, share_prompt)
    micro = batch.microbatches(range(30), policy, 25)
    assert (sorted(i for samples, _ in micro for i in samples) == list(range(30))
            and {weight for _, weight in micro} == {1.0})
    for samples, _ in micro:
        distinct = {(batch.group[i], tuple(batch.tokens[i])) for i in samples}
        cost = sum(len(ids) for _, ids in distinct) + sum(len(batch.prompts[g]) for g in {g for g, _ in distinct})
        if not share_prompt:
            cost = len(distinct) * max(len(batch.prompts[g]) + len(ids) for g, ids in distinct)
        assert cost <= 25 or len(distinct) == 1
    assert len(batch.microbatches(range(30), policy, 10_000)) == 1


def test_ranks_divide_the_microbatches(monkeypatch):
    """Every sample on one rank with weight 1, equally many passes on each."""
    model = small()
    batch, policy = train.Batch(some_rows(model, P=5, n=6), False, "cpu"), train.Policy(model, share_prompt=False)
    monkeypatch.setattr(train, "RANKS", 4)
    for samples, budget in (range(30), 25), (range(30), 10_000), ([3], 25):
        found = []
        for rank in range(4):
            monkeypatch.setattr(train, "RANK", rank)
            found.append(batch.microbatches(samples, policy, budget))
        assert len({len(micro) for micro in found}) == 1 and all(map(len, found))
        assert sorted(i for micro in found for some, weight in micro if weight for i in some) == list(samples)


# ---------------------------------------------------------------- off-policy max@k and maj@k on a policy of bandit size

class Bandit(torch.nn.Module):
    """Four actions, one token each."""

    def __init__(self, logits):
        super().__init__()
        self.share_prompt = True
        self.logits = torch.nn.Parameter(torch.tensor(logits))

    def forward(self, prompts, completions, group, entropy=False):
        return self.logits.log_softmax(0)[[ids[0] for ids in completions]][:, None], None


def all_groups(old, rewards, estimator, n=3, k=2):
    """Every group of n actions as a row. Rewards carry its probability under `old`, times the number of rows, so that
    the mean over rows is the expectation (the estimators are linear in the scale of rewards)."""
    groups = list(itertools.product(range(4), repeat=n))
    log_old = torch.tensor(old).log_softmax(0).tolist()
    for g, actions in enumerate(groups):
        weight = len(groups) * math.exp(sum(log_old[a] for a in actions))
        yield {"task_id": str(g), "prompt": "", "prompt_token_ids": [0],
               "step_prompts": len(groups), "step": 0, "policy_step": 0,
               "token_ids": [[a] for a in actions], "completions": ["x"] * n, "finish_reasons": ["stop"] * n,
               "logprobs": [[log_old[a]] for a in actions], "rewards": [weight * rewards[a] for a in actions],
               "votes": list(actions), "scores": [0.0] * n, "correct": [False] * n, "estimator": estimator, "k": k,
               "advantages": [1.0] * n}


def max_at_2(logits, rewards):
    p = logits.softmax(0)
    return sum(p[a] * p[b] * max(rewards[a], rewards[b]) for a in range(4) for b in range(4))


def maj_at_2(logits, rewards):  # two answers differ, so they tie
    return sum(p * r for p, r in zip(logits.softmax(0), rewards))


def maj_at_3(logits, rewards):
    p = logits.softmax(0)
    return sum(p[list(y)].prod() * (rewards[Counter(y).most_common(1)[0][0]] if len(set(y)) < 3 else
                                    sum(rewards[a] for a in y) / 3) for y in itertools.product(range(4), repeat=3))


@pytest.mark.parametrize("drift", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("estimator", ["maj_off_policy", "maj_off_policy_loo_minus_one"])
def test_off_policy_majority_gradient_after_a_drift(estimator, drift):
    """Expected over all groups of the old policy, the gradient of maj@2 and maj@3 of the new one."""
    old, rewards = [0.0, 0.3, -0.2, 0.1], [0.1, 0.2, 0.5, 1.0]
    policy = Bandit([x + drift * y for x, y in zip(old, (1.0, -1.0, 0.7, -1.2))])
    for k, objective in ((2, maj_at_2), (3, maj_at_3)):
        expected, = torch.autograd.grad(-objective(policy.logits, rewards), policy.logits)
        rows = list(all_groups(old, rewards, estimator, n=4, k=k))
        [found], _ = gradient(policy, rows, settings("--loss", "pg", "--importance-max", "1e6"))
        assert (found - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize("drift", [0.1, 0.5, 1.0])
def test_off_policy_gradient_after_a_drift(drift):
    """Expected over all groups that the old policy can draw, the exact form gives the gradient of max@2 of the new
    policy at any distance; the first-order form leaves it as the policies part."""
    old, rewards = [0.0, 0.3, -0.2, 0.1], [0.1, 0.2, 0.5, 1.0]
    policy = Bandit([x + drift * y for x, y in zip(old, (1.0, -1.0, 0.7, -1.2))])
    expected, = torch.autograd.grad(-max_at_2(policy.logits, rewards), policy.logits)
    error = {}
    for estimator in ("bon_off_policy", "bon_off_policy_loo_minus_one", "bon_off_policy_first_order"):
        [found], _ = gradient(policy, list(all_groups(old, rewards, estimator)),
                              settings("--loss", "pg", "--importance-max", "1e6"))
        error[estimator] = ((found - expected).norm() / expected.norm()).item()
    assert error["bon_off_policy"] < 1e-5 and error["bon_off_policy_loo_minus_one"] < 1e-5
    assert (error["bon_off_policy_first_order"] > 0.5 * drift if drift > 0.1 else
            error["bon_off_policy_first_order"] < 0.05)


def test_off_policy_ascent_on_old_samples():
    """Many updates on the samples of one old policy: the exact form climbs to the best action, the first-order form
    stays behind."""
    old, rewards, reached = [0.0, 0.3, -0.2, 0.1], [0.1, 0.2, 0.5, 1.0], {}
    for estimator in ("bon_off_policy_loo_minus_one", "bon_off_policy_first_order"):
        policy, rows = Bandit(list(old)), list(all_groups(old, rewards, estimator))
        for _ in range(60):
            [descent], _ = gradient(policy, rows, settings("--loss", "pg", "--importance-max", "1e6"))
            policy.logits.data -= 2 * descent.float()
        reached[estimator] = max_at_2(policy.logits, rewards).item()
    assert reached["bon_off_policy_loo_minus_one"] > 0.98
    assert reached["bon_off_policy_first_order"] < reached["bon_off_policy_loo_minus_one"] - 0.01


# ------------------------------------------------------------------------------------------------ runs, in this process

TIMES = {"wait_s", "work_s", "tokens_per_s", "publish_s", "reload_s", "peak_gb"}


@pytest.fixture(scope="module")
def stream(tiny):
    """Lines of nine steps of three prompts, for the tiny model."""
    from transformers import AutoModelForCausalLM
    model, lines = AutoModelForCausalLM.from_pretrained(tiny), []
    for step in range(9):
        for g, row in enumerate(some_rows(model, seed=step, drift=0.05)):
            lines.append(json.dumps(row | {"step": step, "task_id": f"task/{step}-{g}", "policy_step": step}) + "\n")
    return lines


@pytest.fixture
def run(tiny, tmp_path, monkeypatch, capsys):
    """run(lines, flags): train.py's main on these lines; -> exit status, standard error. `steps` unless told
    otherwise."""
    def of(lines, *flags, path=tmp_path / "run", steps=6):
        argv = ["train.py", "--model", str(tiny), "--run", str(path), "--save-every", "3", *flags]
        monkeypatch.setattr(
            sys, "argv", argv + ["--steps", str(steps)] * (steps is not None and "--steps" not in flags))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("".join(lines).encode())))
        capsys.readouterr()
        try:
            train.main()
            return 0, capsys.readouterr().err
        except SystemExit as stop:
            return stop.code, capsys.readouterr().err
    return of


def metrics_of(path):
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in (path / "metrics.jsonl").open()]


def same(a, b):
    """Whether two runs have equal metrics, weights and trainer state, bit for bit."""
    states = [torch.load(path / "policy" / "trainer.pt", weights_only=True) for path in (a, b)]
    weights = [(path / "policy" / "model.safetensors").read_bytes() for path in (a, b)]
    for state in states:
        state["args"].pop("run")
    return metrics_of(a) == metrics_of(b) and weights[0] == weights[1] and equal(*states)


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


def test_a_run_and_its_files(run, stream, tmp_path):
    status, err = run(stream, "--samples-every", "2", "--keep-policies", "0", "--schedule", "linear")
    path = tmp_path / "run"
    assert status == 0, err
    log = metrics_of(path)
    assert [line["step"] for line in log] == list(range(6)) and len({tuple(line) for line in log}) == 1  # fixed keys
    assert [line["lag"] for line in log] == [0] * 6 and all(line["updates"] == 1 for line in log)
    # 5: a sampler may still read it
    assert sorted(p.name for p in path.glob("policy-*")) == ["policy-000005", "policy-000006"]
    assert os.readlink(path / "policy") == "policy-000006"
    shown = (path / "samples.log").read_text().splitlines()
    assert [line for line in shown if line.startswith("--- ")][::3] == [
        f"--- step {s}, task/{s}-0, reward {json.loads(stream[3 * s])['rewards'][0]}" for s in (0, 2, 4)]
    assert sum(line.startswith("--- ") for line in shown) == 9
    with gzip.open(path / "rollouts" / "step-000004.jsonl.gz", "rt") as file:
        assert file.readlines() == stream[12:15]
    rows = [json.loads(line) for line in stream[:6]]
    assert log[1]["solved"] == sum(any(row["correct"]) for row in rows) / 6
    assert log[0]["pass_at_k"] == pytest.approx(np.mean([any(row["correct"][j] for j in s) for row in rows[:3]
                                                         for s in itertools.combinations(range(4), 3)]))


@pytest.mark.parametrize("flags", [
    pytest.param("", marks=pytest.mark.slow), "--dtype bfloat16 --activation-checkpointing",
    pytest.param("--value-lr 0.01 --ppo-epochs 2 --minibatch-prompts 2 --beta 0.1", marks=pytest.mark.slow)])
def test_killed_and_resumed_is_undisturbed(run, stream, tiny, tmp_path, flags):
    """SIGKILL at a random place of a random step, over a pipe; then the same command to the end."""
    steps, flags, rng = ["--steps", "9"], flags.split(), random.Random(f"kill {flags}")
    assert run(stream, *steps, *flags, path=tmp_path / "whole")[0] == 0
    done, extra = rng.randint(1, 8), rng.randint(0, 2)
    with subprocess.Popen([sys.executable, "train.py", "--model", str(tiny), "--run", str(tmp_path / "killed"),
                           "--save-every", "3", *steps, *flags],
                          cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        process.stdin.write("".join(stream[:3 * done + extra]))
        process.stdin.flush()
        end, log = time.monotonic() + 60, tmp_path / "killed" / "metrics.jsonl"
        while time.monotonic() < end and not (log.exists() and log.read_text().count("\n") == done):
            time.sleep(0.001)
        time.sleep(rng.random() * 0.02)
        process.kill()
    status, err = run(stream, *steps, *flags, path=tmp_path / "killed")
    assert status == 0, err
    assert same(tmp_path / "whole", tmp_path / "killed"), f"killed after {done} steps and {extra} rows"


@pytest.mark.slow
def test_ten_kills_of_any_stage(tiny, tmp_path, shell):
    """The whole pipe, killed with SIGKILL at ten random moments, any stage, and started again each time."""
    def pipe(run):
        return (f"python generate.py --run {run} --steps 40 --prompts-per-step 4 --num-samples 4 | python reward.py | "
                f"python advantages.py --estimator rloo --k 4 | python train.py --model {tiny} --run {run} --steps 40 "
                "--save-every 4 --value-lr 0.001 --ppo-epochs 2 --minibatch-prompts 2")
    assert shell(pipe(tmp_path / "whole")).returncode == 0
    rng, log = random.Random("ten kills"), tmp_path / "killed" / "metrics.jsonl"
    for kill in range(10):
        with subprocess.Popen(["bash", "-c", pipe(tmp_path / "killed")], cwd=ROOT, stderr=subprocess.DEVNULL,
                              start_new_session=True) as process:
            goal, end = (rng.randint(1, 6) + (len(log.read_text().splitlines()) // 4 * 4 if log.exists() else 0),
                         time.monotonic() + 120)
            while time.monotonic() < end and not (log.exists() and log.read_text().count("\n") >= min(goal, 39)):
                time.sleep(0.005)
            time.sleep(rng.random() * 0.3)
            victim = rng.choice(["generate.py", "reward.py", "advantages.py", "train.py"])
            subprocess.run(["pkill", "-KILL", "-g", str(process.pid), "-f", victim])
            # the shell's command line names all stages, so it is killed too: wait for the stages themselves
            wait_for(lambda: not group_members(process.pid), 60)
    done = shell(pipe(tmp_path / "killed"))
    assert done.returncode == 0, done.stderr
    assert same(tmp_path / "whole", tmp_path / "killed")


def test_steps_may_be_raised_but_not_other_flags(run, stream, tmp_path):
    assert run(stream, "--steps", "3")[0] == 0
    for flags, message in ((["--lr", "0.002"], "--lr 0.001 then, 0.002 now"), (["--ratio", "token"], "--ratio"),
                           (["--value-lr", "0.1"], "--value-lr"), (["--schedule", "linear"], "--schedule")):
        status, err = run(stream, *flags)
        assert status == 2 and "started with other flags" in err and message in err
    assert len(metrics_of(tmp_path / "run")) == 3
    status, err = run(stream, "--steps", "9")
    assert status == 0 and len(metrics_of(tmp_path / "run")) == 9
    status, err = run(stream, "--steps", "9")
    assert status == 0 and "is complete" in err


@pytest.mark.parametrize("now, said", [
    ({"estimator": "max_loo"}, "estimator rloo then, max_loo now"), ({"sampling": {"seed": 7}}, "seed 0 then, 7 now")])
def test_a_run_does_not_go_on_with_rows_of_another_kind(run, stream, tmp_path, now, said):
    first, later = ([json.dumps(json.loads(line) | {"sampling": {"seed": 0, "model": "x"}} | more) + "\n"
                     for line in stream] for more in ({}, now))
    assert run(first, "--steps", "3", "--save-every", "1")[0] == 0
    status, err = run(later, "--steps", "6", "--save-every", "1")
    assert status == 2 and said in err and len(metrics_of(tmp_path / "run")) == 3
    assert run(first, "--steps", "6", "--save-every", "1")[0] == 0
    drawn = json.loads((tmp_path / "run" / "args.json").read_text())["rows"]
    assert drawn == {"estimator": "rloo", "n": 4, "step_prompts": 3, "seed": 0}


def test_a_shorter_run_leaves_no_rows_of_later_steps(run, stream, tmp_path):
    """Those of the steps after the last checkpoint, which evaluate.py --rollouts would read."""
    assert run(stream[:15], "--steps", "9", "--save-every", "3")[0] == 2  # the input ends after five steps
    assert len(list((tmp_path / "run" / "rollouts").iterdir())) == 5
    assert run(stream[9:12], "--steps", "4", "--save-every", "3")[0] == 0
    assert len(list((tmp_path / "run" / "rollouts").iterdir())) == 4


def test_nan_stops_before_anything_is_published(run, stream, tiny, tmp_path):
    path = tmp_path / "run"
    status, err = run(stream, "--lr", "1e30", "--warmup", "0")
    assert status == 3 and "updated policy's log-probabilities are not finite" in err and "lower --lr" in err
    assert ([p.name for p in path.glob("policy-*")] == ["policy-000000"]
            and os.readlink(path / "policy") == "policy-000000")
    assert equal(*(safetensors.torch.load_file(folder / "model.safetensors") for folder in (path / "policy", tiny)))
    broken = shutil.copytree(tiny, tmp_path / "broken")
    from safetensors.torch import load_file, save_file
    state = load_file(tiny / "model.safetensors")
    state["model.norm.weight"][0] = math.nan
    save_file(state, broken / "model.safetensors", metadata={"format": "pt"})
    status, err = run(stream, "--model", str(broken), path=tmp_path / "other")
    assert status in (2, 3) and "finite" in err and not list((tmp_path / "other").glob("policy-*"))


@pytest.mark.parametrize("where", ["loss", "gradient's norm", "largest weight after the update"])
def test_what_is_not_finite_is_named_with_its_rows(where):
    model, args = small(), settings()
    policy, rows = train.Policy(model), some_rows(model)
    capture = Capture(policy)
    if where == "loss":
        model.model.norm.weight.data[0] = math.nan
    elif where == "gradient's norm":
        model.model.norm.weight.register_hook(lambda gradient: gradient * math.inf)
    else:
        capture.step = lambda: model.model.norm.weight.data.fill_(math.inf)
    with pytest.raises(FloatingPointError,
                       match=rf"the {where} of step 7 is (nan|inf) \(rows task/0, task/1, task/2\)"):
        train.rl_step(train.Batch(rows, False, "cpu"), 7, policy, None, None, {"policy": capture}, args)
    assert not capture.gradients


@pytest.mark.parametrize("limit, at, name", [(300_000, 3, "policy.new"), (600_000, 6, "policy-000006/trainer.pt")],
                         ids=["weights", "trainer state"])
def test_a_full_disk_leaves_the_old_state(run, stream, tmp_path, limit, at, name):
    path = tmp_path / "run"
    assert run(stream, path=tmp_path / "whole")[0] == 0
    assert run(stream, "--steps", "3")[0] == 0
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))  # no file can grow beyond: a write fails as on a full disk
    try:
        status, err = run(stream)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert status == 2 and "train.py: cannot write" in err and name in err
    assert os.readlink(path / "policy") == f"policy-{at:06d}" and (path / "policy-000003" / "trainer.pt").exists()
    status, err = run(stream)
    assert status == 0, err
    assert same(tmp_path / "whole", path)


def test_weights_on_another_file_system(run, stream, tmp_path):
    """Each step's weights are there while the run is at work; what stays, and what resumes, is in RUN and the same."""
    away = tmp_path / "memory"
    status, err = run(stream, "--weights-dir", str(away))
    assert status == 2 and f"--weights-dir {away} is not a directory" in err
    away.mkdir()
    shutil.rmtree(tmp_path / "run")
    assert run(stream, path=tmp_path / "plain")[0] == 0
    status, err = run(stream, "--weights-dir", str(away), "--steps", "4")
    assert status == 0 and not list(away.iterdir()), err
    assert os.readlink(tmp_path / "run" / "policy") == "policy-000004"
    status, err = run(stream, "--weights-dir", str(away))  # goes on there
    assert status == 0, err
    assert metrics_of(tmp_path / "run") == metrics_of(tmp_path / "plain")
    assert equal(*(load_weights(tmp_path / name / "policy") for name in ("run", "plain")))


def test_weights_without_room_are_refused(run, stream, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10_000))
    status, err = run(stream, "--weights-dir", str(tmp_path))
    assert status == 2 and "GB are needed (3 times the weights): name another place" in err


def test_an_unwritable_run_directory(run, stream, tmp_path):
    (tmp_path / "file").write_text("")
    status, err = run(stream, path=tmp_path / "file" / "run")
    assert status == 2 and "file" in err and "Traceback" not in err


def test_half_written_and_damaged_checkpoints(run, stream, tmp_path):
    path = tmp_path / "run"
    assert run(stream, path=tmp_path / "whole")[0] == 0
    assert run(stream, "--steps", "3")[0] == 0
    shutil.copytree(path / "policy-000003", path / "policy.new")  # cut off while it was written
    (path / "policy.new" / "trainer.pt").write_bytes(b"PK")
    (path / "metrics.jsonl").open("a").write('{"step": 3, "lo')
    status, err = run(stream)
    assert status == 0, err
    assert same(tmp_path / "whole", path)
    whole = (path / "policy-000006" / "trainer.pt").read_bytes()
    (path / "policy-000006" / "trainer.pt").write_bytes(whole[:len(whole) // 2])
    status, err = run(stream, "--steps", "9")
    assert status == 2 and "policy-000006/trainer.pt is damaged" in err and "remove" in err
    (path / "policy-000006" / "trainer.pt").write_bytes(whole)
    (path / "policy-000006" / "model.safetensors").write_bytes(b"\x08")
    status, err = run(stream, "--steps", "9")
    assert status == 2 and "train.py: " in err


def flipped(path, at):
    data = bytearray(path.read_bytes())
    data[int(at * len(data))] ^= 4
    path.write_bytes(data)


DAMAGE = {  # what is done to a run of six steps: what resuming it says, or "" where it goes on as if nothing had been
    "a bit of the state": (
        lambda run: flipped(run / "policy-000006/trainer.pt", 0.7), "policy-000006/trainer.pt is damaged"),
    "a bit of the weights": (
        lambda run: flipped(run / "policy-000006/model.safetensors", 0.9), "model.safetensors is damaged"),
    "a bit of the tokenizer": (
        lambda run: flipped(run / "policy-000006/tokenizer.json", 0.5), "tokenizer.json is damaged"),
    "weights cut off": (
        lambda run: os.truncate(run / "policy-000006/model.safetensors", 5000), "model.safetensors is damaged"),
    "no tokenizer": (
        lambda run: (run / "policy-000006/tokenizer.json").unlink(), "policy-000006/tokenizer.json is missing"),
    "no weights": (lambda run: (run / "policy-000006/model.safetensors").unlink(), "model.safetensors is missing"),
    "a bit of the checksums": (
        lambda run: flipped(run / "policy-000006/checksums.json", 0), "checksums.json is damaged"),
    "checksums of another form": (
        lambda run: (run / "policy-000006/checksums.json").write_text("[1]"), "checksums.json is damaged"),
    "no checksums": (lambda run: (run / "policy-000006/checksums.json").unlink(), "has no checksums.json"),
    "no checkpoint": (lambda run: (run / "policy-000006/trainer.pt").unlink(), "there is no checkpoint to go on from"),
    "no metrics": (
        lambda run: (run / "metrics.jsonl").unlink(),
        "metrics.jsonl lacks 6 of the steps before 6: 0, 1, 2, 3, 4, ..."),
    "a line less": (lambda run: edit(run, lambda lines: lines[:2] + lines[3:]), "lacks 1 of the steps before 6: 2."),
    "a line twice": (
        lambda run: edit(run, lambda lines: lines[:3] + lines[2:]),
        "metrics.jsonl: row 4: expected a step above 2, found 2"),
    "a line of another kind": (lambda run: edit(run, lambda lines: [lines[0], '{"loss": 1}\n', *lines[2:]]), "row 2"),
    "a line that is broken": (
        lambda run: edit(run, lambda lines: [lines[0], lines[1][9:], *lines[2:]]), "row 2, task_id None: not JSON"),
    "an empty line": (lambda run: edit(run, lambda lines: ["\n", *lines, "\n"]), ""),
    "a line that was cut off": (lambda run: edit(run, lambda lines: [*lines, '{"step": 6']), ""),
}


def edit(run, change):
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(change(lines)))


def test_damage_to_a_run_is_named_when_it_is_resumed(run, stream, tmp_path):
    assert run(stream, path=tmp_path / "whole")[0] == 0
    for name, (damage, message) in DAMAGE.items():
        path = tmp_path / "run"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", path, symlinks=True)
        damage(path)
        before = sorted(path.rglob("*"))
        status, err = run(stream, "--steps", "7", path=path)
        goes_on = name in ("no metrics", "no checksums", "a line less") or not message
        assert message in err and "Traceback" not in err and status == (0 if goes_on else 2), (name, err)
        if goes_on:
            assert metrics_of(path)[-1]["step"] == 6
        else:
            assert err.count("\n") == 1 and sorted(path.rglob("*")) == before  # nothing is done to it


@pytest.mark.parametrize("again", [False, True])
def test_a_run_that_is_removed_in_the_middle_does_not_come_back(run, stream, tmp_path, monkeypatch, again):
    step = train.rl_step

    def removed(batch, number, *rest):
        if number == 2:
            shutil.rmtree(tmp_path / "run")
            if again:
                (tmp_path / "run").mkdir()
                (tmp_path / "run" / "lock").touch()
        return step(batch, number, *rest)
    monkeypatch.setattr(train, "rl_step", removed)
    status, err = run(stream)
    assert status == 2 and "run was removed or replaced while train.py was at work in it" in err
    left = [file.name for file in tmp_path.glob("run/*")]
    assert left == (["lock"] if again else [])


def test_the_last_weights_of_a_run_that_stalls_are_kept(run, stream, tmp_path):
    rows = [json.loads(line) for line in stream]
    unsolved = [json.dumps(row | {"correct": [False] * len(row["correct"])}) + "\n" for row in rows]
    status, err = run(unsolved, "--stall-steps", "2", "--keep-every", "3")
    assert status == 0 and "complete: 2 steps" in err, err
    assert [path.name[-1] for path in sorted((tmp_path / "run" / "kept").iterdir())] == list("02")


def test_killed_while_a_checkpoint_is_kept(run, stream, tmp_path, monkeypatch):
    """The weights of that step are kept all the same, by the same command again."""
    copytree = shutil.copytree

    def killed(source, target, **how):
        if source.name == "policy-000003":
            raise KeyboardInterrupt
        return copytree(source, target, **how)
    monkeypatch.setattr(shutil, "copytree", killed)
    assert run(stream, "--keep-every", "3")[0] == 130
    monkeypatch.undo()
    status, err = run(stream, "--keep-every", "3")
    assert status == 0, err
    assert [path.name[-1] for path in sorted((tmp_path / "run" / "kept").iterdir())] == list("036")


def test_a_folder_with_another_name_than_a_checkpoints_is_the_users(run, stream, tmp_path):
    path = tmp_path / "run"
    assert run(stream, "--steps", "3")[0] == 0
    shutil.copytree(path / "policy-000003", path / "policy-backup")
    (path / "policy-mynote").mkdir()
    for steps in 6, 9:  # is resumed from the newest checkpoint, which the copy is not
        status, err = run(stream[3 * (steps - 3):], "--steps", str(steps))
        assert status == 0, err
    assert (path / "policy-backup" / "trainer.pt").exists() and (path / "policy-mynote").exists()


def test_rows_of_another_model(run, stream, tmp_path):
    """Their log-probabilities are far from the policy's, which is said with the number at every step; its own are
    not."""
    assert "WARNING" not in run(stream)[1]
    rows = [json.loads(line) for line in stream]
    for row in rows:
        row["logprobs"] = [[lp - 5 for lp in lps] for lps in row["logprobs"]]
    status, err = run([json.dumps(row) + "\n" for row in rows], path=tmp_path / "foreign")
    numbers = re.findall(r"WARNING: step \d: the rows' log-probabilities are ([\d.]+) nats a token", err)
    assert status == 0 and len(numbers) == 6 and all(3 < float(number) < 6 for number in numbers)


@pytest.mark.parametrize("damage, message", [
    (lambda path: shutil.rmtree(path), ": no such directory"),
    (lambda path: (path / "config.json").unlink(), "it has no config.json"),
    (lambda path: (path / "tokenizer.json").unlink(), "has no tokenizer"),
    (lambda path: (path / "tokenizer.json").write_text("{"), "its tokenizer cannot be read"),
    (lambda path: (path / "model.safetensors").unlink(), "it has no weights"),
    (lambda path: os.truncate(path / "model.safetensors", 5000), "cannot be"),
    (lambda path: (path / "model.safetensors").write_bytes(b"\x08"), "cannot be")])
def test_a_model_that_is_not_whole_is_named_in_one_line(run, tiny, tmp_path, shell, damage, message):
    model = tmp_path / "model"
    shutil.copytree(tiny, model)
    damage(model)
    status, err = run([], "--model", str(model))
    assert status == 2 and message in err and str(model) in err and err.splitlines()[-1].startswith("train.py: "), err
    done = shell(f"python generate.py --model {model} --limit 1 --num-samples 1")
    assert (done.returncode == 2 and message in done.stderr and str(model) in done.stderr
            and "Traceback" not in done.stderr)


def test_a_device_that_is_not_there(run):
    for device in ("nonsense", *([] if torch.cuda.is_available() else ["cuda"])):
        status, err = run([], "--device", device)
        assert status == 2 and f"train.py: --device {device}: " in err and err.count("\n") == 1


def change(key, value):
    return lambda row: json.dumps(row | {key: value})


BAD_ROWS = {
    "not JSON": lambda row: "{",
    "expected a JSON object, found [1]": lambda row: "[1]",
    "no 'prompt': generate.py adds it": lambda row: json.dumps({"task_id": row["task_id"]}),
    "no 'advantages': advantages.py adds it": change("advantages", None),
    "no 'step_prompts': generate.py adds it": lambda row: json.dumps(
        {k: v for k, v in row.items() if k != "step_prompts"}),
    "lists of one length, found completions: 4": lambda row: json.dumps(row | {"rewards": row["rewards"][:3]}),
    "3 samples, but the other rows of the step have 4": lambda row: json.dumps(
        {k: v[:3] if isinstance(v, list) and k != "prompt_token_ids" else v for k, v in row.items()}),
    "step 1 expected, found step 5": change("step", 5),
    "step 1 expected, found step 0": change("step", 0),
    "estimator 'max_loo' within": change("estimator", "max_loo"),
    "token ids in [0, 258) expected, found 300": lambda row: json.dumps(row | {"token_ids": [[300]] * 4}),
    "token_ids[1][0]: expected a token id": lambda row: json.dumps(row | {"token_ids": [[3], [-1], [3], [3]]}),
    "prompt_token_ids: expected a list of token ids, found []": change("prompt_token_ids", []),
    "one log-probability a token": lambda row: json.dumps(row | {"logprobs": [[-1.0] * 9] * 4}),
    "logprobs[0][0]: expected a log-probability, at most 0, found 0.5": lambda row: json.dumps(
        row | {"logprobs": [[0.5 for _ in ids] for ids in row["token_ids"]]}),
    "advantages[0]: expected a finite number, found nan": lambda row: json.dumps(row | {"advantages": [math.nan] * 4}),
    "rewards[3]: expected a finite number, found 1e+308": lambda row: json.dumps(row | {"rewards": [0, 1, 0, 1e308]}),
    "k = 5, but there are n = 4 samples": lambda row: json.dumps(row | {"k": 5}),
    "sampled with temperature 0.7": change("sampling", {"temperature": 0.7}),
    "sampled with temperature 1.0, top_p 0.5": change("sampling", {"temperature": 1.0, "top_p": 0.5}),
    "top_k 2: the ratio is defined": change("sampling", {"top_k": 2}),
}


@pytest.mark.parametrize("message", BAD_ROWS)
def test_bad_rows(run, stream, tmp_path, message):
    at = 3 if message.startswith("k = 5") else 4  # else it would not be that of the step's first row
    lines = stream[:at] + [BAD_ROWS[message](json.loads(stream[at])) + "\n"] + stream[at + 1:]
    status, err = run(lines)
    assert status == 2 and message in err and f"row {at + 1}" in err and "Traceback" not in err
    if "JSON" not in message:
        assert f"task/1-{at - 3}" in err
    assert len(metrics_of(tmp_path / "run")) == 1 and os.readlink(tmp_path / "run" / "policy") == "policy-000001"


def test_read_step(stream):
    def read(lines, step):
        rows = train.rows_from(advantages.read_rows([line.encode() for line in lines], "train"), step, "RUN")
        return train.read_step(rows, step, False, 258)
    # earlier steps are skipped
    assert [row["task_id"] for row in read(stream, 2)] == ["task/2-0", "task/2-1", "task/2-2"]
    for lines, step, message in (([], 0, "no row came in"),
                                 (stream[:6], 2, "all 6 rows that came are of steps before 2"),
                                 (stream[:5], 1, "the input ended in step 1: 2 of 3 rows"),
                                 (stream[3:], 0, "step 0 expected, found step 1")):
        with pytest.raises(advantages.BadRow, match=message):
            read(lines, step)


def test_what_a_row_may_lack(run, stream, tmp_path):
    """policy_step, sampling, what only other stages read, and everything that this project does not know."""
    optional = ("policy_step", "sampling", "dataset", "split", "level", "kind", "preds", "verdicts")
    lines = [json.dumps({k: v for k, v in json.loads(line).items() if k not in optional} | {"note": "\ud800"}) + "\n\n"
             for line in stream]
    status, err = run(lines, "--samples-every", "1")
    assert status == 0, err
    assert [line["lag"] for line in metrics_of(tmp_path / "run")] == [None] * 6


def test_every_metric_stands_in_the_table(run, stream, tmp_path):
    assert run(stream, "--steps", "1")[0] == 0
    metrics = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    page = open(os.path.join(ROOT, "results", "update.md")).read()
    named = re.findall(r"`(\w+)`", "".join(
        line.split("|")[1] for line in page[page.index("| keys |"):].splitlines() if line.startswith("| `")))
    assert sorted(named) == sorted(metrics)


def test_rows_that_came_for_nothing_are_named(run, stream, tmp_path):
    """A second batch of step 0 into the same one-shot run, the same step twice in a file, and no input at all."""
    one_shot = functools.partial(run, path=tmp_path / "once", steps=None)
    assert "no row came in" in one_shot([])[1] and one_shot(["\n", " \n"])[0] == 2
    assert one_shot(stream[:3])[0] == 0
    for _ in range(2):
        status, err = one_shot(stream[:3])
        assert status == 2 and "all 3 rows that came are of steps before 1" in err and "another --run" in err
    assert [line["step"] for line in metrics_of(tmp_path / "once")] == [0]
    status, err = one_shot(stream[:6])  # goes on where it was
    assert status == 0 and "3 rows of steps before 1 left out" in err
    assert [line["step"] for line in metrics_of(tmp_path / "once")] == [0, 1]
    status, err = run(stream[:3] + stream[:3])
    assert status == 2 and "row 4, task_id 'task/0-0': a row of step 1 expected, found step 0" in err


def test_an_input_that_ends_early(run, stream):
    status, err = run(stream[:15])
    assert status == 2 and "ended after 5 of 6 steps" in err


# ------------------------------------------------------------------------------------------------------------ the flags

@pytest.mark.parametrize("flags, message", [
    ("--loss sft --ratio token", "--ratio"), ("--loss sft --beta 0.1", "--beta"),
    ("--loss sft --value-lr 0.1", "--value-lr"),
    ("--loss sft --minibatch-prompts 2", "--minibatch-prompts"), ("--loss pg --clip-high 0.3", "--clip-high"),
    ("--loss pg --old-logprobs recomputed", "--old-logprobs"), ("--importance-max 3", "--importance-max"),
    ("--kl-to old", "--kl-to"), ("--value-clip 0.1", "--value-clip"), ("--max-tokens 5", "--max-tokens"),
    ("--lr-final 0.5", "--lr-final"), ("--init tiny --lr 0.1", "--lr")])
def test_flags_without_effect_are_refused(flags, message, capsys):
    with pytest.raises(SystemExit) as stop:
        train.parse_arguments(["--model", "m", "--run", "r", *flags.split()])
    said = capsys.readouterr().err.replace("--run ", "").replace(" --run", "")
    assert stop.value.code == 2 and f"no effect in this mode: {message}\n" in said


def test_checkpoints_that_the_disk_cannot_hold_are_refused(tmp_path, tiny, monkeypatch, capsys):
    """Weights of 0.4 MB at the steps 0, 4, 8 and 10; one of them is there already."""
    from transformers import AutoModelForCausalLM
    model, free = AutoModelForCausalLM.from_pretrained(tiny), [0]
    monkeypatch.setattr(train.shutil, "disk_usage", lambda path: SimpleNamespace(free=free[0]))
    args = SimpleNamespace(keep_every=4, steps=10, dtype="float32")
    (tmp_path / "kept" / "policy-000000").mkdir(parents=True)
    size = 4 * sum(p.numel() for p in model.parameters())
    free[0] = 3 * size - 1
    with pytest.raises(ValueError, match="4 checkpoints"):
        train.check_room(tmp_path, model, args)
    free[0] = 3 * size
    train.check_room(tmp_path, model, args)
    assert "4 checkpoints of 0." in (said := capsys.readouterr().err) and "1 of them are there" in said


@pytest.mark.parametrize("flags, message", [
    ("--keep-every 0", "at least 1"), ("--stall-steps 0", "at least 1"),
    ("--schedule cosine", "needs --steps"), ("--loss-norm constant --max-tokens 9", "is defined for --ratio token"),
    ("--loss-norm constant --ratio token", "needs --max-tokens"), ("--clip-low 1.5", "below 1"),
    ("--clip-high 0", "above 0"), ("--ppo-epochs 0", "at least 1"), ("--lr 0", "above 0"),
    ("--betas 0.9 1.0", "--betas"), ("--beta 0.1 --reference-model none", "needs a reference"),
    ("--importance-max 0.5 --loss pg", "at least 1"), ("--beta nan", "--beta")])
def test_flags_that_cannot_work_are_refused(flags, message, capsys):
    with pytest.raises(SystemExit) as stop:
        train.parse_arguments(["--model", "m", "--run", "r", *flags.split()])
    assert stop.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize("size, device, lr, microbatch", [
    (10**6, "cpu", 1e-3, 16384), (10**9, "cpu", None, 1024), (10**9, "cuda", None, 16384)])
def test_defaults_are_those_of_a_models_size(size, device, lr, microbatch, tmp_path):
    with open(tmp_path / "model.safetensors", "wb") as file:
        file.truncate(size)
    args = train.parse_arguments(["--model", str(tmp_path), "--run", "r", "--device", device])
    if lr is None:
        with pytest.raises(ValueError, match="needs --lr"):
            train.defaults_by_size(args)
        args.lr = 1e-6
    train.defaults_by_size(args)
    assert (args.lr, args.microbatch_tokens) == (lr or 1e-6, microbatch)


def test_a_new_model_replaces_none(tiny, monkeypatch, capsys):
    before = (tiny / "model.safetensors").read_bytes()
    monkeypatch.setattr(sys, "argv", ["train.py", "--init", "tiny", "--seed", "5", "--model", str(tiny)])
    with pytest.raises(SystemExit) as stop:
        train.main()
    assert stop.value.code == 2 and f"{tiny} has one" in capsys.readouterr().err
    assert (tiny / "model.safetensors").read_bytes() == before


def test_run_is_required(capsys):
    with pytest.raises(SystemExit):
        train.parse_arguments(["--model", "m"])
    assert "--run is required" in capsys.readouterr().err


def test_off_policy_estimators_have_their_ratios_inside(run, stream, tmp_path):
    for name in ("bon_off_policy", "maj_off_policy_loo_minus_one"):
        lines = [json.dumps(json.loads(line) | {"estimator": name}) + "\n" for line in stream]
        for i, flags in enumerate((["--old-logprobs", "recomputed"], ["--value-lr", "0.1"])):
            status, err = run(lines, *flags, path=tmp_path / f"{name}{i}")
            assert status == 2 and name in err


@pytest.mark.parametrize("bits", ["32", "8"])
def test_moments_that_are_there_before_the_first_update_change_nothing(run, stream, tmp_path, bits):
    """On a shared GPU all memory is taken before the sampler starts."""
    for name, flags in (("plain", []), ("shared", ["--share-gpu"])):
        assert run(stream, "--adam-bits", bits, *flags, path=tmp_path / name)[0] == 0
    states = [torch.load(tmp_path / name / "policy" / "trainer.pt", weights_only=True) for name in ("plain", "shared")]
    assert (equal(*(state["optimizers"] for state in states))
            and metrics_of(tmp_path / "plain") == metrics_of(tmp_path / "shared"))
    model = small()
    optimizer = train.adam(model, 1e-3, settings("--adam-bits", bits))
    train.first_moments(model, optimizer)
    assert all(optimizer.state[p] for p in model.parameters())


def test_log_ratios_are_cut():
    lp, mask = torch.tensor([[3.0, -3.0, 0.1]]), torch.tensor([[1.0, 1.0, 0.0]])
    token = train.ratio(lp, torch.zeros(1, 3), mask, settings("--ratio", "token", "--log-ratio-max", "0.5"))
    assert token[0].tolist() == pytest.approx([math.exp(0.5), math.exp(-0.5), 1.0])  # beyond the end: 1
    whole = train.ratio(lp + 1, torch.zeros(1, 3), mask, settings("--log-ratio-max", "0.5"))
    assert whole.item() == pytest.approx(math.exp(0.5))


def test_updates_of_a_step():
    model = small()
    rows = some_rows(model, P=5)
    assert len(gradient(train.Policy(model), rows, settings("--ppo-epochs", "3", "--minibatch-prompts", "2"))[0]) == 9
    orders = [train.minibatches(train.Batch(rows, False, "cpu"), 0, epoch, settings("--minibatch-prompts", "2"))
              for epoch in (0, 1, 0)]
    assert orders[0] == orders[2] != orders[1] and sorted(sum(orders[0], [])) == list(range(5))


def test_learning_rate():
    constant = settings("--warmup", "4")
    assert [train.lr_factor(s, constant) for s in (0, 1, 3, 4, 1000)] == [0.25, 0.5, 1.0, 1.0, 1.0]
    for schedule in ("linear", "cosine"):
        args = settings("--warmup", "4", "--schedule", schedule, "--steps", "14", "--lr-final", "0.2")
        found = [train.lr_factor(s, args) for s in range(15)]
        assert found[4] == 1.0 and found[9] == pytest.approx(0.6) and found[14] == pytest.approx(0.2)


def test_tensorboard_says_what_is_missing(run, stream, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    status, err = run(stream, "--tensorboard")
    assert status == 2 and "pip install tensorboard" in err


def test_sft_is_maximum_likelihood():
    model, double = small(), small().double()
    rows = some_rows(model)
    policy = train.Policy(model)
    capture = Capture(policy)
    metrics = train.sft_step(train.Batch(rows, True, "cpu"), 0, policy, capture,
                             settings("--loss", "sft", "--microbatch-tokens", "20"))
    lp = torch.cat([plain_logprobs(double, row["prompt_token_ids"], ids)[0]
                    for row in rows for ids in row["token_ids"]])
    assert metrics["loss"] == pytest.approx(-lp.mean().item(), rel=1e-5)
    expected = torch.cat([x.flatten() for x in torch.autograd.grad(-lp.mean(), list(double.parameters()))])
    assert close(capture.gradients[0], expected, 1e-5)


def test_a_second_trainer_on_the_same_run_is_refused(run, stream, tmp_path):
    (tmp_path / "run").mkdir()
    with open(tmp_path / "run" / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        status, err = run(stream)
    assert status == 2 and "another train.py is at work" in err


# -------------------------------------------------------------------------------------------- Adam with a byte a moment

@pytest.mark.parametrize("name", ["exp_avg", "exp_avg_rms"])
def test_8_bit_levels(name):
    """Round-off is within a level's width over seven decades, and what was packed once is packed the same way again."""
    generator = torch.Generator().manual_seed(0)
    adam = train.Adam8bit([torch.nn.Parameter(torch.zeros(1))], 1e-3, (0.9, 0.98), 0.0)
    x = 10 ** (-6 * torch.rand(2000, generator=generator)) * 3e-4
    x = x * (1 - 2 * torch.randint(2, (2000,), generator=generator)) if name == "exp_avg" else x
    codes, scale = adam.pack(name, x)
    back = adam.unpack(name, codes, scale)
    assert codes.dtype == torch.uint8 and codes.shape == x.shape and scale.shape == (8,)
    top = x.abs() > 0.1 * scale.repeat_interleave(256)[:2000]  # the top decade: 64 levels, unsigned 128
    assert ((back - x).abs() / x.abs())[top].max() < (0.075 if name == "exp_avg" else 0.038)
    assert (back - x).abs().max() < 0.011 * scale.max() and ((back > 0) == (x > 0))[x.abs() > 1e-6 * scale.max()].all()
    again = adam.pack(name, back)
    assert torch.equal(again[0], codes) and torch.equal(again[1], scale)
    levels = adam.levels(name, "cpu")
    assert (len(levels) <= 256 and (levels[1:] > levels[:-1]).all() and levels[-1] == 1
            and (levels.min() > 0) == (name != "exp_avg"))


def test_8_bit_adam_follows_adamw(tiny):
    """The same 40 steps of maximum likelihood: the loss falls as far, with a quarter of the state."""
    from transformers import AutoModelForCausalLM
    losses, sizes = {}, {}
    for kind in torch.optim.AdamW, train.Adam8bit:
        model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
        ids = torch.randint(2, 200, (8, 24), generator=torch.Generator().manual_seed(0))
        optimizer = kind(model.parameters(), lr=3e-3, betas=(0.9, 0.98), weight_decay=0.01)
        losses[kind] = []
        for _ in range(40):
            optimizer.zero_grad()
            loss = model(input_ids=ids, labels=ids).loss
            loss.backward()
            optimizer.step()
            losses[kind].append(loss.item())
        tensors = [x for state in optimizer.state.values() for pair in state.values()
                   for x in (pair if isinstance(pair, tuple) else [pair])]
        sizes[kind] = sum(x.nbytes for x in tensors) / sum(p.numel() for p in model.parameters())
    plain, packed = losses[torch.optim.AdamW], losses[train.Adam8bit]
    assert plain[-1] < 0.5 * plain[0] and packed[-1] == pytest.approx(plain[-1], rel=0.05)
    assert (sizes[torch.optim.AdamW] == pytest.approx(8, abs=0.01)
            and sizes[train.Adam8bit] == pytest.approx(2.03, abs=0.01))


@pytest.mark.slow
def test_benchmark_in_miniature(tiny):
    code = f"from tests.benchmark_train import benchmark; benchmark({str(tiny)!r}, P=4, n=4, steps=4, repeats=1)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the loop, ") == 5 and "bare sampling loop" in done.stdout


# ------------------------------------------------------------------------------------------------------- several ranks

def load_weights(path):
    return {name: tensor for file in sorted(path.glob("*.safetensors"))
            for name, tensor in safetensors.torch.load_file(file).items()}


def on_two_ranks(lines, *argv):
    done = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--",
                           "train.py", *argv],
                          cwd=ROOT, input="".join(lines), capture_output=True, text=True, timeout=300)
    return done.returncode, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("flags, tolerance, of_weights", [
    ("--value-lr 0.01 --ppo-epochs 2 --minibatch-prompts 2 --beta 0.1 --entropy-bonus 0.01 --microbatch-tokens 60",
     1e-5, 1e-5),
    ("--ratio token --old-logprobs recomputed --ppo-epochs 2 --adam-bits 8 --activation-checkpointing",
     1e-5, 5e-4),  # its blocks end elsewhere
    ("--loss pg --microbatch-tokens 30", 1e-5, 1e-5), ("--loss sft", 1e-5, 1e-5),
    ("--dtype bfloat16 --activation-checkpointing", 2e-2, 2e-3)])  # at most neighbouring bfloat16 numbers
def test_two_ranks_are_one(run, stream, tiny, tmp_path, flags, tolerance, of_weights):
    """Sharded over two ranks: the losses of one process, its weights, and a checkpoint with which one process goes
    on."""
    flags = [*flags.split(), "--lr", "1e-4"]
    assert run(stream, *flags, path=tmp_path / "one")[0] == 0
    status, err = on_two_ranks(stream, "--model", str(tiny), "--run", str(tmp_path / "two"), "--save-every", "3",
                               "--steps", "3", *flags)
    assert status == 0, err
    status, err = run(stream, *flags, path=tmp_path / "two")
    assert status == 0, err
    one, two = metrics_of(tmp_path / "one"), metrics_of(tmp_path / "two")
    assert len(one) == len(two) == 6
    for a, b in zip(one, two):
        for key in [key for key in a if a[key] is not None]:
            assert b[key] == pytest.approx(
                a[key], rel=10 * tolerance if key == "grad_norm" else tolerance, abs=tolerance), (a["step"], key)
    weights = [load_weights(tmp_path / name / "policy") for name in ("one", "two")]
    assert weights[0].keys() == weights[1].keys()
    for name in weights[0]:
        assert (weights[0][name] - weights[1][name]).abs().max() < of_weights, name


@pytest.mark.slow
@pytest.mark.parametrize("flags", ["--ppo-epochs 3 --beta 0.01 --kl-to old", "--loss pg", "--value-lr 1e-3"])
def test_bfloat16_on_one_rank_and_on_two_follows_float32(run, stream, tiny, tmp_path, flags):
    """As the presets run: from a bfloat16 checkpoint, layers computed twice, three epochs. What the later updates see
    (how far the ratios have moved) is what float32 sees, and files, loaded again, are of the right kind."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    half = tmp_path / "half"
    AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.bfloat16).save_pretrained(half)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(half)
    flags = ["--steps", "2", "--lr", "1e-3", "--warmup", "0", "--activation-checkpointing", *flags.split(),
             "--model", str(half)]
    assert run(stream, *flags, path=tmp_path / "exact")[0] == 0
    status, err = run(stream, *flags, "--dtype", "bfloat16", path=tmp_path / "one")
    assert status == 0, err
    status, err = on_two_ranks(stream, "--run", str(tmp_path / "two"), "--save-every", "3", *flags,
                               "--dtype", "bfloat16")
    assert status == 0, err
    exact = metrics_of(tmp_path / "exact")[0]  # later steps start from weights that rounding has led apart
    assert "--ppo-epochs" not in flags or exact["ratio_max"] > 1.2
    for name in ("one", "two"):
        found = metrics_of(tmp_path / name)[0]
        for key in ("ratio_max", "kl_behaviour", "grad_norm", "loss", "value_loss"):
            assert exact[key] is None or found[key] == pytest.approx(exact[key], rel=0.1, abs=2e-3), (name, key)
        files = sorted(file.name for file in (tmp_path / name / "policy").glob("*.safetensors"))
        assert len(files) == (1 if name == "one" else 2)
        again = AutoModelForCausalLM.from_pretrained(tmp_path / name / "policy", dtype="auto")
        assert again.dtype == torch.bfloat16


@pytest.mark.slow
def test_two_ranks_off_policy(run, tiny, tmp_path):
    """The exact off-policy estimator, re-weighted with log-probabilities that come from both ranks."""
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(tiny)
    lines = [json.dumps(row | {"step": step, "policy_step": step}) + "\n" for step in range(3)
             for row in some_rows(model, "bon_off_policy_loo_minus_one", 2, seed=step)]
    flags = ["--steps", "3", "--ppo-epochs", "3", "--minibatch-prompts", "2", "--microbatch-tokens", "40"]
    assert run(lines, *flags, path=tmp_path / "one")[0] == 0
    status, err = on_two_ranks(lines, "--model", str(tiny), "--run", str(tmp_path / "two"), *flags)
    assert status == 0, err
    for a, b in zip(metrics_of(tmp_path / "one"), metrics_of(tmp_path / "two"), strict=True):
        assert b["loss"] == pytest.approx(a["loss"], abs=1e-5) and b["updates"] == a["updates"] == 6


@pytest.mark.slow
def test_two_ranks_refuse_a_bad_row(stream, tiny, tmp_path):
    status, err = on_two_ranks([*stream[:4], "{}\n"], "--model", str(tiny), "--run", str(tmp_path / "run"),
                               "--steps", "6")
    assert status != 0 and "train.py, rank 0: row 5, task_id None" in err
    assert [line["step"] for line in metrics_of(tmp_path / "run")] == [0]
