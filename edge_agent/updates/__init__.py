"""Signed configurations from the server: verified, staged, tried, and confirmed or taken back. The outbox is never touched."""
