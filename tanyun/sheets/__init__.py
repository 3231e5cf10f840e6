"""Commissioning sheets at the server: into the registry, and onto paper."""
