"""Tells what a run left behind; reads evidence and nothing else, so it cannot say what was not written down."""
