"""Stage 1 of 4: sample n completions for every prompt and write one JSON line per prompt.

One pass over a dataset, with fixed weights (evaluation, or rollouts to a file):
    python generate.py --model DIR --dataset rules --split test --limit 400 --num-samples 128 > completions.jsonl
The dataset's own solutions as completions (the SFT warm-up goes through the same pipe):
    python generate.py --model DIR --reference --split sft --prompts-per-step 128 --steps 700 | python train.py --loss sft ...
The sampling side of the loop: step s is sampled once train.py has published weights of a step >= s - max_staleness
in RUN/policy, which are then reloaded in place:
    python generate.py --run RUN --steps 150 --max-staleness 0 | python reward.py | python advantages.py | python train.py

Prompt order and sampling noise are functions of (seed, step), so a run that is stopped and started again draws the same.
Shapes in comments: P prompts, n samples per prompt, T tokens, V vocabulary.
"""

import argparse
import functools
import hashlib
import itertools
import json
import math
import os
import random
import select
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

SYSTEM = {  # used where the tokenizer has a chat template; --system replaces it
    "math": "Solve the problem step by step and put the final answer in \\boxed{}.",
    "code": "Write a Python program that solves the problem. Put the whole program in one ```python block.",
    "grid": "Find the rule that turns each input grid into its output grid. Answer with the output grid for the test "
            "input: one line per row, digits separated by spaces.",
}

# ---------------------------------------------------------------- the embedded task: boolean rules from five examples
# An item has one of three values of each of four attributes (abc, def, ghi, jkl), e.g. "adgj"; a rule such as "a&~h" is
# a Python expression over the twelve letters as 0/1 integers. The prompt shows five items, lower case where the rule
# holds and upper case where it does not; the completion is a rule, graded by calling it on the 76 items not shown.
# Several rules fit every prompt: a policy can commit to one (pass@1) or spread over them (pass@k).

ATTRIBUTES = ("abc", "def", "ghi", "jkl")
LETTERS = "".join(ATTRIBUTES)
ITEMS = ["".join(letters) for letters in itertools.product(*ATTRIBUTES)]  # 81
ALL_ITEMS = (1 << len(ITEMS)) - 1
HOLDS = {x: sum(1 << j for j, item in enumerate(ITEMS) if x in item) for x in LETTERS}  # letter -> bit mask over ITEMS
RULE_TEMPLATE = f"""def rule(item):
    {', '.join(LETTERS)} = [int(letter in item) for letter in "{LETTERS}"]
    return ({{program}}) & 1"""


def rule_priors():
    """The two rule distributions, as lists of (weight, [(rule, bit mask over ITEMS), ...]): a family is drawn by weight,
    then a rule uniformly in it. `task` (240 rules) is what RL and evaluation use; SFT mixes it half and half with
    `broad` (702 others), so that the base model covers more than the task."""
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
    unseen = [j for j in range(len(ITEMS)) if j not in shown]
    outputs = [mask >> j & 1 for j in unseen]
    count = {value: outputs.count(value) for value in (0, 1)}
    row = {
        "task_id": f"rules/{key}", "dataset": "rules", "split": split, "level": None, "kind": "code",
        "prompt": "".join(rng.sample(labelled, 5)) + ":", "gold": None, "reference": [rule],
        # score = balanced accuracy: right positives and right negatives weigh one half each
        "tests": {"type": "call", "entry_point": "rule", "setup": "", "template": RULE_TEMPLATE, "extract": False,
                  "inputs": [[ITEMS[j]] for j in unseen], "outputs": outputs,
                  "weights": [count[1 - value] or 1 for value in outputs]},
    }
    if split == "test":
        positives = sum(1 << j for j in shown if mask >> j & 1)
        row["posterior"] = rule_posterior(positives, sum(1 << j for j in shown) ^ positives)
    return row


# ------------------------------------------------------------------------------------------------ prompts, in order

def prompt_ids(tokenizer, prompt, system):
    """Token ids of a prompt, through the chat template where the tokenizer has one."""
    if tokenizer.chat_template is None:
        return tokenizer(prompt["prompt"])["input_ids"]
    system = SYSTEM[prompt["kind"]] if system is None else system
    messages = [{"role": "system", "content": system}] * bool(system) + [{"role": "user", "content": prompt["prompt"]}]
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]


def prompt_batches(args, tokenizer, first_step):
    """Yield (step, prompts) from `first_step` on: batches of --prompts-per-step, or, where --steps is not given, one
    pass over the dataset as step 0. Rules are endless; a finite dataset is reshuffled every epoch by (seed, epoch)."""
    if args.dataset == "rules":
        numbered = functools.partial(rules_prompt, args.seed, args.split)
        one_pass = first_distinct((numbered(i) for i in itertools.count()), args.limit) if args.steps is None else []
    else:
        one_pass = short_prompts(load_prompts(args.dataset, args.split, args.data_files, args.limit), tokenizer, args)
        order = functools.lru_cache(2)(lambda epoch: np.random.default_rng([args.seed, epoch]).permutation(len(one_pass)))
        numbered = lambda i: one_pass[order(i // len(one_pass))[i % len(one_pass)]]
    if args.steps is None:
        yield 0, one_pass
    for step in range(first_step, args.steps or 0):
        yield step, [numbered(step * args.prompts_per_step + j) for j in range(args.prompts_per_step)]


def first_distinct(prompts, count):
    """The first `count` prompts with different task_ids."""
    found = {}
    for prompt in prompts:
        found.setdefault(prompt["task_id"], prompt)
        if len(found) == count:
            return list(found.values())


def short_prompts(prompts, tokenizer, args):
    """Drop the prompts longer than --max-prompt-tokens, with a count on standard error."""
    short = [p for p in prompts if len(prompt_ids(tokenizer, p, args.system)) <= args.max_prompt_tokens]
    if len(short) < len(prompts):
        print(f"generate.py: dropped {len(prompts) - len(short)} of {len(prompts)} prompts, longer than "
              f"--max-prompt-tokens {args.max_prompt_tokens}", file=sys.stderr)
    if not short:
        raise ValueError(f"no prompt of {args.dataset} has at most {args.max_prompt_tokens} tokens")
    return short


def sampling_seed(seed, step, place):
    """48-bit seed of the prompt at `place` of step `step`: sampling noise does not depend on how prompts are batched."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}/{place}".encode()).digest()[:6], "big")


# ------------------------------------------------------------------------------------------------------- the engines
# ENGINES[name](path, args) -> sample, load, score:
#   sample([(token ids, seed)]) yields (position in the list, n samples) as prompts finish;
#       a sample is (text, token_ids, logprobs under the sampling distribution, finish_reason)
#   load(path) puts the weights of another checkpoint of the same model into the running engine
#   score(token_ids) is the log-probability of token_ids[1:] at temperature 1, which shows what weights are in use

def transformers_engine(path, args):
    """Plain PyTorch sampling with a KV cache, for CPU and small GPUs. A group is sampled as a prefix tree: the prompt is
    computed once, samples share a row of the batch until they differ, and finished samples leave it."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, args.dtype)).to(device).eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    stop_ids = model.generation_config.eos_token_id
    stop_ids = torch.tensor(stop_ids if isinstance(stop_ids, list) else [stop_ids], device=device)
    n, limit = args.num_samples, args.max_tokens

    def distribution(logits):
        """(N, V) logits -> float32 log-probabilities of the sampling distribution."""
        logprobs = torch.log_softmax(logits.float() / args.temperature, -1)
        if args.top_k:
            kth = logprobs.topk(min(args.top_k, logprobs.shape[-1])).values[:, -1:]
            logprobs = logprobs.masked_fill(logprobs < kth, -torch.inf)
        if args.top_p < 1:
            ordered, order = torch.log_softmax(logprobs, -1).sort(descending=True)
            beyond = ordered.exp().cumsum(-1) - ordered.exp() >= args.top_p  # the token that crosses top_p stays
            logprobs = logprobs.masked_fill(beyond.scatter(1, order, beyond), -torch.inf)
        return torch.log_softmax(logprobs, -1) if args.top_k or args.top_p < 1 else logprobs

    @torch.inference_mode()
    def sample_batch(prompts):
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
        out = model(input_ids=padded, attention_mask=mask if width * len(mask) > mask.sum() else None,
                    position_ids=(mask.cumsum(1) - 1).clamp(min=0), use_cache=True, logits_to_keep=1)
        for t in range(limit):
            table = distribution(out.logits[:, -1])  # (rows, V)
            # inverse CDF in float64; only a strictly positive probability can be drawn
            cdf = table.double().exp().cumsum(-1)[node]
            token = torch.searchsorted(cdf, noise[live, t, None] * cdf[:, -1:], right=True).squeeze(1)
            tokens[live, t], logprobs[live, t] = token, table[node, token]
            end = torch.isin(token, stop_ids)
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
            out = model(input_ids=token[:, None], position_ids=position, past_key_values=out.past_key_values,
                        attention_mask=mask if mask.shape[1] * len(mask) > mask.sum() else None, use_cache=True)
            position = position + 1
        tokens, logprobs, lengths = tokens.tolist(), logprobs.tolist(), lengths.tolist()
        for g in range(len(prompts)):
            group = []
            for i in range(g * n, (g + 1) * n):
                ids = tokens[i][:lengths[i]]
                text = tokenizer.decode(ids[:-1] if stopped[i] else ids, skip_special_tokens=True)
                group.append((text, ids, logprobs[i][:lengths[i]], "stop" if stopped[i] else "length"))
            yield g, group

    def sample(prompts):
        batch = max(1, args.batch_tokens // (n * (max(len(ids) for ids, _ in prompts) + limit)))
        for first in range(0, len(prompts), batch):
            for g, group in sample_batch(prompts[first:first + batch]):
                yield first + g, group

    def load(path):
        state = {k: v for file in sorted(Path(path).glob("*.safetensors")) for k, v in load_file(file).items()}
        missing, unexpected = model.load_state_dict(state, strict=False)
        if unexpected or not set(missing) <= set(model.all_tied_weights_keys):
            raise ValueError(f"{path} does not hold the weights of this model: {(missing + unexpected)[:3]}")
        model.tie_weights()

    @torch.inference_mode()
    def score(token_ids):
        logprobs = model(input_ids=torch.tensor([token_ids], device=device)).logits.float().log_softmax(-1)
        return logprobs[0, range(len(token_ids) - 1), token_ids[1:]].sum().item()

    return sample, load, score


ENGINES = {"transformers": transformers_engine}
DATASETS = {}


# -------------------------------------------------------------------------------------------------------- the stage

def policy_step(path):
    """12 for RUN/policy-000012 and for a link to it; None for any other path."""
    name = os.path.basename(os.path.realpath(path))
    return int(name[7:]) if name.startswith("policy-") and name[7:].isdigit() else None


def wait_for_weights(run, step, max_staleness, rows):
    """Block until RUN/policy points to weights that may sample `step`: published after step - max_staleness updates or
    more. Newer ones than `step` are left over from a run that was cut off: train.py turns the link back to its last
    checkpoint when it starts, so they are waited out too. Raises BrokenPipeError if the next stage ends meanwhile."""
    reader = select.poll()
    reader.register(rows, 0)  # asks for nothing, so it reports only that the other end was closed
    while True:
        found = policy_step(run / "policy")
        if found is not None and step - max_staleness <= found <= step:
            return run / f"policy-{found:06d}"
        if reader.poll(5):
            raise BrokenPipeError


def check_probe(path, score, dtype):
    """train.py publishes a token sequence and its log-probability with every checkpoint: the engine must agree, or it
    still samples from other weights (with a stale KV cache, or with an output layer that was not replaced)."""
    probe = json.loads((Path(path) / "probe.json").read_text())
    found, tolerance = score(probe["token_ids"]), len(probe["token_ids"]) * {"float32": 1e-4, "bfloat16": 2e-2}[dtype]
    if not abs(found - probe["logprob"]) <= tolerance:
        raise ValueError(f"the engine does not use the weights of {path}: its log-probability of the probe is "
                         f"{found:.5f}, train.py's {probe['logprob']:.5f} (tolerance {tolerance:.0e})")


def generate(args, rows):
    """For every batch of prompts: wait for the weights, load them, sample, write the rows as groups finish."""
    from transformers import AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    first_step = 0
    if args.run:  # start where train.py starts: at its last checkpoint
        first_step = max((int(file.parent.name[-6:]) for file in args.run.glob("policy-??????/trainer.pt")), default=0)
    path = wait_for_weights(args.run, first_step, args.max_staleness, rows) if args.run else args.model
    if os.path.isdir(path) and not os.path.exists(os.path.join(path, "config.json")):
        raise ValueError(f"{path} is not a checkpoint: it has no config.json")
    tokenizer = AutoTokenizer.from_pretrained(path)
    sample = None
    for step, prompts in prompt_batches(args, tokenizer, first_step):
        latest = wait_for_weights(args.run, step, args.max_staleness, rows) if args.run else args.model
        if not args.reference and sample is None:
            sample, load, score = ENGINES[args.engine](latest, args)
        elif not args.reference and latest != path:
            load(latest)
        if args.run and not args.reference and (latest != path or step == first_step):
            check_probe(latest, score, args.dtype)
        path = latest
        shared = {"step": step, "step_prompts": len(prompts), "policy_step": policy_step(path)}
        shared["sampling"] = {"model": str(args.model or args.run), "seed": args.seed, "temperature": args.temperature,
                              "top_p": args.top_p, "top_k": args.top_k, "max_tokens": args.max_tokens}
        ids = [prompt_ids(tokenizer, prompt, args.system) for prompt in prompts]
        if args.reference:
            groups = ((g, [reference_sample(tokenizer, prompt)]) for g, prompt in enumerate(prompts))
        else:
            groups = sample([(ids[g], sampling_seed(args.seed, step, g)) for g in range(len(prompts))])
        for g, group in groups:
            row = {key: value for key, value in prompts[g].items() if key != "reference"}
            row |= dict(zip(("completions", "token_ids", "logprobs", "finish_reasons"), map(list, zip(*group))))
            rows.write(json.dumps(row | shared | {"prompt_token_ids": ids[g]}) + "\n")
            rows.flush()


def reference_sample(tokenizer, prompt):
    """The dataset's first solution in the shape of a sample; no policy drew it, so it has no log-probabilities."""
    if not prompt["reference"]:
        raise ValueError(f"{prompt['task_id']} has no reference solution")
    solution = prompt["reference"][0]
    ids = tokenizer(solution, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    return solution, ids, None, "stop"


def check_arguments(parser, args):
    """Refuse what cannot work and flags that would have no effect."""
    def given(*names):
        return [name for name in names if getattr(args, name[2:].replace("-", "_")) != parser.get_default(name[2:].replace("-", "_"))]

    if (args.model is None) == (args.run is None):
        parser.error("give --model (fixed weights) or --run (follow the trainer), not both")
    if args.run and args.steps is None:
        parser.error("--run needs --steps, the number of steps of the whole run")
    if args.run and (args.top_p < 1 or args.top_k):
        parser.error("--top-p below 1 and --top-k bias the probability ratio: not with --run")
    if args.dataset == "rules":
        if args.split not in ("train", "test", "sft"):
            parser.error(f"--dataset rules has the splits train, test and sft, not {args.split!r}")
        if (args.steps is None) == (args.limit is None):
            parser.error("--dataset rules is endless: give either --steps or --limit")
        if args.data_files:
            parser.error("--data-files has no effect with --dataset rules")
    unused = []
    if args.reference:
        unused += given("--num-samples", "--max-tokens", "--temperature", "--top-p", "--top-k", "--batch-tokens", "--engine")
    if not args.run:
        unused += given("--max-staleness")
    if args.steps is None:
        unused += given("--prompts-per-step")
    if unused:
        parser.error(f"no effect in this mode: {' '.join(unused)}")
    for name, low in (("num_samples", 1), ("max_tokens", 1), ("prompts_per_step", 1), ("max_staleness", 0), ("top_k", 0)):
        if getattr(args, name) < low:
            parser.error(f"--{name.replace('_', '-')} must be at least {low}")
    if not args.temperature > 0 or not 0 < args.top_p <= 1:
        parser.error("--temperature must be above 0 and --top-p in (0, 1]")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False,
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    where = parser.add_argument_group("weights")
    where.add_argument("--model", help="checkpoint directory or hub name: fixed weights")
    where.add_argument("--run", type=Path, help="run directory: follow the weights that train.py publishes in RUN/policy")
    where.add_argument("--max-staleness", type=int, default=0,
                       help="with --run: how many updates the weights may lag (0: on-policy; 1: sampling overlaps training)")
    where.add_argument("--engine", choices=["auto", *ENGINES], default="auto")
    where.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    where.add_argument("--device", help="default: cuda where there is one")
    data = parser.add_argument_group("prompts")
    data.add_argument("--dataset", choices=["rules", *DATASETS], default="rules")
    data.add_argument("--data-files", nargs="+", help="local json, jsonl or parquet files of the dataset's schema; default: the hub")
    data.add_argument("--split", default="train")
    data.add_argument("--limit", type=int, help="use the first LIMIT prompts only")
    data.add_argument("--steps", type=int, help="number of batches; default: one pass over the dataset")
    data.add_argument("--prompts-per-step", type=int, default=64)
    data.add_argument("--reference", action="store_true", help="write the dataset's own solution as the one completion")
    data.add_argument("--system", help="replaces the system prompt; '' for none")
    data.add_argument("--max-prompt-tokens", type=int, default=1024, help="longer prompts are dropped, and counted")
    draw = parser.add_argument_group("sampling")
    draw.add_argument("--num-samples", type=int, default=16, help="n, completions per prompt")
    draw.add_argument("--max-tokens", type=int, default=10, help="longest completion, in tokens")
    draw.add_argument("--temperature", type=float, default=1.0)
    draw.add_argument("--top-p", type=float, default=1.0, help="evaluation only: it biases the ratio in training")
    draw.add_argument("--top-k", type=int, default=0, help="0: off; evaluation only")
    draw.add_argument("--seed", type=int, default=0, help="of prompt order and sampling")
    draw.add_argument("--batch-tokens", type=int, default=2**19, help="transformers engine: most tokens in the KV cache")
    args = parser.parse_args()
    check_arguments(parser, args)

    if args.engine == "auto":
        args.engine = "transformers"

    rows_out = os.dup(1)
    os.dup2(2, 1)  # rows own standard output: a library's print must not land among them
    try:
        with open(rows_out, "w") as rows:
            generate(args, rows)
    except BrokenPipeError:
        sys.exit("generate.py: stopped, the next stage is gone")
    except (ValueError, OSError) as error:
        print("generate.py:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
