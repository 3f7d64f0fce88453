"""Shared by the tests: the repository's root on the path, a tiny random model, a shell for the pipe."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # `python` in a pipe is this interpreter


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: minutes rather than seconds; left out with -m 'not slow'")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Directory of a tiny random model, as `train.py --init tiny` writes it."""
    import train
    path = tmp_path_factory.mktemp("tiny")
    train.init_tiny(path, seed=0)
    return path


@pytest.fixture
def shell():
    """shell(command, **more): run in bash with pipefail in the repository's root; -> CompletedProcess."""
    def run(command, timeout=300, **more):
        return subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], cwd=ROOT, capture_output=True, text=True,
                              timeout=timeout, **more)
    return run
