"""The input formats: each recognises its files, looks at them, cuts them into read units and reads these."""
