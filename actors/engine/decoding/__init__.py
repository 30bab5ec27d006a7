"""What the output of a pass means: spans, answers, embeddings."""
