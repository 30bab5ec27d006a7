"""The model side of Spanmill: text, tensors and requests; never files, never shards."""
