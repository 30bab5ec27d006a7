"""Forward passes: which windows go into one, what it costs, and how its output becomes answers and embeddings."""
