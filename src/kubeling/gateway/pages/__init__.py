"""The dashboard's pages: each module turns resources into what one template shows."""
