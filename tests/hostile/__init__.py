"""Input that was made to do harm: generators by kind, the doors it goes through, and who watches what it does."""
