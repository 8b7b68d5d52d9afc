"""What Kubernetes itself defines: its types, and the resources that serve them."""
