"""Joins manifests, code and traces to one model of a system."""
