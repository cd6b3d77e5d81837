"""Look: printed names, colours, markers, captions and the panel that figures are made of."""
