"""How good a model is: predictions by an answer job, judged by SQuAD's official rules."""
