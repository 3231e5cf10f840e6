"""Delivering reports, evidence packs and chain heads to whoever is to have them, until there is a receipt."""
