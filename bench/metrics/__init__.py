"""What Prometheus and the exporters saw. The only importer of prometheus_api_client; its errors are translated here."""
