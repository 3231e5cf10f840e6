"""What a month needs to know besides readings: kinds of facts, their sheets, and the state they make together."""
