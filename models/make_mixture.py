"""The training rows of the model that ships, mixed from files with SQuAD's fields and a source.

Questions on whole passages are what the model is for, so `squad` rows come twice as they are and once cropped to some
sentences around the answer; of `qamr`, the largest part, only such crops, which cost half the time. `policyqa` is left
out: it is the unknown domain on which transfer is measured.

    python models/make_mixture.py qa-train.jsonl.gz build/mixture.jsonl
"""

import gzip
import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SEED = 20_261_123
_SENTENCE_END = re.compile(r"(?<=[.!?])[ \n]+")

Row = dict[str, Any]


def main(source: Path, target: Path) -> None:
    """Writes one JSON object a line, in random order."""
    chance = random.Random(SEED)
    with gzip.open(source, "rt", encoding="utf-8") as lines:
        mixed = [copy for line in lines for copy in copies(json.loads(line), chance)]
    chance.shuffle(mixed)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(json.dumps(row) + "\n" for row in mixed), encoding="utf-8")
    print(f"{target}: {len(mixed):,} rows")


def copies(row: Row, chance: random.Random) -> Iterator[Row]:
    """What becomes of one row."""
    match row["source"]:
        case "policyqa":
            return
        case "squad":
            yield from (row, row, crop(row, chance.randint(50, 110), chance))
        case "qamr":
            yield crop(row, chance.randint(25, 90), chance)
        case _:
            yield row


def crop(row: Row, words: int, chance: random.Random) -> Row:
    """The sentences of the answer, and as many around them as make up so many words."""
    context, answer = row["context"], row["answers"]["text"][0]
    start = row["answers"]["answer_start"][0]
    cuts = [0, *(match.end() for match in _SENTENCE_END.finditer(context)), len(context)]
    first = max(i for i, cut in enumerate(cuts[:-1]) if cut <= start)
    last = min(i for i, cut in enumerate(cuts) if cut >= start + len(answer))
    while len(context[cuts[first] : cuts[last]].split()) < words and (first > 0 or last < len(cuts) - 1):
        if first > 0 and (last == len(cuts) - 1 or chance.random() < 0.5):
            first -= 1
        else:
            last += 1
    begin = start - cuts[first]
    cropped = context[cuts[first] : cuts[last]]
    kept = cropped[: max(len(cropped.rstrip()), begin + len(answer))]
    return row | {"context": kept, "answers": {"text": [answer], "answer_start": [begin]}}


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
