"""Several processes as one: how they find each other, how they notice that one is lost, how they share arrays."""
