"""What a policy would change, and where bucket and policy differ. Reads only."""
