"""`spanmill bench`: the engine and the job side by side with what others would use, and with the machine's floor."""
