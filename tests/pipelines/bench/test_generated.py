from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from tokenizers import Tokenizer

from pipelines.bench.generated import questions_and_passages, texts_of_mixed_length, words_of
from pipelines.errors import ConfigError
from tests.actors.helpers import GOLDEN


@pytest.mark.parametrize("name", ["distilbert", "roberta"])
def test_words_are_those_of_the_models_tokenizer(name: str) -> None:
    folder = GOLDEN / "models" / name
    words = words_of(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert all(tokenizer.token_to_id(word) or tokenizer.token_to_id(f"Ġ{word}") for word in words)


def test_a_folder_without_words_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name an INPUT"):
        words_of(tmp_path)


def test_lengths_are_like_squads_and_always_the_same() -> None:
    words = [f"w{n}" for n in range(50)]
    table = questions_and_passages(words, 500)
    lengths = pc.list_value_length(pc.split_pattern(table["context"], " ")).to_numpy()
    assert 140 < lengths.mean() < 190
    assert (lengths.min(), lengths.max()) >= (20, 300)
    assert table.equals(questions_and_passages(words, 500))
    texts = pc.list_value_length(pc.split_pattern(texts_of_mixed_length(words, 500)["text"], " ")).to_numpy()
    assert 50 < np.median(texts) < 70
