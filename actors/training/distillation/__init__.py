"""What a teacher says of each window of its student, whatever tokenizer it has."""
