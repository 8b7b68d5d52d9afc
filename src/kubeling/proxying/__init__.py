"""What every proxy of the house needs: headers that end at a connection, WebSockets passed on."""
