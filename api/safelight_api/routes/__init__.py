"""Thin: read the request, ask the queue, answer. One file for each kind of thing that is asked for."""
