"""Programs: functions of tensors as flat lists of operations, and made fast."""
