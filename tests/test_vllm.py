"""The vLLM engines of generate.py on the real vLLM (its CPU build) against transformers: log-probabilities after every
reload, the two ways in which a reload leaves old weights in use, seeds, servers that die, and the loop."""

import contextlib
import http.server
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from argparse import Namespace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT
from test_pipe import loop, metrics, rollout, warm  # noqa: F401 (warm is a fixture)
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma2Config, LlamaConfig

import generate
import train

slow = pytest.mark.slow
needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None,
                                reason="vLLM is not installed (without a GPU: VLLM_CPU=yes bash run.sh test-all)")
PROMPTS = [[40 + i % 90 for i in range(300)], [60, 70, 80], list(range(100, 121))]  # the first fills cached blocks


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Three checkpoints of one architecture, with tied embeddings, each with its probe as train.py publishes it."""
    found = [tmp_path_factory.mktemp(f"weights{seed}") for seed in range(3)]
    for seed, path in enumerate(found):
        train.init_tiny(path, seed)
        write_probe(path)
    return found


def write_probe(path):
    probe = train.probe(train.Policy(AutoModelForCausalLM.from_pretrained(path)))
    (path / "probe.json").write_text(json.dumps(probe))


def settings(**changes):
    return Namespace(**dict(dtype="float32", num_samples=6, max_tokens=8, temperature=1.0, top_p=1.0, top_k=0,
                            max_prompt_tokens=400, tensor_parallel_size=1, gpu_memory_utilization=0.9,
                            share_gpu=False) | changes)


@pytest.fixture(scope="module")
def started(paths):
    """The engine, started once with the weights of paths[0]; its settings can be changed."""
    args = settings()
    return generate.VllmEngine(paths[0], args), args


@pytest.fixture
def engine(started, paths):
    engine, args = started
    engine.load(paths[0])
    vars(args).update(vars(settings()))
    return engine.sample, engine.load, engine.score, args


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
        beyond = p.cumsum(-1) - p >= args.top_p  # the token that crosses top_p stays
        logits = logits.masked_fill(torch.zeros_like(beyond).scatter(1, order, beyond), -torch.inf)
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
@pytest.mark.parametrize("changes", [{}, {"temperature": 0.5}, {"temperature": 1.7}, {"top_k": 5},
                                     {"top_p": 0.6, "temperature": 0.8}])
def test_logprobs_are_of_the_sampling_distribution(engine, paths, changes):
    sample, load, score, args = engine
    vars(args).update(changes)
    assert error(draw(sample), paths[0], args) < 1e-4


@slow
@needs_vllm
def test_seeds_decide_the_samples_whatever_the_batch(engine):
    sample, load, score, args = engine
    tokens = lambda groups: [[ids for _, ids, _, _ in group] for group in groups]
    whole = tokens(draw(sample))
    assert len({tuple(ids) for group in whole for ids in group}) == 18
    assert whole == [tokens(draw(sample, [p], [seed]))[0] for p, seed in zip(PROMPTS, (1000, 2000, 3000))]
    args.num_samples = 1  # sample j of a group is the one of seed + j
    assert whole[1] == [tokens(draw(sample, PROMPTS[1:2], [2000 + j]))[0][0] for j in range(6)]


@slow
@needs_vllm
def test_frequencies_of_the_first_token_are_its_probabilities(engine, paths):
    sample, load, score, args = engine
    vars(args).update(num_samples=4000, max_tokens=1, temperature=0.3)
    [group] = draw(sample, PROMPTS[1:2], [123456789])
    model = AutoModelForCausalLM.from_pretrained(paths[0])
    with torch.no_grad():
        p = (model(torch.tensor([PROMPTS[1]])).logits[0, -1].double() / 0.3).softmax(-1)
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
    assert generate.as_sample(tokenizer, [50, 51, 1], [-1.0] * 3, "stop", settings())[3] == "stop"
    for ids, reason in (([50, 51], "length"), ([50] * 8, "abort")):
        with pytest.raises(ValueError, match="max_model_len"):
            generate.as_sample(tokenizer, ids, [-1.0] * len(ids), reason, settings())


# ----------------------------------------------------------------------------------------- one GPU for both, and flags

def test_share_gpu_sleeps_before_the_last_rows_and_wakes_before_a_reload(tiny, monkeypatch):
    """The order of calls, on a stand-in for vLLM: its sleep mode needs a GPU."""
    calls, running = [], []

    class LLM:
        def __init__(self, path, **flags):
            calls.append(flags["enable_sleep_mode"])
            self.llm_engine = SimpleNamespace(add_request=lambda g, *rest: running.append(g), step=self.step,
                                              has_unfinished_requests=lambda: bool(running),
                                              engine_core=SimpleNamespace(shutdown=lambda: calls.append("end")))

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
    monkeypatch.setitem(sys.modules, "vllm.sampling_params",
                        SimpleNamespace(RequestOutputKind=SimpleNamespace(FINAL_ONLY=2)))
    engine = generate.VllmEngine(tiny, settings(share_gpu=True))
    for g, group in engine.sample([([5], 1), ([6], 2)]):
        calls.append(g)
    engine.load(tiny)
    engine.close()
    assert calls == [True, 0, "sleep", 1, "wake_up", "collective_rpc", "reset", "end"]


def test_a_shared_gpu_is_divided_by_what_the_trainer_leaves(monkeypatch):
    args = settings(share_gpu=True, gpu_memory_utilization=None)
    for free, expected in ((55e9, 0.65), (79e9, 0.95)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, 80e9))
        assert generate.share_of_memory(args) == pytest.approx(expected, abs=0.011) and expected * 80e9 < free
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (7e9, 80e9))
    with pytest.raises(ValueError, match="too little to sample"):
        generate.share_of_memory(args)
    assert generate.share_of_memory(settings(gpu_memory_utilization=None)) == 0.9


@pytest.mark.parametrize("flags, expected", [
    ("--run X --steps 1 --engine transformers --share-gpu", "--share-gpu"),
    ("--model X --limit 1 --engine vllm --share-gpu", "--run"),
    ("--run X --steps 1 --engine vllm --share-gpu --max-staleness 1", "--max-staleness 0"),
    ("--model X --limit 1 --engine vllm --device cpu", "--device"),
    ("--model X --limit 1 --engine transformers --tensor-parallel-size 2", "--tensor-parallel-size"),
    ("--model X --limit 1 --engine vllm --batch-tokens 9", "--batch-tokens"),
    ("--model X --limit 1 --engine vllm --temperature 0.001", "0.01"),
    ("--model X --limit 1 --engine vllm-server", "needs --servers"),
    ("--model X --limit 1 --engine vllm --servers localhost:8000", "--servers"),
])
def test_flags_that_an_engine_does_not_have_are_refused(shell, flags, expected):
    done = shell(f"python generate.py {flags}")
    assert done.returncode == 2 and expected in done.stderr.splitlines()[-1] and not done.stdout


@slow
@needs_vllm
def test_share_gpu_is_refused_without_a_gpu():
    with pytest.raises(ValueError, match="needs a GPU"):
        generate.VllmEngine("X", settings(share_gpu=True))


# ------------------------------------------------------------------------------------------------------------ the loop

def check_loop(run, done):
    """Three steps with updates, and the sampler's log-probabilities those of the trainer at every one of them."""
    assert done.returncode == 0, done.stderr[-3000:]
    assert os.readlink(run / "policy") == "policy-000003" and not done.stdout
    log = metrics(run)
    assert [line["step"] for line in log] == [0, 1, 2] and all(line["lag"] == 0 for line in log)
    assert any(line["updates"] for line in log[:2]), "no group had both right and wrong samples: nothing was reloaded"
    assert all(line["mismatch_max"] < 1e-4 for line in log if line["updates"])
    for step in range(3):
        assert all(row["policy_step"] == step for row in rollout(run, step))


@slow
@needs_vllm
def test_three_steps_of_the_loop_with_vllm(warm, tmp_path, shell):  # noqa: F811
    check_loop(tmp_path, shell(loop(tmp_path, warm, generate="--engine vllm", train="--lr 0.01")))


# On a GPU vLLM's engine is a process of its own. Here the exit handler that waits for all processes comes before the
# one that tells the engine to stop, as was seen there.
WAITED_FOR_FIRST = """
import sys, weakref
class Kept: pass
weakref.finalize(Kept, int)
import multiprocessing.util
import generate
if __name__ == "__main__":
    generate.main()
"""


@slow
@needs_vllm
def test_an_engine_that_is_a_process_of_its_own_ends_with_the_run(tiny, tmp_path):
    (tmp_path / "main.py").write_text(WAITED_FOR_FIRST)
    done = subprocess.run([sys.executable, tmp_path / "main.py", "--model", tiny, "--engine", "vllm", "--limit", "2",
                           "--num-samples", "2"],
                          env=os.environ | {"VLLM_ENABLE_V1_MULTIPROCESSING": "1", "PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
    assert done.returncode == 0 and done.stdout.count("\n") == 2, done.stderr[-2000:]


@slow
@needs_vllm
@pytest.mark.parametrize("config", [
    LlamaConfig, partial(Gemma2Config, attn_logit_softcapping=0.5, final_logit_softcapping=2.0)],
    ids=["Llama", "Gemma 2"])
def test_the_papers_other_architectures(config, tiny, tmp_path, shell):
    """Sampler and trainer agree on them too; on Gemma 2 only if both keep the cap on attention logits."""
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config(
        vocab_size=258, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=32, initializer_range=0.5, bos_token_id=None, eos_token_id=1,
        pad_token_id=0)).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(tmp_path)
    done = shell(f"python generate.py --engine vllm --model {tmp_path} --split test --limit 4 --num-samples 4")
    assert done.returncode == 0, done.stderr[-3000:]
    policy = train.Policy(train.load_model(tmp_path), share_prompt=False)
    for row in map(json.loads, done.stdout.splitlines()):
        with torch.no_grad():
            found, _ = policy([row["prompt_token_ids"]], row["token_ids"], [0] * 4)
        for logprobs, ids, ours in zip(row["logprobs"], row["token_ids"], found):
            assert (torch.tensor(logprobs) - ours[:len(ids)]).abs().max() < 1e-4


@slow
@needs_vllm
def test_a_probe_that_differs_stops_the_run(paths, tmp_path, shell):
    shutil.copytree(paths[2], tmp_path / "policy-000000")
    (tmp_path / "policy").symlink_to("policy-000000")
    probe = json.loads((tmp_path / "policy" / "probe.json").read_text())
    (tmp_path / "policy" / "probe.json").write_text(json.dumps(probe | {"logprob": probe["logprob"] + 0.01}))
    done = shell(f"python generate.py --run {tmp_path} --steps 1 --engine vllm")
    assert done.returncode == 2 and not done.stdout and "does not use the weights" in done.stderr


# ------------------------------------------------------------------------- servers: the manners, on a stand-in for vLLM

class StandIn:
    """A server that answers as vLLM's does: tokens are functions of (weights, prompt, seed, position)."""

    def __init__(self, **config):
        self.config = {"logprobs_mode": "processed_logprobs", "dtype": "torch.float32", "max_model_len": 4096} | config
        self.weights, self.version, self.log, self.lose, self.busy, self.most = "first", "default", [], 0, 0, 0
        stand_in = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def reply(self):
                length = int(self.headers.get("Content-Length", 0))
                stand_in.busy += 1
                stand_in.most = max(stand_in.most, stand_in.busy)
                status, answer = stand_in.answer(self.path, json.loads(self.rfile.read(length)) if length else None)
                stand_in.busy -= 1
                if status is None:  # the connection is lost
                    self.close_connection = True
                    return
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            do_GET = do_POST = reply
            log_message = lambda self, *rest: None

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, path, body):
        route = path.split("?")[0]
        self.log.append(route)
        if route == "/server_info":
            return 200, {"vllm_config": {"model_config": self.config}}
        if route == "/collective_rpc":
            if not os.path.isdir(body["kwargs"]["weights_path"]):
                return 500, {"error": "no such weights"}
            self.weights = body["kwargs"]["weights_path"]
            return 200, {"results": [None]}
        if route == "/update_weight_version":
            self.version = body["new_version"]
        if route == "/weight_info":
            return 200, {"weight_version": self.version}
        if route != "/inference/v1/generate":
            return 200, {"success": True}
        if self.lose:
            self.lose -= 1
            return None, None
        time.sleep(0.01)
        params, ids = body["sampling_params"], body["token_ids"]
        if "prompt_logprobs" in params:
            return 200, {"prompt_logprobs": [None] + [{str(t): {"logprob": -len(self.weights)}} for t in ids[1:]]}
        choices = []
        for j in range(params["n"]):
            first = hash((self.weights, *ids)) + 31 * (params["seed"] + j)
            tokens = [3 + (first + t) % 200 for t in range(params["max_tokens"])]
            choices.append({"index": j, "finish_reason": "length", "token_ids": tokens,
                            "logprobs": {"content": [{"logprob": -t / 100} for t in tokens]},
                            "weight_versions": [{"version": self.version, "start": 0, "end": len(tokens)}]})
        return 200, {"choices": choices[::-1]}


@pytest.fixture(autouse=True)
def threads_end(monkeypatch):
    """Those of each test's engines, with the test."""
    pools, pool = [], generate.ThreadPool
    monkeypatch.setattr(generate, "ThreadPool", lambda size: pools.append(pool(size)) or pools[-1])
    yield
    for started in pools:
        started.terminate()


def through(path, *servers, **changes):
    changes = dict(server_requests=4, server_attempts=5, num_samples=70, max_tokens=3) | changes
    return generate.VllmServerEngine(path, settings(servers=[s.url for s in servers], **changes))


def test_groups_are_split_over_servers_and_put_together_again(tiny):
    one, two, alone = StandIn(), StandIn(), StandIn()
    groups = draw(through(tiny, one, two).sample)
    again = draw(through(tiny, alone, num_samples=7).sample)
    assert [group[:7] for group in groups] == again  # sample j has seed + j in whatever request it was
    assert all(len(group) == 70 and len({tuple(ids) for _, ids, _, _ in group}) == 70 for group in groups)
    assert [s.log.count("/inference/v1/generate") for s in (one, two)] == [5, 4]  # of 3 x (32 + 32 + 6) samples
    reload = ["/server_info", "/pause", "/collective_rpc", "/reset_prefix_cache", "/update_weight_version", "/resume"]
    assert one.log[:6] == two.log[:6] == reload and one.version == str(tiny)


def test_requests_under_way_are_bounded(tiny):
    server = StandIn()
    draw(through(tiny, server, num_samples=200, server_requests=3).sample)
    assert server.most == 3


def test_a_lost_connection_is_tried_again(tiny, capsys):
    one, two = StandIn(), StandIn()
    sample = through(tiny, one, two).sample
    first = draw(sample)
    one.lose = 2
    assert draw(sample) == first and capsys.readouterr().err.count("trying again") == 2
    sample = through(tiny, one, server_attempts=2).sample
    one.lose = 100
    with pytest.raises(ValueError, match="no answer after 2 attempts"):
        draw(sample)


def test_a_restarted_server_gets_its_weights_again(tiny):
    server = StandIn()
    sample = through(tiny, server).sample
    first = draw(sample)
    server.weights, server.version, server.log = "first", "default", []  # as after a restart
    assert draw(sample) == first
    assert server.log.count("/collective_rpc") == 1 and server.version == str(tiny)


def test_servers_that_cannot_be_used_are_refused(tiny, tmp_path):
    for name, value in (("logprobs_mode", "raw_logprobs"), ("dtype", "torch.bfloat16")):
        with pytest.raises(ValueError, match=f"{name} {value}, not"):
            through(tiny, StandIn(**{name: value}))
    with pytest.raises(ValueError, match="max_model_len 402, less than .* start it with --max-model-len 403"):
        through(tiny, StandIn(max_model_len=402))
    through(tiny, StandIn(max_model_len=403))
    one, two = StandIn(), StandIn()
    engine = through(tiny, one, two)
    with pytest.raises(ValueError, match="no such weights"):
        engine.load("nowhere")
    engine.load(tmp_path)
    assert engine.score([5, 6, 7]) == -2 * len(str(tmp_path))
    two.weights = "others"
    with pytest.raises(ValueError, match="same weights"):
        engine.score([5, 6, 7])


# ------------------------------------------------------------------------------------------------- servers: real ones

def untied(source, target, factor=1.0):
    """A copy of a checkpoint with an output layer of its own: a CPU server's tied one cannot be repaired over HTTP."""
    model = AutoModelForCausalLM.from_pretrained(source)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach() * factor)
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(source).save_pretrained(target)
    write_probe(target)
    return target


@pytest.fixture(scope="module")
def server(paths, tmp_path_factory):
    """(address, start, stop) of a real server, started with weights that no test asks for."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder, running = tmp_path_factory.mktemp("server"), []
    untied(paths[0], folder, 2.0)

    def start():
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", folder, "--host", "127.0.0.1",
                   "--port", port, "--dtype", "float32", "--max-model-len", 2048,
                   "--logprobs-mode", "processed_logprobs", "--enable-scale-out", "--enforce-eager",
                   "--kv-cache-memory-bytes", 2**30,
                   "--no-enable-chunked-prefill", "--max-num-batched-tokens", 4096]
        with open(folder / "log", "ab") as log:
            running.append(subprocess.Popen(list(map(str, command)), env=os.environ | {"VLLM_SERVER_DEV_MODE": "1"},
                                            stdout=log, stderr=log, start_new_session=True))
        for _ in range(600):
            assert running[-1].poll() is None, (folder / "log").read_text()[-3000:]
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
            time.sleep(0.5)
        raise AssertionError("the server did not start within 5 minutes")

    def stop():
        while running:
            process = running.pop()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    try:
        start()
        yield SimpleNamespace(url=f"127.0.0.1:{port}", start=start, stop=stop)
    finally:
        stop()


@slow
@needs_vllm
def test_a_real_server_after_every_reload_and_after_its_death(server, paths, tmp_path, capsys):
    a, b = (untied(path, tmp_path / name, 1.5) for path, name in zip(paths, "ab"))
    args = settings(servers=[server.url], server_requests=4, server_attempts=15, num_samples=40)
    engine = generate.VllmServerEngine(a, args)
    sample, load, score = engine.sample, engine.load, engine.score
    old = b
    for path in (a, b, a):
        load(path)
        generate.check_probe(path, score, "float32")
        groups = draw(sample)
        assert error(groups, path) < 1e-4 and error(groups, old) > 0.05
        old = path
    args.temperature = 0.6
    groups = draw(sample)
    assert error(groups, a, args) < 1e-4
    server.stop()
    again = threading.Thread(target=server.start)
    again.start()
    assert [[s[1] for s in g] for g in draw(sample)] == [[s[1] for s in g] for g in groups]  # from the reloaded weights
    again.join()
    assert "trying again" in capsys.readouterr().err
    generate.check_probe(a, score, "float32")


@slow
@needs_vllm
def test_digests_of_the_real_engines(started, server, paths, tmp_path):
    """vLLM's own checksums are those of the files' bytes, and show a reload that did not happen."""
    a, b = (untied(path, tmp_path / name, 1.5) for path, name in zip(paths, "ab"))
    through_http = generate.VllmServerEngine(a, settings(servers=[server.url], server_requests=4, server_attempts=15))
    for engine, one, other in ((started[0], *paths[:2]), (through_http, a, b)):
        engine.load(one)
        known = generate.check_digests(one, engine.digests(), None)
        assert sum(wanted == found for wanted, found in known.values()) >= 5  # not the embeddings, which are padded
        with pytest.raises(ValueError, match="does not use the weights"):
            generate.check_digests(other, engine.digests(), known)
        engine.load(other)
        generate.check_digests(other, engine.digests(), known)


@slow
@needs_vllm
def test_three_steps_of_the_loop_with_a_server(server, warm, tmp_path, shell):  # noqa: F811
    model = untied(warm, tmp_path / "model")
    flags = f"--engine vllm-server --servers {server.url}"
    check_loop(tmp_path / "run", shell(loop(tmp_path / "run", model, generate=flags, train="--lr 0.01")))
