"""Where records come from: the tail of the local journal, or a closed range of it. Each yields (records, cursor after them)."""
