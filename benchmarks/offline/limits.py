"""The parameters that all who are compared get."""

from actors.parameters import EmbeddingParameters, QAParameters

QA = QAParameters(max_seq_len=384, doc_stride=128)
EMBEDDING = EmbeddingParameters(max_seq_len=512)

PIPELINE = QA.model_dump(
    include={"max_seq_len", "doc_stride", "max_answer_len", "top_k", "handle_impossible_answer", "align_to_words"}
)
"""The same, by the names that transformers' pipeline has for them."""
