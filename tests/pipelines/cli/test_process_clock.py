"""How long the user has waited."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.cli import process_clock


def test_it_counts_from_the_start_of_the_process_and_not_of_the_import() -> None:
    program = """
import time
time.sleep(0.5)
from pipelines.cli.process_clock import seconds_waited
print(seconds_waited())
"""
    began = time.monotonic()
    done = subprocess.run((sys.executable, "-c", program), capture_output=True, text=True, check=True)
    # The system counts in hundredths.
    assert float(done.stdout) + 0.02 >= 0.5
    assert float(done.stdout) - 0.02 <= time.monotonic() - began


def test_where_the_system_does_not_tell_it_counts_from_the_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_clock, "_STAT", Path("/nothing"))
    monkeypatch.setattr(process_clock, "_IMPORTED", time.monotonic() - 7)
    assert 7 <= process_clock.seconds_waited() < 60
