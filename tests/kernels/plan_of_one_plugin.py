"""A program for a process of its own: ONNX → TensorRT-RTX plan with the plugin library loaded.

python plan_of_one_plugin.py LIBRARY ONNX PLAN: prints what came of it as JSON; the messages of
the library and of TensorRT go to stderr.
"""

import json
import os
import sys
from pathlib import Path

import tensorrt_rtx as trt


def build(library: str, onnx_file: Path, plan_file: Path) -> dict[str, object]:
    logger = trt.Logger(trt.Logger.ERROR)
    if trt.get_plugin_registry().load_library(library) is None:
        return {"error": "the library was refused"}
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx_file.read_bytes()):
        return {"error": "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))}
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    plugins = [layer for layer in layers if layer.type == trt.LayerType.PLUGIN_V3]
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    if -1 in network.get_input(0).shape:
        profile = builder.create_optimization_profile()
        for i in range(network.num_inputs):
            volume = tuple(network.get_input(i).shape)[1:]
            profile.set_shape(network.get_input(i).name, *((n, *volume) for n in (1, 2, 4)))
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        return {"error": "no plan"}
    plan_file.write_bytes(plan)
    return {
        "plugins": [
            {
                "inputs": [str(p.get_input(i).dtype) for i in range(p.num_inputs)],
                "output": [str(p.get_output(0).dtype), *p.get_output(0).shape],
            }
            for p in plugins
        ]
    }


if __name__ == "__main__":
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    json.dump(build(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])), out)
    out.close()
