"""A real pretrained model: the whole path on weights, a tokenizer and a chat template that nobody here made."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_checkpoint_is_the_pretrained_model(request, dtype):
    """It knows what it was taught, through its chat template, and is a checkpoint like any other."""
    path = request.getfixturevalue("real_model" if dtype == "float32" else "real_model_bf16")
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path, dtype="auto")
    assert model.dtype == getattr(torch, dtype) and model.num_parameters() == 134_515_008
    assert model.config.tie_word_embeddings and model.config.eos_token_id == 2 == tokenizer.eos_token_id
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "What is the capital of France? One word."}],
                                         add_generation_prompt=True, tokenize=False)
    assert chat.startswith("<|im_start|>system") and chat.endswith("<|im_start|>assistant\n")
    ids = torch.tensor([tokenizer(chat).input_ids])
    answer = model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1]:]
    assert "Paris" in tokenizer.decode(answer)
