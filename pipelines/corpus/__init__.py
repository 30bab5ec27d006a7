"""What a job reads: the files of its input, their columns and types."""
