"""Commissioning: what an installer asks of a meter before leaving it alone for years. Reads only; nothing is ever written."""
