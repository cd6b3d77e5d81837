"""Settings: from words and YAML to runs that are typed and checked."""
