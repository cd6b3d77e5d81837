"""Data: records read from a store or from reference results, checked, and gathered into cells."""
