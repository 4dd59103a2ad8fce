"""Real servers for the tests: started, stopped, faked where none conforms, and broken on purpose."""
