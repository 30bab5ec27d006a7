"""What Linux says of a CPU, in the forms that x86 and ARM have."""

from pathlib import Path

import pytest

from actors import processor
from actors.processor import this_processor

X86 = "processor\t: {n}\nmodel name\t: Mill 9000\nflags\t\t: fpu avx2\n\n"
ARM = "processor\t: {n}\nFeatures\t: asimd bf16\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n\n"


@pytest.mark.parametrize(
    ("text", "name", "abilities"),
    [(X86, "Mill 9000", frozenset({"fpu", "avx2"})), (ARM, "0x41, 0xd40", frozenset({"asimd", "bf16"}))],
)
def test_every_core_is_the_same_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str, abilities: frozenset[str]
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("".join(text.format(n=n) for n in range(3)))
    monkeypatch.setattr(processor, "_CPUINFO", file)
    assert (this_processor().name, this_processor().abilities) == (name, abilities)


def test_a_machine_without_proc_has_a_name_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "absent")
    assert this_processor().name
    assert not this_processor().abilities
