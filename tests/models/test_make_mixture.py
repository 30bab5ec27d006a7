"""The rows of the model that ships."""

import gzip
import random
from pathlib import Path
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from models.make_mixture import crop, main, mix

SENTENCES = ["The mill stands still.", "Ada waits by it!", "Who knows why?", "Nobody in the village does."]


def row(source: str, sentences: list[str], answer: str) -> dict[str, Any]:
    context = " ".join(sentences)
    start = context.rindex(answer)
    return {"source": source, "context": context, "answers": {"text": [answer], "answer_start": [start]}}


@given(st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=8), st.integers(1, 40), st.randoms())
def test_a_crop_holds_its_answer_where_it_says(sentences: list[str], words: int, chance: random.Random) -> None:
    whole = row("squad", sentences, sentences[-1].split()[0])
    cropped = crop(whole, words, chance)
    start = cropped["answers"]["answer_start"][0]
    assert cropped["context"][start:].startswith(cropped["answers"]["text"][0])
    assert cropped["context"] in whole["context"]
    assert len(cropped["context"].split()) >= min(words, len(whole["context"].split()))


def test_what_becomes_of_each_source(tmp_path: Path) -> None:
    rows = [row(source, SENTENCES, "Ada") for source in ("squad", "qamr", "policyqa", "qed")]
    with gzip.open(tmp_path / "a.jsonl.gz", "wb") as file:
        file.write(b"".join(orjson.dumps(one) + b"\n" for one in rows))
    main(tmp_path / "a.jsonl.gz", tmp_path / "out" / "b.jsonl")
    sources = [orjson.loads(line)["source"] for line in (tmp_path / "out" / "b.jsonl").read_bytes().splitlines()]
    assert sorted(sources) == ["qamr", "qed", "squad", "squad"]


def test_views_differ_in_their_crops_and_in_how_often_nothing_answers() -> None:
    rows = [row("squad", [f"Ada {i}."] + SENTENCES * 12, f"Ada {i}.") for i in range(20)]
    rows += [row("squad-unanswerable", [f"Bo {i}.", *SENTENCES], "Ada") for i in range(5)]
    one, other = mix(rows, 1, 3), mix(rows, 2, 3)
    for view in (one, other):
        assert len(view) == 40 + 15
        assert [sum(kept == unanswered for kept in view) for unanswered in rows[20:]] == [3] * 5
    assert sorted(r["context"] for r in one) != sorted(r["context"] for r in other)
    assert one == mix(rows, 1, 3)


def test_squad_comes_whole_and_cropped_in_one_random_order() -> None:
    rows = [row("squad", [f"Ada {i}."] + SENTENCES * 12, f"Ada {i}.") for i in range(40)]
    mixed = mix(rows)
    whole = [row["context"] for row in mixed if row in rows]
    cropped = [one["context"] for one in mixed if one not in rows]
    assert sorted(whole) == sorted(one["context"] for one in rows)
    assert len({context[:8] for context in cropped}) == 40
    assert all(40 <= len(context.split()) <= 110 + 7 for context in cropped)
    assert whole != [one["context"] for one in rows]
    assert mixed == mix(rows)
    assert mixed.index(rows[0]) != 0
    assert len([i for i in range(40) if mixed[i] in rows]) in range(8, 33), "not all of one kind first"
