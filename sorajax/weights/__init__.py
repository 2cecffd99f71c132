"""Foreign checkpoints in and out: one table of rules a model, one function that applies any table."""
