"""Measures: what data covers, what a policy is worth, what it loses."""
