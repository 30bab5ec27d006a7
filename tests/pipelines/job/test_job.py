"""What makes a job the same job, and what is refused before a shard runs."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.errors import ModelError
from pipelines.config.job import AnswerConfig, EmbedConfig
from pipelines.config.loader import load_config
from pipelines.errors import ConfigError, CorpusError, JobError, ManifestError
from pipelines.job.job import Job, _check_apart, _part_names, bind, check_complete, find_places
from pipelines.output.parts import ShardId
from pipelines.schemas import QUARANTINE_SCHEMA
from pipelines.storage.filesystem import Store, resolve
from pipelines.storage.url import Url
from tests.pipelines.helpers import jsonl, qa_rows, rows_of, validate_all
from tests.pipelines.jobs import Kind, make_job, write_jsonl


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return _corpus(tmp_path)


def _corpus(folder: Path) -> Path:
    rows = [{**row, "title": "t", "text": "x"} for row in qa_rows(10)]
    return write_jsonl(folder / "in" / "a.jsonl", rows).parent


@pytest.fixture
def output(corpus: Path, tmp_path: Path, untrained_model: Path) -> Path:
    """A folder that a job of the default config is bound to."""
    bind(make_job([corpus], tmp_path / "out", untrained_model), replace=False)
    return tmp_path / "out"


@dataclass(frozen=True)
class Begun:
    """A job of the default config that is bound to its output; other jobs are tried on it, and change nothing."""

    corpus: Path
    output: Path
    job: Job


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, untrained_model: Path) -> Begun:
    folder = tmp_path_factory.mktemp("begun")
    corpus, output = _corpus(folder), folder / "out"
    return Begun(corpus, output, bind(make_job([corpus], output, untrained_model), replace=False))


def test_planning_touches_nothing(corpus: Path, tmp_path: Path, untrained_model: Path) -> None:
    job = make_job([corpus], tmp_path / "out", untrained_model)
    assert (job.kind, len(job.plan.units)) == ("answer", 1)
    assert job.schema.names == ["id", "answer", "score", "start", "end"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["qa.top_k=3"], "qa.top_k: 1 -> 3"),
        (["qa.max_seq_len=128"], "qa.max_seq_len: null -> 128"),
        (["qa.handle_impossible_answer=true"], "qa.handle_impossible_answer: false -> true"),
        (["embedding={}"], 'embedding.pooling: (absent) -> "mean"'),
        (["embedding={dimensions: 16}"], "embedding.dimensions: (absent) -> 16"),
        (["embedding={of: question}"], 'embedding.of: (absent) -> "question"'),
        (["embedding={pooling: [max, mean]}"], 'embedding.pooling: (absent) -> ["mean","max"]'),
        (["embedding={dtype: int8, int8_range: 0.5}"], "embedding.int8_range: (absent) -> 0.5"),
        (["corpus.carry=[title]"], 'corpus.carry: [] -> ["title"]'),
        (["corpus.columns.question=context"], 'corpus.columns.question: "question" -> "context"'),
        (["output.columns=[attention,answers]"], 'output.columns: (absent) -> ["answers","attention"]'),
        (["output.columns=[answers,attention]"], "attention.top: (absent) -> 8"),
        (["output.columns=[tokens]"], 'output.columns: (absent) -> ["tokens"]'),
        (["output.columns=[answers,embedding]"], 'embedding.pooling: (absent) -> "mean"'),
        (["output.format=jsonl"], 'output.format: "parquet" -> "jsonl"'),
        (["model.dtype=bfloat16"], 'model.backend, model.precision: "torch float32" -> "torch bfloat16"'),
        (
            ["model.precision=fast", "model.device=cuda"],
            'model.backend, model.precision: "torch float32" -> "torch float16"',
        ),
    ],
)
def test_a_key_that_changes_rows_is_another_job(
    begun: Begun, untrained_model: Path, words: list[str], line: str
) -> None:
    with pytest.raises(ManifestError) as raised:
        bind(make_job([begun.corpus], begun.output, untrained_model, *words), replace=False)
    assert f"\n  {line}" in str(raised.value)
    assert "--overwrite" in str(raised.value)


@pytest.mark.parametrize(
    "words",
    [
        ["pool.size=1", "pool.max_size=7", "pool.cpus=0.5"],
        ["batching.fixed_windows=2", "model.threads=1"],
        ["corpus.unit_bytes=100", "corpus.shard_rows=2"],
        ["ray.passes=1", "ray.object_store_mb=100"],
        ["output.columns=[answers]"],
        ["output.columns=[answers]", "embedding={}"],
        ["pool.gpus=1", "model.device=cuda"],
        ["model.precision=exact"],
        ["model.dtype=float32"],
    ],
)
def test_keys_that_change_no_row_are_the_same_job_and_the_stored_plan_holds(
    begun: Begun, untrained_model: Path, words: list[str]
) -> None:
    again = bind(make_job([begun.corpus], begun.output, untrained_model, *words), replace=False)
    assert again.manifest.job8 == begun.job.manifest.job8
    assert again.plan == begun.job.plan


def _write_table(path: Path, title: pa.Array) -> None:
    rows = qa_rows(len(title))
    pq.write_table(pa.Table.from_pylist(rows).append_column("title", title), path)


def test_the_types_of_a_job_stay_when_files_come(tmp_path: Path, untrained_model: Path) -> None:
    (tmp_path / "in").mkdir()
    _write_table(tmp_path / "in" / "a.parquet", pa.array([1, 2], pa.int16()))

    def bound(*words: str, extend: bool = False) -> Job:
        job = make_job([tmp_path / "in"], tmp_path / "out", untrained_model, "corpus.carry=[title]", *words)
        return bind(job, replace=False, extend=extend)

    first = bound()
    _write_table(tmp_path / "in" / "b.parquet", pa.array(["3", "03", None]))
    with pytest.raises(ManifestError, match=r"1 new \(b\.parquet\)\. Add --extend"):
        bound()
    extended = bound(extend=True)
    assert extended.schema == first.schema
    assert extended.manifest == first.manifest
    rows = rows_of(shards := validate_all(extended.plan))
    assert [row["title"] for row in rows] == [1, 2, 3, None, None]
    assert {key: flags.tolist() for key, flags in shards[1].misfits.items()} == {
        ("title", "null"): [False, True, False]
    }
    with pytest.raises(ManifestError, match=r'corpus\.types\.title: \(absent\) -> "string"'):
        bound("corpus.types={title: string}", extend=True)


def test_a_job_with_usual_vectors_is_the_one_that_it_was_before_there_were_others(
    corpus: Path, tmp_path: Path, untrained_model: Path
) -> None:
    """Keys of a job's manifest are compared one by one, so a key more would refuse every job that was begun before."""
    keys = {"pooling": "mean", "normalize": True, "dtype": "float32", "max_seq_len": None, "doc_stride": 0}
    job = make_job([corpus], tmp_path / "out", untrained_model, kind=EmbedConfig)
    assert job.manifest.results["embedding"] == keys
    assert list(job.manifest.results["embedding"]) == list(keys)
    spelt = ["embedding={pooling: [mean], of: [passage], dimensions: null, int8_range: null}"]
    assert make_job([corpus], tmp_path / "out", untrained_model, *spelt).manifest.results["embedding"] == keys


def test_lists_of_poolings_in_another_order_are_the_same_job(
    corpus: Path, tmp_path: Path, untrained_model: Path
) -> None:
    both = (
        make_job([corpus], tmp_path / "out", untrained_model, f"embedding.pooling={names}", kind=EmbedConfig).manifest
        for names in ("[max, mean]", "[mean, max]")
    )
    first, second = both
    assert first.job_id == second.job_id


def test_more_dimensions_than_the_model_has_are_refused_before_the_start(
    corpus: Path, tmp_path: Path, untrained_model: Path
) -> None:
    with pytest.raises(ModelError, match=r"embedding\.dimensions is 4096, but the vectors of this model have"):
        make_job([corpus], tmp_path / "out", untrained_model, "embedding.dimensions=4096", kind=EmbedConfig)


def test_the_manifest_of_a_job_with_the_usual_columns_names_none(
    corpus: Path, tmp_path: Path, untrained_model: Path
) -> None:
    """So that jobs which were begun before there were others go on."""
    for kind, names in ((AnswerConfig, {"qa", "embedding"}), (EmbedConfig, {"embedding"})):
        results = make_job([corpus], tmp_path / "out", untrained_model, kind=kind).manifest.results
        assert set(results) == names | {"semantics", "corpus", "output", "limit"}
        assert results["output"] == {"format": "parquet"}
        if kind is AnswerConfig:
            assert results["embedding"] is None
    same = make_job([corpus], tmp_path / "out", untrained_model, "output.columns=[embedding]", kind=EmbedConfig)
    assert same.manifest.results == results


def test_other_layers_or_another_number_of_targets_are_another_job(
    corpus: Path, tmp_path: Path, untrained_model: Path
) -> None:
    columns = "output.columns=[tokens,token_vectors,attention]"
    begun = bind(make_job([corpus], tmp_path / "out", untrained_model, columns, kind=EmbedConfig), replace=False)
    assert begun.schema.names == ["id", "tokens", "token_vectors", "attention"]
    again = make_job([corpus], tmp_path / "out", untrained_model, columns, kind=EmbedConfig)
    assert bind(again, replace=False).manifest == begun.manifest
    words = columns, "token_vectors.layers=[1,2]", "token_vectors.dtype=float16", "attention.top=null"
    with pytest.raises(ManifestError) as raised:
        bind(make_job([corpus], tmp_path / "out", untrained_model, *words, kind=EmbedConfig), replace=False)
    for line in (
        'token_vectors.layers: "last" -> [1,2]',
        'token_vectors.dtype: "float32" -> "float16"',
        "attention.top: 8 -> null",
    ):
        assert f"\n  {line}" in str(raised.value)


def test_another_kind_of_job_is_refused(corpus: Path, output: Path, untrained_model: Path) -> None:
    with pytest.raises(ManifestError, match='kind: "answer" -> "embed"'):
        bind(make_job([corpus], output, untrained_model, kind=EmbedConfig), replace=False)


def test_another_limit_is_refused(corpus: Path, output: Path, untrained_model: Path) -> None:
    with pytest.raises(ManifestError, match="limit: null -> 5"):
        bind(make_job([corpus], output, untrained_model, limit=5), replace=False)


def test_another_model_is_refused_and_the_same_one_elsewhere_is_not(
    corpus: Path, output: Path, untrained_model: Path, tmp_path: Path
) -> None:
    other = Path(copytree(untrained_model, tmp_path / "other"))
    bind(make_job([corpus], output, other), replace=False)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "activation": "relu"}))
    with pytest.raises(ManifestError, match=r"model.fingerprint: \"[0-9a-f]{64}\" -> \"[0-9a-f]{64}\""):
        bind(make_job([corpus], output, other), replace=False)


def test_changed_new_and_lost_input_is_named(corpus: Path, output: Path, untrained_model: Path) -> None:
    write_jsonl(corpus / "b.jsonl", qa_rows(1))
    with pytest.raises(ManifestError, match=r": 1 new \(b\.jsonl\)\. Add --extend"):
        bind(make_job([corpus], output, untrained_model), replace=False)
    os.remove(corpus / "b.jsonl")
    os.utime(corpus / "a.jsonl", ns=(1, 1))
    with pytest.raises(ManifestError, match=r": 1 changed \(a\.jsonl\)\. .*--overwrite"):
        bind(make_job([corpus], output, untrained_model), replace=False)


def test_overwrite_takes_the_folder_for_another_job(corpus: Path, output: Path, untrained_model: Path) -> None:
    (output / "notes.txt").write_text("mine")
    job = bind(make_job([corpus], output, untrained_model, "qa.top_k=3"), replace=True)
    assert job.manifest.results["qa"]["top_k"] == 3
    assert (output / "notes.txt").exists()
    with pytest.raises(ManifestError, match=r"qa\.top_k: 3 -> 1"):
        bind(make_job([corpus], output, untrained_model), replace=False)


def test_parts_of_another_job_beside_ours_are_refused(corpus: Path, output: Path, untrained_model: Path) -> None:
    job = bind(make_job([corpus], output, untrained_model), replace=False)
    (output / "part-00000-00000z-ffffffff.parquet").write_bytes(b"")
    with pytest.raises(ManifestError, match="holds parts of another job"):
        job.committed()


def test_a_plan_that_somebody_edited_is_refused(corpus: Path, output: Path, untrained_model: Path) -> None:
    manifest = json.loads((output / "_manifest.json").read_text())
    manifest["plan"]["units"] = [["x"]]
    (output / "_manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ManifestError, match=r"_manifest\.json: the plan is damaged .*--overwrite"):
        bind(make_job([corpus], output, untrained_model), replace=False)


def test_a_job_is_complete_when_every_unit_is(corpus: Path, output: Path, untrained_model: Path) -> None:
    job = bind(make_job([corpus], output, untrained_model), replace=False)
    with pytest.raises(JobError, match="1 of 1 read units are not complete") as raised:
        check_complete(job, ["no room", "no room", "no net"])
    assert str(raised.value).splitlines()[1:] == ["  no room", "  no net"]
    empty = QUARANTINE_SCHEMA.empty_table()
    job.parts.commit(ShardId(0, 0, True), job.schema.empty_table(), empty, {})
    check_complete(job, [])


def test_expected_shards_are_exact_for_parquet_and_near_for_jsonl(tmp_path: Path, untrained_model: Path) -> None:
    for count in (0, 1, 8, 9):
        pq.write_table(pa.Table.from_pylist(qa_rows(count), _QA), tmp_path / f"{count}.parquet")
    assert make_job([tmp_path], "out", untrained_model, "corpus.shard_rows=4").plan.expected_shards == 1 + 1 + 2 + 3
    (tmp_path / "j").mkdir()
    (tmp_path / "j" / "a.jsonl").write_bytes(jsonl(qa_rows(400)))
    assert make_job([tmp_path / "j"], "out", untrained_model, "corpus.shard_rows=40").plan.expected_shards == 10


_QA = pa.schema([("id", pa.string()), ("question", pa.string()), ("context", pa.string())])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["qa.max_seq_len=4000"], "the model takes at most 512 tokens; lower qa.max_seq_len"),
        (["qa.max_seq_len=64", "qa.doc_stride=64"], "lower qa.doc_stride"),
        (["model.name=models/none"], "there is no folder models/none"),
    ],
)
def test_what_the_model_cannot_do_is_said_before_anything_runs(
    corpus: Path, untrained_model: Path, words: list[str], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        make_job([corpus], "out", untrained_model, *words)


def test_a_model_without_a_qa_head_embeds_but_does_not_answer(
    corpus: Path, untrained_model: Path, tmp_path: Path
) -> None:
    from transformers import DistilBertModel

    headless = Path(copytree(untrained_model, tmp_path / "headless"))
    DistilBertModel.from_pretrained(untrained_model).save_pretrained(headless)
    assert make_job([corpus], "out", headless, kind=EmbedConfig).kind == "embed"
    with pytest.raises(ModelError, match="without a QA head"):
        make_job([corpus], "out", headless)


def test_a_model_that_is_tried_apart_gives_the_same_job_without_torch_here(
    corpus: Path, tmp_path: Path, untrained_model: Path
) -> None:
    program = """
import sys
from pipelines.config.job import AnswerConfig
from pipelines.config.loader import load_config
from pipelines.job.job import find_places, plan_in
config = load_config(AnswerConfig, None, sys.argv[3:])
job = plan_in(find_places([sys.argv[1]], sys.argv[2], config), config, None, apart=True)
from pipelines.execution import executor
print(job.manifest.model, job.schema.names, [name for name in ("torch", "transformers") if name in sys.modules])
"""
    here = make_job([corpus], tmp_path / "out", untrained_model)
    words = (corpus, tmp_path / "out", f"model.name={untrained_model}", "model.threads=1")
    done = subprocess.run((sys.executable, "-c", program, *map(str, words)), capture_output=True, text=True, check=True)
    assert done.stdout == f"{here.manifest.model} {here.schema.names} []\n"


@pytest.mark.parametrize("kind", [AnswerConfig, EmbedConfig])
def test_a_column_that_is_not_there_is_named(corpus: Path, untrained_model: Path, kind: Kind) -> None:
    column = "question" if kind is AnswerConfig else "text"
    with pytest.raises(CorpusError, match="querry"):
        make_job([corpus], "out", untrained_model, f"corpus.columns.{column}=querry", kind=kind)


def test_a_job_that_met_a_damaged_file_may_go_on_without_it(tmp_path: Path, untrained_model: Path) -> None:
    corpus = write_jsonl(tmp_path / "in.jsonl", qa_rows(3))
    first = bind(make_job([corpus], tmp_path / "out", untrained_model), replace=False)
    again = bind(make_job([corpus], tmp_path / "out", untrained_model, "corpus.damaged=quarantine"), replace=False)
    assert (first.plan.layout.damaged, again.plan.layout.damaged) == ("fail", "quarantine")
    assert first.manifest == again.manifest


@pytest.mark.parametrize(
    ("pattern", "output", "lies_in"),
    [
        ("in/*.parquet", "in", True),
        ("in/*/*.parquet", "in/out", True),
        ("in/**/*.parquet", "in/a/b", True),
        ("in/*/part-*", "in/out", True),
        ("in/*.parquet", "in/out", False),
        ("in/*.jsonl", "in", False),
        ("in/**/*.parquet", "in/_out", False),
        ("in/[ab]/*.parquet", "in/c", False),
        ("in[1]/*.parquet", "in[1]", True),
    ],
)
@pytest.mark.parametrize("store", ["", "memory://patterns"])
def test_an_output_that_a_pattern_of_the_input_would_read(
    tmp_path: Path, store: str, pattern: str, output: str, lies_in: bool
) -> None:
    (tmp_path / "in[1]").mkdir()
    folder = store or str(tmp_path)
    source, written, names = resolve(f"{folder}/{pattern}"), resolve(f"{folder}/{output}"), _part_names(AnswerConfig())
    # On a store, a bracket means but a pattern.
    if lies_in and not (store and "[1]" in pattern):
        with pytest.raises(CorpusError, match="lies in the input"):
            _check_apart([source], written, names)
    else:
        _check_apart([source], written, names)
    _check_apart([source], resolve("memory://elsewhere"), names)


@pytest.mark.parametrize(
    ("ours", "theirs", "apart"),
    [
        ({}, {}, False),
        ({"key": "a"}, {"key": "b"}, False),
        ({"endpoint_url": "http://a"}, {}, False),
        ({"endpoint_url": "http://a"}, {"client_kwargs": {"endpoint_url": "http://a"}}, False),
        ({"endpoint_url": "http://a"}, {"client_kwargs": {"endpoint_url": "http://b"}}, True),
        ({"account_name": "a"}, {"account_name": "b"}, True),
    ],
)
def test_equal_urls_on_two_servers_are_two_places(ours: dict[str, Any], theirs: dict[str, Any], apart: bool) -> None:
    source, output = (Store(Url(f"s3://bucket/{name}"), options) for name, options in (("in", ours), ("in/x", theirs)))
    if apart:
        _check_apart([source], output)
        return
    with pytest.raises(CorpusError, match="lies in the input"):
        _check_apart([source], output)


def test_the_model_that_ships_has_its_name_and_another_its_place(corpus: Path, tmp_path: Path) -> None:
    shipped = Path(__file__).parents[3] / "models" / "minilm-qa"
    assert make_job([corpus], tmp_path / "new", shipped).model_name == "minilm-qa"
    other = tmp_path / "other"
    copytree(shipped, other)
    assert make_job([corpus], tmp_path / "new", other).model_name == str(other)


@pytest.mark.parametrize(
    "output", ["output.format=tests.pipelines.own_sinks:ARROW", "output.sink=tests.pipelines.own_sinks:SqliteSink"]
)
def test_chunks_need_an_output_that_counts_the_texts_they_are_of(tmp_path: Path, output: str) -> None:
    corpus = write_jsonl(tmp_path / "in.jsonl", [{"id": "a", "text": "b"}])
    config = load_config(EmbedConfig, None, [output, "chunk.tokens=8"])
    with pytest.raises(ConfigError, match=r"own_sinks:\w+ .*cannot tell how many texts .*a method count_documents"):
        find_places([str(corpus)], str(tmp_path / "out"), config)
    find_places([str(corpus)], str(tmp_path / "out"), load_config(EmbedConfig, None, [output]))
    find_places([str(corpus)], str(tmp_path / "out"), load_config(EmbedConfig, None, ["chunk.tokens=8"]))


def test_other_chunks_are_another_job(corpus: Path, tmp_path: Path, untrained_model: Path) -> None:
    def planned(*words: str) -> Job:
        return make_job([corpus], tmp_path / "out", untrained_model, *words, kind=EmbedConfig)

    assert "chunk" not in planned().manifest.results, "the id of a job from before there were chunks would change"
    first = bind(planned("chunk.tokens=8"), replace=False)
    assert first.schema.names == ["id", "document_id", "chunk", "start", "end", "embedding"]
    assert bind(planned("chunk.tokens=8"), replace=False).manifest.job_id == first.manifest.job_id
    for words in (["chunk.tokens=9"], ["chunk.tokens=8", "chunk.text=true"], []):
        with pytest.raises(ManifestError, match="chunk"):
            bind(planned(*words), replace=False)


def test_a_chunk_that_is_longer_than_a_window_is_refused(corpus: Path, tmp_path: Path, untrained_model: Path) -> None:
    words = ("embedding.max_seq_len=32", "chunk={tokens: 31, context: chunk}")
    with pytest.raises(ModelError, match=r"chunk\.tokens is 31, but a window of 32 tokens has only 30 for text"):
        make_job([corpus], tmp_path / "out", untrained_model, *words, kind=EmbedConfig)
