"""The areas: one module each, with one `measure(ground, plan) -> Area`. run.py calls them in turn."""
