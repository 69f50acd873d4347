"""Make a running lab lie or break in one named way, and see which check finds it."""
