"""What is found in a page, and what counts as printed."""

from pathlib import Path

import pytest

from tests.markdown_blocks import blocks_of, says

PAGE = """# A page

    make demo     # in the first block

    make test

Text that goes
    on is no block.

<!-- not run: nobody has it -->

```sh
docker run
```

* A list

  <!-- takes minutes -->

  ```python
  import duckdb
  ```

<!-- output -->

Text between comment and block parts them.

    from spanmill import Embedder
"""


def test_blocks_of_a_page(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(PAGE)
    shell, docker, python, later = blocks_of(tmp_path / "page.md", "page.md")
    assert (str(shell), shell.mark, shell.language) == ("page.md:3", "", "shell")
    assert shell.text == "make demo     # in the first block\n\nmake test"
    assert (docker.text, docker.mark, docker.reason, docker.language) == (
        *("docker run", "not run", "nobody has it", "sh"),
    )
    assert (python.text, python.mark, python.language) == ("import duckdb", "takes minutes", "python")
    assert (later.mark, later.language) == ("", "python")


@pytest.mark.parametrize(
    ("shown", "printed", "is_said"),
    [
        ("rows  364", "rows             364\n", True),
        ("rows  36", "rows  364", True),
        ("F1 62.7", "F1   62.7", True),
        ("F1 62.7", "F1   62.8", False),
        ("{'score': 0.99, 'end': 3}", "{'score': 0.98761, 'end': 3}", True),
        ("{'score': 0.98, 'end': 3}", "{'score': 0.98761, 'end': 3}", False),
        ("output .../demo", "output   /somewhere/demo", True),
        ('{"a": [1]}', '{"a":[1]}', True),
        ("Ada", "Bo", False),
    ],
)
def test_what_counts_as_printed(shown: str, printed: str, is_said: bool) -> None:
    assert says(shown, printed) is is_said
