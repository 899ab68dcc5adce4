"""Character language models: windows that follow a text, and models that see the past only."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from workers.workloads.base import Dataset, MissingDataError, Split, Workload
from workers.workloads.charlm import (
    UNKNOWN,
    WINDOW,
    WORKLOADS,
    CausalSelfAttention,
    CharacterLSTM,
    CharacterTransformer,
    load_characters,
    split_text,
)

TEXT = "".join(chr(97 + (7 * i + i * i // 5) % 26) for i in range(2000))


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADAI_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def default() -> Dataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ADAI_DATA", raising=False)
        return load_characters()


def build(model: type[nn.Module], classes: int = 27) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return model(classes).double()


def decode(codes: Tensor, alphabet: str) -> str:
    return "".join("?" if code == UNKNOWN else alphabet[code - 1] for code in codes.flatten().tolist())


def test_windows_spell_the_text_and_labels_the_text_one_character_later() -> None:
    data = split_text(TEXT, "a test")
    alphabet = "".join(sorted(set(TEXT[:1600])))
    for split, part in ((data.train, TEXT[:1600]), (data.validation, TEXT[1600:1800]), (data.test, TEXT[1800:])):
        windows = (len(part) - 1) // WINDOW
        assert split.inputs.shape == split.labels.shape == (windows, WINDOW)
        assert split.inputs.dtype == split.labels.dtype == torch.int64
        assert decode(split.inputs, alphabet) == part[: windows * WINDOW]
        assert decode(split.labels, alphabet) == part[1 : windows * WINDOW + 1]
    assert data.classes == len(alphabet) + 1


def test_characters_that_training_never_saw_are_unknown() -> None:
    data = split_text("ab" * 800 + "aé" * 100 + "b" * 200, "a test")
    assert data.classes == 3
    assert data.validation.inputs.unique().tolist() == [UNKNOWN, 1]
    assert data.train.inputs.unique().tolist() == [1, 2]
    assert data.test.labels.unique().tolist() == [2]


def test_a_part_is_used_up_to_the_last_whole_window_that_has_a_next_character() -> None:
    assert len(split_text("x" * 650, "a test").test.inputs) == 1
    with pytest.raises(MissingDataError, match="a test has 640 characters; a tenth of it must be more than 64"):
        split_text("x" * 640, "a test")


def test_a_text_of_your_own_is_taken_if_it_is_there(directory: Path, default: Dataset) -> None:
    assert load_characters() is default
    (directory / "charlm.txt").write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    own, expected = load_characters(), split_text(TEXT, "a test")
    assert torch.equal(own.train.inputs, expected.train.inputs)
    assert own.classes == expected.classes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00binary" * 500, "is not text in UTF-8"),
        (b"text\0" * 500, "holds NUL characters"),
        (b"too short", "has 9 characters"),
        (b"", "has 0 characters"),
    ],
)
def test_files_that_are_no_usable_text_are_refused(directory: Path, content: bytes, message: str) -> None:
    (directory / "charlm.txt").write_bytes(content)
    with pytest.raises(MissingDataError, match=message):
        load_characters()


def test_a_folder_in_the_place_of_the_text_is_refused(directory: Path) -> None:
    (directory / "charlm.txt").mkdir()
    with pytest.raises(MissingDataError, match="cannot be read"):
        load_characters()


def test_pythons_manual_gives_about_200_000_characters_of_readable_text(default: Dataset) -> None:
    from pydoc_data.topics import topics

    assert "".join(topics.values()).count("statement") > 100
    windows = [len(split.labels) for split in (default.train, default.validation, default.test)]
    assert windows == [2499, 312, 312]
    assert 60 < default.classes < 200
    share_unknown = (default.validation.labels == UNKNOWN).double().mean().item()
    assert share_unknown < 0.001


@pytest.mark.parametrize("model", [CharacterLSTM, CharacterTransformer])
def test_logits_have_classes_second_and_depend_on_the_past_only(model: type[nn.Module]) -> None:
    network = build(model)
    characters = torch.randint(27, (3, WINDOW), generator=torch.Generator().manual_seed(0))
    changed = characters.clone()
    changed[:, 40] = (changed[:, 40] + 1) % 27
    logits, logits_changed = network(characters), network(changed)
    assert logits.shape == (3, 27, WINDOW)
    torch.testing.assert_close(logits[..., :40], logits_changed[..., :40], rtol=0, atol=1e-13)
    differences = (logits - logits_changed).abs().amax(dim=(0, 1))
    assert (differences[40:44] > 1e-6).all()


def test_attention_is_that_of_the_formula() -> None:
    attention = build(lambda _: CausalSelfAttention(8, 2))  # type: ignore[arg-type]
    features = torch.randn(2, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    query, key, value = attention.query_key_value(features).chunk(3, dim=2)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        scores = query[..., head] @ key[..., head].transpose(1, 2) / 2.0  # sqrt(4)
        scores = scores.masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
        heads.append(scores.softmax(dim=2) @ value[..., head])
    expected = attention.out(torch.cat(heads, dim=2))
    torch.testing.assert_close(attention(features), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("model", [CharacterLSTM, CharacterTransformer])
def test_weights_passed_from_outside_are_used_and_differentiated_twice(model: type[nn.Module]) -> None:
    """Torch keeps a second list of an LSTM's weights: those of the row must be used all the same."""
    network, other = build(model), build(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
    characters = torch.randint(27, (2, 16), generator=torch.Generator().manual_seed(0))
    values = {name: parameter.detach().clone().requires_grad_() for name, parameter in other.named_parameters()}
    logits = functional_call(network, values, (characters,))
    assert torch.equal(logits, other(characters))
    assert not torch.equal(logits, network(characters))
    with sdpa_kernel(SDPBackend.MATH):
        loss = cross_entropy(functional_call(network, values, (characters,)), characters)
        first = torch.autograd.grad(loss, list(values.values()), create_graph=True)
        second = torch.autograd.grad(sum(part.square().sum() for part in first), list(values.values()))
    own = torch.autograd.grad(cross_entropy(other(characters), characters), list(other.parameters()))
    for passed, expected in zip(first, own, strict=True):
        torch.testing.assert_close(passed, expected, rtol=0, atol=1e-12)
    assert all(part.abs().max() > 0 for part in second)


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_models_learn_a_text_that_repeats_itself(workload: Workload) -> None:
    data = split_text("to be, or not to be: that is the question. " * 200, "a test")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = workload.build_model(data)
    assert validate(workload, model, data.validation) > 2.0
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(8):
        for inputs, labels in zip(data.train.inputs.split(16), data.train.labels.split(16), strict=True):
            optimizer.zero_grad()
            workload.loss(model(inputs), labels).backward()
            optimizer.step()
    # The first character of a window can be guessed only: the text cannot be known before something is read.
    assert validate(workload, model, data.validation) < 0.3


def validate(workload: Workload, model: nn.Module, split: Split) -> float:
    with torch.no_grad():
        return workload.loss(model(split.inputs), split.labels).item()
