"""What looks at the running process: its code, its environment, its machine, its data. It gives plain JSON values."""
