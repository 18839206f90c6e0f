"""What makes a checkpoint archived: launches, decisions, receipts, the manifest; and how the newest one is found."""
