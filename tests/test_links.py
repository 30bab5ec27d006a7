"""Links within the repository's pages, and the files that sentences name, are there."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    str(page.relative_to(ROOT))
    for pattern in (
        "*.md",
        "docs/*.md",
        "infra/**/*.md",
        "models/*.md",
        "models/*/*.md",
        "samples/*.md",
        "tests/**/*.md",
    )
    for page in ROOT.glob(pattern)
)
_FENCED = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)
_INLINE_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_OWN_FOLDERS = r"(?:actors|pipelines|spanmill|tests|docs|infra|benchmarks|configs|samples|models)"
_FILE = re.compile(rf"{_OWN_FOLDERS}/[\w./-]*\w\.(?:py|md|yaml|js|json|parquet|jsonl)\b")


def _text(page: str) -> str:
    """Without code blocks that have fences."""
    return _FENCED.sub("", (ROOT / page).read_text(encoding="utf-8"))


def anchors(text: str) -> set[str]:
    """What stands behind `#` in links to the headings of a page, as GitHub makes it of them."""
    found = dict[str, int]()
    names = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", text, re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        names.add(f"{name}-{found[name]}" if name in found else name)
        found[name] = found.get(name, 0) + 1
    return names


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = _text(page)
    for link in _LINK.findall(_INLINE_CODE.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        assert target.exists(), f"{page} links to {link}, which is not there"
        if anchor:
            there = anchors(_FENCED.sub("", target.read_text(encoding="utf-8")))
            assert anchor in there, f"{page} links to {link}, and {target.name} has {sorted(there)}"


@pytest.mark.parametrize("page", PAGES)
def test_files_within_sentences_exist(page: str) -> None:
    named = {name for code in _INLINE_CODE.findall(_text(page)) for name in _FILE.findall(code)}
    missing = [name for name in named if not (ROOT / name).exists() and not ((ROOT / page).parent / name).exists()]
    # What a target of the Makefile or an instruction makes, or a name with a blank to fill in, is not there yet.
    made = [name for name in missing if "NAME" in name or "untrained" in name]
    assert sorted(set(missing) - set(made)) == []


def test_anchors_are_those_of_github() -> None:
    assert anchors("# A `b`: C, d-e\n## Same\n## Same\n### [Link](x.md) & more") == {
        "a-b-c-d-e",
        "same",
        "same-1",
        "link--more",
    }


def test_every_page_is_looked_at() -> None:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True)
    assert {"README.md", "CONTRIBUTING.md", "docs/python.md", "infra/README.md"} <= set(PAGES)
    assert set(listed.stdout.split()) <= {*PAGES}
