"""`spanmill export` and `spanmill bundle`: forms of a model put together in one folder, checked, and published."""
