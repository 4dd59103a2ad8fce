"""Serializers for each framework, found through entry points; nothing in the library imports them."""
