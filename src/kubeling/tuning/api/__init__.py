"""The REST faces of tuning: trials' readings for charts, and the paths of Katib's own UI."""
