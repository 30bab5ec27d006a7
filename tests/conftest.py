"""What the tests of both packages share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def untrained_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The untrained DistilBERT of models/make_untrained.py, in a folder of this session (of each xdist worker)."""
    from transformers.utils import logging

    from models.make_untrained import HERE, make_model, make_tokenizer, make_vocabulary, read_texts

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]

    folder = tmp_path_factory.mktemp("model") / "untrained"
    vocabulary = make_vocabulary(read_texts(HERE.parent / "samples" / "corpus.jsonl"))
    make_model(len(vocabulary)).save_pretrained(folder)
    make_tokenizer(vocabulary).save_pretrained(folder)
    return folder
