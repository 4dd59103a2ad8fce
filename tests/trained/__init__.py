"""Registries of really trained models whose story is known: what changed in each version, and what came of it."""
