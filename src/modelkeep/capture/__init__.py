"""What looks at the running process: its code, its environment, its datasets. Nothing here makes training fail."""
