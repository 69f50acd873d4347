"""The Kubernetes API of the target. The only importer of the `kubernetes` package; its errors are translated here."""
