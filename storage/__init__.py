"""The journal, the ledger and the months: one SQLite file each, one writing process each, any number of readers."""
