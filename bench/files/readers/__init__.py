"""What files hold, format by format, as columns; and how a Minari dataset is written."""
