from pathlib import Path

from actors.models.loading import load_engine
from actors.parameters import BatchingParameters, ModelParameters
from pipelines.bench.workers.random_model import write_weights
from tests.pipelines.bench.setups import MODEL


def test_it_is_a_model_of_that_shape(tmp_path: Path) -> None:
    write_weights(tmp_path, layers=1, dim=64)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((MODEL / name).read_bytes())
    engine = load_engine(tmp_path, ModelParameters(name=str(tmp_path)), BatchingParameters(), with_qa_head=True)
    assert engine.hidden_size == 64
