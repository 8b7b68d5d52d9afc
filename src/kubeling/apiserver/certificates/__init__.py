"""certificates.k8s.io: requests for certificates, their approval, the cluster's signers."""
