"""
Plots as SVG text, for pages that need nothing beside them.

Own code and no plotting library: text stays text (it can be searched, read aloud and scaled), a figure is a few
kilobytes, and lines are told apart by dashes and marks as well as by ink, so that paper without colour shows the same.
"""
