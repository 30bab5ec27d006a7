"""The data side of Spanmill: corpora, shards and commits; never tensors."""
