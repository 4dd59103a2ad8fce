"""What the operations of each journal mean: pure state machines, with no storage and no clock.

Legality is frozen for format 1: an entry that breaks a rule of its own journal is void for ever, in every release.
Unknown fields of a known operation are ignored, so that facts can be added; a rule cannot.
"""
