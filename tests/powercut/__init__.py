"""A model of a disk whose power is cut: a file system that drops what was not synced, and what must lie there after."""
