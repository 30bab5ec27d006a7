"""A peer of a few lines without any package, in a process as real as that of the others."""

from pathlib import Path

_TOY = """
import os
import time


class Toy:
    packages = ["pip"]
    precision = "float32"

    def __init__(self, setup):
        if setup.get("broken"):
            raise RuntimeError("no weights\\nand more")
        self.setup, self.declined, self.calls = setup, setup.get("declined"), 0

    def answer(self, questions, contexts, setting):
        print("something that is no answer")
        self.calls += 1
        if self.calls == self.setup.get("dies_at"):
            print("out of luck", file=__import__("sys").stderr, flush=True)
            os._exit(7)
        if "seconds" in setting:
            self.seconds = setting["seconds"]
        end = setting.get("end", 1)
        return [[0, end] for _ in questions][: setting.get("rows")]

    def embed(self, texts, setting):
        return [[1.0, 0.0, 0.0][: setting.get("width", 2)] for _ in texts]

    def usable(self, rows):
        columns = list(rows.values())
        return [place for place in range(len(columns[0])) if all(column[place] for column in columns)]

    def size(self, rows):
        count = len(next(iter(rows.values())))
        return {"windows": count, "tokens": 10 * count, "flops": 1000.0 * count}

    def rates(self):
        return {"sgemm": 2000.0, "other": 4000.0}

    def refuse(self):
        raise ValueError("this is not done")


def load(setup):
    return Toy(setup)
"""


def toy(folder: Path) -> Path:
    """Writes its file."""
    path = folder / "toy.py"
    path.write_text(_TOY)
    return path
