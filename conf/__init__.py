"""Hydra configuration: groups of YAML files, numbers only."""
