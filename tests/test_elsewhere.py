"""The recipes of results/elsewhere.md: the estimators in other trainers, as the page has them. Skipped where the
trainer is absent."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

import advantages

PAGE = (Path(__file__).resolve().parent.parent / "results" / "elsewhere.md").read_text()
TRL, VERL = re.findall(r"```python\n(.*?)```", PAGE, re.S)


def recipe(code):
    names = {}
    exec(compile(code, "results/elsewhere.md", "exec"), names)
    return names


def test_trl_takes_the_estimators_step(tiny, tmp_path):
    """One step of SGD at rate 1: what the weights move by is the gradient, by autograd, on the completions that TRL
    drew."""
    trl = pytest.importorskip("trl")
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    n, k, prompts, drawn = 6, 3, ["ab:", "cde:"], []

    def reward(prompts, completions, completion_ids, **_):
        rewards = [float(sum(ids) % 5) for ids in completion_ids]
        drawn.append((prompts, completion_ids, rewards))
        return rewards
    trainer_class = recipe(TRL)["KSampleTrainer"]
    trainer_class.k = k
    config = trl.GRPOConfig(
        output_dir=str(tmp_path), use_cpu=True, bf16=False, gradient_checkpointing=False, max_steps=1,
        num_generations=n, per_device_train_batch_size=len(prompts) * n, max_completion_length=7,
        beta=0.0, loss_type="dr_grpo", optim="sgd",
        learning_rate=1.0, lr_scheduler_type="constant", max_grad_norm=0.0, report_to="none", save_strategy="no",
        logging_strategy="no", disable_tqdm=True, dataloader_pin_memory=False)
    trainer = trainer_class(str(tiny), reward_funcs=reward, args=config,
                            train_dataset=Dataset.from_dict({"prompt": prompts}))
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()
    trainer.train()
    [(asked, ids, rewards)] = drawn
    A = advantages.ESTIMATORS["pkpo_s_loo_minus_one"](np.array(rewards).reshape(-1, n), k).flatten()
    assert np.count_nonzero(A) > n
    tokenizer = trainer.processing_class
    total = 0.0
    for prompt, completion, a in zip(asked, ids, A):
        start = tokenizer(prompt)["input_ids"]
        table = model(torch.tensor([start + completion])).logits[0, len(start) - 1:-1].log_softmax(-1)
        total = total + a * table[range(len(completion)), completion].sum()
    (total / len(prompts)).backward()
    moved = dict(trainer.model.named_parameters())
    with torch.no_grad():
        steps = {name: moved[name].cpu().float() - before for name, before in AutoModelForCausalLM.from_pretrained(
            tiny, dtype=torch.float32).named_parameters()}
    for name, p in model.named_parameters():
        assert torch.allclose(steps[name] * config.max_completion_length, p.grad, rtol=1e-3, atol=1e-4), name


def rows_of_verl():
    generator = torch.Generator().manual_seed(0)
    index = np.array(["b", "a", "a", "b", "a", "b", "b", "a", "a", "b"])
    mask = (torch.rand((10, 4), generator=generator) < 0.8).float()
    mask[:, 0] = 1
    rewards = torch.zeros(10, 4)
    rewards[:, 0] = torch.rand(10, generator=generator)
    return index, mask, rewards


def test_verl_takes_the_estimators_values_whatever_the_order_of_rows(monkeypatch):
    registered = {}
    stand_in = types.ModuleType("verl.trainer.ppo.core_algos")
    stand_in.register_adv_est = lambda name: lambda f: registered.setdefault(name, f)
    for name in ("verl", "verl.trainer", "verl.trainer.ppo"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "verl.trainer.ppo.core_algos", stand_in)
    recipe(VERL)
    index, mask, rewards = rows_of_verl()
    found, returns = registered["ksample"](rewards, mask, index, config={}, reward_baselines=None)
    assert found is returns and found.shape == mask.shape and found.dtype == rewards.dtype
    for name in "ab":
        rows = np.flatnonzero(index == name)
        expected = 5 * advantages.ESTIMATORS["pkpo_s_loo_minus_one"](rewards.sum(1).numpy()[None, rows], 4)[0]
        assert np.abs(expected).max() > 0
        assert np.allclose(found[rows].numpy(), expected[:, None] * mask[rows].numpy(), atol=1e-6)


def test_verls_own_loss_gives_the_sum():
    """(1/P) sum_p sum_i A_i log pi(y_i), from verl's aggregation of minus the advantages times the
    log-probabilities."""
    core = pytest.importorskip("verl.trainer.ppo.core_algos")
    recipe(VERL)
    index, mask, rewards = rows_of_verl()
    A, _ = core.get_adv_estimator_fn("ksample")(token_level_rewards=rewards, response_mask=mask, config={}, index=index)
    logprobs = -torch.rand((10, 4), generator=torch.Generator().manual_seed(1))
    loss = core.agg_loss(-A * logprobs, mask, "seq-mean-token-sum")
    weights = A[:, 0].double() / 5  # mask[:, 0] is 1
    assert loss.item() == pytest.approx(-((weights * (logprobs * mask).sum(1)).sum() / 2).item(), rel=1e-5)
