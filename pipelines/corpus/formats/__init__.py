"""Input formats, a file each: how a file is looked at, cut into read units, and read."""
