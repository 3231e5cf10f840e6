"""What the serving store holds, made of journal, ledger and closed months."""
