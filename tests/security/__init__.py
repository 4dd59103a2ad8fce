"""Files that would run code when they are loaded: made here, with a harmless payload, and who watches what they do."""
