"""python train.py --benchmark --model DIR: what a step of the loop costs, beside floors and, where it is installed,
TRL."""

import contextlib
import importlib.util
import itertools
import json
import os
import platform
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM

FREE_REWARD = """import json, sys, zlib
for line in sys.stdin:
    row = json.loads(line)
    row["correct"] = [zlib.crc32((row["prompt"] + text).encode()) % 8 == 0 for text in row["completions"]]
    row["rewards"] = row["scores"] = [float(right) for right in row["correct"]]
    print(json.dumps(row | {"votes": [int(right) for right in row["correct"]]}), flush=True)"""


def benchmark(model, P=64, n=16, steps=22, repeats=3):
    """Processor seconds a step of the loop, of its stages alone, of floors and of TRL, the least of several runs, on
    the checkpoint `model` and the embedded task, one thread a process: what a step takes on one core that has nothing
    else to do. The start-up is taken off by running everything for two steps too. The learning rate is so small that
    all steps draw from one policy. The reward is a hash of the completion (an eighth are right), which costs next to
    nothing; but for the last two lines, in seconds by the clock on two cores, with real grading."""
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1",
                   "TRANSFORMERS_VERBOSITY": "error"}
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    cores, scratch, python = sorted(os.sched_getaffinity(0)), Path(tempfile.mkdtemp()), shlex.quote(sys.executable)
    reward = f"{python} -c {shlex.quote(FREE_REWARD)}"

    def generate(steps, follow=f"--model {model}"):
        return f"{python} generate.py --steps {steps} --prompts-per-step {P} --num-samples {n} {follow}"

    def advise(estimator):
        return f"{python} advantages.py --estimator {estimator} --k {n}"

    def train(steps, flags):
        shutil.rmtree(scratch / "run", ignore_errors=True)
        return (f"{python} train.py --model {model} --run {scratch}/run --steps {steps} --save-every {steps} "
                f"--lr 1e-9 {flags}")

    def loop(steps, estimator, flags, staleness=0, reward=reward):
        trainer = train(steps, flags)
        return " | ".join([generate(steps, f"--run {scratch}/run --max-staleness {staleness}"), reward,
                           advise(estimator), trainer])

    def run(command, on=1):
        """Processor seconds of a shell command, and the median seconds a step by the clock if train.py was in it."""
        os.sched_setaffinity(0, cores[:on])  # inherited: the stages share these cores
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(["bash", "-c", "set -o pipefail; " + command], cwd=Path(__file__).resolve().parent.parent,
                       check=True)
        after, log = resource.getrusage(resource.RUSAGE_CHILDREN), scratch / "run" / "metrics.jsonl"
        lines = [json.loads(line) for line in open(log)][2:-1] if log.exists() else []
        return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
                statistics.median(line["wait_s"] + line["work_s"] for line in lines) if lines else None)

    def seconds(command):
        """Processor seconds a step of command(steps): the least of `repeats` runs, less the least of runs of two
        steps."""
        long, short = (min(run(command(count))[0] for _ in range(repeats)) for count in (steps, 2))
        return (long - short) / (steps - 2)

    def report(name, seconds, note=""):
        print(f"| {name} | {seconds:.3f} | {tokens / seconds:,.0f} | {note} |", flush=True)

    alone = {"generate.py": seconds(lambda s: f"{generate(s)} > {scratch}/c{s}"),
             "the hash in place of reward.py": seconds(lambda s: f"{reward} < {scratch}/c{s} > {scratch}/r{s}")}
    with open(scratch / f"c{steps}") as file:
        rows = [json.loads(line) for line in itertools.islice(file, P)]
    tokens = sum(len(ids) for row in rows for ids in row["token_ids"])
    print(f"{P} prompts x {n} samples, {tokens} completion tokens a step; {platform.machine()}, "
          f"torch {torch.__version__}; load {os.getloadavg()[0]:.1f} on {len(cores)} cores\n\n"
          "| | processor s a step | completion tokens/s | |\n|---|---|---|---|")
    for name, floor in zip(("bare forward, backward, Adam", "bare sampling loop"), floors(model, rows, n)):
        report(name, floor, "floor, its fastest step")
    if importlib.util.find_spec("trl"):
        for size in (P * n, P * n // 4):
            report(f"TRL's GRPOTrainer, {size} samples at a time", trl_step(model, rows, n, size),
                   "its fastest step; no KL")
    else:
        print("| TRL is not installed | | | |")
    for name, own in alone.items():
        report(name, own)
    for estimator in ("rloo", "max_loo"):
        advantages = seconds(lambda s: f"{advise(estimator)} < {scratch}/r{s} > {scratch}/a{s}")
        update = seconds(lambda s: f"{train(s, '--reference-model none')} < {scratch}/a{s}")
        stages = {f"advantages.py, {estimator}": advantages, f"train.py, {estimator}": update}
        for name, own in stages.items():
            report(name, own)
        total = sum(alone.values()) + sum(stages.values())
        whole = seconds(lambda s: loop(s, estimator, "--reference-model none"))
        report(f"**the loop, {estimator}**", whole, f"the stages alone take {total / whole:.2f} of it")
    report("the loop, rloo, KL to the reference logged", seconds(lambda s: loop(s, "rloo", "")))
    graded = f"{python} reward.py --reward binary --workers 1 2> /dev/null"
    clock = [statistics.median(run(loop(3 * steps, "rloo", "--reference-model none", staleness, graded), on=2)[1]
                               for _ in range(repeats)) for staleness in (0, 1)]
    for staleness, seconds_a_step in enumerate(clock):
        report(f"the loop, rloo, graded by reward.py, two cores, staleness {staleness}", seconds_a_step,
               f"by the clock; {clock[0] / seconds_a_step:.2f} x staleness 0")
    shutil.rmtree(scratch)


def floors(path, rows, n, repeats=9):
    """Processor seconds of one update on the step's distinct tokens, packed without padding, and of drawing as many
    tokens as the longest completion has for every sample from a KV cache, with nothing around them."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0)
    prompts = torch.tensor([row["prompt_token_ids"] for row in rows])
    packed = [t for row in rows for ids in (row["prompt_token_ids"], *{tuple(ids) for ids in row["token_ids"]})
              for t in ids]
    packed = torch.tensor(packed[:len(packed) // len(rows) * len(rows)]).view(len(rows), -1)

    def bare_update():
        logits = model(input_ids=packed, use_cache=False).logits[:, :-1]
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), packed[:, 1:].flatten()).backward()
        optimizer.step(), optimizer.zero_grad()

    @torch.inference_mode()
    def bare_sampling():
        out = model(input_ids=prompts, use_cache=True, logits_to_keep=1)
        out.past_key_values.batch_repeat_interleave(n)
        logits = out.logits[:, -1].repeat_interleave(n, 0)
        for _ in range(max(len(ids) for row in rows for ids in row["token_ids"]) - 1):
            token = torch.multinomial(logits.softmax(-1), 1)
            logits = model(input_ids=token, past_key_values=out.past_key_values, use_cache=True).logits[:, -1]

    for work in (bare_update, bare_sampling):
        times = []
        for _ in range(repeats):
            started = time.process_time()
            work()
            times.append(time.process_time() - started)
        yield min(times)


def trl_step(path, rows, n, batch, steps=8):
    """Processor seconds of the fastest step of TRL's GRPOTrainer on the same prompts and samples, `batch` samples at a
    time."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    class Clock(transformers.TrainerCallback):
        def on_step_begin(self, *_, **__):
            self.started = time.process_time()

        def on_step_end(self, *_, **__):
            times.append(time.process_time() - self.started)

    def reward(prompts, completions, **_):
        return [float(zlib.crc32((prompt + text).encode()) % 8 == 0) for prompt, text in zip(prompts, completions)]
    times = []
    with tempfile.TemporaryDirectory() as scratch:
        config = GRPOConfig(
            output_dir=scratch, use_cpu=True, bf16=False, gradient_checkpointing=False, max_steps=steps,
            num_generations=n, per_device_train_batch_size=batch,
            gradient_accumulation_steps=len(rows) * n // batch, max_completion_length=10,
            beta=0.0, loss_type="dr_grpo", learning_rate=1e-9, adam_beta2=0.98, report_to="none", save_strategy="no",
            logging_strategy="no", disable_tqdm=True, dataloader_pin_memory=False)
        with contextlib.redirect_stdout(sys.stderr):  # TRL prints its own summary
            GRPOTrainer(path, reward_funcs=reward, args=config, callbacks=[Clock()],
                        train_dataset=Dataset.from_dict({"prompt": [row["prompt"] for row in rows]})).train()
    return min(times)
