"""Progress: where a sweep's runs stand, counted, estimated and printed."""
