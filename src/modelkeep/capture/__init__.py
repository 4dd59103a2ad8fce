"""What looks at the running process, and never makes training fail: what cannot be found out is "unknown: why"."""
