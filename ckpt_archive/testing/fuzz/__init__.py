"""Bad bytes and bad input: flipped bits in everything that is stored, and malformed text in everything that is read."""
