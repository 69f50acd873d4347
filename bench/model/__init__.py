"""The nouns of the bench: frozen, typed, without I/O."""
