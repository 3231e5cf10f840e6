"""The Sparkplug host: admit frames, quarantine what is refused, append to the journal, acknowledge after it is synced."""
