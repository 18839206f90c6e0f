"""The SSD tier of one staging directory: launches, drafts, the ring of sealed shares. No network, no store."""
