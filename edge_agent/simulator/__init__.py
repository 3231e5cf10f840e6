"""The simulated park: meters whose registers are a pure function of (seed, time), served over Modbus/TCP."""
