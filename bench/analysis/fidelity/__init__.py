"""How far exported metrics are from the devices: age, agreement, coverage, attribution; one module a question."""
