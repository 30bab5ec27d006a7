"""From text to windows: tokenisation, windowing, and the tokenised shard that a model actor takes."""
