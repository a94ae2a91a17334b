"""`varq.qubit`: a PennyLane device that compiles circuits through JAX."""
