"""From the journal to the ledger: decode, step, intervals, emissions. One pure step, fed by interchangeable sources."""
