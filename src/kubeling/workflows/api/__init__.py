"""The Argo Server API: what Argo's SDKs, its command line and its UI speak."""
