"""Responses: how a critic of each kind answers a policy, and where its answer moves."""
