"""Evidence on disk: written once, readable without the bench, enough to judge again."""
