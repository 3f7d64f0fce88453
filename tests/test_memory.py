"""train.py: what a GPU will hold, computed before the run and compared with what is measured on the CPU."""

import json
import os
import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig, MixtralConfig, Qwen2Config

import train

# real widths of the presets' models and of two more; layers and vocabulary as a test needs them
SHAPES = {
    "llama-8b": (LlamaConfig, dict(hidden_size=4096, intermediate_size=14336,
                                   num_attention_heads=32, num_key_value_heads=8)),
    "qwen-7b": (Qwen2Config, dict(hidden_size=3584, intermediate_size=18944,
                                  num_attention_heads=28, num_key_value_heads=4)),
    "qwen-0.5b": (Qwen2Config, dict(hidden_size=896, intermediate_size=4864,
                                    num_attention_heads=14, num_key_value_heads=2, tie_word_embeddings=True)),
    "gemma-2b": (Gemma2Config, dict(hidden_size=2304, intermediate_size=9216,
                                    num_attention_heads=8, num_key_value_heads=4, head_dim=256))}


def config(shape, layers=1, vocabulary=1024):
    kind, numbers = SHAPES[shape]
    return kind(**numbers, num_hidden_layers=layers, vocab_size=vocabulary)


def arguments(*flags):
    return train.parse_arguments(["--model", "x", "--run", "y", "--dtype", "bfloat16", "--microbatch-tokens", "16384",
                                  *map(str, flags)])


def computed(shape, ranks, tokens, layers, checkpointing):
    """Bytes that a pass over one sequence keeps for its backward pass, no prompt shared."""
    flags = ["--activation-checkpointing"] if checkpointing else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "shares_prompt", lambda *_: False)
        args = arguments("--microbatch-tokens", tokens, *flags)
        return train.activations(config(shape, layers), args, ranks, tokens).kept


@pytest.mark.parametrize("shape, alone, sharded, checkpointed", [
    ("llama-8b", 59, 49, (4, 2)), ("gemma-2b", 81, 75, (4, 2)),
    *(pytest.param(*case, marks=pytest.mark.slow) for case in (
        ("qwen-7b", 73, 63, (4, 2)), ("qwen-0.5b", 75, 65, (4, 2))))])
def test_bytes_a_token_and_layer(shape, alone, sharded, checkpointed):
    """In units of the width, as measured on real tensors once; plain attention (Gemma 2) has 8 bytes a score beside."""
    H, heads = config(shape).hidden_size, config(shape).num_attention_heads
    for ranks, expected, inputs in (1, alone, checkpointed[0]), (2, sharded, checkpointed[1]):
        layer = {(tokens, kept): computed(shape, ranks, tokens, 2, kept) - computed(shape, ranks, tokens, 1, kept)
                 for tokens in (256, 512) for kept in (False, True)}
        assert (layer[512, True] - layer[256, True]) / 256 / H == pytest.approx(inputs, abs=0.05)
        scores = 8 * heads * (511 ** 2 - 255 ** 2) if "gemma" in shape else 0
        assert (layer[512, False] - layer[256, False] - scores) / 256 / H == pytest.approx(expected, abs=1)


def measured(shape, args, ranks, length):
    """Bytes that a real forward pass of the largest microbatch keeps for the backward pass: distinct storages of what
    autograd saves, parameters left out."""
    with torch.device("meta"):  # and then zeros: numbers would take longer to draw than the pass does
        dtype = torch.float32 if ranks == 1 else torch.bfloat16
        model = AutoModelForCausalLM.from_config(config(shape), dtype=dtype).eval()
    model = train.plain_attention_if_capped(model.to_empty(device="cpu"))
    model.tie_weights()
    if args.activation_checkpointing:
        train.checkpoint_activations(model)
    share = train.shares_prompt(model.config, ranks) and not args.activation_checkpointing
    policy = train.Policy(model, share, torch.bfloat16)
    own, saved = {p.untyped_storage().data_ptr() for p in model.parameters()}, {}

    def save(x):
        if x.untyped_storage().data_ptr() not in own:
            saved[x.untyped_storage().data_ptr()] = x
        return x
    half = length // 2
    count = args.microbatch_tokens // half - 1 if policy.share_prompt else args.microbatch_tokens // length
    prompts = 1 if policy.share_prompt else count
    with torch.autograd.graph.saved_tensors_hooks(save, lambda x: x):
        lp, _ = policy([[1] * (length - half)] * prompts, [[2] * half] * count, [i % prompts for i in range(count)])
    return sum(x.untyped_storage().nbytes() for x in saved.values())


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("shape", ["llama-8b", "qwen-7b", "gemma-2b"])
def test_activations_are_those_of_a_real_pass(shape, ranks, checkpointing):
    """One layer of real width. Under autocast most of what so few tokens keep are copies of weights, so that what a
    token adds is compared too. Microbatches of two and of four sequences: a prompt is shared where it can be."""
    kept = {}
    for tokens in (64, 128):
        args = arguments("--microbatch-tokens", tokens, *["--activation-checkpointing"] * checkpointing)
        kept[tokens] = train.activations(config(shape), args, ranks, 32).kept, measured(shape, args, ranks, 32)
        assert kept[tokens][0] == pytest.approx(kept[tokens][1], rel=0.1)
    assert kept[128][0] - kept[64][0] == pytest.approx(kept[128][1] - kept[64][1], rel=0.1)


PEAK = """
import json, sys, torch, train
from transformers import AutoConfig, AutoModelForCausalLM
args = train.parse_arguments(sys.argv[2:])
config = AutoConfig.from_pretrained(sys.argv[1])
train.LOGITS_AT_ONCE["cuda"] = train.LOGITS_AT_ONCE["cpu"]
computed = train.activations(config, args, 1, 512).most
model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
if args.activation_checkpointing:
    train.checkpoint_activations(model)
policy = train.Policy(model, not args.activation_checkpointing, torch.bfloat16)
for p in model.parameters():
    p.register_post_accumulate_grad_hook(lambda p: setattr(p, "grad", None))
status = lambda key: 1024 * int(open("/proc/self/status").read().split(key + ":")[1].split()[0])
n, prompts = (3, 1) if policy.share_prompt else (2, 2)
for _ in range(2):  # the first pass brings the libraries' own memory
    open("/proc/self/clear_refs", "w").write("5")
    before = status("VmRSS")
    lp, _ = policy([[1] * 256] * prompts, [[2] * 256] * n, [i % prompts for i in range(n)])
    lp.sum().backward()
    del lp
print(json.dumps([computed, status("VmHWM") - before]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("flags", ["", "--activation-checkpointing"])
def test_the_peak_is_that_of_a_real_process(tmp_path, shell, flags):
    """Forward and backward pass, temporaries and the sliced logits included, against the process's resident memory."""
    LlamaConfig(hidden_size=1024, intermediate_size=4096, num_attention_heads=16, num_key_value_heads=4,
                num_hidden_layers=2, vocab_size=50_000).save_pretrained(tmp_path)
    done = subprocess.run([sys.executable, "-c", PEAK, tmp_path, "--model", "x", "--run", "y", "--dtype", "bfloat16",
                           "--microbatch-tokens", "1024", *flags.split()], capture_output=True, text=True,
                          cwd=train.__file__.rpartition("/")[0],
                          env={"MALLOC_MMAP_THRESHOLD_": "100000", "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    computed, measured = json.loads(done.stdout)
    assert computed == pytest.approx(measured, rel=0.1)


SHARDED = """
import json, sys, torch, train
import torch.distributed as dist
from transformers import AutoConfig, AutoModelForCausalLM
args = train.parse_arguments(sys.argv[2:])
config = AutoConfig.from_pretrained(sys.argv[1])
train.LOGITS_AT_ONCE["cuda"] = train.LOGITS_AT_ONCE["cpu"]
watch = train.activations(config, args, 2, 256)
computed = watch.most + train.gathered(config, args, 2, watch)
train.start_ranks(args)
model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
if args.activation_checkpointing:
    train.checkpoint_activations(model)
policy = train.Policy(model, False, torch.bfloat16)
train.shard(policy, args)
status = lambda key: 1024 * int(open("/proc/self/status").read().split(key + ":")[1].split()[0])
n = args.microbatch_tokens // 256
for _ in range(2):  # the first pass brings the gradients
    open("/proc/self/clear_refs", "w").write("5")
    before = status("VmRSS")
    lp, _ = policy([[1] * 128] * n, [[2] * 128] * n, list(range(n)))
    lp.sum().backward()
    del lp
if train.RANK == 0:
    print(json.dumps([computed, status("VmHWM") - before]))
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("vocabulary, tokens, flags", [(32000, 512, ["--activation-checkpointing"]), (4000, 1024, [])])
def test_the_peak_of_a_rank_is_that_of_a_real_one(tmp_path, vocabulary, tokens, flags):
    """Two ranks: the peak is at the end, in the gradients outside the layers, or in the activations."""
    LlamaConfig(hidden_size=1024, intermediate_size=4096, num_attention_heads=16, num_key_value_heads=4,
                num_hidden_layers=3, vocab_size=vocabulary).save_pretrained(tmp_path)
    (tmp_path / "rank.py").write_text(SHARDED)
    root = train.__file__.rpartition("/")[0]
    environment = {"MALLOC_MMAP_THRESHOLD_": "100000", "OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    done = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--",
                           tmp_path / "rank.py", tmp_path, "--model", "x", "--run", "y", "--dtype", "bfloat16",
                           "--device", "cpu", "--microbatch-tokens", str(tokens), *flags],
                          capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stderr[-2000:]
    computed, measured = json.loads(done.stdout)
    assert computed == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize("bits", [32, 8])
def test_what_stays_is_what_an_optimizer_holds(bits):
    shape = config("qwen-0.5b")
    model = AutoModelForCausalLM.from_config(shape)
    found = train.held(shape, arguments("--adam-bits", bits, "--reference-model", "none"), 1)
    parameters = list(model.parameters())
    for p in parameters:
        p.grad = torch.ones_like(p)
    kind = train.Adam8bit if bits == 8 else torch.optim.AdamW
    optimizer = kind(parameters, lr=1e-3, betas=(0.9, 0.99), weight_decay=0.0)
    optimizer.step()
    state = [x for p in parameters for value in optimizer.state[p].values()
             for x in (value if isinstance(value, tuple) else [value])]
    assert sum(p.nbytes for p in parameters) == found["weights, float32"] == found["gradients, float32"]
    assert sum(x.nbytes for x in state) == pytest.approx(found[f"Adam's moments, {bits} bits"], rel=1e-3)


def test_ranks_share_what_stays():
    shape = config("qwen-0.5b")
    args = arguments("--value-lr", 1e-6)
    one, four = train.held(shape, args, 1), train.held(shape, args, 4)
    assert {what: size / 4 for what, size in one.items()} == four
    assert one["reference, bfloat16"] == one["weights, float32"] / 2
    assert one["value model, the first three"] == 4 * one["weights, float32"]  # tied: the decoder is the whole model


def test_a_model_that_does_not_fit_is_refused(capsys):
    shape, args = config("llama-8b", 32, 128256), arguments()  # 8.03e9 x (4 + 4 + 8 + 2) bytes
    with pytest.raises(ValueError, match=r"need 145 GB on each of 1 GPUs, which have 80 GB. What helps: more than 1 "
                                         r"GPUs under torchrun, --adam-bits 8 \(97 GB\), --reference-model none "
                                         r"\(128 GB\), a smaller model"):
        train.check_memory(shape, args, 1, 80e9)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("total, close", [(1.05, True), (1.2, False), (0.9, True)])
def test_the_table_is_printed_and_a_close_fit_named(total, close, capsys):
    shape, args = config("qwen-0.5b", 2), arguments("--microbatch-tokens", 4096)
    found = train.memory(shape, args, 1, train.activations(shape, args, 1))
    train.check_memory(shape, args, 1, total * sum(found.values()))
    printed = capsys.readouterr().err
    assert f"together{sum(found.values()) / 1e9:33.1f}" in printed
    assert ("--activation-checkpointing, a smaller --microbatch-tokens, --adam-bits 8" in printed) == close


def test_a_model_whose_code_needs_numbers_is_named(tiny, tmp_path, shell, capsys):
    """Experts are chosen by numbers. A run goes on with a warning; the command, which has nothing else to say,
    fails."""
    shape = MixtralConfig(hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
                          num_key_value_heads=2, vocab_size=256)
    args = arguments()
    train.check_memory(shape, args, 1, 80e9)
    assert "the activations of a mixtral are not known beforehand" in capsys.readouterr().err
    shape.save_pretrained(tmp_path)
    done = shell(f"python train.py --memory 512 --model {tmp_path} --dtype bfloat16")
    assert done.returncode == 2 and [line for line in done.stderr.splitlines() if "mixtral" in line], done.stderr


def test_the_check_comes_before_the_run(tiny, tmp_path, monkeypatch):
    """On a GPU without room nothing is loaded and nothing written."""
    monkeypatch.setattr(train, "check_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: type("", (), {"total_memory": 1000}))
    args = train.parse_arguments(["--model", str(tiny), "--run", str(tmp_path / "run"), "--device", "cuda"])
    with pytest.raises(ValueError, match="on each of 1 GPUs, which have 0 GB"):
        train.train(args)
    assert not (tmp_path / "run").exists()


def test_the_memory_command(tiny, shell):
    done = shell(f"python train.py --memory 512 --model {tiny} --dtype bfloat16 --activation-checkpointing")
    assert done.returncode == 0 and done.stdout.splitlines()[0].split()[-5:] == ["1", "2", "4", "8", "16"], done.stderr
    assert "in sequences of 512" in done.stdout
    missing = shell(f"python train.py --memory 512 --model {tiny}/none")
    assert missing.returncode == 2 and missing.stderr.count("\n") == 1


def test_a_gpu_has_few_slices_of_logits():
    """Every slice reads the output layer and adds a whole gradient of it: 8 for 16,384 tokens of Llama 3.1's
    128,256."""
    calls = []
    with train.without_numbers():
        model = train.fake_model(config("qwen-0.5b", vocabulary=128256))
        model.get_output_embeddings().register_forward_hook(lambda *_: calls.append(1))
        policy = train.Policy(model)
        for policy.logits_at_once, expected in (train.LOGITS_AT_ONCE["cuda"], 8), (None, 127):
            policy.select(torch.zeros(16384, 896), torch.zeros(16384, dtype=torch.long), False)
            assert len(calls) == expected
            calls.clear()


def test_the_output_layers_gradient_is_the_rougher_the_more_slices():
    """In bfloat16 it is summed over slices in bfloat16, sharded or under autocast: another reason for few of them."""
    shape = LlamaConfig(hidden_size=128, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
                        vocab_size=1024)
    torch.manual_seed(0)
    weight, hidden = torch.randn(1024, 128) / 16, torch.randn(1024, 128)
    targets, factors = torch.randint(1024, (1024,)), torch.randn(1024)

    def gradient(dtype, slices):
        policy = train.Policy(AutoModelForCausalLM.from_config(shape).to(dtype))
        policy.logits_at_once = 1024 * 1024 // slices
        output = policy.model.get_output_embeddings().weight
        output.data.copy_(weight)
        (policy.select(hidden.to(dtype), targets, False)[0] * factors).sum().backward()
        return output.grad.double()
    exact = gradient(torch.float64, 1)
    error = {slices: ((gradient(torch.bfloat16, slices) - exact).norm() / exact.norm()).item()
             for slices in (1, 8, 128)}
    assert error[1] < error[8] < 0.006 < error[128] < 0.012 and error[8] < 0.7 * error[128]


def test_adam_is_fused_on_a_gpu_and_goes_on_from_a_checkpoint():
    """Its count of steps lies where the parameter does, which a fused step needs; 8 bits: on the host, as they always
    are."""
    module = torch.nn.Linear(300, 4)
    for device, fused in ("cpu", None), ("cuda:0", True):
        args = arguments("--device", device)
        optimizer = train.adam(module, 1e-2, args)
        assert optimizer.defaults["fused"] is fused
    module.weight.grad, module.bias.grad = torch.ones(4, 300), torch.ones(4)
    before = module.weight.detach().clone()
    optimizer.step()  # fused on the CPU, the same numbers
    assert torch.allclose(before - module.weight, torch.full_like(before, 1e-2), atol=1e-6)
    moments = train.moments_of(module, optimizer)
    for place, bits in ("meta", 32), ("cpu", 8):
        resumed = torch.nn.Linear(300, 4, device=place)
        fresh = train.adam(resumed, 1e-2, arguments("--device", "cuda:0", "--adam-bits", bits))
        train.load_moments(resumed, fresh, moments)
        assert {state["step"].device.type for state in fresh.state.values()} == {place} and len(fresh.state) == 2
