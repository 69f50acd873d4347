"""The model that a lab serves."""

import dataclasses
import hashlib

import gguf
import numpy as np
import pytest

from bench.lab.build.weights import LARGE, SMALL, vocabulary, write_model

TINY = dataclasses.replace(SMALL, width=32, layers=1, heads=2, vocabulary=512)


def test_the_same_model_is_written_every_time(tmp_path):
    for name in ("a", "b"):
        write_model(TINY, tmp_path / name)

    first, second = (hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("a", "b"))
    assert first == second


@pytest.mark.parametrize("shape", [SMALL, LARGE], ids=lambda shape: shape.name)
def test_every_token_of_the_vocabulary_is_different(shape):
    tokens, scores, types = vocabulary(shape.vocabulary)

    assert len(set(tokens)) == len(tokens) == len(scores) == len(types) == shape.vocabulary


def test_no_answer_ends_early_or_holds_a_raw_byte(tmp_path):
    """The output row of every special and byte is pushed down by a dimension that no layer changes."""
    write_model(TINY, tmp_path / "model")
    tensors = {tensor.name: np.array(tensor.data) for tensor in gguf.GGUFReader(tmp_path / "model").tensors}

    assert (tensors["token_embd.weight"][:, 0] == 1).all()
    assert (tensors["blk.0.attn_output.weight"][0] == 0).all()
    assert (tensors["blk.0.ffn_down.weight"][0] == 0).all()
    assert (tensors["output.weight"][:259, 0] == -1000).all()
    assert (tensors["output.weight"][259:, 0] == 0).all()
