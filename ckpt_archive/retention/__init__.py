"""How long checkpoints are kept, where, at what price, and how they end."""
