"""Modbus on the wire: frames, connections, and one question at a time with the answer that belongs to it."""
