"""What transformers' pipeline for question answering takes, as the routes after its model do."""

from actors.serving.protocols.schema import Body


class Pair(Body):
    """A question and the passage that may answer it."""

    question: str
    context: str


class PipelineParameters(Body):
    """How to answer. What is left out or null is the service's default."""

    top_k: int | None = None
    """Answers per question; with more than one, each question gets a list, best first."""
    max_answer_len: int | None = None
    """Longest answer in tokens."""
    max_seq_len: int | None = None
    """Longest window in tokens, question and special tokens included; longer passages are cut into several."""
    doc_stride: int | None = None
    """Tokens that neighbouring windows of a passage share."""
    max_question_len: int | None = None
    """Questions are cut to this many tokens."""
    handle_impossible_answer: bool | None = None
    """Let the model abstain."""
    align_to_words: bool | None = None
    """Widen an answer to whole words. Turn it off for languages written without blanks."""
