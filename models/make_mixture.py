"""The training rows of the model that ships, mixed from a file with SQuAD's fields and a source.

All of `squad`, its unanswerable questions, `qed` and `covidqa` as they are; all of `squad` once more and 20,000 rows of
`qamr`, the largest and easiest part, cropped to some sentences around the answer, which costs half the time. `policyqa`
is left out: it is the unknown domain on which transfer is measured.

    python models/make_mixture.py qa-train.jsonl.gz build/mixture.jsonl
"""

import gzip
import json
import random
import re
import sys
from pathlib import Path
from typing import Any

SEED = 20_261_123
WHOLE = ("squad", "squad-unanswerable", "qed", "covidqa")
SQUAD_WORDS = (40, 110)
QAMR_WORDS = (25, 90)
QAMR_ROWS = 20_000
_SENTENCE_END = re.compile(r"(?<=[.!?])[ \n]+")

Row = dict[str, Any]


def main(source: Path, target: Path) -> None:
    """Writes one JSON object a line, in random order."""
    with gzip.open(source, "rt", encoding="utf-8") as lines:
        mixed = mix([json.loads(line) for line in lines])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(json.dumps(row) + "\n" for row in mixed), encoding="utf-8")
    print(f"{target}: {len(mixed):,} rows")


def mix(rows: list[Row], seed: int = SEED, unanswerable_times: int = 1) -> list[Row]:
    """The training rows, the same on every machine.

    Args:
        seed: of the crops, the rows of `qamr` and the order.
        unanswerable_times: how often every unanswerable question is among them.
    """
    chance = random.Random(seed)
    squad, qamr = ([row for row in rows if row["source"] == source] for source in ("squad", "qamr"))
    chance.shuffle(qamr)
    mixed = [row for row in rows if row["source"] in WHOLE]
    mixed += [row for row in rows if row["source"] == "squad-unanswerable"] * (unanswerable_times - 1)
    mixed += [crop(row, chance.randint(*SQUAD_WORDS), chance) for row in squad]
    mixed += [crop(row, chance.randint(*QAMR_WORDS), chance) for row in qamr[:QAMR_ROWS]]
    chance.shuffle(mixed)
    return mixed


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
