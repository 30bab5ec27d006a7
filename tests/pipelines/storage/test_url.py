"""A URL shows no secret unless it is asked for it by name."""

import json
import logging
import pickle
from copy import deepcopy
from dataclasses import astuple, replace

import orjson
import pytest

from pipelines.corpus.source_file import SourceFile
from pipelines.storage.filesystem import Store
from pipelines.storage.url import Url, redact

SIGNED = "https://user:pw@host:8443/in/a.parquet?X-Amz-Signature=secret&X-Amz-Date=1#secret"
SHOWN = "https://host:8443/in/a.parquet"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (SIGNED, SHOWN),
        ("https://token@host/a", "https://host/a"),
        ("https://host/a#part", "https://host/a#part"),
        ("http://user:pw@[::1]:80/a?b", "http://[::1]:80/a"),
        ("http://[broken/a?secret", "http://[broken/a"),
        ("s3://bucket/key?x-amz-signature=secret", "s3://bucket/key"),
        ("s3://bucket/key?versionId=7", "s3://bucket/key?versionId=7"),
        ("s3://b/c?d#e.jsonl.gz", "s3://b/c?d#e.jsonl.gz"),
        ("gs://b/k?X-Goog-Credential=secret", "gs://b/k"),
        ("az://c/k?sv=1&sig=secret", "az://c/k"),
        ("abfss://container@account.dfs.core.windows.net/a", "abfss://container@account.dfs.core.windows.net/a"),
        ("abfss://me:secret@account/a", "abfss://account/a"),
        ("ftp://me:secret@host/a", "ftp://host/a"),
        ("simplecache::https://me:secret@host/a?secret", "simplecache::https://host/a"),
        ("zip://in.parquet::https://me:secret@host/a?x=secret::secret", "zip://in.parquet::https://host/a"),
        ("bucket/key?X-Amz-Signature=secret", "bucket/key"),
        ("/folder/a?sig=b.jsonl", "/folder/a?sig=b.jsonl"),
        ("C:\\a b", "C:\\a b"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    url = Url(text)
    assert str(url) == f"{url}" == "{}".format(url) == "%s" % url == shown  # noqa: UP031, UP032
    assert repr(url) == f"Url({shown!r})"
    assert f"{url:>200}" == shown.rjust(200)
    assert url.with_secrets == text
    assert str(Url(shown)) == shown, "a stored URL is matched with a fresh one by what both show"


def test_it_is_a_value() -> None:
    url = Url(SIGNED)
    assert url == Url(SIGNED) == pickle.loads(pickle.dumps(url)) == deepcopy(url)
    assert len({url, Url(SIGNED), Url(SHOWN)}) == 2
    assert url != SIGNED
    with pytest.raises(AttributeError, match="cannot be changed"):
        url._text = SHOWN


def test_what_holds_one_shows_no_more(caplog: pytest.LogCaptureFixture) -> None:
    file = SourceFile(Url(SIGNED), "a.parquet", 1, "v", "parquet", None)
    store = Store(Url(SIGNED))
    logging.getLogger("spanmill.test").warning("%s %r %s", file, store, astuple(file))
    assert SHOWN in caplog.text
    assert "secret" not in caplog.text
    assert "pw" not in caplog.text
    assert pickle.loads(pickle.dumps(file)) == file
    assert file.to_json() == [SHOWN, "a.parquet", 1, "v", "parquet", None]
    assert SourceFile.from_json(file.to_json(with_secrets=True)) == file
    assert SourceFile.from_json(file.to_json()) == replace(file, url=Url(SHOWN))


def test_no_encoder_writes_one_out() -> None:
    with pytest.raises(TypeError):
        orjson.dumps({"url": Url(SIGNED)})
    with pytest.raises(TypeError):
        json.dumps([Url(SIGNED)])


def test_secrets_in_the_words_of_others() -> None:
    said = f"500, message='no', url='{SIGNED}' <{SIGNED}> bucket/key?X-Amz-Signature=secret: (https://host/b?c) why?"
    assert redact(said) == f"500, message='no', url='{SHOWN}' <{SHOWN}> bucket/key (https://host/b why?"
    plain = "a.jsonl: is it broken? Replace s3://b/c?d.jsonl, or /in/a b?c"
    assert redact(plain) == plain


def test_long_words_cost_no_time() -> None:
    for text in ("a" * 1_000_000, "?" * 1_000_000, "a:" * 500_000, "http://" * 100_000):
        redact(text)
