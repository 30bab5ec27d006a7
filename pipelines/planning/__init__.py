"""From files to a plan: read units, the size of a shard, and the columns of every row."""
