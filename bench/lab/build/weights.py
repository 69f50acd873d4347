"""
A language model to serve: llama's shape, random weights, the same bytes every time.

Its text means nothing and its work is real: prefill, decode, a key-value cache, streaming, batches. It never ends an
answer by itself, so a request costs what its `num_predict` says, and nothing depends on what was drawn.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import gguf
import numpy as np
from numpy.typing import NDArray

SEED: Final = 20_260_401
_SPECIAL: Final = ("<unk>", "<s>", "</s>")
_CONSONANTS: Final = "bdfghklmnprstvz"
_VOWELS: Final = "aeiou"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The size of a llama: 256 wide and 4 deep makes 17 MB, 512 wide and 8 deep with the large vocabulary 139 MB."""

    name: str
    width: int
    layers: int
    heads: int
    vocabulary: int
    context_tokens: int = 2048

    @property
    def feed_forward(self) -> int:
        return 4 * self.width


SMALL: Final = ModelShape(name="lab-llama", width=256, layers=4, heads=4, vocabulary=8192)
LARGE: Final = ModelShape(name="lab-llama-139m", width=512, layers=8, heads=8, vocabulary=32000)


def vocabulary(size: int) -> tuple[list[str], list[float], list[int]]:
    """Tokens, scores and types for llama's tokenizer: specials, the 256 bytes, then words in a fixed order."""
    tokens = list(_SPECIAL) + [f"<0x{byte:02X}>" for byte in range(256)]
    types = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL] + [gguf.TokenType.BYTE] * 256
    words = _words()
    while len(tokens) < size:
        tokens.append(next(words))
        types.append(gguf.TokenType.NORMAL)
    # The tokenizer merges by score; earlier words are the likelier ones.
    scores = [0.0] * (len(_SPECIAL) + 256) + [-float(rank) for rank in range(size - len(_SPECIAL) - 256)]
    return tokens, scores, [int(kind) for kind in types]


def _words() -> Iterator[str]:
    # Single characters first: every text that is asked can then be cut into tokens.
    yield "\u2581"
    yield from (chr(code) for code in range(0x21, 0x7F))
    syllables = [consonant + vowel for consonant in _CONSONANTS for vowel in _VOWELS]
    yield from ("\u2581" + syllable for syllable in syllables)
    yield from ("\u2581" + first + second for first in syllables for second in syllables)
    yield from (first + second + third for first in syllables for second in syllables for third in syllables)


def write_model(shape: ModelShape, path: Path) -> None:
    """Write the model as a GGUF file."""
    writer = gguf.GGUFWriter(str(path), "llama")
    _describe(writer, shape)
    for name, tensor in _tensors(shape):
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter, shape: ModelShape) -> None:
    writer.add_name(shape.name)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(shape.context_tokens)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_vocab_size(shape.vocabulary)
    tokens, scores, types = vocabulary(shape.vocabulary)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def _tensors(shape: ModelShape) -> Iterator[tuple[str, NDArray[np.float16] | NDArray[np.float32]]]:
    random = np.random.default_rng(SEED)
    width = shape.width

    def matrix(rows: int, columns: int) -> NDArray[np.float16]:
        drawn = random.standard_normal((rows, columns), dtype=np.float32) / np.float32(np.sqrt(columns))
        return drawn.astype(np.float16)

    def silent_first_row(rows: int, columns: int) -> NDArray[np.float16]:
        # No layer writes to dimension 0, so it keeps the constant of the embedding; the output reads it, see below.
        made = matrix(rows, columns)
        made[0] = 0
        return made

    embedding = matrix(shape.vocabulary, width)
    embedding[:, 0] = 1.0
    yield "token_embd.weight", embedding
    for layer in range(shape.layers):
        block = f"blk.{layer}."
        yield block + "attn_norm.weight", np.ones(width, dtype=np.float32)
        for projection in ("attn_q", "attn_k", "attn_v"):
            yield f"{block}{projection}.weight", matrix(width, width)
        yield block + "attn_output.weight", silent_first_row(width, width)
        yield block + "ffn_norm.weight", np.ones(width, dtype=np.float32)
        yield block + "ffn_gate.weight", matrix(shape.feed_forward, width)
        yield block + "ffn_up.weight", matrix(shape.feed_forward, width)
        yield block + "ffn_down.weight", silent_first_row(width, shape.feed_forward)
    yield "output_norm.weight", np.ones(width, dtype=np.float32)
    output = matrix(shape.vocabulary, width)
    output[:, 0] = 0
    # Specials and raw bytes get a logit that never wins: an answer does not end early and is always valid UTF-8.
    output[: len(_SPECIAL) + 256, 0] = -1000.0
    yield "output.weight", output
