"""generate.py: the embedded task against its definition, the sampler against a plain forward pass, the stage's
manners."""

import contextlib
import hashlib
import io
import json
import math
import os
import re
import shutil
import sys
import threading
from argparse import Namespace
from fractions import Fraction

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma2Config, Gemma2ForCausalLM

import advantages
import generate

RULES = [rule for prior in (generate.TASK_PRIOR, generate.BROAD_PRIOR) for _, rules in prior for rule in rules]


def holds(rule, item):
    """Truth of a rule of our own making (never a completion) on an item, by Python's meaning of it."""
    return eval(rule, {x: int(x in item) for x in generate.LETTERS}) & 1


# ------------------------------------------------------------------------------------------------- the embedded task

def test_rules_are_what_python_says():
    assert [len(r) for _, r in generate.TASK_PRIOR] == [12, 12, 54, 54, 108]
    assert sum(len(r) for _, r in generate.BROAD_PRIOR) == 702
    assert len({text for text, _ in RULES}) == 942 and max(len(text) for text, _ in RULES) <= 8
    for text, mask in RULES:
        assert [mask >> j & 1 for j in range(81)] == [holds(text, item) for item in generate.ITEMS], text


@pytest.mark.parametrize("split", ["train", "test", "sft"])
def test_prompts_show_five_items_and_test_the_others(split):
    for i in range(50):
        row = generate.rules_prompt(3, split, i)
        [rule] = row["reference"]
        assert len(row["prompt"]) == 21 and row["prompt"][-1] == ":"
        shown = [row["prompt"][j:j + 4] for j in range(0, 20, 4)]
        tested = [item for [item] in row["tests"]["inputs"]]
        assert tested == generate.ITEMS and len({item.lower() for item in shown}) == 5
        # the items shown are run, but do not count
        unweighed = [item for item, w in zip(tested, row["tests"]["weights"]) if w == 0]
        assert unweighed == sorted(item.lower() for item in shown)
        assert [item.islower() for item in shown] == [bool(holds(rule, item.lower())) for item in shown]
        assert row["tests"]["outputs"] == [holds(rule, item) for item in tested]
        assert 1 <= sum(map(str.islower, shown)) <= 4
        namespace = {}  # the template, filled with the reference rule, is the program that reward.py calls
        exec(row["tests"]["template"].replace("{program}", rule), namespace)
        assert [namespace["rule"](item) for item in tested] == row["tests"]["outputs"]
        for value in (0, 1):  # the weights make `scores` the balanced accuracy
            weight = sum(w for w, out in zip(row["tests"]["weights"], row["tests"]["outputs"]) if out == value)
            if len({out for w, out in zip(row["tests"]["weights"], row["tests"]["outputs"]) if w}) == 2:
                assert weight * 2 == sum(row["tests"]["weights"])


def test_held_out_prompts_are_disjoint_and_reproducible():
    ids = {split: {generate.rules_prompt(seed, split, i)["task_id"] for seed in (0, 1) for i in range(300)}
           for split in ("train", "test", "sft")}
    assert not ids["test"] & (ids["train"] | ids["sft"])
    assert generate.rules_prompt(5, "train", 7) == generate.rules_prompt(5, "train", 7)
    assert generate.rules_prompt(5, "train", 7) != generate.rules_prompt(6, "train", 7)


def test_posterior_against_enumeration_in_rational_numbers():
    row = generate.rules_prompt(0, "test", 4)
    shown = {row["prompt"][j:j + 4].lower(): row["prompt"][j].islower() for j in range(0, 20, 4)}
    positives = sum(shown.values())
    unseen = [item for item in generate.ITEMS if item not in shown]
    total_weight = sum(weight for weight, _ in generate.TASK_PRIOR)
    mass = {}
    for weight, rules in generate.TASK_PRIOR:
        for text, _ in rules:
            if any(bool(holds(text, item)) != label for item, label in shown.items()):
                continue
            size = sum(holds(text, item) for item in generate.ITEMS)
            # one way to draw the number of positives, then one subset of the positives and one of the negatives
            likelihood = (Fraction(math.comb(5, positives), 30) / math.comb(size, positives)
                          / math.comb(81 - size, 5 - positives))
            behaviour = tuple(holds(text, item) for item in unseen)
            mass[behaviour] = mass.get(behaviour, 0) + Fraction(weight, total_weight) / len(rules) * likelihood
    expected = sorted((m / sum(mass.values()) for m in mass.values()), reverse=True)
    assert len(expected) == len(row["posterior"]) > 1
    assert np.allclose(row["posterior"], [float(p) for p in expected], rtol=1e-12)


# ----------------------------------------------------------------------------------------------------- the sampler

PROMPTS = ["adgjBEHKcfilADGLbehj:", "a:", "adgj:"]  # unequal lengths: the short ones are padded


def settings(**changes):
    return Namespace(**dict(device="cpu", dtype="float32", num_samples=5, max_tokens=7,
                            temperature=1.0, top_p=1.0, top_k=0, batch_tokens=2**19) | changes)


def draw(path, args, prompts=PROMPTS):
    tokenizer = AutoTokenizer.from_pretrained(path)
    numbered = [(tokenizer(p)["input_ids"], 100 + i) for i, p in enumerate(prompts)]
    groups = dict(generate.TransformersEngine(path, args).sample(numbered))
    return [groups[g] for g in range(len(prompts))]


@pytest.mark.parametrize("changes", [{}, {"temperature": 0.3}, {"top_k": 3}, {"top_p": 0.5, "temperature": 0.7}])
def test_samples_are_those_of_a_plain_loop_over_whole_sequences(tiny, changes):
    """The prefix tree draws, with the same noise, what inverse-CDF sampling from a plain forward pass draws, and its
    log-probabilities are those of the sampling distribution (1e-4 in fp32)."""
    args = settings(**changes)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny).eval(), AutoTokenizer.from_pretrained(tiny)
    for g, group in enumerate(draw(tiny, args)):
        noise = np.random.default_rng(100 + g).random((args.num_samples, args.max_tokens))
        for i, (text, ids, logprobs, reason) in enumerate(group):
            sequence, expected = tokenizer(PROMPTS[g])["input_ids"], []
            for t in range(len(ids)):
                with torch.no_grad():
                    p = (model(torch.tensor([sequence])).logits[0, -1].double() / args.temperature).softmax(-1)
                if args.top_k:
                    p = torch.where(p >= p.topk(args.top_k).values[-1], p, 0)
                    p = p / p.sum()
                if args.top_p < 1:
                    order = p.argsort(descending=True)
                    kept = int((p[order].cumsum(0) < args.top_p).sum()) + 1
                    p = torch.zeros_like(p).scatter(0, order[:kept], p[order[:kept]])
                    p = p / p.sum()
                assert int((p.cumsum(0) <= noise[i, t] * p.sum()).sum()) == ids[t]
                expected.append(math.log(p[ids[t]]))
                sequence = sequence + [ids[t]]
            assert np.allclose(logprobs, expected, atol=1e-4)
            assert text == tokenizer.decode(ids, skip_special_tokens=True)
            assert (reason == "stop") == (ids[-1] == tokenizer.eos_token_id)
            assert len(ids) == args.max_tokens or reason == "stop"


def test_sampler_keeps_the_cap_on_attention_logits(tiny, tmp_path):
    """Gemma 2's, which fused attention in transformers leaves out without a word."""
    config = Gemma2Config(vocab_size=258, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
                          num_attention_heads=2, num_key_value_heads=2, head_dim=32, sliding_window=4,
                          attn_logit_softcapping=0.5, final_logit_softcapping=2.0, initializer_range=0.5,
                          bos_token_id=None, eos_token_id=1, pad_token_id=0)
    torch.manual_seed(0)
    Gemma2ForCausalLM(config).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
    for prompt, group in zip(PROMPTS, draw(tmp_path, settings())):
        prompt = tokenizer(prompt)["input_ids"]
        for _, ids, logprobs, _ in group:
            with torch.no_grad():
                table = model(torch.tensor([prompt + ids[:-1]])).logits[0, len(prompt) - 1:].log_softmax(-1)
            assert np.allclose(logprobs, table[range(len(ids)), ids], atol=1e-4)


def test_samples_do_not_depend_on_the_batch(tiny):
    whole, apart = draw(tiny, settings()), draw(tiny, settings(batch_tokens=1))
    assert [[s[:2] for s in g] for g in whole] == [[s[:2] for s in g] for g in apart]
    alone = draw(tiny, settings(), PROMPTS[:1])
    assert [s[1] for s in alone[0]] == [s[1] for s in whole[0]]


def test_the_first_rows_of_a_large_model_come_before_the_pass_is_done(tiny, monkeypatch):
    """Of as many prompts at once as CPU_WORK allows for so many parameters; the samples are those of one batch."""
    engine, sizes = generate.TransformersEngine(tiny, settings(batch_tokens=None)), []
    prompts = [(list(range(10, 10 + length)), 100 + i) for i, length in enumerate((21, 3, 9, 21, 5))]
    whole, draw = dict(engine.sample(prompts)), engine.draw
    monkeypatch.setattr(engine, "draw", lambda batch: sizes.append(len(batch)) or draw(batch))
    monkeypatch.setattr(generate, "CPU_WORK", 2 * 5 * (21 + 7) * engine.model.num_parameters())  # two prompts
    groups = engine.sample(prompts)
    found = dict([next(groups)])
    assert sizes == [2]
    found |= dict(groups)
    assert sizes == [2, 2, 1]
    assert [[s[:2] for s in found[g]] for g in range(5)] == [[s[:2] for s in whole[g]] for g in range(5)]


def test_stop_token_ends_a_completion(tiny):
    found = [s for g in draw(tiny, settings(num_samples=400)) for s in g if s[3] == "stop"]
    assert found and all(s[1][-1] == 1 and 1 not in s[1][:-1] and len(s[1]) == len(s[2]) for s in found)


def test_load_puts_new_weights_in_use(tiny, tmp_path):
    import train
    train.init_tiny(tmp_path, seed=1)
    engine, other = (generate.TransformersEngine(path, settings()) for path in (tiny, tmp_path))
    ids = list(range(10, 20))
    before = engine.score(ids)
    engine.load(tmp_path)
    assert engine.score(ids) == other.score(ids) != before


def test_load_refuses_another_architecture(tiny, tmp_path):
    from safetensors.torch import load_file, save_file
    state = load_file(tiny / "model.safetensors")
    state.pop("model.norm.weight")
    save_file(state, tmp_path / "model.safetensors")
    engine = generate.TransformersEngine(tiny, settings())
    with pytest.raises(ValueError, match="model.norm.weight"):
        engine.load(tmp_path)


def test_probe_stops_a_sampler_with_old_weights(tmp_path):
    (tmp_path / "probe.json").write_text(json.dumps({"token_ids": [1, 2, 3], "logprob": -4.0}))
    generate.check_probe(tmp_path, lambda ids: -4.0001, "float32")
    with pytest.raises(ValueError, match="does not use the weights"):
        generate.check_probe(tmp_path, lambda ids: -4.01, "float32")


def test_digests_prove_a_reload_and_show_each_way_in_which_it_fails(tiny, tmp_path, capsys):
    """Parameters that the engine joins, pads and keeps in its own form, against two checkpoints of which one layer
    differs."""
    from safetensors.numpy import load_file, save_file
    old, new = tmp_path / "policy-000000", tmp_path / "policy-000001"
    weights, layer = load_file(tiny / "model.safetensors"), "model.layers.0.self_attn."
    changed = weights | {layer + "k_proj.weight": weights[layer + "k_proj.weight"] + 1,
                         "model.embed_tokens.weight": 2 * weights["model.embed_tokens.weight"]}
    for path, tensors in ((old, weights), (new, changed)):
        path.mkdir()
        names = sorted(tensors)  # two files, as two ranks write them
        save_file({name: tensors[name] for name in names[::2]}, path / "model-00001-of-00002.safetensors")
        save_file({name: tensors[name] for name in names[1::2]}, path / "model-00002-of-00002.safetensors")

    def engine(tensors):
        held = {layer + "qkv_proj.weight": np.concatenate([tensors[f"{layer}{x}_proj.weight"] for x in "qkv"]),
                "model.embed_tokens.weight": np.pad(tensors["model.embed_tokens.weight"], ((0, 6), (0, 0))),
                "model.norm.weight": tensors["model.norm.weight"], "packed.weight": np.zeros(0)}
        return {f"dp0:tp0:{name}": hashlib.sha256(x.tobytes()).hexdigest() for name, x in held.items()}
    known = generate.check_digests(old, engine(weights), None)
    assert {name.rsplit(":")[-1]: a == b for name, (a, b) in known.items()} == {
        layer + "qkv_proj.weight": True, "model.embed_tokens.weight": False, "model.norm.weight": True}
    assert capsys.readouterr().err == (
        "generate.py: policy-000000: 2 of the engine's 4 tensors are the file's, byte for byte; in another form, "
        "compared only by whether reloads change them: 1; not to be compared: 1\n")
    plain = {name: digest for name, digest in engine(weights).items() if "norm" in name or "qkv" in name}
    generate.check_digests(old, plain, None)
    said = "generate.py: policy-000000: the engine's weights are the file's, byte for byte (2 tensors)\n"
    assert capsys.readouterr().err == said
    generate.check_digests(new, engine(changed), known)
    generate.check_digests(old, engine(weights), known)
    for stale, message in ((layer + "k_proj.weight", "qkv_proj.weight has other bytes"),
                           ("model.embed_tokens.weight", "embed_tokens.weight has not changed")):
        with pytest.raises(ValueError, match=message):
            generate.check_digests(new, engine(changed | {stale: weights[stale]}), known)
    with pytest.raises(ValueError, match="embed_tokens.weight has changed"):
        generate.check_digests(
            old, engine(weights | {"model.embed_tokens.weight": changed["model.embed_tokens.weight"]}), known)
    with pytest.raises(ValueError, match="cannot be verified"):
        generate.check_digests(old, {"other.weight": "0"}, None)


# ------------------------------------------------------------------------------------------------------- the stage

def test_weights_are_waited_for(tmp_path):
    read, write = os.pipe()
    with open(write, "w") as rows:
        for step, found, staleness, ready in ((0, 0, 0, True), (3, 3, 0, True), (3, 2, 1, True), (3, 2, 0, False),
                                              (3, 5, 1, False)):  # 5: left over from a run that was cut off
            (tmp_path / "policy").unlink(missing_ok=True)
            (tmp_path / "policy").symlink_to(f"policy-{found:06d}")
            if ready:
                assert generate.wait_for_weights(tmp_path, step, staleness, rows).name == f"policy-{found:06d}"
            else:
                threading.Timer(0.2, os.close, [read]).start()
                with pytest.raises(BrokenPipeError):
                    generate.wait_for_weights(tmp_path, step, staleness, rows)
                read, write = os.pipe()
                rows.close()
                rows = open(write, "w")
        # but with what a resumption needs beside them another command has brought the run that far
        (tmp_path / "policy-000005").mkdir()
        (tmp_path / "policy-000005" / "trainer.pt").touch()
        assert generate.wait_for_weights(tmp_path, 3, 1, rows) is None
        assert generate.wait_for_weights(tmp_path, 5, 0, rows).name == "policy-000005"
        rows.close()
    os.close(read)


def test_weights_that_are_not_finite_are_said(tiny, tmp_path, shell):
    from safetensors.torch import load_file, save_file
    shutil.copytree(tiny, tmp_path / "nan")
    weights = load_file(tmp_path / "nan" / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, tmp_path / "nan" / "model.safetensors", metadata={"format": "pt"})
    done = shell(f"python generate.py --model {tmp_path}/nan --limit 1 --engine transformers")
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.splitlines()[-1] == "generate.py: the model's logits are not finite: are its weights?"


def test_a_run_in_which_no_trainer_begins_is_given_up(tmp_path, monkeypatch, capsys):
    """--run TYPO: a line after a while, an error in the end; a trainer that has begun is waited for, however long it
    takes."""
    monkeypatch.setattr(generate, "SAY_AFTER", 0.05)
    monkeypatch.setattr(generate, "GIVE_UP_AFTER", 1.5)
    read, write = os.pipe()
    with open(write, "w") as rows:
        with pytest.raises(ValueError, match=f"no train.py has begun in {tmp_path}/TYPO"):
            generate.wait_for_weights(tmp_path / "TYPO", 0, 0, rows)
        waiting = f"waiting for a train.py to publish weights in {tmp_path}/TYPO/policy"
        assert capsys.readouterr().err.count(waiting) == 1
        (tmp_path / "lock").touch()
        threading.Timer(1, (tmp_path / "policy").symlink_to, ["policy-000000"]).start()
        assert generate.wait_for_weights(tmp_path, 0, 0, rows).name == "policy-000000"
    os.close(read)


def test_a_run_that_is_complete_is_said(tmp_path, shell):
    (tmp_path / "policy-000003").mkdir()
    (tmp_path / "policy-000003" / "trainer.pt").touch()
    done = shell(f"python generate.py --run {tmp_path} --steps 3")
    assert done.returncode == 0 and not done.stdout and "is complete: 3 steps, nothing to sample" in done.stderr


def test_a_completion_ends_at_each_end_that_the_checkpoint_names(tiny, tmp_path):
    """The generation config and the tokenizer name different tokens, one of them, or none."""
    shutil.copytree(tiny, tmp_path / "model")
    args = settings(num_samples=400, max_tokens=30)
    config, names = tmp_path / "model" / "generation_config.json", tmp_path / "model" / "tokenizer_config.json"
    written = json.loads(names.read_text())
    for of_config, of_tokenizer, ends in ((7, "<eos>", {1, 7}), ([7, 9], "<eos>", {1, 7, 9}), (7, None, {7}),
                                          (None, "<eos>", {1})):
        config.write_text(json.dumps({"eos_token_id": of_config}))
        names.write_text(json.dumps(written | {"eos_token": of_tokenizer}))
        sample = generate.TransformersEngine(tmp_path / "model", args).sample
        found = set()
        for _, group in sample([([5, 6], 0)]):
            for text, ids, _, reason in group:
                assert (ids[-1] in ends) == (reason == "stop") and not ends & set(ids[:-1])
                found |= {ids[-1]} if reason == "stop" else set()
        assert found == ends
    config.unlink()
    names.write_text(json.dumps(written | {"eos_token": None}))
    model = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps(model | {"eos_token_id": None}))
    with pytest.raises(ValueError, match="names no end-of-sequence token"):
        generate.end_ids(tmp_path / "model", AutoTokenizer.from_pretrained(tmp_path / "model"))


def test_no_end_stands_between_prompt_and_completion(tiny):
    """Tokenizers that end every text with their end of sequence, and one that begins with it too."""
    from tokenizers.processors import TemplateProcessing
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    plain = tokenizer("2+2?")["input_ids"]
    for template, expected in (("$A <eos>", plain), ("<eos> $A <eos>", [1, *plain]), ("<eos> $A", [1, *plain]),
                               ("$A", plain)):
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=[("<eos>", 1)])
        assert generate.prompt_ids(tokenizer, {"prompt": "2+2?"}, None) == expected


def test_rows_are_complete(tiny, shell):
    done = shell(f"python generate.py --model {tiny} --split test --limit 3 --num-samples 2 --seed 7")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and len({row["task_id"] for row in rows}) == 3
    for row in rows:
        assert row["kind"] == "code" and row["dataset"] == "rules" and row["split"] == "test"
        assert row["step_prompts"] == 3
        assert len(row["completions"]) == len(row["token_ids"]) == 2
        assert len(row["logprobs"]) == len(row["finish_reasons"]) == 2
        assert row["sampling"]["seed"] == 7 and abs(sum(row["posterior"]) - 1) < 1e-12
        assert len(row["prompt_token_ids"]) == 21 and "reference" not in row


def test_reference_rows_hold_the_solution(tiny, shell):
    done = shell(f"python generate.py --model {tiny} --reference --split sft --steps 2 --prompts-per-step 4")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["step"] for row in rows] == [0] * 4 + [1] * 4
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    for row in rows:
        [completion], [ids] = row["completions"], row["token_ids"]
        assert row["logprobs"] is None  # a list of None would be no list of log-probabilities: evaluate.py refuses it
        assert ids[-1] == tokenizer.eos_token_id and tokenizer.decode(ids[:-1]) == completion
        assert completion in {text for text, _ in RULES}


class Screen(io.StringIO):
    """Standard error that is a terminal, or is none."""

    def __init__(self, terminal):
        super().__init__()
        self.isatty = lambda: terminal


def progress_of(monkeypatch, rows_to, terminal, *flags, every=0):
    """What is drawn while generate.py runs with these flags, piece by piece; `rows_to`: a file's path, or a
    descriptor."""
    screen = Screen(terminal)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(advantages, "BAR_S", 0)
    monkeypatch.setattr(advantages, "LINE_S", every)
    monkeypatch.setattr(sys, "argv", ["generate.py", *map(str, flags)])
    with contextlib.ExitStack() as at_end, open(rows_to, "w") as rows:
        generate.generate(generate.parse_arguments(), rows, at_end)
    return screen.getvalue()


def test_progress_of_one_pass_is_a_bar_on_a_terminal_and_lines_in_a_log(tiny, tmp_path, monkeypatch):
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps({"question": f"{a} + 1?", "answer": f"#### {a + 1}"}) + "\n"
                                                 for a in range(7)) + "{}\n")
    flags = ("--model", tiny, "--dataset", "gsm8k", "--data-files", tmp_path / "sums.jsonl", "--num-samples", "3",
             "--max-tokens", "5", "--batch-tokens", "1")
    bar = progress_of(monkeypatch, tmp_path / "rows", True, *flags)
    assert re.search(r"generate.py: 100%\|[█#]+\| 7/7 \[\d\d:\d\d<00:00, .*row/s, 21 samples\]", bar)
    assert bar.count("\r") > 7
    assert "generate.py: reading gsm8k: 8row [" in bar and "\rgenerate.py: gsm8k row 8 (no id)" in bar
    log = progress_of(monkeypatch, tmp_path / "rows", False, *flags)
    assert "\r" not in log and "generate.py:  43% 3/7 [" in log and "generate.py: reading gsm8k: 8row [" in log
    assert "row/s" not in progress_of(monkeypatch, tmp_path / "rows", False, *flags, every=60)  # it took less


def test_the_loop_has_no_bar_but_the_trainers(tiny, tmp_path, monkeypatch):
    flags = ("--model", tiny, "--steps", "3", "--prompts-per-step", "2", "--num-samples", "2")
    read, write = os.pipe()
    for terminal in True, False:
        assert progress_of(monkeypatch, os.dup(write), terminal, *flags) == ""
    assert "100%|" in progress_of(monkeypatch, tmp_path / "rows", True, *flags)  # to a file one has to wait for it
    os.close(read), os.close(write)


@pytest.mark.parametrize("flags, expected", [
    ("", "--model"), ("--model X --run Y --steps 1", "give one of"), ("--run Y", "--steps"),
    ("--run Y --steps 1 --top-p 0.9", "--top-p"), ("--run Y --steps 1 --temperature 0.7", "--temperature"),
    ("--model X", "endless"), ("--model X --limit 2 --steps 2", "endless"),
    ("--model X --dataset gsm8k", "--dataset gsm8k needs --max-tokens"),
    ("--run R --steps 3 --dataset math --max-tokens 9", "--dataset math needs --prompts-per-step"),
    ("--model X --dataset mbpp --reference --steps 3", "--dataset mbpp needs --prompts-per-step"),
    ("--along R --steps 3", "from each checkpoint"), ("--model X --limit 1 --at-steps 5", "no effect"),
    ("--along R --limit 1 --at-steps 5 0", "ascending"),
    ("--model X --steps 1 --max-staleness 1", "--max-staleness"),
    ("--model X --limit 1 --prompts-per-step 2", "no effect"),
    ("--model X --limit 1 --reference --temperature 2", "--temperature"), ("--model X --limit 1 --split dev", "dev"),
    ("--model X --limit 1 --reference --share-gpu --device cuda --servers a",
     "no effect in this mode: --device --share-gpu --servers"),
    ("--model X --limit 1 --num-samples 0", "--num-samples must be at least 1, not 0"),
    ("--model X --limit 1 --temperature 0",
     "error: --temperature must be above 0; the likeliest token alone is drawn with --top-k 1"),
    ("--model X --limit 1 --temperature -1", "error: --temperature must be a number above 0, not -1.0"),
    ("--along X --limit 1 --temperature nan", "error: --temperature must be a number above 0, not nan"),
    ("--model X --limit 1 --temperature inf", "error: --temperature must be a number above 0, not inf"),
    ("--model X --limit 1 --top-p 1.5", "error: --top-p must be above 0 and at most 1, not 1.5"),
    ("--along X --limit 1 --top-p 0", "error: --top-p must be above 0 and at most 1, not 0.0"),
    ("--run X --steps 1 --temperature 0", "not with --run"),
    ("--model X --limit 1 --gpu-memory-utilization 0",
     "error: --gpu-memory-utilization must be between 0 and 1, not 0.0"),
    ("--model X --limit 1 --seed -1", "--seed must be at least 0, not -1"),
    ("--model X --dataset nonesuch", "nonesuch"), ("--model /nonexistent --limit 1", "/nonexistent"),
    ("--model X --limit 0", "--limit must be at least 1"), ("--model X --limit -3", "--limit"),
    ("--model X --steps 0", "--steps"),
    ("--model X --limit 1 --device nonsense", "--device nonsense: "), ("--model X/ --limit 1", "X/: no such directory"),
    ("--model results/nonesuch --limit 1", "results/nonesuch: no such directory"),
    ("--model README.md --limit 1", "README.md is not a checkpoint: it is no directory"),
    ("--model tests --limit 1", "tests"), ("--model X --limit 1 --max-prompt-tokens 50", "--max-prompt-tokens"),
])
def test_bad_flags_are_refused_in_one_line(shell, flags, expected):
    done = shell(f"python generate.py {flags}")
    assert done.returncode == 2 and expected in done.stderr.splitlines()[-1] and not done.stdout


def test_help_says_which_defaults_are_the_embedded_tasks(shell):
    words = " ".join(shell("python generate.py --help").stdout.split())
    assert "longest completion, in tokens: 10 with --dataset rules, needed with any other --temperature" in words
    assert ("--prompts-per-step PROMPTS_PER_STEP with --steps: 64 with --dataset rules, needed with any other --ref"
            in words)
    assert "(default: None)" not in words and "n, completions per prompt (default: 16)" in words


# ---------------------------------------------------------------------------------------------------- chat templates

ROLES = ("{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
         "{% if add_generation_prompt %}<model>{% endif %}")
NO_SYSTEM = ("{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
             + ROLES)


@pytest.mark.parametrize("template, system, expected", [
    (None, None, "2+2?"),
    (ROLES, None, f"<system>{generate.SYSTEM['math']}<user>2+2?<model>"),
    (ROLES, "Be brief.", "<system>Be brief.<user>2+2?<model>"),
    (ROLES, "", "<user>2+2?<model>"),
    (NO_SYSTEM, None, f"<user>{generate.SYSTEM['math']}\n\n2+2?<model>"),  # as Gemma's
    (NO_SYSTEM, "", "<user>2+2?<model>")])
def test_prompts_go_through_the_chat_template(tiny, template, system, expected):
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.chat_template = template
    ids = generate.prompt_ids(tokenizer, {"kind": "math", "prompt": "2+2?"}, system)
    assert tokenizer.decode(ids) == expected


def test_a_kind_of_ones_own_has_no_system_prompt(tiny):
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.chat_template = ROLES
    ids = generate.prompt_ids(tokenizer, {"kind": "keyword", "prompt": "2+2?"}, None)
    assert tokenizer.decode(ids) == "<user>2+2?<model>"


def test_a_template_that_refuses_every_form_is_named(tiny):
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.chat_template = "{{ raise_exception('nothing suits me') }}"
    with pytest.raises(ValueError, match="math/1: the tokenizer's chat template refuses the prompt: nothing suits me"):
        generate.prompt_ids(tokenizer, {"task_id": "math/1", "kind": "math", "prompt": "2+2?"}, None)
