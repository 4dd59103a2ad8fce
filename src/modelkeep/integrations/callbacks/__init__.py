"""Callbacks that log what frameworks report into the run that goes on, a module for each framework.

`docs/how-to/callbacks.md` has a table. Each module imports its framework at most; nothing in the library imports them.
"""
