"""What the pages and the command line know of a served model: pure functions of objects."""
