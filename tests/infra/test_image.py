"""What goes into the container image, as far as it can be told without building it."""

from fnmatch import fnmatch

from tests.infra.manifests import INFRA, ROOT, copied_sources


def test_what_the_image_takes_exists_and_is_sent_to_the_build() -> None:
    sources = copied_sources()
    assert "models/minilm-qa" in sources
    sent = [line[1:] for line in (INFRA / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")]
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) for pattern in sent), source
