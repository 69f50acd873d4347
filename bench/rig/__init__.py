"""What a scenario works with during one run: the target, its load, its probes; all of it closed at the end."""
