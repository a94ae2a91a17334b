"""varq."""
