"""Configs from files and words, and what is said of wrong ones."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.config.job import AnswerConfig, EmbedConfig
from pipelines.config.loader import as_yaml, changed_yaml, list_keys, load_config
from pipelines.config.service import ServeConfig
from pipelines.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text("qa:\n  top_k: 2\n  max_answer_len: 9\ncorpus:\n  carry: [title]\n", encoding="utf-8")
    return path


def test_words_override_the_file_and_the_file_the_defaults(file: Path) -> None:
    config = load_config(AnswerConfig, file, ["qa.top_k=3", "corpus.columns.id=key"])
    assert (config.qa.top_k, config.qa.max_answer_len, config.qa.max_seq_len) == (3, 9, None)
    assert config.corpus.carry == ("title",)
    assert config.corpus.columns.id == "key"


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("corpus.carry=[a, b]", ("a", "b")),
        ("corpus.carry=[]", ()),
        ("corpus.carry=price", ("price",)),
        ("corpus={carry: unit price}", ("unit price",)),
    ],
)
def test_values_of_words_are_yaml(word: str, value: object) -> None:
    assert load_config(AnswerConfig, None, [word]).corpus.carry == value


def test_words_reach_into_storage_options_and_groups_that_are_null() -> None:
    config = load_config(AnswerConfig, None, ["corpus.storage.client_kwargs.verify=false", "embedding.pooling=cls"])
    assert config.corpus.storage == {"client_kwargs": {"verify": False}}
    assert config.embedding is not None
    assert config.embedding.pooling == "cls"


def test_mappings_are_joined_and_an_empty_one_empties(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("corpus:\n  carry: [a, b, c.d]\n  types: {a: int8}\ncorpus.types: {b: string, c.d: string}\n")
    words = ["corpus.types={a: string}", "corpus.types={c.d: bool}"]
    assert load_config(AnswerConfig, file, words).corpus.types == {"a": "string", "b": "string", "c.d": "bool"}
    assert load_config(AnswerConfig, file, ["corpus={types: {a: bool}}"]).corpus.types["b"] == "string"
    assert load_config(AnswerConfig, file, ["corpus.types={}"]).corpus.types == {}
    words = ["corpus.storage={key: a, secret: b}", "corpus.storage={endpoint_url: c}"]
    assert load_config(AnswerConfig, None, words).corpus.storage == {"endpoint_url": "c"}


def test_a_key_that_is_there_twice_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("corpus.types: {a: string}\ncorpus.types: {b: string}\n")
    with pytest.raises(ConfigError, match=r"job\.yaml: not YAML: 'corpus\.types' is there twice, again in line 2"):
        load_config(AnswerConfig, file, [])
    file.write_text("corpus: &one {carry: [a]}\nqa: {top_k: 2}\noutput: {}\n")
    assert load_config(AnswerConfig, file, []).qa.top_k == 2


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("qa.topk=3", "unknown key qa.topk; the nearest is qa.top_k"),
        ("top_k=3", "unknown key top_k; the nearest is qa.top_k"),
        ("modle.name=x", "unknown key modle; the nearest is model"),
        ("embedding.poolng=cls", "unknown key embedding.poolng; the nearest is embedding.pooling"),
        ("qa.top_k=many", "qa.top_k: Input should be a valid integer"),
        ("qa.top_k=0", r"qa.top_k: .*greater than or equal to 1 \(got 0\)"),
        (
            "model.backend=onnx",
            "model.backend: there is no 'onnx'; there are torch, .*auto, or package.module:OBJECT",
        ),
        ("model.backend=3", "model.backend: Input should be a valid string"),
        ("model.precision=fsat", "'exact', 'fast' or 'auto'; the nearest is fast \\(got"),
        ("model.precision=7", "'exact', 'fast' or 'auto' \\(got 7"),
        ("model.backend='a b:c'", "model.backend: there is no 'a b:c'"),
        ("output.format=csv", "output.format: there is no 'csv'; there are parquet, jsonl, or package.module:OBJECT"),
        ("pool.max_size=0", "pool.max_size"),
        ("max_quarantined=lots", r"max_quarantined: .*a number of rows \(100\) or a share of them \(0\.5%\)"),
        ("max_quarantined=-1", "max_quarantined: .*a number of rows"),
        ("qa.top_k", "write it as key=value"),
        ("=3", "write it as key=value"),
        ("qa.top_k=[", r"the value is not YAML: .*, in line 1, column 2$"),
        ("corpus.carry=title, url", r"a list is wanted.* --set 'corpus\.carry=\[title, url\]', or corpus\.carry: \[ti"),
        ("corpus.carry=3", r"write --set 'corpus\.carry=\['\"'\"'3'\"'\"'\]', or corpus\.carry: \['3'\] in a file"),
        ("corpus.carry=", r"an empty one is --set 'corpus\.carry=\[\]'"),
        ("corpus.carry={a: b}", r"a list is wanted, even of one \(got \{'a': 'b'\}\)"),
    ],
)
def test_a_wrong_word_is_named_with_its_mend(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(AnswerConfig, None, [word])


@pytest.mark.parametrize(
    "word",
    [
        "corpus.storage.secret=[pass4711",
        "corpus.storage=pass4711",
        "corpus={storage: {secret: pass4711}, types: {a: string}}",
        "corpus={storage: {secret: pass4711}, shard_rows: 0}",
        "model=https://me:pass4711@host/model",
        "output.storage={password: pass4711, password: pass4711}",
    ],
)
def test_an_error_says_no_secret(word: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(AnswerConfig, None, [word])
    assert "pass4711" not in str(raised.value)
    assert "***" in str(raised.value) or "shard_rows" in word
    file = tmp_path / "job.yaml"
    file.write_text(f"qa: {{top_k: 2}}\n{word.replace('=', ': ', 1)}\nqa: {{top_k: 2}}\n")
    with pytest.raises(ConfigError) as raised:
        load_config(AnswerConfig, file, [])
    assert "pass4711" not in str(raised.value)


def test_what_is_printed_of_a_config_holds_no_secret() -> None:
    words = ["corpus.storage={secret: pass4711, endpoint_url: 'http://minio:9000'}", "model.storage.token=pass4711"]
    config = load_config(AnswerConfig, None, [*words, f"output.storage.client_kwargs={{verify: {'x' * 200}}}"])
    for printed in (as_yaml(AnswerConfig, config=config), changed_yaml(config)):
        assert "pass4711" not in printed
        assert printed.count("***") == 2
        assert "http://minio:9000" in printed
    assert any(line.endswith("x" * 200 + "}}") for line in as_yaml(AnswerConfig, config=config).splitlines())


def test_values_that_only_together_are_wrong() -> None:
    with pytest.raises(ConfigError, match=r"pool: .*max_size \(1\) is less than size \(2\)"):
        load_config(AnswerConfig, None, ["pool.size=2", "pool.max_size=1"])


def test_every_problem_of_a_file_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("qa:\n  top_k: x\n  topp: 1\n", encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_config(AnswerConfig, path, [])
    first, *lines = str(raised.value).splitlines()
    assert first == f"{path} cannot be used:"
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"qa: [", "not YAML"),
        (b"\xff\xfe\xfa", "not YAML"),
        (b"- a\n", "a config is a mapping of keys, this is a list"),
    ],
)
def test_a_file_that_is_no_config(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_config(AnswerConfig, path, [])


def test_a_missing_and_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_config(AnswerConfig, tmp_path / "none.yaml", [])
    (tmp_path / "empty.yaml").write_bytes(b"# nothing\n")
    assert load_config(AnswerConfig, tmp_path / "empty.yaml", []) == AnswerConfig()


def test_a_list_of_all_keys_goes_into_optional_groups() -> None:
    keys = {key: default for key, _, default in list_keys(AnswerConfig)}
    assert keys["qa.top_k"] == 1
    assert keys["embedding.pooling"] == "mean"
    assert keys["corpus.columns.context"] == "context"
    assert "qa" not in keys


@pytest.mark.parametrize("kind", [AnswerConfig, EmbedConfig])
def test_a_printed_config_is_the_defaults(kind: type[AnswerConfig] | type[EmbedConfig], tmp_path: Path) -> None:
    path = tmp_path / "printed.yaml"
    path.write_text(as_yaml(kind), encoding="utf-8")
    assert load_config(kind, path, []) == kind()


def test_an_optional_group_can_be_uncommented(tmp_path: Path) -> None:
    lines = as_yaml(AnswerConfig).replace("embedding: null", "embedding:").splitlines()
    path = tmp_path / "edited.yaml"
    path.write_text("\n".join(line.removeprefix("#") if line.startswith("# ") else line for line in lines))
    path.write_text("\n".join(_uncommented(lines)), encoding="utf-8")
    config = load_config(AnswerConfig, path, [])
    assert config.embedding is not None
    assert config.embedding.doc_stride == 0


def _uncommented(lines: list[str]) -> list[str]:
    start = lines.index("embedding:")
    return [*lines[: start + 1], *(line.removeprefix("#") for line in lines[start + 1 :])]


def test_a_key_of_a_file_may_have_dots(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("qa.top_k: 3\nqa: {max_answer_len: 5}\n")
    qa = load_config(AnswerConfig, path, []).qa
    assert (qa.top_k, qa.max_answer_len) == (3, 5)
    path.write_text("qa.topk: 3\n")
    with pytest.raises(ConfigError, match=r"unknown key qa\.topk"):
        load_config(AnswerConfig, path, [])


def test_a_config_is_checked_and_printed_without_torch() -> None:
    """Although it names a runtime, and the error of a wrong one lists those that there are."""
    check = "load_config(AnswerConfig, None, ['model.backend=torch']), as_yaml(ServeConfig)"
    names = "from pipelines.config.job import AnswerConfig; from pipelines.config.service import ServeConfig"
    loader = "import sys; from pipelines.config.loader import as_yaml, load_config"
    show = "print([name for name in ('torch', 'transformers', 'numpy') if name in sys.modules])"
    run = f"{loader}; {names}; {check}; {show}"
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    "words", [[], ["qa.top_k=4"], ["corpus.storage={anon: true}", "max_quarantined=3", "embedding={}"]]
)
def test_what_is_changed_gives_the_same_config_again(tmp_path: Path, words: list[str]) -> None:
    config = load_config(AnswerConfig, None, words)
    (tmp_path / "changed.yaml").write_text(changed_yaml(config))
    (tmp_path / "full.yaml").write_text(as_yaml(AnswerConfig, config=config))
    assert load_config(AnswerConfig, tmp_path / "changed.yaml", []) == config
    assert load_config(AnswerConfig, tmp_path / "full.yaml", []) == config


def test_what_is_said_otherwise_fills_what_neither_file_nor_words_have(file: Path) -> None:
    otherwise = {"qa.top_k": 7, "qa.max_seq_len": 128, "embedding.pooling": "cls"}
    config = load_config(AnswerConfig, file, ["qa.max_seq_len=64"], otherwise)
    assert (config.qa.top_k, config.qa.max_seq_len) == (2, 64)
    assert config.embedding is not None
    assert config.embedding.pooling == "cls"
    # An explicit null is a value, and a group that is none is an error as ever.
    assert load_config(AnswerConfig, None, ["qa.max_seq_len=null"], otherwise).qa.max_seq_len is None
    with pytest.raises(ConfigError, match="qa"):
        load_config(AnswerConfig, None, ["qa=3"], otherwise)


def test_groups_by_names_of_ones_own_are_set_shown_and_read_back(tmp_path: Path) -> None:
    words = ["tenants.search.variable=SEARCH", "tenants.search.weight=2", "tenants.mining={file: /run/keys}"]
    config = load_config(ServeConfig, None, words)
    assert (config.tenants["search"].weight, config.tenants["mining"].file) == (2.0, "/run/keys")
    for shown in (as_yaml(ServeConfig, config=config), changed_yaml(config)):
        (tmp_path / "serve.yaml").write_text(shown)
        assert load_config(ServeConfig, tmp_path / "serve.yaml", []) == config
    with pytest.raises(ConfigError, match=r"unknown key tenants\.search\.wieght"):
        load_config(ServeConfig, None, ["tenants.search.wieght=2"])
