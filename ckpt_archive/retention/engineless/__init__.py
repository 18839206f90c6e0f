"""What a lifecycle engine would do, where the store has none: ends, a colder root, what nobody has any more."""
