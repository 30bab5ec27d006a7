"""Online calls: where they wait, which is next, and which windows share its pass."""
