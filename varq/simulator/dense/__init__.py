"""The engine for the whole space: repeated layers, alternating layers, and circuits without structure."""
