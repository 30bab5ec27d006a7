"""The form that CTranslate2 reads: a folder for each precision, the encoder, and the QA head beside it."""

from pathlib import Path

from actors.backends.base import Backend
from actors.backends.converted.conversion import CTRANSLATE2_KINDS, convert_ctranslate2
from actors.backends.converted.ctranslate2_runtime import QUANTIZATIONS, CTranslate2Backend
from actors.backends.converted.parity import TOLERANCES
from actors.backends.precision import EXACT
from actors.export.form import ExportForm, ExportTools, read_back

FOLDER = "ctranslate2"


def _write(folder: Path, output: Path, precision: str, with_qa_head: bool, tools: ExportTools) -> None:
    (output / FOLDER).mkdir(parents=True, exist_ok=True)
    convert_ctranslate2(folder, output / FOLDER / precision, with_qa_head, QUANTIZATIONS[precision])


def _open(output: Path, precision: str, tools: ExportTools) -> Backend:
    place = output / FOLDER / precision
    with read_back(place, "CTranslate2"):
        return CTranslate2Backend(place, "cpu", precision, tools.threads)


CTRANSLATE2 = ExportForm(
    name="ctranslate2",
    precisions=(EXACT, "int8"),
    files=lambda precision: (f"{FOLDER}/{precision}/*",),
    write=_write,
    open=_open,
    tolerances=TOLERANCES,
    read_by="CTranslate2 (`qa_outputs.safetensors` is the QA head, which it does not compute)",
    kinds=frozenset(CTRANSLATE2_KINDS),
    packages=("ctranslate2",),
    extra="ctranslate2",
)
