"""How long what is kept: one file, read, checked, and put into force."""
