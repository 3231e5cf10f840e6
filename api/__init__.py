"""The API: park, intervals, emissions and months over HTTP, one event stream, and the live page it serves."""
