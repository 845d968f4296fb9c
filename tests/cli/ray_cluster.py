"""Two Ray nodes of one CPU in this machine: a line on stdin kills the second, its end both.

A process of its own, since Ray leaves open what pytest counts as errors.
"""

import sys

from ray.cluster_utils import Cluster

if __name__ == "__main__":
    options = {"node_ip_address": "127.0.0.1", "num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(
        initialize_head=True,
        head_node_args={**options, "temp_dir": sys.argv[1]},
        shutdown_at_exit=False,
    )
    try:
        second = cluster.add_node(**options)
        print(cluster.address, flush=True)
        if sys.stdin.readline():
            cluster.remove_node(second, allow_graceful=False)
            sys.stdin.read()
    finally:
        cluster.shutdown()
