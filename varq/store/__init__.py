"""The store: every run, its spec and its journal of replies, in SQLite files that any tool can read."""
