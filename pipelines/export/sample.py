"""The rows on which the forms of a model are compared: the user's own, or those that are written here."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from actors.export.parity import ParitySample
from pipelines.evaluation.squad import read_examples
from pipelines.evaluation.squad_metrics import f1

_MOST_ROWS = 400
"""Of the user's, which torch and every form compute: shares and F1 are then good to some points in a hundred."""
_BUILT_IN: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "The lighthouse on Gull Rock was first lit on 4 October 1837. Its keeper, Agnes Bell, lived there with two "
        "assistants until a cable was laid in 1962, after which the lamp needed nobody.",
        (
            ("When was the lighthouse on Gull Rock first lit?", "4 October 1837"),
            ("Who kept the lighthouse?", "Agnes Bell"),
            ("How many assistants did the keeper have?", "two"),
        ),
    ),
    (
        "Sourdough rises because wild yeast and bacteria ferment the flour. The bacteria make lactic and acetic acid, "
        "which give the bread its taste and keep mould away for some days. A baker feeds the starter with flour and "
        "water once a day, or once a week if it is kept cold.",
        (
            ("What makes sourdough rise?", "wild yeast and bacteria ferment the flour"),
            ("Which acids do the bacteria make?", "lactic and acetic acid"),
            ("What is the starter fed with?", "flour and water"),
        ),
    ),
    (
        "The narrow-gauge railway from Harran to the quarries was opened in 1891 and closed in 1954. It was 23 "
        "kilometres long and had eleven bridges, the longest of which crossed the Vell on seven arches. After the war "
        "lorries carried the slate more cheaply, and the rails were sold to a mine in the north.",
        (
            ("How long was the railway?", "23 kilometres"),
            ("Which river did the longest bridge cross?", "the Vell"),
            ("Who bought the rails?", "a mine in the north"),
        ),
    ),
    (
        "Swifts spend almost all of their lives in the air: they eat, drink, mate and sleep on the wing. Young birds "
        "leave the nest in July and may not land again for two years. Because their legs are short, a swift that has "
        "come down on flat ground seldom gets up by itself.",
        (
            ("When do young swifts leave the nest?", "July"),
            ("For how long may a young swift not land?", "two years"),
            ("Why does a swift on flat ground seldom get up?", "their legs are short"),
        ),
    ),
    (
        "In the spring of 1909 the council of Osterby chose a design by Elin Dahl for the new library. It cost 48,000 "
        "crowns, a third of which was given by the owner of the paper mill. The reading room faces north, so that no "
        "sun falls on the books, and its ceiling is painted with the plants of the district. Dahl, who was thirty-one "
        "at the time, later built two schools and the town's baths, but she said of the library that it was the only "
        "house she had been left alone with.",
        (
            ("Who designed the library of Osterby?", "Elin Dahl"),
            ("What did the library cost?", "48,000 crowns"),
            ("Which way does the reading room face?", "north"),
        ),
    ),
    (
        "A glacier moves in two ways. Its ice deforms under its own weight, as cold honey does, and where the bottom "
        "is warm enough to melt, the whole mass slides over a film of water. The Kangerlussuaq glacier in Greenland "
        "advances by some twenty metres a day in summer, while glaciers that are frozen to their beds move by a few "
        "centimetres. Crevasses open where the ice is stretched, for example above a step in the bed, and seldom reach "
        "deeper than fifty metres, because the pressure below closes them.",
        (
            ("Where is the Kangerlussuaq glacier?", "Greenland"),
            ("What does a glacier slide over?", "a film of water"),
            ("How deep are crevasses at most, as a rule?", "fifty metres"),
        ),
    ),
    (
        "Invoice 7731 of Marsh & Sons lists forty panes of glass, twelve hinges and a crate of putty. It was paid on 9 "
        "May by Theo Lindqvist, who asked for the panes to be packed in straw.",
        (
            ("Who paid the invoice?", "Theo Lindqvist"),
            ("How many hinges were on the invoice?", "twelve"),
            ("What were the panes to be packed in?", "straw"),
        ),
    ),
    (
        "Before clocks were set by the telegraph, every town kept its own noon. Bristol was ten minutes behind London, "
        "and its railway clock had two minute hands, one for each. The companies agreed on London's time in 1847, the "
        "courts followed some thirty years later, and an act of parliament made it law in 1880. Even so, a cathedral "
        "in the west rang by the sun until its old verger died.",
        (
            ("How far was Bristol behind London?", "ten minutes"),
            ("In which year did the railway companies agree on London's time?", "1847"),
            ("What made London's time law?", "an act of parliament"),
        ),
    ),
)
"""Passages, each with questions and the answers that stand in it."""


def built_in_sample(rows: int | None = None) -> ParitySample:
    """The rows that come with the package, 24 of them, on passages of some fifty to a hundred words.

    Args:
        rows: most of them; None takes all.
    """
    return _sample([(question, passage, (answer,)) for passage, asked in _BUILT_IN for question, answer in asked], rows)


def read_sample(inputs: Sequence[str], storage: Mapping[str, object], rows: int = _MOST_ROWS) -> ParitySample:
    """Rows of the user's, read as `spanmill evaluate` reads them; rows that it leaves out are left out.

    Args:
        inputs: files, folders and globs as paths or fsspec URLs.
        storage: fsspec options for them.
        rows: most of them, spread evenly over all.

    Raises:
        CorpusError: an input has no files, or not one usable row.
        StorageError: a file cannot be read.
    """
    examples: pa.Table = read_examples(inputs, storage).examples
    texts = [examples[name].to_pylist() for name in ("question", "context", "answer_texts")]
    return _sample([(question, passage, tuple(gold)) for question, passage, gold in zip(*texts, strict=True)], rows)


def _sample(rows: Sequence[tuple[str, str, tuple[str, ...]]], most: int | None) -> ParitySample:
    """Rows that are spread evenly, in an order of which every beginning is spread as well: a slow form takes few."""
    count = len(rows) if most is None else min(most, len(rows))
    chosen = [rows[int(place)] for place in np.linspace(0, len(rows), count, endpoint=False)]
    mixed = [chosen[int(place)] for place in np.random.default_rng(0).permutation(len(chosen))]
    questions, passages, gold = zip(*mixed, strict=True) if mixed else ((), (), ())
    return ParitySample(questions, passages, gold, f1)
