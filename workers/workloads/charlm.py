"""Character language models, recurrent and with attention, on a text of your own or one that ships with Python."""

import functools
import itertools
import os
import platform
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from workers.workloads.base import Dataset, MissingDataError, Split, Workload
from workers.workloads.images import DATA_VARIABLE

FILE_NAME = "charlm.txt"
#: Characters in an example.
WINDOW = 64
#: Index of characters that the training part does not have.
UNKNOWN = 0

#: Characters of the default text that are used: an epoch of the transformer then takes seconds on one core.
_DEFAULT_CHARACTERS = 200_000
# As for every cross-entropy here: large learning rates reach losses above 100 nats and come back; 1000 do not.
_LOSS_CEILING = 1000.0


def load_characters() -> Dataset:
    """Windows of ``$ADAI_DATA/charlm.txt`` if that file is there, else of the manual inside Python; read once.

    The manual is ``pydoc_data.topics``: chapters of The Python Language Reference and others, as ``help()`` shows them,
    under the PSF License Agreement. Their text, and so every loss, changes with Python's version: compare studies
    of one version, or bring a text. Taken are the first 200,000 characters, chapters sorted by name.

    Returns:
        See :func:`split_text`.

    Raises:
        MissingDataError: The file is not text in UTF-8 or too short, or this Python has no manual.
    """
    if DATA_VARIABLE in os.environ:
        path = Path(os.environ[DATA_VARIABLE]) / FILE_NAME
        if path.exists():
            return _read_once(path)
    return _read_once(None)


@functools.cache
def _read_once(path: Path | None) -> Dataset:
    if path is None:
        return split_text(_default_text(), "Python's manual")
    return split_text(_read_text(path), str(path))


def _read_text(path: Path) -> str:
    try:
        # Without the byte order mark that some editors, and Project Gutenberg, put first.
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MissingDataError(
            f"{path} cannot be read ({error}); make it a readable text file, or remove it"
        ) from error
    except UnicodeDecodeError as error:
        raise MissingDataError(f"{path} is not text in UTF-8 ({error}); convert it, or remove it") from error
    if "\0" in text:
        raise MissingDataError(f"{path} holds NUL characters, so it is not a text; replace or remove it")
    return text


def _default_text() -> str:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise MissingDataError(
            f"this Python comes without its manual, pydoc_data.topics ({error}); "
            f"set {DATA_VARIABLE} to a folder with a text file {FILE_NAME}"
        ) from error
    return "\n".join(topics[name] for name in sorted(topics))[:_DEFAULT_CHARACTERS]


def split_text(text: str, source: str) -> Dataset:
    """Consecutive training (80 %), validation and test parts (10 % each) of a text, in windows that do not overlap.

    An example is 64 characters as indices (N, 64) int64; its labels are the characters that follow each of them.
    Characters at the end of a part that fill no window are left out. Classes are the characters of the training
    part, sorted, from 1, and 0 for all others.

    Args:
        text: Any.
        source: Where it is from, for the message.

    Raises:
        MissingDataError: A part has no window.
    """
    ends = [0, len(text) * 8 // 10, len(text) * 9 // 10, len(text)]
    train, validation, test = (text[start:end] for start, end in itertools.pairwise(ends))
    if min(len(train), len(validation), len(test)) <= WINDOW:
        raise MissingDataError(
            f"{source} has {len(text)} characters; a tenth of it must be more than {WINDOW}: use a longer text"
        )
    index = {character: position for position, character in enumerate(sorted(set(train)), start=UNKNOWN + 1)}
    return Dataset(_windows(train, index), _windows(validation, index), _windows(test, index), classes=len(index) + 1)


def _windows(text: str, index: dict[str, int]) -> Split:
    codes = torch.tensor([index.get(character, UNKNOWN) for character in text])
    used = (len(codes) - 1) // WINDOW * WINDOW
    return Split(codes[:used].view(-1, WINDOW), codes[1 : used + 1].view(-1, WINDOW))


class CharacterLSTM(nn.Module):
    """Embedding, one LSTM that starts each window from zeros, linear layer."""

    def __init__(self, classes: int, width: int = 32, hidden: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, width)
        self.lstm = nn.LSTM(width, hidden, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    def forward(self, characters: Tensor) -> Tensor:
        """Logits (B, classes, L) of the characters that follow each of ``characters`` (B, L)."""
        outputs, _ = self.lstm(self.embedding(characters))
        logits: Tensor = self.head(outputs)
        return logits.transpose(1, 2)


class CausalSelfAttention(nn.Module):
    """Attention of each position to itself and those before it (Vaswani et al., NeurIPS 2017, section 3.2)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, features: Tensor) -> Tensor:
        """(B, L, width) to the same shape."""
        split = self.query_key_value(features).unflatten(2, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(query, key, value, is_causal=True)
        attended: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return attended


class Block(nn.Module):
    """Attention and a perceptron of four times the width, each after layer norm and beside a skip connection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = CausalSelfAttention(width, heads)
        self.perceptron_norm = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, features: Tensor) -> Tensor:
        """(B, L, width) to the same shape."""
        features = features + self.attention(self.attention_norm(features))
        blended: Tensor = features + self.perceptron(self.perceptron_norm(features))
        return blended


class CharacterTransformer(nn.Module):
    """Blocks on embeddings of characters and positions, which are both learned; without dropout."""

    def __init__(self, classes: int, width: int = 64, heads: int = 4, blocks: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, width)
        self.positions = nn.Embedding(WINDOW, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, characters: Tensor) -> Tensor:
        """Logits (B, classes, L) of the characters that follow each of ``characters`` (B, L), L at most 64."""
        positions = torch.arange(characters.shape[1], device=characters.device)
        features = self.embedding(characters) + self.positions(positions)
        logits: Tensor = self.head(self.norm(self.blocks(features)))
        return logits.transpose(1, 2)


def _build_lstm(data: Dataset) -> nn.Module:
    return CharacterLSTM(_classes(data))


def _build_transformer(data: Dataset) -> nn.Module:
    return CharacterTransformer(_classes(data))


def _classes(data: Dataset) -> int:
    if data.classes is None:
        raise ValueError("a language model needs the number of characters, and the data set has classes=None; set it")
    return data.classes


def _make_workload(name: str, title: str, model: str, build_model: Callable[[Dataset], nn.Module]) -> Workload:
    text = f"the manual inside Python {platform.python_version()} (pydoc_data.topics, PSF License Agreement)"
    return Workload(
        name=name,
        title=title,
        citation=f"text: $ADAI_DATA/{FILE_NAME}, or else {text}; model: {model}",
        load_data=load_characters,
        build_model=build_model,
        batch_size=16,
        epochs=10,
        loss_ceiling=_LOSS_CEILING,
    )


#: Losses are nats per character: exp(loss) is the perplexity, loss / log(2) bits per character.
WORKLOADS: tuple[Workload, ...] = (
    _make_workload(
        "charlm-lstm",
        "LSTM of 64 units as a character language model",
        "Hochreiter, Schmidhuber: Long short-term memory, Neural Computation 9, 1997, with torch's gates",
        _build_lstm,
    ),
    _make_workload(
        "charlm-transformer",
        "transformer of 2 blocks as a character language model",
        "Vaswani et al., NeurIPS 2017 (arXiv 1706.03762), with layer norm before each part (Xiong et al., ICML 2020)",
        _build_transformer,
    ),
)
