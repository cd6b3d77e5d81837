"""Off-policy evaluation: what data alone says of a policy's value, and how surely."""
