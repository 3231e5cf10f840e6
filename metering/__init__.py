"""The contract every role shares: ids, units, reading types, roles, intervals, the Sparkplug B codec, topics.

Imports none of ours.
"""
