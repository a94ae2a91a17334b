"""The session: the one loop that drives every method, and the runs it never loses."""
