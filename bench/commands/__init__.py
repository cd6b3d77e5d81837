"""Commands: what one types, one file each, and nothing that another room could do."""
