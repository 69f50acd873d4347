"""The load generator: who asks, how often, and what each answer took."""
