"""The front door: one HTTP address for the dashboard and every component's REST face."""
