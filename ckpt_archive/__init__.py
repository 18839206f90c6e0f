"""Durable, verified checkpoint archives."""
