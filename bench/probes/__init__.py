"""What the devices themselves say: NVML, device by device. The only place that imports pynvml."""
