"""Carries plans out: announces, tags, takes back, in an order that can be broken off anywhere."""
