"""Make the three tiny question-answering models that the golden cases are computed with.

The models are untrained: seeded random weights behind tokenizers trained on ``passages.jsonl``. Only the
output layer is adjusted: the logits spread as widely as those of a real model, so that spans rarely tie,
and the null answer competes with the others.

To rerun, in an environment of its own::

    python -m venv /somewhere
    /somewhere/bin/pip install torch==2.13.0 transformers==4.57.6
    /somewhere/bin/python tests/golden/make_models.py
    /somewhere/bin/python tests/golden/make_golden.py
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers import models as tokenizer_models
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertTokenizerFast,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    DistilBertTokenizerFast,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForQuestionAnswering,
    RobertaTokenizerFast,
)

GOLDEN_DIR = Path(__file__).resolve().parent
PASSAGES_FILE = GOLDEN_DIR / "passages.jsonl"
MODELS_DIR = GOLDEN_DIR / "models"

WORDPIECE_SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
BYTE_LEVEL_SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
VOCAB_SIZE = 900
# Fewer characters than the passages have: the rare ones must become [UNK].
WORDPIECE_ALPHABET_SIZE = 220
MODEL_MAX_LENGTH = 512

HIDDEN_SIZE = 32
LAYERS = 2
HEADS = 2
FEED_FORWARD_SIZE = 64
# Much more than the usual 0.02, so that attention looks at the words and not only at their mean.
INITIALIZER_RANGE = 0.2
TARGET_LOGIT_STD = 3.0
# How far the logits of the first token lie above the mean of all tokens, on average.
NULL_LOGIT_LIFT = 7.0


@dataclass(frozen=True)
class Recipe:
    """How one model folder is made."""

    name: str
    seed: int
    make_tokenizer: Callable[[list[str]], PreTrainedTokenizerFast]
    make_model: Callable[[PreTrainedTokenizerFast], PreTrainedModel]


def read_passages() -> list[dict]:
    with PASSAGES_FILE.open(encoding="ascii") as lines:
        return [json.loads(line) for line in lines]


def training_texts(passages: Iterable[dict]) -> list[str]:
    return [text for passage in passages for text in (passage["context"], *passage["questions"])]


def bert_normalizer(*, lowercase: bool) -> normalizers.Normalizer:
    return normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=lowercase
    )


def frequent_characters(texts: Iterable[str], size: int) -> list[str]:
    counts = Counter(character for text in texts for character in text if not character.isspace())
    ranked = sorted(counts, key=lambda character: (-counts[character], character))
    return sorted(ranked[:size])


def without_rare_characters(texts: Iterable[str], alphabet: Iterable[str]) -> Iterator[str]:
    kept = set(alphabet)
    for text in texts:
        yield "".join(character if character in kept else " " for character in text)


def train_wordpiece_vocab(texts: list[str], normalizer: normalizers.Normalizer) -> dict[str, int]:
    normalized = [normalizer.normalize_str(text) for text in texts]
    alphabet = frequent_characters(normalized, WORDPIECE_ALPHABET_SIZE)
    # The trainer numbers characters in the order of a randomly seeded hash map and breaks ties by these
    # numbers. Naming every character and continuation as a special token fixes the numbers beforehand.
    fixed = WORDPIECE_SPECIAL_TOKENS + alphabet + ["##" + character for character in alphabet]
    tokenizer = Tokenizer(tokenizer_models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=VOCAB_SIZE, special_tokens=fixed, show_progress=False)
    tokenizer.train_from_iterator(without_rare_characters(normalized, alphabet), trainer)
    return tokenizer.get_vocab()


def train_wordpiece_tokenizer(texts: list[str], *, lowercase: bool) -> Tokenizer:
    normalizer = bert_normalizer(lowercase=lowercase)
    vocab = train_wordpiece_vocab(texts, normalizer)
    tokenizer = Tokenizer(tokenizer_models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])],
    )
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return tokenizer


def train_byte_level_tokenizer(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(tokenizer_models.BPE(continuing_subword_prefix="", end_of_word_suffix=""))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=BYTE_LEVEL_SPECIAL_TOKENS,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(
        sep=("</s>", tokenizer.token_to_id("</s>")),
        cls=("<s>", tokenizer.token_to_id("<s>")),
        trim_offsets=True,
        add_prefix_space=False,
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def make_distilbert_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    tokenizer = train_wordpiece_tokenizer(texts, lowercase=True)
    return DistilBertTokenizerFast(tokenizer_object=tokenizer, do_lower_case=True, model_max_length=MODEL_MAX_LENGTH)


def make_bert_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    tokenizer = train_wordpiece_tokenizer(texts, lowercase=False)
    return BertTokenizerFast(tokenizer_object=tokenizer, do_lower_case=False, model_max_length=MODEL_MAX_LENGTH)


def make_roberta_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    tokenizer = train_byte_level_tokenizer(texts)
    return RobertaTokenizerFast(tokenizer_object=tokenizer, model_max_length=MODEL_MAX_LENGTH)


def make_distilbert_model(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    config = DistilBertConfig(
        vocab_size=len(tokenizer),
        dim=HIDDEN_SIZE,
        n_layers=LAYERS,
        n_heads=HEADS,
        hidden_dim=FEED_FORWARD_SIZE,
        max_position_embeddings=MODEL_MAX_LENGTH,
        initializer_range=INITIALIZER_RANGE,
        pad_token_id=tokenizer.pad_token_id,
    )
    return DistilBertForQuestionAnswering(config)


def make_bert_model(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN_SIZE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=FEED_FORWARD_SIZE,
        max_position_embeddings=MODEL_MAX_LENGTH,
        initializer_range=INITIALIZER_RANGE,
        pad_token_id=tokenizer.pad_token_id,
    )
    return BertForQuestionAnswering(config)


def make_roberta_model(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    # RoBERTa numbers its positions from pad_token_id + 1, hence two more than the longest input.
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN_SIZE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=FEED_FORWARD_SIZE,
        max_position_embeddings=MODEL_MAX_LENGTH + 2,
        type_vocab_size=1,
        initializer_range=INITIALIZER_RANGE,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return RobertaForQuestionAnswering(config)


def hidden_states(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, passages: Iterable[dict]
) -> list[torch.Tensor]:
    """What the output layer sees, token by token, when each passage's first question is asked."""
    states = []
    for passage in passages:
        inputs = tokenizer(
            passage["questions"][0],
            passage["context"],
            truncation="only_second",
            max_length=MODEL_MAX_LENGTH,
            return_tensors="pt",
        )
        with torch.no_grad():
            states.append(model.base_model(**inputs).last_hidden_state[0])
    return states


def logit_deviation(model: PreTrainedModel, states: list[torch.Tensor]) -> list[float]:
    """Standard deviation of the start logits and of the end logits over all tokens."""
    with torch.no_grad():
        return model.qa_outputs(torch.cat(states)).std(dim=0).tolist()


def spread_logits(model: PreTrainedModel, states: list[torch.Tensor]) -> None:
    """Scale the output layer until start and end logits have the target standard deviation."""
    # Rounded, so that the last bits of one machine's arithmetic do not end up in the weights.
    factors = [round(TARGET_LOGIT_STD / deviation, 1) for deviation in logit_deviation(model, states)]
    with torch.no_grad():
        model.qa_outputs.weight.mul_(torch.tensor(factors).unsqueeze(-1))


def lift_null_answer(model: PreTrainedModel, states: list[torch.Tensor]) -> None:
    """Turn the output layer until the first token, which stands for "no answer", has competitive logits."""
    first_token = torch.stack([state[0] for state in states]).mean(dim=0)
    direction = (first_token - torch.cat(states).mean(dim=0)).round(decimals=1)
    with torch.no_grad():
        missing = (NULL_LOGIT_LIFT - model.qa_outputs.weight @ direction).round(decimals=1)
        model.qa_outputs.weight.add_(torch.outer(missing, direction / (direction @ direction)))


def make_model_folder(recipe: Recipe, passages: list[dict]) -> None:
    tokenizer = recipe.make_tokenizer(training_texts(passages))
    torch.manual_seed(recipe.seed)
    model = recipe.make_model(tokenizer).eval()
    states = hidden_states(model, tokenizer, passages)
    spread_logits(model, states)
    lift_null_answer(model, states)
    folder = MODELS_DIR / recipe.name
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    for file in folder.iterdir():
        file.chmod(0o644)
    start_std, end_std = logit_deviation(model, states)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{recipe.name}: {size} bytes, logit std {start_std:.2f} (start) {end_std:.2f} (end)")


RECIPES = [
    Recipe("distilbert", 11, make_distilbert_tokenizer, make_distilbert_model),
    Recipe("bert", 12, make_bert_tokenizer, make_bert_model),
    Recipe("roberta", 13, make_roberta_tokenizer, make_roberta_model),
]


def main() -> None:
    torch.set_num_threads(1)
    passages = read_passages()
    for recipe in RECIPES:
        make_model_folder(recipe, passages)


if __name__ == "__main__":
    main()
