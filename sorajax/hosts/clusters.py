"""Is this one process of several? Asked of the environment alone, so that a single process starts without network.

JAX then finds the coordinator and the numbers by itself (``jax.distributed.initialize``). It is not asked before
something here says that there are several hosts: on a Colab TPU or in a notebook's container its search waits for
servers that are not there.
"""

import importlib.util
import os
import urllib.request
from collections.abc import Mapping
from glob import glob

METADATA = "169.254.169.254"
"""Google Cloud's metadata server, which only its own machines reach."""


def cluster(environment: Mapping[str, str] = os.environ) -> str | None:
    """The name of what started several processes of which this is one, or None.

    Slurm by the variables of ``srun``, GKE by those of its TPU pods, Kubernetes by the index of an indexed Job, a TPU
    pod of virtual machines by its metadata, which is only read where TPU chips are.
    """
    step = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID")  # set by srun, not by sbatch
    if all(name in environment for name in step) and int(environment.get("SLURM_NTASKS", "1")) > 1:
        return "Slurm"
    workers = environment.get("TPU_PROCESS_ADDRESSES") or environment.get("TPU_WORKER_HOSTNAMES")
    if _tpu_chips(environment):
        if workers is not None:
            return "GKE" if _several(workers, environment.get("MEGASCALE_NUM_SLICES", "")) else None
        if "TPU_SKIP_MDS_QUERY" not in environment and tpu_pod(environment):
            return "TPU pod"
    indexed = "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment
    if indexed and workers is None and importlib.util.find_spec("kubernetes") is not None:
        return "Kubernetes"
    return None


def _tpu_chips(environment: Mapping[str, str]) -> bool:
    library = importlib.util.find_spec("libtpu") is not None or "TPU_LIBRARY_PATH" in environment
    return library and bool(glob("/dev/accel*") or glob("/dev/vfio/[0-9]*"))


def tpu_pod(environment: Mapping[str, str] = os.environ, *, limit: float = 2.0) -> bool:
    """Whether the metadata of this virtual machine names several workers or slices; False if there is none."""
    server = environment.get("GCE_METADATA_IP", METADATA)

    def read(key: str) -> str:
        address = f"http://{server}/computeMetadata/v1/instance/attributes/{key}"
        request = urllib.request.Request(address, headers={"Metadata-Flavor": "Google"})
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(request, timeout=limit) as answer:
                return answer.read(1 << 20).decode("utf-8", "replace")
        except OSError:
            return ""

    workers = read("worker-network-endpoints")
    if not workers:
        return False
    lines = (line.partition(":") for line in read("tpu-env").splitlines())
    values = {key.strip(): value.strip(" '") for key, _, value in lines}
    return _several(workers, values.get("MEGASCALE_NUM_SLICES", ""))


def _several(workers: str, slices: str) -> bool:
    return "," in workers or (slices.isdecimal() and int(slices) > 1)
