"""
Programs that play container images in the lab. Each runs inside a container and knows nothing of the lab around it.

For the image catalogue (``bench/lab/images.yaml``):

================================== ===========================================================================
``nvcr.io/nvidia/k8s/dcgm-exporter`` ``python3 -m bench.lab.programs.dcgm_exporter``. The pod has to set
                                   NVIDIA_VISIBLE_DEVICES=all by value and be privileged or have SYS_ADMIN, and to
                                   mount hostPath ``/var/lib/kubelet/pod-resources``. Flags, variables and the
                                   answer's text are those of the exporter 4.5.3-4.8.2.
``…/cuda-sample:nbody``            ``python3 -m bench.lab.programs.nbody``. Pods start it as ``nbody`` or by the
                                   relative path ``cuda-samples/nbody``: show the file
                                   ``bench/lab/programs/launchers/nbody`` (a shell script) at
                                   ``/cuda-samples/nbody`` and ``/usr/local/bin/nbody``, working directory ``/``.
``nvidia/cuda`` and others          ``nvidia-smi``: show ``bench/lab/programs/launchers/nvidia-smi`` at
                                   ``/usr/local/bin/nvidia-smi`` in every container that holds a device.
================================== ===========================================================================

What a container sees of devices is set by `bench.lab.gpu.devices.Devices.allocate`: mounts, variables, device nodes.
The kubelet's PodResources API, which is gRPC on a cluster, is HTTP with JSON here: ``GET /pods`` on the unix socket
``/var/lib/kubelet/pod-resources/kubelet.sock`` answers
``{"podResources": Devices.pod_resources(node)}``.
"""
