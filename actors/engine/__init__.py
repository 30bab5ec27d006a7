"""Forward passes: which windows go into one, what it costs, and what is read off its output."""
