"""`spanmill evaluate`: predictions by an answer job, scored by SQuAD's official rules."""
