"""The gateway's role: polls meters over Modbus, keeps frames in an outbox, publishes them. Without numpy."""
