"""The requirements of the Kubernetes AI conformance programme, by Kubernetes version, told in our own words."""

from bench.requirements.catalogue import Catalogue, Level, Requirement, all_requirement_ids, load_catalogue, releases

__all__ = ["Catalogue", "Level", "Requirement", "all_requirement_ids", "load_catalogue", "releases"]
