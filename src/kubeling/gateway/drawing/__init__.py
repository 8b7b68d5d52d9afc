"""Pictures drawn on the server as SVG: plain data in, text out, no browser library needed."""
