"""A Service of the target by way of the API server's proxy: with the context's credentials, and no port-forward."""

import requests

from bench.cluster.client import Cluster


def service_url(cluster: Cluster, *, namespace: str, name: str, port: str) -> str:
    """Where the API server proxies to this Service; `port` is a number or a port's name."""
    return f"{cluster.server}/api/v1/namespaces/{namespace}/services/{name}:{port}/proxy"


def session(cluster: Cluster) -> requests.Session:
    """A session that authenticates as this context does; a token of an exec plugin is renewed at each request."""
    configuration = cluster.configuration
    opened = requests.Session()
    opened.verify = (configuration.ssl_ca_cert or True) if configuration.verify_ssl else False
    if configuration.cert_file and configuration.key_file:
        opened.cert = (configuration.cert_file, configuration.key_file)

    def authenticate(request: requests.PreparedRequest) -> requests.PreparedRequest:
        token = configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if token:
            request.headers["Authorization"] = token
        return request

    opened.auth = authenticate
    return opened
