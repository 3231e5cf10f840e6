"""Grafana as code: what operators watch and which alerts they get, rendered to files, and the tool that puts them into a Grafana."""
